"""
Format search: finds formats that nobody configured, and proves them by decrypting.

1. Formats that have a name and are not in use are tried; and those in use with labels, as keys that
   have no label yet may have one that values show.
2. Values that are still closed are cut in every way and tried (`attempts`), one after the other; as
   soon as one opens, the others are first cut like it.
3. Cuts of one kind are compared (`comparison`), which makes a format, and labels.
4. A format counts if it opens these values as any format does: of two alphabets that fit, the one
   that opens more.

Only authenticated decryption counts, so a hit is no coincidence.

Limits: only the keys of the keyring are tried. A value under another key opens in no format, and
nothing can tell which format it has. A cache has one label for a key: where two formats would need
two, the first one found has it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count

from rotator.crypto.attempts import Place, Search
from rotator.crypto.codec import Codec, Opened
from rotator.crypto.comparison import Hit, Proposal, propose
from rotator.crypto.encoding import Encoding
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import Format
from rotator.errors import FormatError

Guess = tuple[Format, Key]

_NAME = "detected"
_SURE = 3  # values of a key from which on a label is hardly something else
_TWINS = {Encoding.BASE64: Encoding.BASE64URL, Encoding.BASE64URL: Encoding.BASE64}


@dataclass
class Found:
    """
    Found: holds what a search for formats of *values* came to.

    - *guesses*: by place, the format and the key that open what is there
    - *labels*: by key id, what values call keys; those that were configured are among them
    - *alone*: by the name of a format, the id of the only key seen in it, where something that
      stands for itself may be a label
    - *single*: the names of formats with labels in which a key was seen in a value or two only, so
      that what they take for a label may differ by value
    """

    keyring: Keyring
    values: Mapping[Place, bytes] = field(repr=False)
    labels: dict[str, bytes]
    guesses: dict[Place, Guess] = field(default_factory=dict)
    alone: dict[str, str] = field(default_factory=dict)
    single: set[str] = field(default_factory=set)

    def opened(self, form: Format, labels: Mapping[str, bytes]) -> dict[Place, Key]:
        """Return the keys of the values that *form* opens, of those that nothing did so far."""
        codec = Codec(self.keyring, [form], None, labels)
        tried = {
            place: codec.open(place[1], value)
            for place, value in self.values.items()
            if place not in self.guesses
        }
        return {place: got.key for place, got in tried.items() if isinstance(got, Opened)}

    def add(self, form: Format, opened: Mapping[Place, Key]) -> None:
        """Add a format, if it opens values."""
        if not opened:
            return
        self.guesses |= {place: (form, key) for place, key in opened.items()}
        seen = Counter(key.id for key in opened.values())
        if form.cutter.labelled and min(seen.values(), default=0) < _SURE:
            self.single.add(form.name)
        elif form.has_literals and not form.cutter.labelled and len(seen) == 1:
            self.alone[form.name] = next(iter(seen))

    def agrees(self, form: Format, labels: Mapping[str, bytes]) -> bool:
        """Return whether *labels* can be those of *form*, of the others, and of what is known."""
        forms = {form, *(guessed for guessed, _ in self.guesses.values())}
        every = {**labels, **self.labels}
        faults = (one.cutter.label_fault(label) for one in forms for label in every.values())
        return {**every, **labels} == every and not any(faults)


def search_formats(
    codec: Codec,
    named: Mapping[str, Format],
    values: Mapping[Place, bytes],
    aads: Sequence[str] = (),
) -> Found:
    """
    Return what opens *values*, which *codec* does not; what nothing opens is left out.

    *named* are the formats that have a name, *aads* texts that may have been authenticated. A
    format of ours is called `detected`, the next one `detected-2`, past what *named* has.
    """
    found = Found(codec.keyring, values, dict(codec.labels))
    for form in codec.formats:
        if form.cutter.labelled:
            found.labels |= _new_labels(found, form)
            found.add(form, found.opened(form, found.labels))
    for form in named.values():
        if form not in codec.formats:
            opened = found.opened(form, found.labels)
            if opened and not _opens_less(found, form, len(opened)):
                found.add(form, opened)
    closed = {place: value for place, value in values.items() if place not in found.guesses}
    numbered = (f"{_NAME}-{number}" for number in count(2))
    names = (name for name in chain([_NAME], numbered) if name not in named)
    for group in _groups(Search(codec.keyring, aads, closed).hits()):
        _settle(found, names, group)
    return found


def _new_labels(found: Found, form: Format) -> dict[str, bytes]:
    """Return by its id what values in *form* call a key that has no label, as decryption proves."""
    called: dict[bytes, dict[bytes, bytes]] = {}
    for (_, name), value in found.values.items():
        parts = form.cutter.cut(value)
        if parts is not None and parts.label and parts.label not in found.labels.values():
            called.setdefault(parts.label, {})[name] = value
    labels: dict[str, bytes] = {}
    for label, values in called.items():
        for key in found.keyring.all:
            if key.id not in found.labels | labels:
                codec = Codec(Keyring(key), [form], None, {key.id: label})
                if any(isinstance(codec.open(*one), Opened) for one in values.items()):
                    labels[key.id] = label
    return labels


def _opens_less(found: Found, form: Format, number: int) -> bool:
    """Return whether *form*, which opens a *number* of values, opens more in the other alphabet."""
    twin = _TWINS.get(form.encoding)
    if twin is None:
        return False
    return len(found.opened(replace(form, encoding=twin), found.labels)) > number


def _settle(found: Found, names: Iterator[str], group: Mapping[Place, Hit]) -> None:
    """Make formats of a *group* of hits, and add what they open to *found*."""
    parts = _by_marks(group)
    # Where the marks differ by key a label may hold some: so all are one format, if they can be.
    for hits in [group, *parts] if _follows_key(group) else parts:
        left = {place: hit for place, hit in hits.items() if place not in found.guesses}
        proposal = propose(list(left.values())) if left else None
        if proposal is None:
            continue
        labels = found.labels | proposal.labels
        best, opens = None, dict[Place, Key]()
        for form in _formats(proposal, left, found.values):
            opened = found.opened(form, labels) if found.agrees(form, proposal.labels) else {}
            if len(opened) > len(opens):
                best, opens = form, opened
        if best is not None and opens.keys() & left.keys():
            found.labels = labels
            found.add(replace(best, name=next(names)), opens)


def _groups(hits: Mapping[Place, Hit]) -> list[dict[Place, Hit]]:
    """Return *hits* by what they consist of, in the order in which that was found."""
    groups: dict[Hashable, dict[Place, Hit]] = {}
    for place, hit in hits.items():
        # Two alphabets may fit a value: which one is meant is seen later.
        text = hit.cut.encoding not in _TWINS and hit.cut.encoding
        around = hit.within not in _TWINS and hit.within
        groups.setdefault((text, around, hit.cut.pieces, hit.aad.kind), {})[place] = hit
    return list(groups.values())


def _by_marks(hits: Mapping[Place, Hit]) -> list[dict[Place, Hit]]:
    """Return *hits* by the marks that stand around their pieces."""
    parts: dict[tuple[bytes, ...], dict[Place, Hit]] = {}
    for place, hit in hits.items():
        parts.setdefault(_marks(hit), {})[place] = hit
    return list(parts.values())


def _marks(hit: Hit) -> tuple[bytes, ...]:
    """Return what stands around the pieces, without letters and digits; of bytes nothing."""
    glue = hit.cut.glue
    readable = all(text.isascii() and text.decode().isprintable() for text in glue)
    return tuple(re.sub(rb"[A-Za-z0-9]+", b"", text) for text in glue) if readable else ()


def _follows_key(hits: Mapping[Place, Hit]) -> bool:
    """Return whether values under one key have the same marks."""
    pairs = {(hit.key.id, _marks(hit)) for hit in hits.values()}
    return len(pairs) == len({key_id for key_id, _ in pairs})


def _formats(
    proposal: Proposal, hits: Mapping[Place, Hit], values: Mapping[Place, bytes]
) -> Iterator[Format]:
    """Yield what *proposal* describes, in each alphabet that may be meant; not if refused."""
    layout, aad = proposal.layout, proposal.aad
    cuts = [hit.cut for hit in hits.values()]
    wholes = [values[place] for place in hits]
    pieces = [cut.text[start:end] for cut in cuts for start, end, _ in cut.spans]
    # Bytes in an encoding are written in it as a whole.
    for encoding in _alphabets(
        proposal.encoding, wholes if cuts[0].encoding is Encoding.RAW else pieces
    ):
        for within in _alphabets(proposal.within, wholes) if proposal.within else [None]:
            try:
                yield Format.parse(_NAME, encoding, layout, aad, within=within)
            except FormatError:  # there would be two ways to cut a value
                continue


def _alphabets(encoding: Encoding, texts: Sequence[bytes]) -> list[Encoding]:
    """Return the alphabets in which *texts* may be: without padding rather base64url."""
    if encoding not in _TWINS:
        return [encoding]
    bare = any(len(text) % 4 for text in texts) and not any(b"=" in text for text in texts)
    return sorted(_TWINS, key=lambda one: (one is Encoding.BASE64URL) is not bare)
