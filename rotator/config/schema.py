"""
The sections of the configuration that rotator reads, field for field as the file has them.

What concerns one field alone is checked here; what concerns several, or other sections, in
`config`. Text that may be a secret is a `SecretStr`, and leaves this module's objects only as a
`SecretRef`.
"""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, SecretStr

from rotator.address import Address
from rotator.config.types import Section, problem
from rotator.duration import parse_duration

BUILT_IN_FORMATS = ("sealed", "gcm", "gcm-base64")
SAME = "same"

_ADDRESS_HINT = "write host:port, such as redis-0.internal:6379 or [2001:db8::1]:6379"
_DATABASE = re.compile("0|[1-9][0-9]{0,8}")  # 010 is ten to some readers, and eight to others
_BOOLEANS = {
    form: means
    for means, words in ((True, "true y yes on"), (False, "false n no off"))
    for word in words.split()
    for form in (word, word.capitalize(), word.upper())
}
_HASHES = sorted(name for name in hashlib.algorithms_available if not name.startswith("shake"))


def _address(value: Any) -> Address:
    """One address."""
    if not isinstance(value, str):
        raise problem("must be host:port", _ADDRESS_HINT)
    if set(value) & set("/@<> "):
        raise problem("must be host:port and nothing else, no URL and no reference", _ADDRESS_HINT)
    try:
        return Address.parse(value)
    except ValueError as error:
        raise problem(str(error), _ADDRESS_HINT) from None


def _address_map(value: Any) -> dict[Address, Address]:
    """Addresses on both sides."""
    if not isinstance(value, dict):
        raise problem("must be a mapping", 'write "host:port": "host:port" for each node')
    return {_address(seen): _address(reached) for seen, reached in value.items()}


def _not_empty(value: tuple[str, ...]) -> tuple[str, ...]:
    """A list that says something, each thing once."""
    if not value or not all(value):
        raise problem("is empty", "leave the field out to get the default")
    if len(set(value)) < len(value):
        raise problem("lists the same thing twice", "list each once")
    return value


def _boolean(value: Any) -> bool:
    """A boolean of JSON, or of the words that YAML 1.1 and 1.2 have for one."""
    found = _BOOLEANS.get(value) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise problem(
            "must be true or false", "write true or false; yes and no, on and off are read too"
        )
    return found


def _databases(value: Any) -> Any:
    """The word all, or numbers in order."""
    if value == "all":
        return value
    numbers = [str(number) for number in value] if isinstance(value, list | tuple) else []
    if not numbers or not all(map(_DATABASE.fullmatch, numbers)):
        raise problem("must be all or a list of database numbers", "write all, or [0, 3]")
    return tuple(sorted(map(int, set(numbers))))


def _min_version(value: Any) -> str:
    """The version as text: in JSON it may be a number."""
    text = str(value).removeprefix("TLSv").removeprefix("TLS").strip()
    if isinstance(value, str | float) and text in {"1.2", "1.3"}:
        return text
    if isinstance(value, str | float | int) and text in {"1", "1.0", "1.1"}:
        raise problem("a TLS version below 1.2 is refused", "write 1.2 or 1.3")
    raise problem("must be a TLS version", "write 1.2 or 1.3")


def _duration(value: Any) -> timedelta:
    """A duration."""
    try:
        return parse_duration(value if isinstance(value, str) else "")
    except ValueError as error:
        raise problem(str(error), "write a number and s, m, h or d, such as 30d") from None


def _one_of(*allowed: str) -> BeforeValidator:
    """A check that the value is one of *allowed*; a Literal would not list them in our words."""

    def check(value: Any) -> Any:
        if value not in allowed:
            raise problem("is not known", f"known are {', '.join(allowed)}")
        return value

    return BeforeValidator(check)


Boolean = Annotated[bool, PlainValidator(_boolean)]
Names = Annotated[tuple[str, ...], AfterValidator(_not_empty)]


class KeyNamesSection(Section):
    """`caches[].keys`: how the names of entries are made."""

    disable_prefix: Boolean = False


class EncryptionKeysSection(Section):
    """`caches[].encryption.keys`."""

    current: SecretStr | None = None
    old: tuple[SecretStr, ...] = ()


class EncryptionSection(Section):
    """`caches[].encryption`."""

    disabled: Boolean = False
    keys: EncryptionKeysSection = Field(default_factory=EncryptionKeysSection)


class HashingKeysSection(Section):
    """`caches[].hashing.keys`: whether names are hashed."""

    disabled: Boolean = False


class HashingSection(Section):
    """`caches[].hashing`."""

    keys: HashingKeysSection = Field(default_factory=HashingKeysSection)


class RedisSection(Section):
    """`caches[].redis`: how to reach the server."""

    addresses: tuple[Annotated[Address, PlainValidator(_address)], ...] = ()
    username: SecretStr | None = None
    password: SecretStr | None = None
    tls: str | None = None


class CacheSection(Section):
    """One of `caches`."""

    name: str
    type: Annotated[str, _one_of("redis", "cluster")]
    keys: KeyNamesSection = Field(default_factory=KeyNamesSection)
    encryption: EncryptionSection = Field(default_factory=EncryptionSection)
    hashing: HashingSection = Field(default_factory=HashingSection)
    redis: RedisSection = Field(default_factory=RedisSection)


class ClusterSection(Section):
    """One of `caches` that rotator skips: only its name matters."""

    foreign: ClassVar[bool] = True
    name: str


class TlsSection(Section):
    """One profile of `tls`; servers and connectors use profiles too, with fields of their own."""

    foreign: ClassVar[bool] = True
    ca_file: SecretStr | None = None
    ca_path: SecretStr | None = None
    cert_file: SecretStr | None = None
    key_file: SecretStr | None = None
    min_version: Annotated[Literal["1.2", "1.3"], BeforeValidator(_min_version)] = "1.2"
    enabled_ciphers: tuple[str, ...] = ()


class FormatSection(Section):
    """One of `rotator.formats`; what the fields may say is checked where formats are made."""

    strict: ClassVar[bool] = True
    encoding: str
    layout: tuple[str, ...]
    aad: str = "none"


class NameSettings(Section):
    """
    `rotator.caches.<name>.names`: how the stored name comes from the logical key.

    *hash* is one of hashlib's, *encoding* is hex or base64url, *scope* is key (the namespace stays
    readable) or name (all is hashed).
    """

    strict: ClassVar[bool] = True
    hash: Annotated[str, _one_of(*_HASHES)] = "sha256"
    encoding: Annotated[Literal["hex", "base64url"], _one_of("hex", "base64url")] = "hex"
    scope: Annotated[Literal["key", "name"], _one_of("key", "name")] = "key"


class BackupSettings(Section):
    """`rotator.caches.<name>.backups`: how long copies live outside Redis; None: not declared."""

    strict: ClassVar[bool] = True
    retention: Annotated[timedelta | None, PlainValidator(_duration)] = None


class CacheSettings(Section):
    """
    `rotator.caches.<name>`: what rotator does with a cache.

    - *match*: glob patterns of stored names
    - *databases*: "all" that the server reports, or their numbers, ascending
    - *formats*: names of formats, in the order they are tried
    - *write*: "same" (each value keeps its format), or the name of one of *formats*
    - *address_map*: where a node that calls itself by the first address is reached
    """

    strict: ClassVar[bool] = True
    match: Names = ("*",)
    databases: Annotated[Literal["all"] | tuple[int, ...], PlainValidator(_databases)] = "all"
    formats: Names = BUILT_IN_FORMATS
    write: str = SAME
    names: NameSettings = Field(default_factory=NameSettings)
    backups: BackupSettings = Field(default_factory=BackupSettings)
    address_map: Annotated[dict[Address, Address], PlainValidator(_address_map)] = Field(
        default_factory=dict
    )


class RotatorSection(Section):
    """`rotator`: rotator's own part of the file."""

    strict: ClassVar[bool] = True
    formats: dict[str, FormatSection] = Field(default_factory=dict)
    caches: dict[str, CacheSettings] = Field(default_factory=dict)
