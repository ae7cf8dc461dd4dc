"""Names: makes the names under which Redis holds entries (design, section 3)."""

import base64
import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    """
    Stored names: `namespace + ":" + hash(key)`, by the rule of one cache.

    *hash* is any of hashlib's with a fixed length; *encoding* is hex, or base64url without padding.
    *scope* key leaves the namespace readable, name hashes it too. With *hashed* off the key itself
    is stored, with *prefixed* off there is no namespace. A sweep needs none of this: it works on
    the names that are stored.
    """

    hash: str = "sha256"
    encoding: str = "hex"
    scope: str = "key"
    hashed: bool = True
    prefixed: bool = True

    def stored(self, namespace: str, key: str) -> bytes:
        """Return the name under which Redis holds *key* of *namespace*; text is taken as UTF-8."""
        prefix = _bytes(f"{namespace}:") if self.prefixed else b""
        if not self.hashed:
            return prefix + _bytes(key)
        if self.scope == "name":
            return self._digest(prefix + _bytes(key))
        return prefix + self._digest(_bytes(key))

    def _digest(self, data: bytes) -> bytes:
        """Return the hash of *data* as text."""
        digest = hashlib.new(self.hash, data, usedforsecurity=False).digest()
        if self.encoding == "hex":
            return digest.hex().encode()
        return base64.urlsafe_b64encode(digest).rstrip(b"=")


def _bytes(text: str) -> bytes:
    """Return *text* as UTF-8."""
    # An argument of the command line that is not UTF-8 arrives in this disguise.
    return text.encode("utf-8", "surrogateescape")
