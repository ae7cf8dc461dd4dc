"""
Fields: reads what a field of the file says, and refuses the rest with a hint, never with the value.

Each is a type that a section's field is declared with. It says how a value is read, and, for the
JSON Schema, what may be written there.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainValidator

from rotator.config.files import Unquoted
from rotator.config.types import Address, SecretRef, problem
from rotator.text import parse_duration

_ADDRESS_HINT = "write host:port, such as redis-0.internal:6379 or [2001:db8::1]:6379"
_DATABASE = re.compile("0|[1-9][0-9]{0,8}")  # 010 is ten to some readers, and eight to others
_KEY_ID = re.compile(r"[0-9a-f]{16}")
_IN_HEX = re.compile(r"hex:(?:[0-9a-fA-F]{2})+")
_QUOTE = 'quote it, such as "01": YAML may read it as a number, a date or a boolean'
_BOOLEANS = {
    form: means
    for means, words in ((True, "true y yes on"), (False, "false n no off"))
    for word in words.split()
    for form in (word, word.capitalize(), word.upper())
}
_HASHES = sorted(name for name in hashlib.algorithms_available if not name.startswith("shake"))


@dataclass(frozen=True, slots=True)
class ReplicaSettings:
    """
    Replica settings: say where replicas are reached that the configuration itself does not list.

    *listed* are addresses of some, *only* those of all there are, None if that is not said.
    *announced*: what a server names as its replica is one, and is logged in to.
    """

    listed: tuple[Address, ...] = ()
    announced: bool = False
    only: tuple[Address, ...] | None = None


def _hash(value: Any) -> Any:
    """Take the name of a hash."""
    if value not in _HASHES:
        raise problem("is not known", f"write one of {', '.join(_HASHES)}")
    return value


def _cache_name(value: str) -> str:
    """Take the name of a cache, but for the built-in one's."""
    if not value:
        raise problem("is empty", "give the cache a name")
    if value == "local_default":
        raise problem(f"{value} is the Orchestrator's built-in cache", "choose another name")
    return value


def _address(value: Any, *at: str | int) -> Address:
    """Read an address; *at* leads to it from what is validated."""
    if not isinstance(value, str):
        raise problem("must be host:port", _ADDRESS_HINT, *at)
    if set(value) & set("/@<> "):
        text = "must be host:port and nothing else, no URL and no reference"
        raise problem(text, _ADDRESS_HINT, *at)
    try:
        return Address.parse(value)
    except ValueError as error:
        raise problem(str(error), _ADDRESS_HINT, *at) from None


def _addresses(value: Any, *at: str | int) -> tuple[Address, ...]:
    """Read a list of addresses."""
    if not isinstance(value, list | tuple):
        hint = "write [host:port, host:port], or one line with a dash for each"
        raise problem("must be a list of addresses", hint, *at)
    return tuple(_address(one, *at, index) for index, one in enumerate(value))


def _gone(value: Any) -> tuple[Address, ...]:
    """Read a list of at least one address."""
    if not (found := _addresses(value)):
        raise problem("is empty", "list the addresses, or leave the declaration out")
    return found


def _address_map(value: Any) -> dict[Address, Address]:
    """Read addresses on both sides."""
    if not isinstance(value, dict):
        raise problem("must be a mapping", 'write "host:port": "host:port" for each node')
    return {_address(seen): _address(reached) for seen, reached in value.items()}


def _replicas(value: Any) -> ReplicaSettings:
    """Read addresses, the word announced, or addresses that are all there are."""
    if value == "announced":
        return ReplicaSettings(announced=True)
    if isinstance(value, dict) and value.keys() == {"only"}:
        return ReplicaSettings(only=_addresses(value["only"], "only"))
    if not isinstance(value, list | tuple):
        hint = "write [host:port], announced, or {only: [host:port]}"
        raise problem("must be a list of addresses, announced or {only: [...]}", hint)
    return ReplicaSettings(listed=_addresses(value))


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


def _cache_names(value: tuple[str, ...]) -> tuple[str, ...]:
    """Take at least one name."""
    if not value:
        raise problem("is empty", "list the names of caches, or leave the declaration out")
    return value


def _reason(value: str) -> str:
    """Take a reason, which is needed."""
    if not value.strip():
        hint = 'say how you know, such as reason: "no disk attached, terraform module cache v3"'
        raise problem("missing: an assumption needs a reason, which every report repeats", hint)
    return value.strip()


def _layout(value: Any) -> tuple[str, ...] | str:
    """Read a text with parts in it, or a list of parts."""
    if isinstance(value, str):
        return value
    hint = 'write \'{nonce}:{tag}:{ciphertext}\', or ["nonce:12", ciphertext, "tag:16"]'
    if not isinstance(value, list | tuple):
        raise problem("must be a text, or a list of parts", hint)
    for index, part in enumerate(value):
        if not isinstance(part, str):
            raise problem("must be text", "quote the value", index)
    return tuple(value)


def _labels(value: Any) -> dict[str, bytes]:
    """Read labels by the ids of keys."""
    if not isinstance(value, dict):
        raise problem("must be a mapping", 'write "key id": label for each key')
    return {_key_id(key_id): _label(key_id, label) for key_id, label in value.items()}


def _key_id(value: Any) -> str:
    """Take the id of a key."""
    if not isinstance(value, str) or isinstance(value, Unquoted):
        raise problem("a key id must be text", _QUOTE)
    if not _KEY_ID.fullmatch(value):
        raise problem("is not a key id", "`rotator keys` lists them: 16 hex characters each", value)
    return value


def _label(key_id: str, value: Any) -> bytes:
    """Read a label: a text, or `hex:` and its bytes."""
    if not isinstance(value, str) or isinstance(value, Unquoted):
        scalar = isinstance(value, str | int | float)
        hint = _QUOTE if scalar else 'write a text, or "hex:" and its bytes'
        raise problem("a label must be text", hint, key_id)
    in_hex, text = value.startswith("hex:"), value.encode("utf-8", "ignore")
    if not text or text.decode() != value or (in_hex and not _IN_HEX.fullmatch(value)):
        hint = 'write the label, or "hex:" and its bytes in hex'
        raise problem("is not a label", hint, key_id)
    return bytes.fromhex(value[4:]) if in_hex else text


def _boolean(value: Any) -> bool:
    """Read a boolean of JSON, or one of the words that YAML 1.1 and 1.2 have for it."""
    found = _BOOLEANS.get(value) if isinstance(value, str) else value
    if not isinstance(found, bool):
        hint = "write true or false; yes, no, on and off are accepted too"
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


def _hash_fields(value: Any) -> Any:
    """Read the names of fields, or a star for all of them."""
    if value in (None, "*"):
        return value
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise problem("must be a list of field names, or *", 'write [data], or "*" for all')
    if "*" in value:
        raise problem("is not a field name", 'for all fields write fields: "*"', value.index("*"))
    return _not_empty(tuple(value))


def _min_version(value: Any) -> str:
    """Read a TLS version: in JSON it may be a number."""
    text = str(value).removeprefix("TLSv").removeprefix("TLS").strip()
    if isinstance(value, str | float) and text in {"1.2", "1.3"}:
        return text
    if isinstance(value, str | float | int) and text in {"1", "1.0", "1.1"}:
        raise problem("a TLS version below 1.2 is refused", "write 1.2 or 1.3")
    raise problem("must be a TLS version", "write 1.2 or 1.3")


def _duration(value: Any) -> timedelta:
    """Read a duration such as 30d; 0s is one."""
    try:
        return parse_duration(value if isinstance(value, str) else "")
    except ValueError as error:
        raise problem(str(error), "write a number and s, m, h or d, such as 30d") from None


Layout = Annotated[
    tuple[str, ...] | str, PlainValidator(_layout, json_schema_input_type=str | list[str])
]
Labels = Annotated[dict[str, bytes], PlainValidator(_labels, json_schema_input_type=dict[str, str])]
Boolean = Annotated[bool, PlainValidator(_boolean, json_schema_input_type=bool)]
CacheName = Annotated[str, AfterValidator(_cache_name)]
CacheNames = Annotated[tuple[str, ...], AfterValidator(_cache_names)]
HashName = Annotated[str, BeforeValidator(_hash)]
Reason = Annotated[str, AfterValidator(_reason)]
Texts = Annotated[tuple[str, ...], AfterValidator(_not_empty)]
PlainRef = Annotated[SecretRef | None, AfterValidator(lambda ref: ref and ref.as_plain())]
Keys = Annotated[tuple[SecretRef, ...], AfterValidator(_numbered)]
OneAddress = Annotated[Address, PlainValidator(_address, json_schema_input_type=str)]
Addresses = Annotated[tuple[Address, ...], PlainValidator(_gone, json_schema_input_type=list[str])]
AddressMap = Annotated[
    dict[Address, Address], PlainValidator(_address_map, json_schema_input_type=dict[str, str])
]
Replicas = Annotated[
    ReplicaSettings,
    PlainValidator(
        _replicas,
        json_schema_input_type=list[str] | Literal["announced"] | dict[Literal["only"], list[str]],
    ),
]
Databases = Annotated[
    Literal["all"] | tuple[int, ...],
    PlainValidator(_databases, json_schema_input_type=Literal["all"] | list[int]),
]
HashFields = Annotated[
    Literal["*"] | tuple[str, ...] | None,
    PlainValidator(_hash_fields, json_schema_input_type=Literal["*"] | list[str] | None),
]
MinVersion = Annotated[
    Literal["1.2", "1.3"],
    BeforeValidator(_min_version, json_schema_input_type=Literal["1.2", "1.3", 1.2, 1.3]),
]
Duration = Annotated[timedelta | None, PlainValidator(_duration, json_schema_input_type=str)]
