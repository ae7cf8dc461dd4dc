"""
Schema: the sections that rotator reads, field for field as the file has them, checked.

They are the configuration: fields are references, addresses and durations at once. The file is the
Orchestrator's, which moves on: where the section is not `strict`, an unknown field is a warning.
"""

import hashlib
import re
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, model_validator

from rotator.config.types import Address, SecretRef, Section, problem, shown
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


def _hash(value: Any) -> Any:
    """Take the name of a hash."""
    if value not in _HASHES:
        raise problem("is not known", f"known are {', '.join(_HASHES)}")
    return value


def _name(value: str) -> str:
    """Take the name of a cache, but for the built-in one's."""
    if not value:
        raise problem("is empty", "give the cache a name")
    if value == "local_default":
        raise problem(f"{value} is the Orchestrator's built-in cache", "choose another name")
    return value


def _address(value: Any) -> Address:
    """Read an address."""
    if not isinstance(value, str):
        raise problem("must be host:port", _ADDRESS_HINT)
    if set(value) & set("/@<> "):
        raise problem("must be host:port and nothing else, no URL and no reference", _ADDRESS_HINT)
    try:
        return Address.parse(value)
    except ValueError as error:
        raise problem(str(error), _ADDRESS_HINT) from None


def _address_map(value: Any) -> dict[Address, Address]:
    """Read addresses on both sides."""
    if not isinstance(value, dict):
        raise problem("must be a mapping", 'write "host:port": "host:port" for each node')
    return {_address(seen): _address(reached) for seen, reached in value.items()}


def _numbered(keys: tuple[Any, ...]) -> tuple[SecretRef, ...]:
    """Take a list of keys, and tell each its place."""
    if None in keys:
        hint = "give the key, or a reference such as <cache_key_old>"
        raise problem("is empty", hint, keys.index(None))
    return tuple(key.at(index) for index, key in enumerate(keys))


def _not_empty(value: tuple[str, ...]) -> tuple[str, ...]:
    """Take a list that says something, each thing once."""
    if not value or not all(value):
        raise problem("is empty", "leave the field out to get the default")
    if len(set(value)) < len(value):
        raise problem("lists the same thing twice", "list each once")
    return value


def _boolean(value: Any) -> bool:
    """Read a boolean of JSON, or one of the words that YAML 1.1 and 1.2 have for it."""
    found = _BOOLEANS.get(value) if isinstance(value, str) else value
    if not isinstance(found, bool):
        hint = "write true or false; yes and no, on and off are read too"
        raise problem("must be true or false", hint)
    return found


def _databases(value: Any) -> Any:
    """Read the word all, or numbers, and put these in order."""
    if value == "all":
        return value
    numbers = [str(number) for number in value] if isinstance(value, list | tuple) else []
    if not numbers or not all(map(_DATABASE.fullmatch, numbers)):
        raise problem("must be all or a list of database numbers", "write all, or [0, 3]")
    return tuple(sorted(map(int, set(numbers))))


def _min_version(value: Any) -> str:
    """Read a TLS version: in JSON it may be a number."""
    text = str(value).removeprefix("TLSv").removeprefix("TLS").strip()
    if isinstance(value, str | float) and text in {"1.2", "1.3"}:
        return text
    if isinstance(value, str | float | int) and text in {"1", "1.0", "1.1"}:
        raise problem("a TLS version below 1.2 is refused", "write 1.2 or 1.3")
    raise problem("must be a TLS version", "write 1.2 or 1.3")


def _duration(value: Any) -> timedelta:
    """Read a duration such as 30d."""
    try:
        return parse_duration(value if isinstance(value, str) else "")
    except ValueError as error:
        raise problem(str(error), "write a number and s, m, h or d, such as 30d") from None


Boolean = Annotated[bool, PlainValidator(_boolean)]
CacheName = Annotated[str, AfterValidator(_name)]
Texts = Annotated[tuple[str, ...], AfterValidator(_not_empty)]
PlainRef = Annotated[SecretRef | None, AfterValidator(lambda ref: ref and ref.as_plain())]


class KeyNames(Section):
    """Key names: `caches[].keys`, how the names of entries are made."""

    disable_prefix: Boolean = False


class EncryptionKeys(Section):
    """Encryption keys: `caches[].encryption.keys`, one that encrypts and others that only open."""

    current: SecretRef | None = None
    old: Annotated[tuple[SecretRef, ...], AfterValidator(_numbered)] = ()


class Encryption(Section):
    """Encryption: `caches[].encryption`, keys and a switch."""

    disabled: Boolean = False
    keys: EncryptionKeys = EncryptionKeys()


class KeyHashing(Section):
    """Key hashing: `caches[].hashing.keys`, the switch for the hashing of names."""

    disabled: Boolean = False


class Hashing(Section):
    """Hashing: `caches[].hashing`, of keys only."""

    keys: KeyHashing = KeyHashing()


class Redis(Section):
    """Redis: `caches[].redis`, how to reach the server; *tls* names a profile."""

    addresses: tuple[Annotated[Address, PlainValidator(_address)], ...] = ()
    username: PlainRef = None
    password: SecretRef | None = None
    tls: str | None = None


class CacheConfig(Section):
    """Cache: one of `caches`, of type redis; with encryption on, it has a current key."""

    name: CacheName
    type: Literal["redis", "cluster"]
    keys: KeyNames = KeyNames()
    encryption: Encryption = Encryption()
    hashing: Hashing = Hashing()
    redis: Redis = Redis()

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Return where the nodes are."""
        return self.redis.addresses

    @property
    def key_refs(self) -> tuple[SecretRef, ...]:
        """Return the current key and the old ones; none where encryption is off."""
        keys = self.encryption.keys
        return () if self.encryption.disabled or not keys.current else (keys.current, *keys.old)

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check what several fields say together."""
        off, keys = self.encryption.disabled, self.encryption.keys
        if not self.addresses:
            hint = "list at least one host:port; of a Redis cluster, all nodes"
            raise problem("missing", hint, "redis", "addresses")
        if not off and keys.current is None:
            hint = "give 64 hex characters or a reference; `rotator keygen` makes a key"
            raise problem("missing while encryption is on", hint, "encryption", "keys", "current")
        if self.keys.disable_prefix and not (off and self.hashing.keys.disabled):
            text = "true demands that encryption.disabled and hashing.keys.disabled are true"
            hint = "the Orchestrator demands the same; leave the prefix on"
            raise problem(text, hint, "keys", "disablePrefix")
        return self


class ClusterCache(Section):
    """Cluster cache: one of `caches` that rotator skips, so only its name matters."""

    foreign: ClassVar[bool] = True
    name: CacheName


class TlsProfile(Section):
    """
    TLS profile: one of `tls`, as a client uses it; servers have fields of their own.

    Files are paths or secrets that hold PEM; ciphers are suites of TLS 1.2, if any are chosen.
    """

    foreign: ClassVar[bool] = True
    ca_file: PlainRef = None
    ca_path: PlainRef = None
    cert_file: PlainRef = None
    key_file: PlainRef = None
    min_version: Annotated[Literal["1.2", "1.3"], BeforeValidator(_min_version)] = "1.2"
    enabled_ciphers: tuple[str, ...] = ()

    @property
    def ca(self) -> SecretRef | None:
        """Return the CA, which is added to the system's trust; the Console calls it caPath."""
        return self.ca_file or self.ca_path

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check what several fields say together."""
        if self.key_file and not self.cert_file:
            raise problem("needs certFile", "give both, or neither", "keyFile")
        return self


class FormatSection(Section):
    """Format: one of `rotator.formats`; `crypto.layout` checks what the fields say."""

    strict: ClassVar[bool] = True
    encoding: str
    layout: tuple[str, ...]
    aad: str = "none"


class NameSettings(Section):
    """
    Names: `rotator.caches.<name>.names`, how the stored name comes from the logical key.

    *scope* key leaves the namespace readable, name hashes all.
    """

    strict: ClassVar[bool] = True
    hash: Annotated[str, BeforeValidator(_hash)] = "sha256"
    encoding: Literal["hex", "base64url"] = "hex"
    scope: Literal["key", "name"] = "key"


class BackupSettings(Section):
    """Backups: how long copies live outside Redis; None: not declared."""

    strict: ClassVar[bool] = True
    retention: Annotated[timedelta | None, PlainValidator(_duration)] = None


class CacheSettings(Section):
    """
    Cache settings: `rotator.caches.<name>`, what rotator does with a cache.

    - *match*: glob patterns of stored names
    - *databases*: "all" that the server reports, or their numbers, ascending
    - *formats*: names of formats, in the order they are tried
    - *write*: "same" (each value keeps its format), or the name of one of *formats*
    - *address_map*: where a node that calls itself by the first address is reached
    """

    strict: ClassVar[bool] = True
    match: Texts = ("*",)
    databases: Annotated[Literal["all"] | tuple[int, ...], PlainValidator(_databases)] = "all"
    formats: Texts = BUILT_IN_FORMATS
    write: str = SAME
    names: NameSettings = NameSettings()
    backups: BackupSettings = BackupSettings()
    address_map: Annotated[dict[Address, Address], PlainValidator(_address_map)] = Field(default={})


class RotatorSection(Section):
    """Own section: `rotator`, with formats and what to do with caches."""

    strict: ClassVar[bool] = True
    formats: dict[str, FormatSection] = Field(default={})
    caches: dict[str, CacheSettings] = Field(default={})

    @model_validator(mode="after")
    def _check_formats(self) -> Self:
        """Check the names of formats: those described, and those that caches use."""
        if taken := self.formats.keys() & {*BUILT_IN_FORMATS, SAME}:
            hint = f"{', '.join(BUILT_IN_FORMATS)} are built in, and {SAME} has a meaning"
            raise problem("the name is taken", hint, "formats", min(taken))
        known = (*BUILT_IN_FORMATS, *self.formats)
        for cache, settings in self.caches.items():
            for index, name in enumerate(settings.formats):
                if name not in known:
                    hint = f"formats are {', '.join(map(shown, known))}"
                    at = ("caches", cache, "formats", index)
                    raise problem("there is no such format", hint, *at)
            if settings.write not in {SAME, *settings.formats}:
                text = f"is neither {SAME} nor one of this cache's formats"
                hint = f"write {SAME}, or one of {', '.join(map(shown, settings.formats))}"
                raise problem(text, hint, "caches", cache, "write")
        return self
