"""
The clients that there are: rows of the cookbook, and what runs the library behind each.

Those of Python, Node and Go are installed and have to be there. PHP and Ruby are asked for what
this machine has.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

from clients.cookbook import Row, row
from clients.runtimes import GO, NODE, PHP, PYTHON, RUBY, Runtime

KEYS: Final = {
    "k1": b"Rotator-test-key-1-is-no-secret!".hex(),
    "k2": b"Rotator-test-key-2-is-no-secret!".hex(),
}
"""The old and the new key. They are text as well: some clients take nothing else."""
OLD, NEW = KEYS
OPTIONAL: Final = (PHP, RUBY)


class Described(NamedTuple):
    """What a client says of itself; see `runtimes`."""

    version: str
    labels: dict[str, str]
    derived: dict[str, str]
    wraps: bool


class Text(NamedTuple):
    """A text to be written as *name* under the key of that name."""

    key: str
    name: str
    text: str


@dataclass(frozen=True)
class Client:
    """One client; *name* is its row in the cookbook. *is_cache*: it speaks to the server itself."""

    name: str
    runtime: Runtime
    is_cache: bool = False

    @property
    def row(self) -> Row:
        """Its row."""
        return row(self.name)

    def _ask(self, op: str, keys: Mapping[str, str], server: str | None, items: Any = ()) -> Any:
        reached = {"server": server} if self.is_cache and server else {}
        return self.runtime.ask(op=op, client=self.name, keys=keys, items=items, **reached)

    @cached_property
    def described(self) -> Described:
        """
        What it says of itself.

        Raises:
            ClientError: It cannot be had.
        """
        return Described(**self._ask("describe", KEYS, None))

    def write(self, texts: Sequence[Text], server: str | None = None) -> list[bytes]:
        """The values that it makes; none where it wrote them to *server* itself."""
        items = [one._asdict() for one in texts]
        values = self._ask("write", KEYS, server, items)
        return [base64.b64decode(value) for value in values if value is not None]

    def read(self, values: Mapping[str, bytes], server: str | None = None) -> list[str | None]:
        """What it makes of values by their names, with the new key alone."""
        items = [
            {"name": name, "value": base64.b64encode(value).decode()}
            for name, value in values.items()
        ]
        texts: list[str | None] = self._ask("read", {NEW: KEYS[NEW]}, server, items)
        return texts


CLIENTS: Final = tuple(
    Client(name, runtime, is_cache=name == "secure-store-redis")
    for runtime, names in (
        (
            NODE,
            (
                "@47ng/cloak",
                "@boringnode/encryption, AdonisJS",
                "@devoxa/aes-encryption",
                "@noble/ciphers, `managedNonce(gcm)`",
                "aes-256-gcm",
                "jose, panva",
                "jose, panva, with `kid`",
                "next-auth 4, tokens",
                "secure-store-redis",
                "typeorm-encrypted",
                "Node `createCipheriv`, iv:tag:data in hex",
                "Node, v1.iv.tag.data in base64url",
                "Node, JSON with iv, tag, data in base64",
                "Node, keyId:iv:tag:data in base64",
                "Node, iv.tag.data in base64, the entry's key authenticated",
                "WebCrypto, iv and data in base64",
            ),
        ),
        (
            PYTHON,
            (
                "Authlib, joserfc",
                "cryptography `AESGCM`, nonce and data in base64",
                "cryptography, the entry's name authenticated",
                "jwcrypto",
                "PyCryptodome, nonce, tag, data",
                "PyCryptodome, JSON with nonce, header, ciphertext, tag",
                "SQLAlchemy-Utils, AesGcmEngine",
                "Tink, AES256_GCM",
                "Tink, AES256_GCM with prefix LEGACY or CRUNCHY",
                "Tink, AES256_GCM_RAW",
            ),
        ),
        (
            GO,
            (
                "Go `crypto/cipher`, `gcm.Seal(nonce, nonce, ...)`",
                "Go, the same in base64",
                "Go, the same in URL-safe base64",
                "Go, the same in hex",
            ),
        ),
        (
            PHP,
            (
                "Laravel, Crypt with AES-256-GCM",
                "PHP `openssl_encrypt`, base64 of iv, tag, data",
            ),
        ),
        (RUBY, ("Rails, MessageEncryptor", "Ruby OpenSSL, base64 of iv, tag, data")),
    )
    for name in names
)


def chosen(words: Sequence[str]) -> list[Client]:
    """The clients in whose names one of *words* stands; all without any."""
    asked = [word.lower() for word in words]
    return [
        client
        for client in CLIENTS
        if not asked or any(word in client.name.lower() for word in asked)
    ]
