"""
Text layout: writes laid-out bytes as text, and reads them strictly.

Text that would not come back byte for byte when encoded again does not fit. Two variants are known
of each text encoding, and a rewritten value keeps the one it had: hex in lower or in upper case
(not mixed), base64 and base64url with padding or without (RFC 4648, sections 3.2, 4, 5 and 8).
"""

import binascii
from enum import StrEnum
from typing import Final

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
# What is foreign to base64url becomes foreign to base64.
_FROM_URL = bytes.maketrans(b"-_+/", b"+/!!")
_TO_URL = bytes.maketrans(b"+/", b"-_")


class Encoding(StrEnum):
    """Encoding: names what a format may do with the whole laid-out value."""

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


def decode(encoding: Encoding, text: bytes) -> bytes | None:
    """Return the bytes that *text* stands for; None if it is not exactly how they are written."""
    try:
        if encoding is Encoding.HEX:
            mixed = text not in (text.lower(), text.upper())
            return None if mixed else binascii.unhexlify(text)
        return _decode_base64(text.translate(_FROM_URL) if encoding is Encoding.BASE64URL else text)
    except binascii.Error:
        return None


def _decode_base64(text: bytes) -> bytes | None:
    """Return the same for base64, with all of its padding or none."""
    # Most text that is something else is told by its beginning.
    if text[:16].translate(None, _BASE64):
        return None
    if len(text) % 4:
        if text.endswith(b"="):
            return None
        text += b"=" * (-len(text) % 4)
    decoded = binascii.a2b_base64(text)
    return decoded if binascii.b2a_base64(decoded, newline=False) == text else None


def encode(encoding: Encoding, value: bytes, *, variant: bool) -> bytes:
    """Return *value* as text; the counterpart of `decode`."""
    if encoding is Encoding.HEX:
        text = binascii.hexlify(value)
        return text.upper() if variant else text
    text = binascii.b2a_base64(value, newline=False)
    if variant:
        text = text.rstrip(b"=")
    return text.translate(_TO_URL) if encoding is Encoding.BASE64URL else text
