"""
Attempt: tries cuts of values with every key, and with all that may have been authenticated.

Of a value its text is cut, and what is in it in hex, base64 or base64url. Authenticated may be
nothing, the name, the name without one of its beginnings, the field, something that stands before
the first piece (the header of a JWE, a label, a version), all bytes before the nonce and the name,
or what the caller knows of. The likely ones come first.

Attempts are bounded, in all and for each value, so that what nothing opens costs little. What does
not look encrypted is not tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Final

from rotator.crypto.comparison import OF_HEAD, Aad, Hit
from rotator.crypto.cuts import Cut, Parts, Span, bytes_cuts, text_cuts
from rotator.crypto.encoding import ALPHABETS, Encoding, decode
from rotator.crypto.foreign import looks_encrypted
from rotator.crypto.keyring import TAG_SIZE, Key, Keyring
from rotator.crypto.layout import FieldName
from rotator.crypto.samples import TEXTUAL, Samples
from rotator.crypto.text_layout import cut_piece

Place = tuple[int, bytes]  # database and name

_LARGEST: Final = 1 << 16  # bytes; what is larger is not tried
_FAILURES: Final = 12  # values that may open in nothing before the rest is given up
_TRIES: Final = 12_000  # decryptions in all; a thousand take about two milliseconds
_SHARES: Final = (2_500, 600, 600) + (120,) * (_FAILURES - 3)
"""Decryptions for one value, by how many opened in nothing so far."""
_COMPARED: Final = 64  # values that are compared before one opens
_SMALLEST: Final = 12 + TAG_SIZE  # bytes
_PREFIXES: Final = 6  # beginnings of a name
_WORDS: Final = 5  # of what stands before the first piece
_LIKELY: Final = 48  # cuts for which everything is tried before the rest
_LONGEST_VERSION: Final = 8  # bytes before a label that is authenticated without them
_NOTHING = Aad("none", None)
_WORD = re.compile(rb"[a-z][a-z0-9]*[_-]")
# Elixir's Cloak authenticates this, whatever the key.
_KNOWN = (Aad("text:AES256GCM", b"AES256GCM"),)
_MARK = re.compile(rb"[:/.\-_|]")


class Search:
    """Search: looks for cuts of *values*, by place, that open with *keyring*; *aads* are texts."""

    def __init__(
        self, keyring: Keyring, aads: Sequence[str], values: Mapping[Place, bytes]
    ) -> None:
        self._keys, self._left = list(keyring.all), _TRIES
        self._given = [Aad(f"text:{text}", text.encode()) for text in aads]
        tried = sorted(values.items(), key=lambda one: len(one[1]))
        # An empty ciphertext may stand anywhere: the shortest tell least.
        tried = tried[len(tried) // 4 :] + tried[: len(tried) // 4]
        self._values = {
            place: value
            for place, value in tried
            if len(value) <= _LARGEST and looks_encrypted(value)
        }
        compared: dict[tuple[Encoding | None, bool], list[bytes]] = {}
        for value in list(self._values.values())[:_COMPARED]:
            for within, text in _layers(value):
                compared.setdefault((within, _is_text(text)), []).append(text)
        self._samples = {kind: Samples(texts) for kind, texts in compared.items()}

    def hits(self) -> dict[Place, Hit]:
        """Return the cuts that open."""
        found: dict[Place, Hit] = {}
        failures = 0
        for place, value in self._values.items():
            if place in found or failures >= _FAILURES or self._left <= 0:
                continue
            hit = self._find(place[1], value, _SHARES[failures])
            if hit is None:
                failures += 1
                continue
            found[place] = hit
            for other, held in self._values.items():
                if other not in found and (more := self._like(hit, other[1], held)):
                    found[other] = more
        return found

    def _find(self, name: bytes, value: bytes, share: int) -> Hit | None:
        """Return the first cut of *value*, stored as *name*, that opens in a *share* of tries."""
        stop = max(0, self._left - share)
        layers = list(_layers(value))
        if _WORD.match(value):
            layers.reverse()  # a literal, though it may be read as bytes
        for within, text in layers:
            kind = within, _is_text(text)
            samples = self._samples.get(kind) or Samples([text])
            cuts = (text_cuts if kind[1] else bytes_cuts)(text, samples)
            for number in (_LIKELY, None):
                tried = list(islice(cuts, number))
                for far in (False, True):
                    aads = self._aads(name, far=far)
                    for cut in tried:
                        for aad in (*aads, *_of_cut(cut, name, far=far)):
                            if key := self._try(cut, aad):
                                return Hit(within, cut, aad, key)
                        if self._left <= stop:
                            return None
        return None

    def _like(self, hit: Hit, name: bytes, value: bytes) -> Hit | None:
        """Return a cut of another *value* that is like that of *hit*, if it opens."""
        text = value if hit.within is None else decode(hit.within, value)
        cut = None if text is None else _cut_like(hit.cut, text)
        if cut is None:
            return None
        aads = [
            aad
            for far in (False, True)
            for aad in (*self._aads(name, far=far), *_of_cut(cut, name, far=far))
            if aad.kind == hit.aad.kind
        ]
        for aad in aads:
            if key := self._try(cut, aad):
                return Hit(hit.within, cut, aad, key)
        return None

    def _try(self, cut: Cut, aad: Aad) -> Key | None:
        """Return the key that opens a *cut*; it is tried first from then on."""
        nonce, body, data = cut.nonce, cut.body, aad.data
        for key in self._keys:
            if key.decrypt(nonce, body, data) is not None:
                self._keys.remove(key)
                self._keys.insert(0, key)
                return key
        self._left -= len(self._keys)
        return None

    def _aads(self, name: bytes, *, far: bool) -> list[Aad]:
        """Return what may have been authenticated with a value, whatever its cut."""
        if not far:
            return [_NOTHING, Aad("name", name)]
        found = [*self._given, *_KNOWN]
        if isinstance(name, FieldName):
            found.append(Aad("field", name.field))
        ends = [mark.end() for mark in _MARK.finditer(name)][:_PREFIXES]
        for end in ends:
            try:
                prefix = name[:end].decode()
            except UnicodeDecodeError:
                break  # no configuration can say that
            found.append(Aad(f"name-without:{prefix}", name[end:]))
        return found


def _layers(value: bytes) -> Iterator[tuple[Encoding | None, bytes]]:
    """Yield what is in *value* in each encoding that it may be in, and *value* itself."""
    if value.isascii():
        seen = set[bytes]()
        for encoding in TEXTUAL:
            inside = decode(encoding, value)
            if inside is not None and len(inside) >= _SMALLEST and inside not in seen:
                seen.add(inside)
                yield encoding, inside
                if encoding is Encoding.HEX:
                    break  # what is hex is not base64 by chance
    yield None, value


def _is_text(text: bytes) -> bool:
    """Return whether *text* is UTF-8: a value in bytes is that once in a million."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _of_cut(cut: Cut, name: bytes, *, far: bool) -> Iterator[Aad]:
    """Yield what may have been authenticated of that which stands before the first piece."""
    head = cut.head
    likely = b".." in cut.text  # the header of a JWE
    if not head or far is likely:
        return
    for text in _of_head(head):
        yield Aad(OF_HEAD, text)
    if cut.encoding is Encoding.RAW and cut.spans[0].parts[0][0] == "nonce":
        yield Aad("header+name", head + name)


@lru_cache(maxsize=256)
def _of_head(head: bytes) -> tuple[bytes, ...]:
    """Return the parts of *head* that may be authenticated: all of it, words, what ends it."""
    found = [head]
    if head.isascii() and head.decode().isprintable():
        words = [word.span() for word in re.finditer(rb"[A-Za-z0-9+/=_-]+", head)][:_WORDS]
        words += [word.span() for word in re.finditer(rb"[A-Za-z0-9]+", head)][:_WORDS]
        for start, _ in words:
            for _, end in words:
                if start < end:
                    found.append(head[start:end])
        found.append(head[1:])  # behind a version
    else:
        found += [head[start:] for start in range(1, _LONGEST_VERSION + 1)]
    return tuple(dict.fromkeys(filter(None, found)))


def _cut_like(cut: Cut, text: bytes) -> Cut | None:
    """Return *text* cut like another one; None: it is not like it."""
    found = _pattern(cut.encoding, cut.glue, cut.pieces).fullmatch(text)
    if found is None:
        return None
    got: dict[str, bytes] = {}
    spans = []
    for number, parts in enumerate(cut.pieces, 1):
        raw = decode(cut.encoding, found[number])
        if raw is None or not cut_piece(raw, parts, got):
            return None
        spans.append(Span(*found.span(number), parts))
    body = got["ciphertext"] + got["tag"]
    return Cut(cut.encoding, text, tuple(spans), got["nonce"], body)


@lru_cache(maxsize=64)
def _pattern(
    encoding: Encoding, glue: tuple[bytes, ...], pieces: tuple[Parts, ...]
) -> re.Pattern[bytes]:
    """Return what finds the pieces of values that are like one with this *glue*."""
    made = [_loose(glue[0], last=False)]
    for number, (parts, text) in enumerate(zip(pieces, glue[1:], strict=True), 1):
        size = sum(size for _, size in parts)
        fixed = all(size for _, size in parts)
        made.append(b"(%b)" % _written(encoding, size if fixed else None))
        made.append(_loose(text, last=number == len(pieces)))
    return re.compile(b"".join(made), re.DOTALL)


def _written(encoding: Encoding, size: int | None) -> bytes:
    """Return the pattern of *size* bytes in an encoding; None: of any number."""
    if encoding is Encoding.RAW:
        return b".*" if size is None else b".{%d}" % size
    letter = b"[%b]" % re.escape(ALPHABETS[encoding].rstrip(b"="))
    if size is None:
        return b"%b*={0,2}" % letter
    if encoding is Encoding.HEX:
        return b"%b{%d}" % (letter, 2 * size)
    return b"%b{%d}={0,2}" % (letter, -(-size * 4 // 3))


def _loose(text: bytes, *, last: bool) -> bytes:
    """Return the pattern of what is like *text*: marks and words, or as many bytes."""
    if not (text.isascii() and text.decode().isprintable()):
        return b".{%d}" % len(text)
    made = []
    for found in re.finditer(rb"[A-Za-z0-9]+|[^A-Za-z0-9]", text):
        word, then = found[0], text[found.end() : found.end() + 1]
        if not word.isalnum():
            made.append(re.escape(word))
        elif then:
            made.append(b"[^%b]*" % re.escape(then))
        else:
            made.append(b".*" if last else b".{%d}" % len(word))
    return b"".join(made)
