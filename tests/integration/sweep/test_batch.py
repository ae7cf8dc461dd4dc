"""Values done in one go come to the same end as one by one."""

from base64 import b64encode

import hypothesis.strategies as st
import pytest
from hypothesis import given

from rotator.crypto.codec import Codec, Opened
from rotator.crypto.encoding import Encoding
from rotator.crypto.keyring import Key, Keyring, generate
from rotator.crypto.layout import BUILTIN, Format
from rotator.errors import SelfCheckError
from rotator.sweep.node.page import Page, decide
from rotator.sweep.node.selector import Rotation
from support.caches import meddled

KEYS = [Key.from_text(generate(), f"key {number}") for number in range(4)]
TAIL = ("nonce:12", "ciphertext", "tag:16")
FORMATS = [
    *BUILTIN.values(),
    Format("hexed", Encoding.HEX, ("hex:02", *TAIL), "name"),
    Format("tag-first", Encoding.RAW, ("tag:16", "nonce:16", "ciphertext"), "hex:aa"),
    Format("labelled", Encoding.BASE64URL, ("hex:ff", "key-id:8", *TAIL), "header+name"),
]
LARGEST = 1 << 20


def codec(*numbers, formats=None, write=None):
    """A codec of some of the keys, the first of them current."""
    current, *old = (KEYS[number] for number in numbers)
    return Codec(Keyring(current, old), formats or FORMATS, write)


def renew(codec, names, values, movable, largest):
    """What is decided about *values* when those under one of the keys *movable* are to move."""
    rotation = Rotation(codec, writes=True, largest=largest)
    rotation.movable = movable
    return decide(Page(names, values), codec, rotation)


@st.composite
def values(draw, name):
    """A value of any kind: current, old, of a foreign key, nested, plain, broken or none at all."""
    writer = codec(draw(st.integers(0, 3)))
    form = draw(st.sampled_from(FORMATS))
    plaintext = draw(st.one_of(st.binary(max_size=100), st.binary(max_size=75).map(b64encode)))
    kind = draw(st.sampled_from(["sealed", "nested", "plain", "broken", "none"]))
    value = writer.seal(name, plaintext, form)
    if kind == "nested":
        return writer.seal(name, value, draw(st.sampled_from(FORMATS)))
    other = {"plain": plaintext, "broken": value[:-1], "none": None}
    return other.get(kind, value)


@given(st.data(), st.sampled_from([None, *FORMATS]), st.booleans())
def test_as_one_by_one(data, write, moves):
    """Each index is in one place, and it is the one where the codec by itself would put it."""
    one = codec(0, 1, 2, write=write)
    names = [b"app:%d" % number for number in range(data.draw(st.integers(0, 8)))]
    held = [data.draw(values(name)) for name in names]
    movable = frozenset(KEYS[1:3]) if moves else frozenset()
    batch = renew(one, names, held, movable, LARGEST)
    kept = {one.name: one.keys for one in batch.kept}
    swaps = {swap.name: (swap, swap.key) for swap in batch.rewrites}
    current = 0
    for index, (name, value) in enumerate(zip(names, held, strict=True)):
        opened = None if value is None else one.open(name, value)
        if index in batch.undecided:
            assert not isinstance(opened, Opened) or opened.inner or write or name not in swaps
            continue
        assert isinstance(opened, Opened)
        assert not opened.inner
        if name in swaps:
            swap, key = swaps[name]
            again = codec(0).open(name, swap.new)
            assert (again.plaintext, again.format) == (opened.plaintext, opened.format)
            assert (swap.old, key) == (value, opened.key)
            assert key in movable
        elif name in kept:
            assert kept[name] == (opened.key,)
            assert opened.key not in movable
        else:
            assert not one.needs_rewrite(opened)
            current += 1
    assert batch.current == current
    assert len(names) == current + len(swaps) + len(kept) + len(batch.undecided)


@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_what_most_values_are_needs_no_second_look(form):
    """JSON under an old key is settled in one go, in each format that is spelled as usual."""
    names = [b"app:%d" % number for number in range(20)]
    held = [codec(1).seal(name, b'{"session": "%b"}' % (b"s" * 80), form) for name in names]
    batch = renew(codec(0, 1), names, held, frozenset(KEYS), LARGEST)
    assert (batch.undecided, len(batch.rewrites)) == ([], 20)
    new = [swap.new for swap in batch.rewrites]
    again = renew(codec(0, 1), names, new, frozenset(KEYS), LARGEST)
    assert (again.current, again.undecided) == (20, [])
    assert again.current_size == sum(map(len, new))


def test_nonces_are_never_used_twice():
    """A thousand values of one plaintext in one go have a thousand nonces."""
    names = [b"app"] * 1000
    held = [codec(1).seal(b"app", b"the same", BUILTIN["sealed"])] * 1000
    batch = renew(codec(0, 1), names, held, frozenset(KEYS), LARGEST)
    assert len({swap.new[12:24] for swap in batch.rewrites}) == 1000


def test_a_nonce_longer_than_usual_is_filled():
    """A format with a nonce of 16 bytes gets all of them from the operating system."""
    form = FORMATS[4]
    held = codec(1).seal(b"app", b"text", form)
    batch = renew(codec(0, 1), [b"app"] * 50, [held] * 50, frozenset(KEYS), LARGEST)
    assert len({swap.new[16:32] for swap in batch.rewrites}) == 50


def test_what_is_too_large_is_left():
    """Whether the server takes it is for somebody else to see."""
    held = codec(1).seal(b"app", b"x" * 100, BUILTIN["gcm"])
    assert renew(codec(0, 1), [b"app"], [held], frozenset(KEYS), 100).undecided == [0]


def test_self_check(monkeypatch):
    """A ciphertext that does not open is not handed out in one go either."""
    held = codec(1).seal(b"app", b"text", BUILTIN["sealed"])
    encrypt = Key.encrypt
    monkeypatch.setattr(
        Key, "encrypt", lambda key, nonce, text, aad: encrypt(key, nonce, text + b"!", aad)
    )
    with pytest.raises(SelfCheckError):
        renew(codec(0, 1), [b"app"], [held], frozenset(KEYS), LARGEST)


def test_large_values_are_handled_one_at_a_time(redis, place):
    """Once a value of more than a megabyte was met, pages shrink to single names."""
    cache = place.cache
    for number in range(100):
        cache.put(redis, f"app:{number}", b"x" * 1_100_000)
    asked: list[int] = []
    report = place.run(kind=meddled(before_page=asked.append), verify=False)
    assert report.caches[0].outcomes["rotated"] == 100
    # A sample comes first, and pages are on their way before the first value is seen. How many
    # names SCAN gives is its own affair: Valkey since 8.1 gives all that share a bucket.
    first = asked.index(1)
    assert 0 < first <= 6
    assert set(asked[first:]) == {1}
