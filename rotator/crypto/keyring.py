"""
Keyring: holds keys, encrypts with one, decrypts with all, and tells how much of each is used up.

Keys that sign receipts are read here too, because nothing else imports the library of ciphers.

- A key is 32 bytes for AES-256-GCM, written as 64 hex characters, or as 43 or 44 of base64 or
  base64url, with or without `base64:` before them; the lengths tell them apart.
- A key is spoken of by its id: the first 8 bytes of HMAC-SHA256(key, `rotator/key-id/v1`), shown as
  16 hex characters. The id tells keys apart and reveals nothing about them.
- The material goes into the cipher and is not kept: there is nothing to print. Pickling and copying
  are refused all the same, because a key must not travel.
- With random nonces a key must not encrypt more than 2^32 messages, whatever their size, or the
  odds that a nonce comes twice become too good (NIST SP 800-38D, 8.3). Nobody counts what
  applications encrypt; known are the encryptions by rotator, and the number of values it met under
  the key at one time. Their sum is careful with what is known: values that rotator encrypted and
  met again count twice. What was overwritten before any sweep met it does not count at all.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NoReturn

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rotator.errors import KeyMaterialError
from rotator.text import short_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

KEY_SIZE = 32  # bytes
KEY_ID_SIZE = 8  # bytes
TAG_SIZE = 16  # bytes
NONCE_SIZES = range(8, 129)  # bytes; what the cipher accepts
LIMIT = 2**32  # encryptions
WARN_AT = 0.1  # of the limit
_ID_LABEL = b"rotator/key-id/v1"
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_BASE64 = re.compile(r"(?:base64:)?([A-Za-z0-9+/_-]{43})=?")
_MAKE_PAIR = "openssl genpkey -algorithm ed25519 -out KEY.pem"
_MAKE_PUBLIC = "openssl pkey -in KEY.pem -pubout -out PUBLIC.pem"
_HINT = "a key is 64 hex characters, or 43 or 44 of base64; `rotator keygen` makes one"


class Key:
    """
    Key: encrypts and decrypts with one key.

    *id* is 16 hex characters, *id_bytes* the same as 8 bytes, *field* the place in the
    configuration, for example `caches[0].encryption.keys.old[0]`.
    """

    __slots__ = ("_decrypt", "_encrypt", "field", "id", "id_bytes")

    def __init__(self, material: bytes, field: str) -> None:
        self.id_bytes = hmac.digest(material, _ID_LABEL, hashlib.sha256)[:KEY_ID_SIZE]
        self.id = self.id_bytes.hex()
        self.field = field
        cipher = AESGCM(material)
        # Looked up once: a sweep calls them millions of times.
        self._encrypt, self._decrypt = cipher.encrypt, cipher.decrypt

    @classmethod
    def from_text(cls, text: str, field: str) -> Key:
        """
        Return the key that *text* stands for: 64 hex characters, or 43 or 44 of base64.

        Raises:
            KeyMaterialError: *text* is something else; the message names *field* and no character
                of the text.
        """
        if _HEX.fullmatch(text):
            return cls(bytes.fromhex(text), field)
        if found := _BASE64.fullmatch(text):
            return cls(base64.b64decode(found[1] + "=", altchars="-_"), field)
        raise KeyMaterialError(f"{field}: {_fault(text)}", hint=_HINT)

    def encrypt(self, nonce: bytes, plaintext: bytes, aad: bytes | None) -> bytes:
        """Return the ciphertext with the tag behind it; *nonce* must be new for this key."""
        return self._encrypt(nonce, plaintext, aad)

    def decrypt(self, nonce: bytes, body: bytes, aad: bytes | None) -> bytes | None:
        """Return the plaintext of *body*, ciphertext and tag, or None if the tag is wrong."""
        try:
            return self._decrypt(nonce, body, aad)
        except InvalidTag:
            return None

    def __repr__(self) -> str:
        return f"Key(id={self.id!r}, field={self.field!r})"

    def __getstate__(self) -> NoReturn:
        raise TypeError("a key must not be pickled or copied")


class Keyring:
    """
    Keyring: holds the keys of one cache; *current* encrypts, *old* ones only decrypt.

    Raises:
        KeyMaterialError: A key is listed twice, or an old one is the current one; the message
            names both fields.
    """

    __slots__ = ("_by_id", "all", "current", "digest", "old")

    def __init__(self, current: Key, old: Sequence[Key] = ()) -> None:
        self.current = current
        self.old = tuple(old)
        self.all = (current, *self.old)  # the current key first
        self._by_id: dict[bytes, Key] = {}
        for key in self.all:
            twin = self._by_id.setdefault(key.id_bytes, key)
            if twin is not key:
                raise KeyMaterialError(
                    f"{key.field}: the same key as {twin.field}",
                    hint=f"remove {key.field}; every key is listed once",
                )
        # Positions of a stopped run are good only for the keys they were taken with.
        listed = "\n".join(f"{self.role(key.id)} {key.id}" for key in self.all)
        self.digest = hashlib.sha256(listed.encode()).hexdigest()

    def by_id(self, id_bytes: bytes) -> Key | None:
        """Return the key with the 8-byte id *id_bytes*, if it is here."""
        return self._by_id.get(id_bytes)

    def role(self, key_id: str) -> Literal["current", "old"]:
        """
        Return the role that the key with the 16-character id *key_id* has here.

        Raises:
            KeyError: It is not here.
        """
        key = self._by_id[bytes.fromhex(key_id)]
        return "current" if key is self.current else "old"

    def __repr__(self) -> str:
        return f"Keyring(current={self.current!r}, old={self.old!r})"

    def __getstate__(self) -> NoReturn:
        raise TypeError("a keyring must not be pickled or copied")


def generate() -> str:
    """Return a fresh key from the operating system's generator, as 64 hex characters."""
    return os.urandom(KEY_SIZE).hex()


def _fault(text: str) -> str:
    """Return what is wrong with *text*, in words that do not reveal it."""
    if not text:
        return "the key is empty"
    bare = text.strip()
    if bare != text and (_HEX.fullmatch(bare) or _BASE64.fullmatch(bare)):
        return "the key has spaces or a line break around it"
    encoded = text.removeprefix("base64:")
    if encoded != text or len(text) in {43, 44}:
        return f"the key has {len(encoded)} characters that are not 32 bytes in base64"
    if len(text) != 2 * KEY_SIZE:
        return f"the key has {len(text)} characters, not 64"
    return "the key has characters that are not hex"


def used(encryptions: int, seen: int) -> float:
    """Return the part of the limit that is known to be used up, 0 to 1 and beyond."""
    return (encryptions + seen) / LIMIT


def warning(key_id: str, role: str, encryptions: int, seen: int) -> str | None:
    """Return what to tell an operator about the use of a key; None while it is not much."""
    part = used(encryptions, seen)
    if part < WARN_AT:
        return None
    advice = (
        "make a new key current before it is used up"
        if role == "current"
        else "do not make it current again"
    )
    return (
        f"the {role} key {short_id(key_id)} has used {part:.0%} of the 2^32 encryptions that are"
        f" safe with random nonces ({encryptions:,} by rotator, {seen:,} values met under it):"
        f" {advice}"
    )


# Keys that sign, which encrypt nothing


def signing_key(pem: bytes, field: str) -> Ed25519PrivateKey:
    """
    Return the private ed25519 key in the text of a PEM file, which *field* names in errors.

    Raises:
        KeyMaterialError: There is none, or it needs a passphrase; nothing of the text is quoted.
    """
    # Imported here: few commands sign, and all others would wait.
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    hint = f"make one: {_MAKE_PAIR}"
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:
        hint = f"give one without: openssl pkey -in {field} -out KEY.pem"
        raise KeyMaterialError(f"{field}: the key needs a passphrase", hint=hint) from None
    except (ValueError, UnsupportedAlgorithm):
        what = (
            "a public key, which cannot sign" if b"PUBLIC KEY" in pem else "not a PEM private key"
        )
        raise KeyMaterialError(f"{field}: this is {what}", hint=hint) from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise KeyMaterialError(f"{field}: the key is of another kind than ed25519", hint=hint)
    return key


def verifying_key(pem: bytes, field: str) -> Ed25519PublicKey:
    """
    Return the public ed25519 key in the text of a PEM file, which *field* names in errors.

    Raises:
        KeyMaterialError: There is none; nothing of the text is quoted.
    """
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    hint = f"make it from the key that signed: {_MAKE_PUBLIC}"
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        what = "a private key" if b"PRIVATE KEY" in pem else "not a PEM public key"
        raise KeyMaterialError(f"{field}: this is {what}", hint=hint) from None
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise KeyMaterialError(f"{field}: the key is of another kind than ed25519", hint=hint)
    return key
