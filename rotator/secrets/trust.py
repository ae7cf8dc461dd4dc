"""Whom a provider's client trusts: the system, and who else the provider's URL names."""

from __future__ import annotations

import ssl

from rotator.errors import SecretError


def context(
    *,
    ca_file: str | None = None,
    ca_text: str | None = None,
    cert_file: str | None = None,
    key_file: str | None = None,
) -> ssl.SSLContext:
    """
    A TLS context for a client: the system's trust, more CAs, and a client certificate.

    Without *key_file* the private key is expected beside the certificate.

    Raises:
        SecretError: A file cannot be read, or is not what it should be.
    """
    made = ssl.create_default_context()
    if ca_file or ca_text:
        try:
            made.load_verify_locations(cafile=ca_file, cadata=ca_text)
        except OSError as error:  # ssl.SSLError is one
            raise _refusal(f"CA certificates {ca_file or ''}".rstrip(), error) from None
    if cert_file:
        # TLS 1.3 servers that ask for the certificate late (IIS does) need this
        made.post_handshake_auth = True
        try:
            made.load_cert_chain(cert_file, key_file, password=_no_password)
        except OSError as error:
            files = " and ".join(filter(None, (cert_file, key_file)))
            raise _refusal(f"client certificate {files}", error) from None
        except ValueError:
            raise SecretError(
                f"the secret provider's key {key_file or cert_file} is encrypted",
                hint="rotator cannot ask for its passphrase: give a key without one",
            ) from None
    return made


def _no_password() -> str:
    """Keep OpenSSL from asking for a passphrase at the terminal."""
    raise ValueError


def _refusal(what: str, error: OSError) -> SecretError:
    """The error for a file that cannot be used."""
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "not PEM").replace("_", " ").lower()
    else:
        reason = (error.strerror or "unknown reason").lower()
    return SecretError(
        f"the secret provider's {what} cannot be used: {reason}",
        hint="check the path, the rights of the file, and that it is PEM",
    )
