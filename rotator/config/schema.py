"""
The sections of the configuration that rotator reads, field for field as the file has them.

What concerns one field alone is checked here; what concerns several, or other sections, in
`config`. Text that may be a secret is a `SecretStr`, and leaves this module's objects only as a
`SecretRef`.

One cache as the configuration describes it, checked: `caches[]`.

The file is the Orchestrator's, which moves on: a field that is not known is a warning, unless it
looks like a known one misspelled.

The TLS profile that a cache names, checked; the other profiles under `tls` are not looked at.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, SecretStr

from rotator.config.types import (
    Address,
    SecretRef,
    Section,
    child,
    expand,
    problem,
    read_section,
    shown,
    unknown_fields,
)
from rotator.errors import ConfigError
from rotator.text import parse_duration

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


RESERVED = "local_default"


@dataclass(frozen=True)
class CacheConfig:
    """
    One cache of type redis.

    *index* is its place in `caches`, all types counted; *tls* the name of its TLS profile. With
    encryption on, *current* is there.
    """

    index: int
    name: str
    disable_prefix: bool
    encryption_disabled: bool
    current: SecretRef | None
    old: tuple[SecretRef, ...]
    hashing_disabled: bool
    addresses: tuple[Address, ...]
    username: SecretRef | None
    password: SecretRef | None
    tls: str | None

    def field(self, suffix: str) -> str:
        """The path of a field of this cache: `redis.tls` gives `caches[0].redis.tls`."""
        return f"caches[{self.index}].{suffix}"


def read_caches(
    raw: Any,
) -> tuple[tuple[CacheConfig, ...], tuple[str, ...], tuple[str, ...]]:
    """The redis caches, the names of the others, and the warnings."""
    if raw is not None and not isinstance(raw, list):
        raise ConfigError("caches: must be a list", hint="begin each cache with a dash")
    caches: list[CacheConfig] = []
    skipped: list[str] = []
    warnings: list[str] = []
    seen: dict[str, str] = {}
    for index, given in enumerate(raw or ()):
        path = child("caches", index)
        if isinstance(given, dict) and expand(given.get("type"), f"{path}.type") == "cluster":
            name = expand(given.get("name"), f"{path}.name")
            name = read_section(ClusterSection, {"name": name}, path).name
            skipped.append(name)
        else:
            section = read_section(CacheSection, expand(given, path), path)
            name = section.name
            caches.append(_cache(section, index, path))
            warnings += [f"{p}: unknown field, ignored" for p in unknown_fields(section, path)]
        _check_name(name, path, seen)
    if not caches:
        raise ConfigError(
            f"caches: there is no cache{' of type redis' if skipped else ''}",
            hint="rotator works on the caches of type redis; is this the right file?",
        )
    return tuple(caches), tuple(skipped), tuple(warnings)


def secret_at(given: SecretStr | None, path: str, *, plain: bool = False) -> SecretRef | None:
    """A reference to what stands at *path*; an empty text is none."""
    text = given.get_secret_value() if given else ""
    return SecretRef(text, path, plain=plain) if text else None


def _check_name(name: str, path: str, seen: dict[str, str]) -> None:
    """Refuse an empty name, the built-in cache's, and one that was *seen* before (name: path)."""
    if not name:
        raise ConfigError(f"{path}.name: is empty", hint="give the cache a name")
    if name == RESERVED:
        raise ConfigError(
            f"{path}.name: {RESERVED} is the Orchestrator's built-in cache",
            hint="choose another name",
        )
    if name in seen:
        raise ConfigError(
            f"{path}.name: {seen[name]} has the same name", hint="give each cache its own name"
        )
    seen[name] = path


def _cache(section: CacheSection, index: int, path: str) -> CacheConfig:
    """The cache that *section*, found at *path*, describes."""
    keys = f"{path}.encryption.keys"
    current = secret_at(section.encryption.keys.current, f"{keys}.current")
    old = [secret_at(key, f"{keys}.old[{i}]") for i, key in enumerate(section.encryption.keys.old)]
    cache = CacheConfig(
        index=index,
        name=section.name,
        disable_prefix=section.keys.disable_prefix,
        encryption_disabled=section.encryption.disabled,
        current=current,
        old=tuple(key for key in old if key is not None),
        hashing_disabled=section.hashing.keys.disabled,
        addresses=section.redis.addresses,
        username=secret_at(section.redis.username, f"{path}.redis.username", plain=True),
        password=secret_at(section.redis.password, f"{path}.redis.password"),
        tls=section.redis.tls,
    )
    _check_cache(cache, gaps=[i for i, key in enumerate(old) if key is None])
    return cache


def _check_cache(cache: CacheConfig, gaps: Sequence[int]) -> None:
    """Check what several fields of *cache* say together; *gaps* are old keys that are empty."""
    if not cache.addresses:
        raise ConfigError(
            f"{cache.field('redis.addresses')}: missing",
            hint="list at least one host:port; of a Redis cluster, all nodes",
        )
    for index in gaps:
        raise ConfigError(
            f"{cache.field(f'encryption.keys.old[{index}]')}: is empty",
            hint="give the key, or a reference such as <cache_key_old>",
        )
    if cache.current is None and not cache.encryption_disabled:
        raise ConfigError(
            f"{cache.field('encryption.keys.current')}: missing while encryption is on",
            hint="give 64 hex characters or a reference; `rotator keygen` makes a key",
        )
    if cache.disable_prefix and not (cache.encryption_disabled and cache.hashing_disabled):
        raise ConfigError(
            f"{cache.field('keys.disablePrefix')}: true demands that encryption.disabled and "
            "hashing.keys.disabled are true",
            hint="the Orchestrator demands the same; leave the prefix on",
        )


@dataclass(frozen=True)
class TlsProfile:
    """
    A profile of the `tls` section, as a client uses it.

    *ca*, *cert* and *key* are paths (`SecretRef.plain`) or secrets holding PEM; *ca* is added to
    the system's trust. *ciphers* are TLS 1.2 suites; none: the library's own choice.
    """

    name: str
    ca: SecretRef | None
    cert: SecretRef | None
    key: SecretRef | None
    min_version: Literal["1.2", "1.3"]
    ciphers: tuple[str, ...]


def read_profile(cache: CacheConfig, profiles: Any) -> TlsProfile:
    """The TLS profile that *cache* names; the others may be broken for all we know."""
    name = str(cache.tls)
    profiles = profiles if isinstance(profiles, dict) else {}
    if name not in profiles:
        known = ", ".join(shown(str(known)) for known in profiles)
        raise ConfigError(
            f"{cache.field('redis.tls')}: there is no such profile under tls",
            hint=f"profiles are {known}" if known else "add the profile under tls",
        )
    path = child("tls", name)
    section = read_section(TlsSection, expand(profiles[name], path), path)
    ca = "caFile" if section.ca_file else "caPath"
    if section.key_file and not section.cert_file:
        raise ConfigError(f"{path}.keyFile: needs certFile", hint="give both, or neither")
    return TlsProfile(
        name=name,
        ca=_file(section.ca_file or section.ca_path, f"{path}.{ca}"),
        cert=_file(section.cert_file, f"{path}.certFile"),
        key=_file(section.key_file, f"{path}.keyFile"),
        min_version=section.min_version,
        ciphers=section.enabled_ciphers,
    )


def _file(given: SecretStr | None, path: str) -> SecretRef | None:
    """A file's path, or a secret that holds PEM; PEM in the configuration itself is a secret."""
    return secret_at(
        given, path, plain=given is not None and "-----BEGIN" not in given.get_secret_value()
    )
