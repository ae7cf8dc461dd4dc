"""
TLS as a profile of the configuration asks for it.

Whom a provider's client trusts: the system, and who else the provider's URL names.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rotator.config.schema import TlsProfile
from rotator.config.types import Provider, SecretRef
from rotator.errors import ConfigError, SecretError

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


_PEM = "-----BEGIN"


def tls_context(profile: TlsProfile | None, provider: Provider | None) -> ssl.SSLContext | None:
    """
    The context that *profile* describes; None without a profile.

    The profile's CA is added to the system's trust, and the host name is always checked. What is
    trusted is trusted as in the Orchestrator's Go: an intermediate CA by itself is enough.

    Raises:
        ConfigError: A file is missing or is no PEM, key and certificate do not belong together, or
            a cipher suite is not known.
        SecretError: A reference cannot be resolved.
    """
    if profile is None:
        return None
    path = f"tls.{profile.name}"
    context = ssl.create_default_context()
    context.minimum_version = _VERSIONS[profile.min_version]
    # Python 3.13 sets both by itself; the same trust for the same file on every Python.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    _set_ciphers(context, profile.ciphers, f"{path}.enabledCiphers")
    if profile.ca is not None:
        with _named(profile.ca.field, "a file or secret with certificates in PEM"):
            context.load_verify_locations(cadata=_pem(profile.ca, provider))
    if profile.cert is not None:
        key = profile.key or profile.cert
        with (
            _named(
                f"{profile.cert.field}, {key.field}", "PEM, and key and certificate of one pair"
            ),
            _file(_pem(profile.cert, provider)) as cert_file,
            _file(_pem(key, provider)) as key_file,
        ):
            # Without a password here, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(cert_file, key_file, password=_refuse_password)
    return context


def _refuse_password() -> str:
    raise ValueError("the private key is protected by a pass phrase")


def _set_ciphers(context: ssl.SSLContext, ciphers: Sequence[str], field: str) -> None:
    """Allow only *ciphers* in TLS 1.2; those of TLS 1.3 are not chosen (nor are they in Go)."""
    names = []
    for index, cipher in enumerate(ciphers):
        if cipher.startswith("TLS_") and "_WITH_" not in cipher:
            continue
        names.append(_openssl_name(cipher))
        # Of a list, OpenSSL passes over in silence what it does not know.
        with _named(f"{field}[{index}]", "a TLS 1.2 suite by its IANA or OpenSSL name"):
            context.set_ciphers(names[-1])
    if names:
        context.set_ciphers(":".join(names))


def _openssl_name(cipher: str) -> str:
    """
    The Orchestrator writes suites as the IANA does, OpenSSL in its own way.

    https://docs.openssl.org/3.0/man1/openssl-ciphers/#cipher-suite-names
    """
    if not cipher.startswith("TLS_"):
        return cipher
    name = cipher.removeprefix("TLS_").replace("_WITH_", "_").replace("AES_", "AES")
    name = name.replace("_CBC_", "_").replace("CHACHA20_POLY1305_SHA256", "CHACHA20_POLY1305")
    return name.removeprefix("RSA_").replace("_", "-")


@contextmanager
def _named(field: str, hint: str) -> Iterator[None]:
    """Name the field in whatever goes wrong with it; OpenSSL's own words quote nothing secret."""
    try:
        yield
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"{field}: cannot be used: {error}", hint=f"it is {hint}") from None
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise ConfigError(f"{field}: cannot be read: {reason}", hint=f"it is {hint}") from None


def _pem(reference: SecretRef, provider: Provider | None) -> str:
    """PEM: what the secret holds, or the file at the path that it or the configuration gives."""
    text = reference.resolve(provider)
    pem = text if _PEM in text else Path(text.strip()).read_text(errors="ignore")
    # Comments between the certificates may be in any language; ssl takes ASCII only.
    return pem.encode("ascii", "ignore").decode()


@contextmanager
def _file(pem: str) -> Iterator[str]:
    """A file with *pem* for as long as OpenSSL reads it, for our own eyes only."""
    handle, path = tempfile.mkstemp(prefix="rotator-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(pem)
        yield path
    finally:
        Path(path).unlink()


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
