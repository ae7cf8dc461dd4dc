"""
Envelope: wraps a receipt as canonical JSON, signs it with an ed25519 key, and checks one offline.

- The form is DSSE (https://github.com/secure-systems-lab/dsse): what is signed is the type and the
  bytes of the payload, so that no two readers can understand it in two ways.
- The file itself is canonical JSON (RFC 8785) and a line break: that no byte of it was changed can
  be said of all of it, not only of what is signed.
- A key is told by its id, which securesystemslib computes from the public key (SHA-256). The id in
  the file is only a claim: nothing but the signature proves anything.

Both libraries come with the extra `receipt`, and are imported when they are used.
"""

from __future__ import annotations

import json
import os
import re
import stat
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import BaseModel, ConfigDict

from rotator.crypto import keyring
from rotator.errors import ConfigError, ReceiptError

if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner, SSlibKey

PAYLOAD_TYPE = "application/vnd.rotator.receipt+json"
SHOWN_ID = 16
"""How many of a signing key's 64 characters are shown."""

_LARGEST_KEY = 64 * 1024  # bytes; a PEM file of ed25519 has about 120
_LARGEST_FILE = 64 * 1024 * 1024  # bytes
_OTHER = "verify with the public key of the signer; the id in the file is only a claim"
_ORIGINAL = "do not rely on it; ask for the original"
_NONE = f"is it the right file? If it was changed, {_ORIGINAL}"
_ID = re.compile(r"[0-9a-f]{64}")

log = structlog.get_logger(__name__)


class _Strict(BaseModel):
    """Part: takes the fields of DSSE and no others, as text."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Signature(_Strict):
    """Signature: holds the id of a key, and what it signed, in base64."""

    keyid: str
    sig: str


class _Form(_Strict):
    """Form: an envelope as its file has it, the payload in base64."""

    payload: str
    payloadType: str  # noqa: N815 - the name of DSSE
    signatures: list[_Signature]


def require_libraries() -> None:
    """
    Raise unless the libraries of receipts are installed.

    Raises:
        ConfigError: One is not.
    """
    for name in ("rfc8785", "securesystemslib.dsse"):
        try:
            import_module(name)
        except ModuleNotFoundError:
            raise ConfigError(
                f"a receipt needs {name.partition('.')[0]}, which is not installed",
                hint="pip install 'redis-rotator[receipt]'",
            ) from None


def canonical(data: Any) -> bytes:
    """Return plain data as canonical JSON (RFC 8785)."""
    import rfc8785  # noqa: PLC0415 - see the module's docstring

    return rfc8785.dumps(data)


def read_signer(path: Path) -> CryptoSigner:
    """
    Return what signs with the private key in a PEM file; warn where everybody may read it.

    Raises:
        ConfigError: The file cannot be read, or holds no ed25519 key without a passphrase.
    """
    from securesystemslib.signer import CryptoSigner  # noqa: PLC0415 - see the module's docstring

    pem = _content(path, _LARGEST_KEY, secret=True)
    return CryptoSigner(keyring.signing_key(pem, str(path)))


def read_public(path: Path) -> SSlibKey:
    """
    Return the public key in a PEM file.

    Raises:
        ConfigError: The file cannot be read, or holds no public ed25519 key.
    """
    from securesystemslib.signer import SSlibKey  # noqa: PLC0415 - see the module's docstring

    return SSlibKey.from_crypto(keyring.verifying_key(_content(path, _LARGEST_KEY), str(path)))


def seal(payload: bytes, signer: CryptoSigner | None) -> str:
    """Return the text of an envelope; without a *signer* it has no signature."""
    from securesystemslib.dsse import Envelope  # noqa: PLC0415 - see the module's docstring

    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    if signer:
        envelope.sign(signer)
    return _text(envelope.to_dict()).decode()


def unseal(path: Path, public: SSlibKey) -> bytes:
    """
    Return the payload of an envelope that was signed with this key, and not changed since.

    Raises:
        ConfigError: The file cannot be read.
        ReceiptError: It is none; it is not signed; another key signed it; or it was changed.
    """
    from securesystemslib.dsse import Envelope  # noqa: PLC0415 - see the module's docstring
    from securesystemslib.exceptions import VerificationError  # noqa: PLC0415 - the same

    content = _content(path, _LARGEST_FILE)
    try:
        envelope = Envelope.from_dict(_Form.model_validate(json.loads(content)).model_dump())
    except (ValueError, RecursionError):
        raise ReceiptError(f"{path} is not a receipt, or it was changed", hint=_NONE) from None
    if not envelope.signatures:
        hint = "anybody can have written it; `rotator report --receipt FILE --sign KEY.pem` signs"
        raise ReceiptError(f"{path} is not signed", hint=hint)
    if public.keyid not in envelope.signatures:
        raise _not_by(path, public, envelope)
    try:
        envelope.verify([public], 1)
    except VerificationError:
        raise ReceiptError(f"{path} was changed after it was signed", hint=_ORIGINAL) from None
    if envelope.payload_type != PAYLOAD_TYPE:
        hint = "ask the signer for the receipt"
        raise ReceiptError(f"{path} is signed, but it is not a receipt of rotator", hint=hint)
    # Encoded anew, because base64 has several texts for the same bytes. Nobody can sign that there
    # is no second signature, and rotator writes one.
    if len(envelope.signatures) > 1 or content != _text(envelope.to_dict()):
        hint = f"{_ORIGINAL}: the signed part is unchanged, but the file is not as rotator wrote it"
        raise ReceiptError(f"{path} was changed around what is signed", hint=hint)
    return envelope.payload


def _not_by(path: Path, public: SSlibKey, envelope: Envelope) -> ReceiptError:
    """
    Return what is wrong with an envelope that does not name the key it is to be signed with.

    Somebody else signed it; or the id in it was changed, which no signature covers.
    """
    from securesystemslib.exceptions import UnverifiedSignatureError  # noqa: PLC0415 - see there
    from securesystemslib.signer import Signature  # noqa: PLC0415 - the same

    others = list(envelope.signatures)
    shown = ", ".join(one[:SHOWN_ID] for one in others)
    for one in envelope.signatures.values():
        try:
            public.verify_signature(Signature(public.keyid, one.signature), envelope.pae())
        except UnverifiedSignatureError:
            continue
        hint = f"{_ORIGINAL}: this key has signed it, and the file names another one (id {shown})"
        return ReceiptError(f"{path} was changed around what is signed", hint=hint)
    own = public.keyid[:SHOWN_ID]
    if any(one.startswith(own) or not _ID.fullmatch(one) for one in others):
        return ReceiptError(f"{path} was changed after it was signed", hint=_ORIGINAL)
    text = f"{path} is signed with another key (id {shown}), not with the one given (id {own})"
    return ReceiptError(text, hint=_OTHER)


def _text(form: dict[str, Any]) -> bytes:
    """Return an envelope as its file has it."""
    return canonical(form) + b"\n"


def _content(path: Path, most: int, *, secret: bool = False) -> bytes:
    """
    Return all that a file holds; a pipe will do. Warn if it is *secret* and everybody may read it.

    Raises:
        ConfigError: It cannot be read, or is too large to be what is asked for.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
        raise ConfigError(f"{path}: {reason}", hint="name a file that can be read") from None
    if len(content) > most:
        raise ConfigError(f"{path} is too large", hint="is it the right file?")
    if secret and mode & stat.S_IROTH:
        hint = f"chmod o-r {path}"
        log.warning("everybody can read the signing key", file=str(path), hint=hint)
    return content
