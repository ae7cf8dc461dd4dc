"""
Schema: the sections that rotator reads, field for field as the file has them, checked.

They are the configuration: fields are references, addresses and durations at once. The file is the
Orchestrator's, which moves on: where the section is not `strict`, an unknown field is a warning.

`reference.yaml` says what each field does, with an example; `rotator schema config` and the
documents show it.
"""

from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import Field, model_validator

from rotator.config.fields import (
    Addresses,
    AddressMap,
    Boolean,
    CacheName,
    CacheNames,
    Databases,
    Duration,
    HashFields,
    HashName,
    Keys,
    Labels,
    Layout,
    MinVersion,
    OneAddress,
    PlainRef,
    Reason,
    Replicas,
    ReplicaSettings,
    Texts,
)
from rotator.config.types import Address, SecretRef, Section, problem, shown

BUILT_IN_FORMATS = ("sealed", "gcm", "gcm-base64")
SAME = "same"

Value = TypeVar("Value")


class KeyNames(Section):
    """Key names: `caches[].keys`, how the names of entries are made."""

    disable_prefix: Boolean = False


class EncryptionKeys(Section):
    """Encryption keys: `caches[].encryption.keys`, one that encrypts, others that only decrypt."""

    current: SecretRef | None = None
    old: Keys = ()


class Encryption(Section):
    """Encryption: `caches[].encryption`, keys and a switch."""

    disabled: Boolean = False
    keys: EncryptionKeys = EncryptionKeys()

    @property
    def refs(self) -> tuple[SecretRef, ...]:
        """Return the current key and the old ones, whether encryption is on or off."""
        return (*([self.keys.current] if self.keys.current else []), *self.keys.old)


class KeyHashing(Section):
    """Key hashing: `caches[].hashing.keys`, the switch for the hashing of names."""

    disabled: Boolean = False


class Hashing(Section):
    """Hashing: `caches[].hashing`, of keys only."""

    keys: KeyHashing = KeyHashing()


class Redis(Section):
    """Redis: `caches[].redis`, how to reach the server."""

    addresses: tuple[OneAddress, ...] = ()
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
        return () if self.encryption.disabled or not keys.current else self.encryption.refs

    @property
    def listed_key_refs(self) -> tuple[SecretRef, ...]:
        """Return all keys that are listed, also where encryption is off."""
        return self.encryption.refs

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check what several fields say together."""
        off, keys = self.encryption.disabled, self.encryption.keys
        if not self.addresses:
            hint = "list at least one host:port; of a Redis cluster, all nodes"
            raise problem("missing", hint, "redis", "addresses")
        if not off and keys.current is None:
            hint = "give a key or a reference; `rotator keygen` makes a key"
            raise problem("missing while encryption is on", hint, "encryption", "keys", "current")
        if self.keys.disable_prefix and not (off and self.hashing.keys.disabled):
            text = "true requires that encryption.disabled and hashing.keys.disabled are true too"
            hint = "set both, as the Orchestrator requires, or leave the prefix on"
            raise problem(text, hint, "keys", "disablePrefix")
        return self


class ClusterCache(Section):
    """
    Cluster cache: one of `caches` that rotator skips, so only its name and its keys matter.

    *encryption* is None if what stands there is not understood.
    """

    foreign: ClassVar[bool] = True
    name: CacheName
    encryption: Encryption | None = Encryption()

    @property
    def listed_key_refs(self) -> tuple[SecretRef, ...] | None:
        """Return all keys that are listed; None: that is not understood."""
        return None if self.encryption is None else self.encryption.refs


class TlsProfile(Section):
    """TLS profile: one of `tls`, as a client uses it; servers have fields of their own."""

    foreign: ClassVar[bool] = True
    ca_file: PlainRef = None
    ca_path: PlainRef = None
    cert_file: PlainRef = None
    key_file: PlainRef = None
    min_version: MinVersion = "1.2"
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
    layout: Layout
    aad: str = "none"
    within: Literal["hex", "base64", "base64url"] | None = None
    constant: Boolean = False


class NameSettings(Section):
    """Names: `rotator.caches.<name>.names`, how stored names come from the application's keys."""

    strict: ClassVar[bool] = True
    hash: HashName = "sha256"
    encoding: Literal["hex", "base64url"] = "hex"
    scope: Literal["key", "name"] = "key"


class BackupSettings(Section):
    """Backups: `rotator.caches.<name>.backups`, copies outside Redis; None: not declared."""

    strict: ClassVar[bool] = True
    retention: Duration = None


class Assumption(Section, Generic[Value]):
    """Assumption: one of `assume`, what the operator knows, and how."""

    strict: ClassVar[bool] = True
    value: Value = Field(alias="is")
    reason: Reason

    @model_validator(mode="before")
    @classmethod
    def _want_both(cls, given: Any) -> Any:
        """Have what is left out refused in the same words as what says nothing."""
        if not isinstance(given, dict):
            return given
        said = {name: one for name, one in given.items() if one is not None}
        return {"is": "", "reason": ""} | said


class Assumptions(Section):
    """Assumptions: `rotator.caches.<name>.assume`, what the operator knows and no server shows."""

    strict: ClassVar[bool] = True
    rdb: Assumption[Literal["none"]] | None = None
    aof: Assumption[Literal["none"]] | None = None
    outside: Assumption[Literal["foreign"]] | None = None
    replicas: Assumption[Literal["as-primary-says"]] | None = None
    decommissioned: Assumption[Addresses] | None = None
    caches: Assumption[CacheNames] | None = None
    identity: Assumption[Literal["one-server"]] | None = None


class CacheSettings(Section):
    """Cache settings: `rotator.caches.<name>`, what rotator does with a cache."""

    strict: ClassVar[bool] = True
    match: Texts = ("*",)
    databases: Databases = "all"
    fields: HashFields = None
    formats: Texts = BUILT_IN_FORMATS
    write: str = SAME
    labels: Labels = Field(default={})
    names: NameSettings = NameSettings()
    backups: BackupSettings = BackupSettings()
    replicas: Replicas = ReplicaSettings()
    assume: Assumptions = Assumptions()
    address_map: AddressMap = Field(default={})


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
