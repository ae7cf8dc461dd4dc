"""
Format search: guesses layouts that nobody configured, and proves them by decrypting.

What is tried on a value, in this order: formats that have a name and are not in use; then the
common layouts: nonce of 12 or 16 bytes, nonce, ciphertext and tag in every order, up to `LITERAL`
bytes of some header before them, every encoding, with the name authenticated and without. Only
authenticated decryption counts, so a hit is no coincidence.

Limit: only the keys of the keyring are tried. A value under another key opens in no format, and
nothing can tell which format it has.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, count, permutations, product

from rotator.crypto.codec import Codec, Opened
from rotator.crypto.encoding import Encoding
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import Format

LITERAL = 4  # bytes

_TRIED = 12  # values that may open in nothing before the rest is given up; each costs milliseconds
_LARGEST = 1 << 16  # bytes; what is larger is not tried with every layout
_NAME = "detected"

Place = tuple[int, bytes]  # database and name
Guess = tuple[Format, Key]


def search_formats(
    keyring: Keyring,
    named: Mapping[str, Format],
    used: Sequence[str],
    values: Mapping[Place, bytes],
) -> dict[Place, Guess]:
    """
    Return what opens *values*; those that nothing opens are left out.

    *named* are the formats that have a name, *used* the names of those that are known not to open
    them. A format of ours is called `detected`, the next one `detected-2`, past what *named* has.
    """
    found: dict[Place, Guess] = {}
    known = dict(named)
    tries = _TRIED
    for place, value in sorted(values.items(), key=lambda item: len(item[1])):
        if place in found or not tries or len(value) > _LARGEST:
            continue
        unused = [form for name, form in known.items() if name not in used]
        forms = [*unused, *_layouts(value)]
        fits = [form for form in forms if _key(keyring, form, place[1], value)]
        if not fits:
            tries -= 1
            continue
        rest = {other: held for other, held in values.items() if other not in found}
        # Text may fit two encodings: the one that opens most of the others is meant.
        best = max((_opened(keyring, form, rest) for form in fits), key=len)
        form = best[place][0]
        name = form.name if form.name in known else _free(known)
        known[name] = replace(form, name=name)
        found |= {other: (known[name], key) for other, (_, key) in best.items()}
    return found


def _opened(keyring: Keyring, form: Format, values: Mapping[Place, bytes]) -> dict[Place, Guess]:
    """Return those of *values* that *form* opens."""
    keys = {place: _key(keyring, form, place[1], value) for place, value in values.items()}
    return {place: (form, key) for place, key in keys.items() if key is not None}


def _key(keyring: Keyring, form: Format, name: bytes, value: bytes) -> Key | None:
    """Return the key under which *form* opens *value*, or None."""
    opened = Codec(keyring, [form]).open(name, value)
    return opened.key if isinstance(opened, Opened) else None


def _layouts(value: bytes) -> Iterator[Format]:
    """Yield formats without a name of their own that *value* may have."""
    for encoding in Encoding:
        for start in _starts(encoding, value):
            literal = (f"hex:{start.hex()}",) if start else ()
            aads = ("none", "name", *(("header+name", *literal) if start else ()))
            for size, order, aad in product((12, 16), permutations(range(3)), aads):
                parts = (f"nonce:{size}", "ciphertext", "tag:16")
                if aad == "header+name" and order[0] != 0:
                    continue  # nothing but the nonce may stand behind a header
                yield Format("", encoding, (*literal, *(parts[i] for i in order)), aad)


def _starts(encoding: Encoding, value: bytes) -> Iterator[bytes]:
    """Yield the literals that *value* may begin with, none first."""
    parts = Format("", encoding, ("nonce:8", "ciphertext", "tag:16"), "none").cutter.cut(value)
    if parts is not None:
        yield from (parts.nonce[:size] for size in range(LITERAL + 1))


def _free(known: Mapping[str, Format]) -> str:
    """Return a name that no format has."""
    numbered = (f"{_NAME}-{number}" for number in count(2))
    return next(name for name in chain([_NAME], numbered) if name not in known)
