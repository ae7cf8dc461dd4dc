"""
What `make fuzz` throws bytes at: functions that take any bytes and raise when a rule breaks.

- No value opens to anything but what was sealed, whatever became of its bytes; none raises.
- What is sealed opens again, in every format that can be described.
- What is wrong with a configuration is said by a `RotatorError`, which shows no value.

They need no fuzzer: the tests call them too.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from rotator.cache import Cache
from rotator.config import files
from rotator.config.load import load
from rotator.crypto.codec import Codec, Opened, Reason
from rotator.crypto.encoding import Encoding
from rotator.crypto.keyring import Key, Keyring, generate
from rotator.crypto.layout import BUILTIN, Format
from rotator.errors import FormatError, RotatorError
from rotator.server.context import CacheContext

SECRET: Final = "p4ssw0rd! nobody may see"  # noqa: S105 - of nothing
_PASSWORD: Final = "p4ssw0rd-in-its-place"  # noqa: S105 - of nothing
_KEYS: Final = [generate() for _ in range(3)]

T = TypeVar("T")


class BrokenRuleError(Exception):
    """A rule of the module's docstring does not hold."""


class Bytes:
    """Bytes that decide: sizes, choices and texts are taken from them until there are none left."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def number(self, below: int) -> int:
        """A number from 0 on."""
        size = 1 if below <= 256 else 2
        return int.from_bytes(self.some(size), "big") % below

    def one_of(self, choices: Sequence[T]) -> T:
        """One of *choices*."""
        return choices[self.number(len(choices))]

    def some(self, size: int) -> bytes:
        """So many of the bytes, or what is left."""
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def text(self, most: int) -> str:
        """A text; half a pair of surrogates is left out, for no file holds one."""
        return self.some(self.number(most + 1)).decode("utf-8", "replace")

    def rest(self) -> bytes:
        """All that is left."""
        return self.some(len(self._data))


def _keyring() -> Keyring:
    current, *old = (Key.from_text(key, f"key {index}") for index, key in enumerate(_KEYS))
    return Keyring(current, old)


_STRANGE: Final = (
    Format.parse("hex-strange", "hex", ["tag:16", "hex:00ff", "nonce:8", "ciphertext"], "name"),
    Format.parse("url", "base64url", ["key-id:8", "nonce:16", "tag:16", "ciphertext"], "hex:01"),
    Format.parse("nonce-last", "raw", ["ciphertext", "tag:16", "nonce"], "none"),
    Format.parse("node", "hex", "{nonce}:{tag}:{ciphertext}"),
    Format.parse("jwe", "base64url", "{label}..{nonce}.{ciphertext}.{tag}", "label"),
    Format.parse("json", "base64", '{"d":"{nonce}{ciphertext}{tag}"}', "name", within="base64"),
    Format.parse("behind-raw", "raw", "v1:{label}:{nonce}{ciphertext}{tag}", "text:v1"),
)
_LABELS: Final = {key.id: b"key %d" % index for index, key in enumerate(_keyring().all)}
_CODEC: Final = Codec(_keyring(), [*BUILTIN.values(), *_STRANGE], None, _LABELS)


def open_anything(data: bytes) -> None:
    """No bytes open that were not sealed, and none make the codec raise."""
    source = Bytes(data)
    name, other = source.some(source.number(20)), source.some(source.number(20))
    value = source.rest()
    found = _CODEC.open(name, value)
    if isinstance(found, Opened):
        raise BrokenRuleError(f"{value!r} opened, and nobody has sealed it")
    _CODEC.explain(name, value, found, [other, name])


def open_changed(data: bytes) -> None:
    """A value that was changed does not open, or it opens to what was sealed."""
    source = Bytes(data)
    name, plaintext = source.some(source.number(20)), source.some(source.number(100))
    form = source.one_of(_CODEC.formats)
    value = bytearray(_CODEC.seal(name, plaintext, form))
    while change := source.some(4):
        kind, place = change[0] % 4, int.from_bytes(change[1:3], "big") % (len(value) + 1)
        if kind == 0 and place < len(value):
            value[place] ^= change[-1]
        elif kind == 1:
            value[place:place] = change[-1:]
        elif kind == 2:
            del value[place : place + 1 + change[-1] % 8]
        else:
            value = value.swapcase() if change[-1] % 2 else value.rstrip(b"=")
    found = _CODEC.open(name, bytes(value))
    if isinstance(found, Reason):
        _CODEC.explain(name, bytes(value), found, [])
    elif found.plaintext != plaintext or found.key is not _CODEC.keyring.current:
        raise BrokenRuleError(f"{form}: {bytes(value)!r} opened to what was not sealed")


_PARTS: Final = ("nonce:12", "ciphertext", "tag:16", "key-id:8", "nonce", "nonce:8", "nonce:128")


def round_trip(data: bytes) -> None:
    """What is sealed in any format that can be described opens again, and needs no rewriting."""
    source = Bytes(data)
    layout = [
        source.one_of(_PARTS) if source.number(5) else f"hex:{source.some(3).hex()}"
        for _ in range(source.number(7))
    ]
    layout += ["nonce:12", "ciphertext", "tag:16"][: source.number(4)]
    aad = source.one_of(("none", "name", "header+name", f"hex:{source.some(4).hex()}"))
    encoding = source.one_of(tuple(Encoding))
    described: Any = layout
    if source.number(2):
        pieces = ("{nonce}", "{ciphertext}", "{tag}", "{label}", ":", "..", "a", '"', "{keep}")
        described = "".join(source.one_of(pieces) for _ in range(source.number(10)))
    name, plaintext = source.some(source.number(30)), source.rest()
    try:
        form = Format.parse("fuzzed", encoding, described, aad)
    except FormatError:
        return
    codec = Codec(_keyring(), [form], None, _LABELS)
    if form.cutter.kept or any(map(form.cutter.label_fault, _LABELS.values())):
        return
    value = codec.seal(name, plaintext)
    opened = codec.open(name, value)
    if not isinstance(opened, Opened) or opened.plaintext != plaintext:
        raise BrokenRuleError(f"{form}: {plaintext!r} stored as {name!r} does not come back")
    if codec.needs_rewrite(opened):
        raise BrokenRuleError(f"{form}: {value!r} is not what was written")


def describe_format(data: bytes) -> None:
    """Whatever a format is described with, it is a format or a `FormatError`."""
    source = Bytes(data)
    layout: Any = [source.text(20) for _ in range(source.number(6))]
    if source.number(2):
        layout = source.text(60)
    encoding, aad = source.text(10), source.text(20)
    try:
        form = Format.parse(source.text(20), encoding, layout, aad)
    except FormatError as error:
        _demand_hint(error)
    else:
        form.cutter.cut(source.rest())


def read_document(data: bytes) -> None:
    """Any file is a mapping or an error that shows nothing of what is in it."""
    source = Bytes(data)
    ending = source.one_of((".yaml", ".json", ".tar.gz"))
    content = source.rest()
    place = len(content) // 2
    secret = content[:place] + SECRET.encode() + content[place:]
    try:
        files.parse(secret, f"fuzzed{ending}")
    except RotatorError as error:
        _demand_silence(error)


_SCALARS: Final[tuple[Any, ...]] = (
    *(None, True, 0, -1, 1.3, 2**70, "", [], {}, SECRET, "<a_reference>", _KEYS[1], _KEYS[2]),
    *({SECRET: SECRET}, [SECRET], {"keys": SECRET}, "{{ env.NOT_SET_ANYWHERE }}", "redis", "all"),
    *("127.0.0.1:6379", "127.0.0.1", "[::1]:1", f"{SECRET}@host:1", "1.2", "30d", "same", "gcm"),
)
_NAMES: Final = ("old", "keys", "caFile", "minVersion", "match", "backups", "currrent", "x", SECRET)


def _document() -> dict[str, Any]:
    """A configuration with nothing wrong in it."""
    return {
        "caches": [
            {
                "name": "shared",
                "type": "redis",
                "keys": {"disablePrefix": False},
                "encryption": {"disabled": False, "keys": {"current": _KEYS[0], "old": [_KEYS[1]]}},
                "hashing": {"keys": {"disabled": False}},
                "redis": {
                    "addresses": ["127.0.0.1:1"],
                    "username": "rotator",
                    "password": _PASSWORD,
                    "tls": "client",
                },
            }
        ],
        "tls": {"client": {"minVersion": "1.2", "enabledCiphers": []}},
        "rotator": {
            "formats": {"own": {"encoding": "raw", "layout": ["nonce", "ciphertext", "tag:16"]}},
            "caches": {"shared": {"match": ["*"], "databases": "all", "formats": ["own", "gcm"]}},
        },
    }


def load_config(data: bytes) -> None:
    """A configuration with anything in any place can be used, or the error shows no value."""
    source = Bytes(data)
    document = _document()
    for _ in range(1 + source.number(3)):
        _spoil(document, source)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "maverics.json")
        file.write_text(json.dumps(document), encoding="utf-8")
        try:
            config = load([file])
            for cache in config.caches:
                access = CacheContext(config, cache, None)
                _ = access.keyring, access.codec, access.login, Cache(access)
        except FormatError as error:
            _demand_hint(error)  # the words of a layout may be quoted
            return
        except RotatorError as error:
            _demand_silence(error)
            return
    for shown in (repr(config), *config.warnings):
        if _PASSWORD in shown or _KEYS[0] in shown:
            raise BrokenRuleError(f"shown in the open: {shown}")


def _spoil(document: Any, source: Bytes) -> None:
    """Put something else into some place of *document*, add it, or take it away."""
    place = document
    while True:
        names = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not names:
            return
        name = source.one_of(names)
        inner = place[name]
        if isinstance(inner, dict | list) and inner and source.number(8):
            place = inner
            continue
        what = source.number(4)
        if what == 0:
            del place[name]
        elif what == 1 and isinstance(place, dict):
            place[source.one_of(_NAMES)] = _scalar(source)
        elif what == 2 and isinstance(place, list):
            place.append(_scalar(source))
        else:
            place[name] = source.text(12) if source.number(3) == 0 else _scalar(source)
        return


def _scalar(source: Bytes) -> Any:
    """Something that may stand in any place; a copy, for it may be spoilt too."""
    return copy.deepcopy(source.one_of(_SCALARS))


def _demand_hint(error: RotatorError) -> None:
    if not error.hint or not str(error):
        raise BrokenRuleError(f"nothing to go by: {error!r}")


def _demand_silence(error: RotatorError) -> None:
    """See that an error has a hint and shows neither key nor password."""
    _demand_hint(error)
    said = f"{error} {error.hint}"
    if any(secret in said for secret in (SECRET, _PASSWORD, *_KEYS)):
        raise BrokenRuleError(f"a value is shown: {said}")


Target = Callable[[bytes], None]
TARGETS: Final[dict[str, Target]] = {
    "open": open_anything,
    "changed": open_changed,
    "round-trip": round_trip,
    "format": describe_format,
    "document": read_document,
    "config": load_config,
}


def seeds() -> list[bytes]:
    """Inputs to begin with: values, and files that are in order."""
    text = json.dumps(_document()).encode()
    values = [_CODEC.seal(b"app:1", b"hello", form) for form in _CODEC.formats]
    return [b"", os.urandom(200), b"\x01" + text, b"\x00caches: [{name: a}]\n", *values]
