"""
Write the test vectors of the value formats: `python scripts/make_vectors.py [FOLDER]`.

One JSON file per format, into tests/vectors unless another folder is given. Keys, nonces, names,
plaintexts and values are hex. Everything is derived from fixed labels, so that a second run writes
the same bytes; the keys are for tests only.

A valid vector opens to its plaintext under the key it names. An invalid one must be refused by a
reader that knows the keys of the file, for its reason; one with `written_for` was moved from that
name to this one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from rotator.crypto.bytes_layout import Parts
from rotator.crypto.codec import Reason
from rotator.crypto.keyring import Key
from rotator.crypto.layout import BUILTIN, Format

FOLDER: Final = Path(__file__).parent.parent / "tests" / "vectors"
NAME: Final = b"/app/oidc:abc123"
TEXT: Final = b'{"client_id":"portal","scope":"openid profile"}'
VENDOR: Final = Format.parse(
    "vendor-2026", "base64", ["hex:02", "nonce:12", "ciphertext", "tag:16"], "none"
)
FORMATS: Final = (*BUILTIN.values(), VENDOR)
ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
SIZES: Final = {"nonce:12": 12, "ciphertext": len(TEXT), "tag:16": 16, "key-id:8": 8}
# The nonce of a case comes from what it says.
PLAINTEXTS: Final = {
    "an empty plaintext": b"",
    "one zero byte": b"\x00",
    "one cipher block": bytes(range(16)),
    "every byte once": bytes(range(256)),
    "text": TEXT,
    "text, one byte longer": TEXT + b".",
    "text, two bytes longer": TEXT + b"..",
}

Vector = dict[str, Any]


def derived(label: str) -> bytes:
    """32 bytes that look random and are the same every time."""
    return hashlib.sha256(f"rotator test vector: {label}".encode()).digest()


CURRENT, OLD, FOREIGN = (Key(derived(f"{name} key"), name) for name in ("first", "second", "third"))


def sealed(form: Format, key: Key, label: str, plaintext: bytes, name: bytes = NAME) -> bytes:
    """What *key* makes of *plaintext* in *form*, with the nonce of *label*."""
    nonce, cutter = derived(label)[:12], form.cutter
    unsealed = Parts(key.id_bytes, b"", nonce, b"", cutter.header(key.id_bytes), None)
    body = key.encrypt(nonce, plaintext, form.associated(name, unsealed))
    return cutter.join(key.id_bytes, b"", nonce, body)


def valid(form: Format) -> Iterator[Vector]:
    """Values that open."""
    cases = [(says, CURRENT, NAME, plaintext) for says, plaintext in PLAINTEXTS.items()]
    cases.append(("text under the second key", OLD, NAME, TEXT))
    cases.append(("a name that is not text", CURRENT, b"\x00\xff:", TEXT))
    cases.append(("an empty name", CURRENT, b"", TEXT))
    for says, key, name, plaintext in cases:
        value = sealed(form, key, says, plaintext, name)
        vector = {
            "says": says,
            "valid": True,
            "key_id": key.id,
            "name": name.hex(),
            "nonce": derived(says)[:12].hex(),
            "plaintext": plaintext.hex(),
        }
        yield vector | {"value": value.hex()}
        if value.endswith(b"=") and form.encoding == "base64":
            bare = {"says": f"{says}, without padding", "value": value.rstrip(b"=").hex()}
            yield vector | bare


def invalid(form: Format) -> Iterator[Vector]:
    """Values that must be refused."""
    good = sealed(form, CURRENT, "text", TEXT)
    laid_out = good if form.encoding == "raw" else base64.b64decode(good)
    cases = [*damaged(form, laid_out), *not_values(form, laid_out)]
    foreign = Reason.UNKNOWN_KEY_ID if "key-id:8" in form.layout else Reason.BAD_TAG
    cases.append(("another key", sealed(form, FOREIGN, "text", TEXT), foreign))
    if form.encoding == "base64":
        cases += [(says, text, Reason.NOT_A_FORMAT) for says, text in not_canonical(form)]
    for says, value, reason in cases:
        yield refusal(says, value, reason)
    if form.binds_name:
        moved = sealed(form, CURRENT, "moved", TEXT, b"/app/oidc:other")
        vector = refusal("moved from another name", moved, Reason.WRONG_NAME)
        yield vector | {"written_for": b"/app/oidc:other".hex()}


def refusal(says: str, value: bytes, reason: Reason) -> Vector:
    """The invalid vector of *value*."""
    shown = {"name": NAME.hex(), "value": value.hex(), "reason": reason.value}
    return {"says": says, "valid": False} | shown


def damaged(form: Format, laid_out: bytes) -> Iterator[tuple[str, bytes, Reason]]:
    """The same value with one bit of each part flipped, or cut short."""
    start = 0
    for part in form.layout:
        kind, _, literal = part.partition(":")
        size = len(literal) // 2 if kind == "hex" else SIZES[part]
        flipped = bytearray(laid_out)
        flipped[start + size // 2] ^= 0x10
        reasons = {"hex": Reason.NOT_A_FORMAT, "key-id": Reason.UNKNOWN_KEY_ID}
        reason = reasons.get(kind, Reason.BAD_TAG)
        yield f"one bit of {part} flipped", written(form, bytes(flipped)), reason
        start += size
    yield "the last byte cut off", written(form, laid_out[:-1]), Reason.BAD_TAG
    yield "a byte appended", written(form, laid_out + b"\x00"), Reason.BAD_TAG
    if "key-id:8" in form.layout:
        relabelled = laid_out.replace(CURRENT.id_bytes, OLD.id_bytes)
        yield "the key id of the other key", written(form, relabelled), Reason.BAD_TAG


def not_values(form: Format, laid_out: bytes) -> Iterator[tuple[str, bytes, Reason]]:
    """What cannot be a value of *form* at all."""
    short = len(laid_out) - len(TEXT) - 1
    yield (
        "one byte too short for any plaintext",
        written(form, laid_out[:short]),
        Reason.NOT_A_FORMAT,
    )
    yield "empty", b"", Reason.NOT_A_FORMAT
    yield "plain text", b'{"session":"' + b"a" * 100 + b'"}', Reason.NOT_A_FORMAT


def written(form: Format, laid_out: bytes) -> bytes:
    """*laid_out* in the encoding of *form*."""
    return laid_out if form.encoding == "raw" else base64.b64encode(laid_out)


def not_canonical(form: Format) -> Iterator[tuple[str, bytes]]:
    """Base64 text in ways that decoders forgive."""
    good = padded(form)
    yield "a line break at the end", good + b"\n"
    yield "a line break inside", good[:40] + b"\r\n" + good[40:]
    yield "a space in front", b" " + good
    yield "a foreign character inside", good[:8] + b"*" + good[8:]
    yield "padding where none belongs", good + b"===="
    yield "half of the padding", good[:-1]
    # Two padding characters leave four bits of the last letter unused.
    letter = bytes([ALPHABET[ALPHABET.index(good[-3]) + 1]])
    yield "a bit set that belongs to no byte", good[:-3] + letter + b"=="


def padded(form: Format) -> bytes:
    """A value in base64 that ends in two padding characters."""
    values = (sealed(form, CURRENT, "padded", TEXT + b"." * more) for more in range(3))
    return next(value for value in values if value.endswith(b"=="))


def document(form: Format) -> dict[str, Any]:
    """All there is to say about *form*."""
    layout = {"encoding": form.encoding.value, "layout": list(form.layout), "aad": form.aad}
    return {
        "comment": "made by scripts/make_vectors.py; all bytes are hex; these keys are for tests",
        "format": {"name": form.name, **layout},
        "keys": [
            {"id": key.id, "key": derived(f"{key.field} key").hex()} for key in (CURRENT, OLD)
        ],
        "vectors": [*valid(form), *invalid(form)],
    }


def main(folder: Path = FOLDER) -> None:
    """Write one file per format into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    for form in FORMATS:
        text = json.dumps(document(form), indent=1) + "\n"
        (folder / f"{form.name}.json").write_text(text, encoding="ascii")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
