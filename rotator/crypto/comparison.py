"""
Comparison: makes one format of cuts of one kind, and tells labels from literals and kept parts.

What stands around the pieces is compared across values and keys, word by word, or byte by byte
where it is no text:

- the same in all values: a literal
- the same under each key, another under another: the key's label, whole words and all from the
  first to the last that differs
- different under one key: kept; all from the first to the last that differs, up to a mark such as
  a quote or a comma, and up to both quotes around it

Limits: label bytes that all keys seen have in common, beside those in which they differ, cannot be
told from a literal. Under one key only a label looks like a literal. A value has one label: what
would need more is given up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from rotator.crypto.cuts import Cut, Parts
from rotator.crypto.encoding import Encoding
from rotator.crypto.keyring import Key

OF_HEAD: Final = "head"
"""The kind of an AAD that stands before the first piece."""

# In UTF-8 what is no ASCII counts as letters: no character is taken apart.
_WORDS = re.compile(rb"[A-Za-z0-9\x80-\xff]+|[^A-Za-z0-9\x80-\xff]", re.DOTALL)
_WORD = re.compile(rb"[A-Za-z0-9\x80-\xff]+")
_LETTER = re.compile(rb"[A-Za-z0-9._-]")
_MARK = re.compile(rb"[\"',;|&{}<>\n]")
_QUOTE = b'"'
_JWE = re.compile(rb"eyJ[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Aad:
    """Aad: says what was authenticated, as in a format's *aad*, or `head`; then *data* stands."""

    kind: str
    data: bytes | None = field(repr=False, compare=False)


class Hit(NamedTuple):
    """Hit: holds a cut that opened under a *key*, with an encoding around the whole or none."""

    within: Encoding | None
    cut: Cut
    aad: Aad
    key: Key


class Proposal(NamedTuple):
    """Proposal: holds the fields of a format, and by key id the labels that were seen."""

    encoding: Encoding
    layout: str | tuple[str, ...]
    aad: str
    within: Encoding | None
    labels: dict[str, bytes]


class _Element(NamedTuple):
    """Element: one thing that values consist of; *texts* are what each of them has there."""

    kind: str
    texts: Sequence[bytes] = ()
    parts: Parts = ()

    @property
    def size(self) -> int | None:
        """The size in bytes; None: that differs."""
        sizes = set(map(len, self.texts))
        return sizes.pop() if len(sizes) == 1 else None


def propose(hits: Sequence[Hit]) -> Proposal | None:
    """Return what describes *hits*, all with the same pieces and kind of AAD; None: nothing can."""
    keys, first = [hit.key.id for hit in hits], hits[0]
    columns = list(zip(*(hit.cut.glue for hit in hits), strict=True))
    of_aad = _aad(hits)
    if of_aad is None:
        return None
    aad, is_label = of_aad
    if is_label:
        elements = _labelled(keys, columns[0], [hit.aad.data or b"" for hit in hits])
    else:
        elements = _compare(keys, columns[0])
    for parts, texts in zip(first.cut.pieces, columns[1:], strict=True):
        behind = _compare(keys, texts)
        if elements is None or behind is None:
            return None
        elements += [_Element("piece", parts=parts), *behind]
    if elements is None or sum(one.kind == "label" for one in elements) > 1:
        return None
    labels = next((one.texts for one in elements if one.kind == "label"), ())
    named = dict(zip(keys, labels, strict=True)) if labels else {}
    encoding, within = first.cut.encoding, first.within
    if _is_textual(elements, encoding, within, aad):
        text = _text(elements)
        return None if text is None else Proposal(encoding, text, aad, within, named)
    entries = _list(elements)
    # An encoding around bytes is that of the whole.
    return None if entries is None else Proposal(within or encoding, entries, aad, None, named)


def _aad(hits: Sequence[Hit]) -> tuple[str, bool] | None:
    """Return what is authenticated, and whether that is the label; None: it cannot be said."""
    kind = hits[0].aad.kind
    if kind != OF_HEAD:
        return kind, False
    by_key: dict[str, set[bytes]] = {}
    for hit in hits:
        by_key.setdefault(hit.key.id, set()).add(hit.aad.data or b"")
    if any(len(texts) > 1 for texts in by_key.values()):
        return None
    text = hits[0].aad.data or b""
    same = len(set.union(*by_key.values())) == 1
    # The header of a JWE may name the key, and what does not may be the same for all.
    if not same or (len(by_key) > 1 and _JWE.fullmatch(text)):
        return "label", True
    return (f"text:{text.decode()}" if _is_text(text) else f"hex:{text.hex()}"), False


def _labelled(
    keys: Sequence[str], texts: Sequence[bytes], labels: Sequence[bytes]
) -> list[_Element] | None:
    """Return the elements of *texts* in which *labels* stand; None: they have others, too."""
    split = [text.partition(label) for text, label in zip(texts, labels, strict=True)]
    before, behind = (_compare(keys, [parts[at] for parts in split]) for at in (0, 2))
    if before is None or behind is None:
        return None
    return [*before, _Element("label", labels), *behind]


def _compare(keys: Sequence[str], texts: Sequence[bytes]) -> list[_Element] | None:
    """Return the elements of *texts*, which stand at one place, under *keys*; None: none fit."""
    if len(set(texts)) == 1:
        return [_Element("literal", texts)] if texts[0] else []
    rows = _rows(texts)
    if rows is None:
        return None
    columns = list(zip(*rows, strict=True))
    kinds = [_kind(keys, column) for column in columns]
    if not all(map(_is_text, texts)):
        _complete_word(kinds, columns)
    _widen(kinds, columns)
    elements: list[_Element] = []
    for kind, column in zip(kinds, columns, strict=True):
        if elements and elements[-1].kind == kind:
            joined = [old + new for old, new in zip(elements.pop().texts, column, strict=True)]
            elements.append(_Element(kind, joined))
        else:
            elements.append(_Element(kind, column))
    return elements


def _rows(texts: Sequence[bytes]) -> list[list[bytes]] | None:
    """Return the words of each text, or its bytes, as many of each; None: they do not compare."""
    if not all(map(_is_text, texts)):
        same = len(set(map(len, texts))) == 1
        return [[bytes([byte]) for byte in text] for text in texts] if same else None
    rows = [_WORDS.findall(text) for text in texts]
    if len(set(map(len, rows))) == 1 and all(
        len(set(column)) == 1 or all(map(_WORD.fullmatch, column))
        for column in zip(*rows, strict=True)
    ):
        return rows
    # Words and marks are not the same: all between the first and the last difference is one.
    ahead = _common(rows)
    behind = _common([row[ahead:][::-1] for row in rows])
    return [
        [*row[:ahead], b"".join(row[ahead : len(row) - behind]), *row[len(row) - behind :]]
        for row in rows
    ]


def _common(rows: Sequence[Sequence[bytes]]) -> int:
    """Return how many words all *rows* have in common, at the beginning."""
    count = 0
    for column in zip(*rows, strict=False):
        if len(set(column)) > 1:
            break
        count += 1
    return count


def _kind(keys: Sequence[str], column: Sequence[bytes]) -> str:
    """Return what a column of words is: the same, the same under each key, or neither."""
    if len(set(column)) == 1:
        return "literal"
    return "label" if len(set(zip(keys, column, strict=True))) == len(set(keys)) else "keep"


def _widen(kinds: list[str], columns: Sequence[Sequence[bytes]]) -> None:
    """Have labels and kept parts take in what stands between their first word and their last."""
    labels = [at for at, kind in enumerate(kinds) if kind == "label"]
    if labels and "keep" not in kinds[labels[0] : labels[-1]]:
        kinds[labels[0] : labels[-1] + 1] = ["label"] * (labels[-1] + 1 - labels[0])
    marks = [at for at, column in enumerate(columns) if _MARK.fullmatch(column[0])]
    kept = [at for at, kind in enumerate(kinds) if kind == "keep"]
    for before, then in pairwise(kept):
        if not any(before < mark < then for mark in marks):
            _fill(kinds, range(before, then))
    for at in kept:
        left = max((mark for mark in marks if mark < at), default=at)
        right = min((mark for mark in marks if mark > at), default=at)
        if columns[left][0] == columns[right][0] == _QUOTE:
            _fill(kinds, range(left + 1, right))


def _complete_word(kinds: list[str], columns: Sequence[Sequence[bytes]]) -> None:
    """Have a label among bytes, if it has letters only, take in those that stand beside it."""
    letters = [all(_LETTER.fullmatch(text) for text in column) for column in columns]
    labels = [at for at, kind in enumerate(kinds) if kind == "label"]
    if not labels or not all(letters[labels[0] : labels[-1] + 1]):
        return
    start, end = labels[0], labels[-1] + 1
    while start and letters[start - 1] and kinds[start - 1] == "literal":
        start -= 1
    while end < len(kinds) and letters[end] and kinds[end] == "literal":
        end += 1
    kinds[start:end] = ["label"] * (end - start)


def _fill(kinds: list[str], places: range) -> None:
    """Have all of *places* be kept, if no label is among them."""
    if "label" not in kinds[places.start : places.stop]:
        kinds[places.start : places.stop] = ["keep"] * len(places)


def _is_text(text: bytes) -> bool:
    """Return whether bytes are text that can be printed."""
    try:
        return text.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _is_textual(
    elements: Sequence[_Element], encoding: Encoding, within: Encoding | None, aad: str
) -> bool:
    """Return whether the layout is to be written as a text: a list does for bytes in a row."""
    around = [one for one in elements if one.kind != "piece"]
    if encoding is not Encoding.RAW:
        return bool(around) or len(elements) > 1 or within is not None
    readable = all(_is_text(text) for one in around for text in one.texts)
    ends = elements[-1].kind == "piece" and len(elements) == len(around) + 1
    return bool(around) and readable and ends and aad != "header+name"


def _list(elements: Sequence[_Element]) -> tuple[str, ...] | None:
    """Return a layout in bytes; None: something has no size."""
    entries: list[str] = []
    for one in elements:
        if one.kind == "piece":
            entries += [f"{kind}:{size}" if size else kind for kind, size in one.parts]
        elif one.kind == "literal":
            entries.append(f"hex:{one.texts[0].hex()}")
        elif one.size is None:
            return None
        else:
            entries.append(f"{one.kind}:{one.size}")
    return tuple(entries)


def _text(elements: Sequence[_Element]) -> str | None:
    """Return a layout as a text; None: nothing would say where something ends."""
    made: list[str] = []
    for one, then in zip(elements, (*elements[1:], None), strict=True):
        if one.kind == "piece":
            made += _shown(one.parts)
        elif one.kind == "literal":
            made.append(one.texts[0].decode("utf-8", "replace"))
        else:
            stop = then.texts[0] if then is not None and then.kind == "literal" else None
            if one.kind == "label" and stop is not None:
                stop = stop[:1]
            ends = then is None or (stop is not None and not any(stop in x for x in one.texts))
            if not ends and not one.size:
                return None
            made.append(f"{{{one.kind}}}" if ends else f"{{{one.kind}:{one.size}}}")
    return "".join(made)


def _shown(parts: Parts) -> Iterator[str]:
    """Yield the parts of a piece as a text has them."""
    for kind, size in parts:
        yield f"{{{kind}:{size}}}" if kind == "nonce" and size != 12 else f"{{{kind}}}"
