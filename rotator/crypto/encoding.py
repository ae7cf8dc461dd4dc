"""
Encoding: writes bytes as text, and reads them strictly.

Text that would not come back byte for byte when encoded again is refused. Two ways to write each
are known, and a rewritten value keeps the one it had: hex in lower or in upper case (not mixed),
base64 and base64url with all of their padding or none (RFC 4648, sections 3.2, 3.5, 4, 5 and 8).
"""

import binascii
from collections.abc import Callable
from enum import StrEnum
from typing import Final

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
# What is foreign to base64url becomes foreign to base64.
_FROM_URL = bytes.maketrans(b"-_+/", b"+/!!")
_TO_URL = bytes.maketrans(b"+/", b"-_")


class Encoding(StrEnum):
    """Encoding: names how bytes are written."""

    RAW = "raw"
    HEX = "hex"
    BASE64 = "base64"
    BASE64URL = "base64url"


ALPHABETS: Final = {
    Encoding.HEX: b"0123456789abcdefABCDEF",
    Encoding.BASE64: _BASE64,
    Encoding.BASE64URL: _BASE64.translate(_TO_URL),
}
"""The characters of each text encoding."""


def _from_hex(text: bytes) -> bytes | None:
    if text.lower() != text and text.upper() != text:
        return None
    try:
        return binascii.unhexlify(text)
    except binascii.Error:
        return None


def _from_base64(text: bytes) -> bytes | None:
    loose = len(text) % 4
    if loose:
        if text.endswith(b"="):
            return None
        text += b"=" * (4 - loose)
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return None
    # Bits of the last letter that belong to no byte: strict mode does not look at them.
    over = len(decoded) % 3
    if over and binascii.b2a_base64(decoded[-over:], newline=False) != text[-4:]:
        return None
    return decoded


def _from_base64url(text: bytes) -> bytes | None:
    return _from_base64(text.translate(_FROM_URL))


DECODERS: Final[dict[Encoding, Callable[[bytes], bytes | None]]] = {
    Encoding.RAW: lambda text: text,
    Encoding.HEX: _from_hex,
    Encoding.BASE64: _from_base64,
    Encoding.BASE64URL: _from_base64url,
}
"""What reads each encoding: as `decode` does."""


def decode(encoding: Encoding, text: bytes) -> bytes | None:
    """Return the bytes that *text* stands for; None if it is not exactly how they are written."""
    return DECODERS[encoding](text)


def encode(encoding: Encoding, value: bytes, like: bytes | None = None) -> bytes:
    """Return *value* as text, in upper case or without padding if *like*, an old text, is so."""
    if encoding is Encoding.RAW:
        return value
    if encoding is Encoding.HEX:
        text = binascii.hexlify(value)
        return text.upper() if like and like.isupper() else text
    text = binascii.b2a_base64(value, newline=False)
    if like is not None and len(like) % 4:
        text = text.rstrip(b"=")
    return text.translate(_TO_URL) if encoding is Encoding.BASE64URL else text
