"""
Foreign value: knows what other tools write by its beginning, and what looks encrypted at all.

Other tools' values are under keys or ciphers of their own, or hold a key each: no layout makes them
fit. That something does not look encrypted is never said of 16 random bytes in a row, raw, in hex,
base64 or base64url, but for odds of about 1 in 50,000; the shortest value has 28, and far less.

Limits: other ways to write bytes (lists of numbers, Ascii85, escapes) are not known. Identifiers
that are random, digests and compressed data look encrypted.
"""

import json
import re
from itertools import pairwise
from typing import Any, Final, NamedTuple

from rotator.crypto.encoding import Encoding, decode


class Foreign(NamedTuple):
    """Foreign: names what wrote a value, and what moves it to a new key *instead*."""

    name: str
    instead: str


_AWS_SDK = Foreign(
    "AWS Encryption SDK", "it holds a data key of its own: decrypt and encrypt with the SDK"
)
_KMS = Foreign("AWS KMS", "the key never leaves KMS: use its ReEncrypt")
_PASETO = Foreign("PASETO", "another cipher: let tokens expire, or issue them anew")
_NET = Foreign(
    "ASP.NET Data Protection", "it derives a key for each value: its key ring rotates by itself"
)

BEGINNINGS: Final = {
    b"gAAAAA": Foreign("Fernet", "AES-CBC and HMAC: use MultiFernet.rotate"),
    b"Fe26.": Foreign("iron", "it derives a key for each value: keep both passwords, by their id"),
    b"U2FsdGVkX1": Foreign("OpenSSL", "it derives a key for each value: use openssl enc"),
    b"Salted__": Foreign("OpenSSL", "it derives a key for each value: use openssl enc"),
    b"vault:v": Foreign("Vault transit", "the key never leaves Vault: use transit/rewrap"),
    b"CfDJ8": _NET,
    b"\x09\xf0\xc9\xf0": _NET,
    b"v1.local.": _PASETO,
    b"v2.local.": _PASETO,
    b"v3.local.": _PASETO,
    b"v4.local.": _PASETO,
    # Version 1, type 128, algorithms 00xx to 03xx; version 2, algorithms 0478 and 0578.
    b"\x01\x80\x00": _AWS_SDK,
    b"\x01\x80\x01": _AWS_SDK,
    b"\x01\x80\x02": _AWS_SDK,
    b"\x01\x80\x03": _AWS_SDK,
    b"\x02\x04\x78": _AWS_SDK,
    b"\x02\x05\x78": _AWS_SDK,
    b"AYAA": _AWS_SDK,
    b"AYAB": _AWS_SDK,
    b"AYAC": _AWS_SDK,
    b"AYAD": _AWS_SDK,
    b"AgR4": _AWS_SDK,
    b"AgV4": _AWS_SDK,
    b"\x01\x02\x02\x00\x78": _KMS,
    b"\x01\x02\x03\x00\x78": _KMS,
    b"AQICAH": _KMS,
    b"AQIDAH": _KMS,
    b"CK\x03\x00\x00": Foreign(
        "cachekit", "it derives a key for each tenant: list the former one in previous_master_keys"
    ),
}
"""What other tools' values begin with."""

_JWE = re.compile(rb"(eyJ[\w-]+)\.[\w-]*\.[\w-]+\.[\w-]*\.[\w-]+")
_JWS = re.compile(r"(eyJ[\w-]+)\.([\w-]*)\.[\w-]*(?!\.)", re.ASCII)
_UUID = re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b")
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\xff]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_RUN = re.compile(r"[A-Za-z0-9+/_-]{22,}={0,2}")
_TOKEN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_SIZE = 16  # bytes
_WINDOW = 22  # characters of base64 that hold them
_MOST_ODD = 5  # characters among these that are part of no word
_DEEPEST = 3  # texts within texts
_SPELLED = (
    "er in te re on at le st en nt ti es et co ar se or de ta an ri ra tr al li ro ge ma io"
    " me el it ec ng nd la is to ne lo ed as ns ex ic ea ol ct si ca ac fi di pe ll ve ch pa"
    " ce ss il pr ad ou na un rt im no ut ab em om ts am mp ur th da nc sc ha po pl op id mo"
    " rs ef od so fo tt mi os ie ap bl ck sp he sh be va ni ot ig us rr eg tc ke ag ty oc cl"
    " rc vi ep gr ho su ul pt ia ba rd ls sa cr um rm do ow ay hi lt ui xt ev lu ue ci ir ee"
    " up nf ai qu au sl ip tu nv ff gs ld tl ib nu oo ry cu tp xe av bo bi ga if fe bu tm ov"
    " ob ei gi fl dd iv"
)
_PAIRS = frozenset(_SPELLED.split())
"""The pairs of letters that four in five of those in words are, and one in four of random ones."""


def foreign(value: bytes) -> Foreign | None:
    """Return what wrote *value*, if that is not ours to rotate; None: that is not known."""
    for beginning, found in BEGINNINGS.items():
        if value.startswith(beginning):
            return found
    token = _JWE.fullmatch(value)
    header = _json_object(token[1]) if token else None
    if header is None or "enc" not in header:
        return None
    alg, enc = (str(header.get(field, "?"))[:24] for field in ("alg", "enc"))
    if (alg, enc) == ("dir", "A256GCM"):
        return None
    shown = f"JWE ({alg}, {enc})" if f"{alg}{enc}".isprintable() else "JWE"
    instead = "another cipher" if alg == "dir" else "it holds or derives a key of its own"
    return Foreign(shown, f"{instead}: decrypt and encrypt with the library that wrote it")


def looks_encrypted(value: bytes, depth: int = _DEEPEST) -> bool:
    """
    Return whether *value* may hold 16 random bytes in a row: if in doubt, it does.

    Tokens that are signed (JWS), UUIDs and encoded text do not, if nothing in them does; *depth* is
    how many texts within texts are looked at.
    """
    if len(value) < _SIZE:
        return False
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return _close_by([found.start() for found in _NOT_TEXT.finditer(value)])
    if _CONTROLS.search(text):
        return True
    plain = _UUID.sub(" ", _JWS.sub(_payload, text))
    return any(_is_random(found[0], depth) for found in _RUN.finditer(plain))


def _close_by(places: list[int]) -> bool:
    """Return whether two of *places* lie within 16 bytes."""
    return any(later - place < _SIZE for place, later in pairwise(places))


def _payload(token: re.Match[str]) -> str:
    """Return what a signed token says, without its signature; another thing as it is."""
    header = _json_object(token[1].encode())
    if header is None or "alg" not in header or "enc" in header:
        return token[0]
    return f"{token[1]} {token[2]}"


def _json_object(text: bytes) -> dict[str, Any] | None:
    """Return the JSON object that *text* is in base64url; None: it is none."""
    try:
        found = json.loads(decode(Encoding.BASE64URL, text) or b"")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_random(run: str, depth: int) -> bool:
    """Return whether a *run* of letters, digits and the marks of base64 is no words and no text."""
    for encoding in (Encoding.HEX, Encoding.BASE64, Encoding.BASE64URL):
        inside = decode(encoding, run.encode())
        if inside is not None and _NOT_TEXT.search(inside) is None:
            return not depth or looks_encrypted(inside, depth - 1)
    return not run.isdigit() and _most_odd(run) > _MOST_ODD


def _most_odd(run: str) -> int:
    """Return how many characters belong to no word, where they are densest."""
    odd = [character.isalnum() for character in run]
    for found in _TOKEN.finditer(run):
        start, end = found.span()
        alone = not (run[max(start - 1, 0) : start].isalnum() or run[end : end + 1].isalnum())
        if _is_word(found[0], alone=alone):
            odd[start:end] = [False] * (end - start)
    most = here = sum(odd[:_WINDOW])
    for gone, come in zip(odd, odd[_WINDOW:], strict=False):
        here += come - gone
        most = max(most, here)
    return most


def _is_word(token: str, *, alone: bool) -> bool:
    """Return whether letters, or digits, could be a word or a number; short ones if *alone*."""
    if token.isdigit() or len(token) < 4:
        return alone
    pairs = [first + second for first, second in pairwise(token.lower())]
    return sum(pair in _PAIRS for pair in pairs) >= 0.6 * len(pairs)
