"""
Text layout: cuts and joins values laid out as text, such as `{nonce}:{tag}:{ciphertext}`.

- `{nonce}`, `{nonce:16}`, `{ciphertext}`, `{tag}`: parts, written in the encoding. Those that stand
  side by side are one piece, encoded as a whole.
- `{label}` names the key, `{keep}` differs from value to value and is copied; both stand as they
  are. `{label:4}` is four bytes long.
- Everything else stands for itself. `within` is an encoding around all of it.

There is one way to cut a value: what has no fixed length ends with the value, or where a literal
begins whose first byte it cannot have; `{keep}` ends where the next literal first occurs. What is
cut comes back byte for byte when it is joined.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

from rotator.crypto.bytes_layout import ENCRYPTED, RANDOM_SIZE, Parts
from rotator.crypto.encoding import ALPHABETS, DECODERS, Encoding, decode, encode, spelling
from rotator.crypto.keyring import NONCE_SIZES, TAG_SIZE
from rotator.errors import FormatError

_PART = re.compile(r"\{(nonce|ciphertext|tag|label|keep)(?::([^{}]*))?\}")
_LIKE_A_PART = re.compile(r"\{([A-Za-z_-]+)(?::[^{}]*)?\}")
_SIZE = re.compile(r"[1-9][0-9]{0,3}")
_KNOWN = ("nonce", "ciphertext", "tag", "label", "keep")
_OTHERWISE = {"iv": "nonce", "kid": "label", "keyid": "label", "key-id": "label"}
_HINT = "the parts are {nonce}, {nonce:16}, {ciphertext}, {tag}, {label} and {keep}"


class Item(NamedTuple):
    """
    Item: one thing that a text layout consists of: a literal, label, keep or piece by its *kind*.

    *text* is what stands there: of a literal, itself. *size* is its length in bytes; None: that
    differs. *parts* are those of a piece with their sizes in bytes, 0 for the ciphertext.
    """

    kind: str
    text: str
    size: int | None
    parts: tuple[tuple[str, int], ...] = ()


class TextLayout:
    """
    Text layout: cuts and joins values of the layout *text*, found at *path* in the configuration.

    *nonce_size* is in bytes; *kept* is whether it has parts that are copied, *labelled* whether it
    has a label, *names_key* whether it has a key id. *literals* stand for themselves.

    Raises:
        FormatError: A part is missing, unknown or there twice, or a value could be cut in several
            ways; the message names the part.
    """

    names_key: ClassVar[bool] = False

    def __init__(self, path: str, text: str, encoding: Encoding, within: Encoding | None) -> None:
        self._encoding, self._within = encoding, within
        self._items = list(_items(path, text, encoding))
        _check_ends(path, self._items, encoding)
        sizes = [part for item in self._items for part in item.parts]
        self.nonce_size = dict(sizes)["nonce"]
        self._steps = [
            (item.kind, item.text.encode(), [part for part, _ in item.parts])
            for item in self._items
        ]
        self._spelling = _spelling(self._items, encoding)
        variable = [item for item in self._items if item.kind != "literal"]
        kinds = [item.kind for item in variable]
        self.kept, self.labelled = "keep" in kinds, "label" in kinds
        self.literals = [item.text.encode() for item in self._items if item.kind == "literal"]
        self._label = kinds.index("label") if self.labelled else None
        self._pieces = [(at, one.parts) for at, one in enumerate(variable) if one.kind == "piece"]
        self._decode = DECODERS[encoding]
        self._match = re.compile(_pattern(self._items, encoding), re.DOTALL).fullmatch

    @property
    def first_bytes(self) -> frozenset[int]:
        """The bytes with which a value can begin."""
        if self._within is not None:
            return frozenset(ALPHABETS[self._within])
        found = frozenset[int]()
        for item in self._items:
            if item.kind == "literal":
                return found | frozenset(item.text.encode()[:1])
            if item.kind != "piece" or self._encoding is Encoding.RAW:
                return frozenset(range(256))
            found |= frozenset(ALPHABETS[self._encoding])
            if item.parts != (("ciphertext", 0),):  # that may be empty
                break
        return found

    def label_fault(self, label: bytes) -> str | None:
        """Return why *label* cannot be one here: it would not be found again; None: it can."""
        for item, then in pairwise([*self._items, None]):
            if item is None or item.kind != "label":
                continue
            if item.size is not None and len(label) != item.size:
                return f"has {len(label)} bytes, and {item.text} has {item.size}"
            if item.size is None and then is not None and then.text.encode()[:1] in label:
                return f"holds {then.text[0]!r}, which ends {item.text}"
        return None

    def cut(self, value: bytes) -> Parts | None:
        """Return the parts of *value*; None if it is not laid out so."""
        text = value if self._within is None else decode(self._within, value)
        found = None if text is None else self._match(text)
        if found is None:
            return None
        texts = found.groups()
        got: dict[str, bytes] = {}
        for at, parts in self._pieces:
            raw = self._decode(texts[at])
            if raw is None:
                return None
            part, size = parts[0]
            if len(parts) > 1:
                if not cut_piece(raw, parts, got):
                    return None
            elif size and len(raw) != size:
                return None
            else:
                got[part] = raw
        body = got["ciphertext"] + got["tag"]
        if self._encoding is Encoding.RAW and len(body) >= RANDOM_SIZE and body.isascii():
            return None
        label = None if self._label is None else texts[self._label]
        return Parts(None, label, got["nonce"], body, b"", (texts, value))

    def likeness(self, value: bytes) -> Any:
        """Return what another value needs to be written like *value*, which fits."""
        cut = self.cut(value)
        return cut and cut.like

    def spelling(self, values: Sequence[bytes]) -> Any:
        """Return what a new value needs to be written as *values* are, which fit."""
        texts = [like[0][at] for like in map(self.likeness, values) for at, _ in self._pieces]
        shown = spelling(self._encoding, texts)
        around = None if self._within is None else spelling(self._within, values)
        return tuple(shown or text for text in self._spelling), around

    def header(self, key_id: bytes, label: bytes = b"", like: Any = None) -> bytes:  # noqa: ARG002
        """Return nothing: a text has no header that could be authenticated."""
        return b""

    def join(self, _: bytes, label: bytes, nonce: bytes, body: bytes, like: Any = None) -> bytes:
        """
        Return the value of these parts; what is kept, and how it is written, is as in *like*.

        Without one base64 is padded and base64url is not, as most applications have it.
        """
        got = {"nonce": nonce, "ciphertext": body[:-TAG_SIZE], "tag": body[-TAG_SIZE:]}
        old, value = like or (self._spelling, None)
        encoding, at = self._encoding, 0
        # What has digits only tells nothing, so the other pieces have a say.
        upper = b"A" if encoding is Encoding.HEX and b"".join(old).isupper() else None
        made = []
        for kind, text, parts in self._steps:
            if kind == "literal":
                made.append(text)
                continue
            if kind == "piece":
                laid = got[parts[0]] if len(parts) == 1 else b"".join([got[part] for part in parts])
                made.append(encode(encoding, laid, upper or old[at]))
            else:
                made.append(label if kind == "label" else old[at])
            at += 1
        joined = b"".join(made)
        return joined if self._within is None else encode(self._within, joined, value)


def cut_piece(raw: bytes, parts: Sequence[tuple[str, int]], got: dict[str, bytes]) -> bool:
    """Cut a piece into its *parts*, which are put into *got*; False if the length is wrong."""
    rest = len(raw) - sum([size for _, size in parts])
    if rest < 0 or (rest and all(size for _, size in parts)):
        return False
    at = 0
    for part, size in parts:
        end = at + (size or rest)
        got[part] = raw[at:end]
        at = end
    return True


def _spelling(items: Sequence[Item], encoding: Encoding) -> tuple[bytes, ...]:
    """Return texts that are written as those of a new value are: base64url without padding."""
    bare = b"A" if encoding is Encoding.BASE64URL else b""
    return tuple(bare if item.kind == "piece" else b"" for item in items if item.kind != "literal")


def _items(path: str, text: str, encoding: Encoding) -> Iterator[Item]:
    """Yield what the layout *text* consists of."""
    at, piece, shown = 0, list[tuple[str, int]](), ""
    counts = dict.fromkeys(_KNOWN, 0)
    for found in _PART.finditer(text):
        kind, size = found[1], _size(path, found)
        counts[kind] += 1
        if piece and (found.start() > at or kind not in ENCRYPTED):
            yield _piece(shown, piece, encoding)
            piece, shown = [], ""
        if found.start() > at:
            yield _literal(path, text[at : found.start()])
        at = found.end()
        if kind in ENCRYPTED:
            piece, shown = [*piece, (kind, size or 0)], shown + found[0]
        else:
            yield Item(kind, found[0], size)
    if piece:
        yield _piece(shown, piece, encoding)
    if at < len(text):
        yield _literal(path, text[at:])
    _check_counts(path, counts)


def _literal(path: str, text: str) -> Item:
    """Return the item of a *text* that stands for itself; not of a part that is misspelled."""
    for found in _LIKE_A_PART.finditer(text):
        word = _OTHERWISE.get(found[1].lower(), found[1].lower())
        if near := get_close_matches(word, _KNOWN, n=1, cutoff=0.8):
            hint = f"did you mean {{{near[0]}}}? {_HINT}"
            raise FormatError(f"{path}: {found[0]} is not a part", hint=hint)
    return Item("literal", text, len(text.encode()))


def _size(path: str, found: re.Match[str]) -> int | None:
    """Return the size of a part, in bytes; None: it has none of its own."""
    kind, size = found[1], found[2]
    if size is None:
        return {"nonce": 12, "tag": TAG_SIZE}.get(kind)
    number = int(size) if _SIZE.fullmatch(size) else 0
    fits = {
        "nonce": number in NONCE_SIZES,
        "tag": number == TAG_SIZE,
        "ciphertext": False,
    }.get(kind, number > 0)
    if not fits:
        sizes = "{nonce:8} to {nonce:128}, {tag:16}, {label:4} and {keep:4} have sizes, in bytes"
        raise FormatError(f"{path}: {found[0]} has no such size", hint=sizes)
    return number


def _piece(text: str, parts: Sequence[tuple[str, int]], encoding: Encoding) -> Item:
    """Return the item of *parts* that stand side by side."""
    size = sum(size for _, size in parts)
    fixed = all(size for _, size in parts)
    if encoding is Encoding.HEX:
        written: int | None = 2 * size
    elif encoding is Encoding.RAW:
        written = size
    else:
        written = None if size % 3 else size // 3 * 4  # what is padded may be left out
    return Item("piece", text, written if fixed else None, tuple(parts))


def _check_counts(path: str, counts: dict[str, int]) -> None:
    """Refuse a layout that lacks a part or has one too many."""
    for kind in ENCRYPTED:
        if counts[kind] != 1:
            hint = "a layout has exactly one {nonce}, one {ciphertext} and one {tag}"
            raise FormatError(f"{path}: {counts[kind]} times {{{kind}}}, not once", hint=hint)
    if counts["label"] > 1:
        raise FormatError(f"{path}: more than one {{label}}", hint="a key has one label")


def _check_ends(path: str, items: Sequence[Item], encoding: Encoding) -> None:
    """Refuse a layout in which it is not clear where a part ends."""
    for item, then in pairwise([*items, None]):
        if item is None or item.size is not None or then is None:
            continue
        if then.kind != "literal":
            hint = f"put a separator between {item.text} and {then.text}"
            raise FormatError(f"{path}: nothing says where {item.text} ends", hint=hint)
        if item.kind != "piece":
            continue
        if encoding is Encoding.RAW:
            hint = "raw bytes may be anything: put it last, or write the layout as a list"
            raise FormatError(f"{path}: nothing says where {item.text} ends", hint=hint)
        if then.text.encode()[0] in ALPHABETS[encoding]:
            hint = f"{encoding} may hold {then.text[0]!r}: only another character can end it"
            raise FormatError(f"{path}: {then.text!r} does not end {item.text}", hint=hint)


def _pattern(items: Sequence[Item], encoding: Encoding) -> bytes:
    """Return the regular expression that cuts a value; it never tries a second way."""
    made: list[bytes] = []
    skip = False
    for item, then in pairwise([*items, None]):
        if item is None or skip:
            skip = False
            continue
        literal = re.escape(then.text.encode()) if then is not None else b""
        if item.kind == "literal":
            made.append(re.escape(item.text.encode()))
        elif item.size is not None:
            made.append(b"(%b{%d})" % (_bytes_of(item, encoding), item.size))
        elif item.kind == "piece":
            made.append(b"(%b*+)" % _bytes_of(item, encoding))
        elif then is None:
            made.append(b"(.+)" if item.kind == "label" else b"(.*)")
        elif item.kind == "label":
            made.append(b"([^%b]++)" % re.escape(then.text.encode()[:1]))
        else:
            made.append(b"(?>(.*?)%b)" % literal)
            skip = True
    return b"".join(made)


def _bytes_of(item: Item, encoding: Encoding) -> bytes:
    """Return the regular expression for one byte of an item."""
    if item.kind != "piece" or encoding is Encoding.RAW:
        return b"."
    return b"[%b]" % re.escape(ALPHABETS[encoding])
