"""The codec: who reads what, what is refused and why, what is nested."""

import base64
import dataclasses
import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rotator.crypto.bytes_layout import BytesLayout
from rotator.crypto.codec import Codec, Opened, Reason, label_text
from rotator.crypto.encoding import Encoding
from rotator.crypto.format_codec import FormatCodec
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN, Format
from rotator.errors import Exit, FormatError, SelfCheckError, UnmetFormatError

NAME = b"/app/oidc:abc123"
SEALED, GCM, GCM_BASE64 = BUILTIN.values()
VENDOR = Format.parse("vendor-2026", "base64", ["hex:02", "nonce:12", "ciphertext", "tag:16"])
NAMED = Format.parse("named", "hex", ["nonce:12", "tag:16", "ciphertext"], "name")
BARE_URL = Format.parse("url", "base64url", ["nonce:16", "ciphertext", "tag:16"], "hex:00ff")
ALL = (SEALED, GCM, GCM_BASE64, VENDOR, NAMED, BARE_URL)


def key(number):
    """A key that is the same for the same number."""
    return Key(hashlib.sha256(b"codec %d" % number).digest(), f"key {number}")


def codec(current, *old, formats=(SEALED, GCM, GCM_BASE64), write=None):
    """A codec of numbered keys."""
    return Codec(Keyring(key(current), [key(number) for number in old]), formats, write)


def _text(encoding, layout, **more):
    """A format whose layout is a text."""
    return Format.parse("theirs", encoding, layout, **more)


def _bare(text):
    """Base64 without its padding."""
    return text.replace(b"=", b"")


NODE = _text("hex", "{nonce}:{tag}:{ciphertext}")
RAILS = _text("base64", "{ciphertext}--{nonce}--{tag}")
CLOAK = _text("base64url", "v1.{nonce}.{ciphertext}{tag}")
LARAVEL = _text("base64", '{"iv":"{nonce}","v":"{ciphertext}{tag}"}', within="base64")
AS_IT_IS = bytes


@st.composite
def layouts(draw):
    """Any format that can be described, built in or not."""
    if draw(st.booleans()):
        return draw(st.sampled_from(ALL))
    literals = draw(st.lists(st.binary(min_size=1, max_size=4), max_size=2))
    parts = ["nonce:12", "ciphertext", "tag:16", *(f"hex:{text.hex()}" for text in literals)]
    parts += draw(st.sampled_from([[], ["key-id:8"]]))
    layout = draw(st.permutations(parts))
    aads = ["none", "name", "hex:00ff"]
    if layout.index("nonce:12") < min(layout.index("ciphertext"), layout.index("tag:16")):
        aads.append("header+name")
    encoding = draw(st.sampled_from(list(Encoding)))
    return Format.parse("drawn", encoding, layout, draw(st.sampled_from(aads)))


class TestRoundTrip:
    """What was sealed opens again."""

    @given(layouts(), st.binary(), st.binary())
    @example(SEALED, b"", b"")
    def test_any_plaintext_under_any_name(self, form, name, plaintext):
        """Any plaintext comes back, with its key and format."""
        both = codec(1, 2, formats=[form])

        opened = both.open(name, both.seal(name, plaintext))

        assert opened == Opened(plaintext, both.keyring.current, form)
        assert not both.needs_rewrite(opened)

    @given(layouts(), st.binary(), st.sampled_from([1, 2, 3]))
    def test_any_value_is_rewritten_in_its_own_format(self, form, plaintext, writer):
        """A value under any key moves to the current one and keeps size and format."""
        value = codec(writer, formats=[form]).seal(NAME, plaintext)
        ring = codec(1, 2, 3, formats=[form])

        rewritten = ring.rewrite(NAME, ring.open(NAME, value))

        assert codec(1, formats=[form]).open(NAME, rewritten).plaintext == plaintext
        assert len(rewritten) == len(value)
        assert rewritten != value

    @pytest.mark.parametrize("size", [0, 1, 2, 3, 64, 300])
    @pytest.mark.parametrize(
        ("form", "respell"),
        {
            NAMED: bytes.upper,
            GCM_BASE64: lambda text: text.rstrip(b"="),
            BARE_URL: lambda text: text.rstrip(b"="),
        }.items(),
        ids=["hex", "base64", "base64url"],
    )
    def test_spelling_survives(self, form, respell, size):
        """Upper-case hex stays upper-case, and base64 without padding stays without."""
        old, new = codec(2, formats=[form]), codec(1, 2, formats=[form], write=form)
        value = respell(old.seal(NAME, bytes(size)))

        rewritten = new.rewrite(NAME, new.open(NAME, value))

        assert respell(rewritten) == rewritten
        assert new.open(NAME, rewritten).plaintext == bytes(size)

    def test_values_never_repeat(self):
        """The same plaintext sealed twice gives two values."""
        assert len({codec(1).seal(NAME, b"text") for _ in range(100)}) == 100

    def test_formats_are_told_apart(self):
        """With all formats configured each value opens in its own."""
        ring = codec(1, 2, 3, formats=ALL)

        values = [codec(3).seal(NAME, b"text" * 20, form) for form in ALL]

        assert [ring.open(NAME, value).format for value in values] == list(ALL)


class TestRefusal:
    """What does not open, and the reason given."""

    @given(st.sampled_from([SEALED, GCM]), st.binary(max_size=40), st.data())
    def test_flipped_bit_is_refused(self, form, plaintext, data):
        """One bit flipped anywhere in a raw value, and it does not open."""
        one = codec(1, 2, formats=[form])
        value = bytearray(one.seal(NAME, plaintext))
        bit = data.draw(st.integers(0, 8 * len(value) - 1))

        value[bit // 8] ^= 1 << bit % 8

        assert isinstance(one.open(NAME, bytes(value)), Reason)

    def test_every_bit_of_one_value(self):
        """Not one bit of a sealed value may be another."""
        one = codec(1, 2)
        value = one.seal(NAME, b"text")

        for bit in range(8 * len(value)):
            flipped = bytearray(value)
            flipped[bit // 8] ^= 1 << bit % 8
            assert isinstance(one.open(NAME, bytes(flipped)), Reason)

    @given(layouts(), st.binary(max_size=40), st.data())
    def test_changed_byte_is_refused(self, form, plaintext, data):
        """One byte or letter changed anywhere in a value of any format, and it does not open."""
        one = codec(1, 2, formats=[form])
        value = one.seal(NAME, plaintext)
        place = data.draw(st.integers(0, len(value) - 1))
        letter = data.draw(st.integers(0, 255).filter(lambda letter: letter != value[place]))

        changed = value[:place] + bytes([letter]) + value[place + 1 :]

        assert isinstance(one.open(NAME, changed), Reason)

    @given(layouts(), st.binary(max_size=40), st.data())
    def test_shortened_value_is_refused(self, form, plaintext, data):
        """No beginning of a value opens, but base64 without its padding."""
        one = codec(1, formats=[form])
        value = one.seal(NAME, plaintext)
        cut = data.draw(st.integers(0, len(value) - 1))

        assert value[:cut] == value.rstrip(b"=") or isinstance(one.open(NAME, value[:cut]), Reason)

    @given(st.binary(max_size=400), st.binary())
    @example(b"", b"")
    @example(b"ROT\x01" + bytes(36), b"")
    def test_random_bytes_never_open(self, value, name):
        """No bytes that nobody sealed open, and none crash the codec."""
        assert isinstance(codec(1, 2, 3, formats=ALL).open(name, value), Reason)

    @given(st.text(alphabet="0123456789abcdefABCDEF+/=-_", max_size=200))
    def test_random_letters_never_open(self, text):
        """Nor does text made of the letters of the encodings."""
        assert isinstance(codec(1, 2, 3, formats=ALL).open(NAME, text.encode()), Reason)

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            pytest.param(value, reason, id=what)
            for what, value, reason in (
                ("a stranger's key id", codec(9).seal(NAME, b"x", SEALED), "unknown_key_id"),
                ("a stranger's key", codec(9).seal(NAME, b"x", GCM), "bad_tag"),
                ("sealed for another name", codec(1).seal(b"other", b"x", SEALED), "bad_tag"),
                ("plain text", b'{"session": "' + b"a" * 80 + b'"}', "not_a_format"),
                ("too short", b"ROT\x01", "not_a_format"),
                ("empty", b"", "not_a_format"),
            )
        ],
    )
    def test_reasons(self, value, reason):
        """Each refusal has the reason that says most."""
        assert codec(1, 2).open(NAME, value) is Reason(reason)

    @pytest.mark.parametrize("formats", [(SEALED, GCM), (GCM, SEALED)])
    def test_unknown_key_id_says_more_than_a_bad_tag(self, formats):
        """The order of formats does not change the reason."""
        value = codec(9).seal(NAME, b"x", SEALED)

        assert codec(1, formats=formats).open(NAME, value) is Reason.UNKNOWN_KEY_ID

    def test_key_id_is_not_believed(self):
        """A value that claims the current key and is under an old one does not open."""
        value = codec(2).seal(NAME, b"text", SEALED)
        relabelled = value.replace(key(2).id_bytes, key(1).id_bytes)

        assert codec(1, 2).open(NAME, relabelled) is Reason.BAD_TAG


class TestExplain:
    """A closer look at a bad tag."""

    @pytest.mark.parametrize("form", [SEALED, NAMED])
    @pytest.mark.parametrize("first_name", [b"", b"other"])
    def test_moved_value(self, form, first_name):
        """A value that opens under another name was moved."""
        one = codec(1, 2, formats=[GCM, form])
        value = codec(2).seal(first_name, b"text", form)

        assert one.explain(NAME, value, Reason.BAD_TAG, [b"x", NAME, b"other"]) == "wrong_name"

    def test_broken_value(self):
        """A value that opens under no name has a bad tag."""
        value = codec(1).seal(NAME, b"text", SEALED)[:-1] + b"\x00\x00"

        assert codec(1).explain(NAME, value, Reason.BAD_TAG, [b"other"]) is Reason.BAD_TAG

    @pytest.mark.parametrize("reason", [Reason.UNKNOWN_KEY_ID, Reason.NOT_A_FORMAT])
    def test_other_reasons_stay(self, reason):
        """Only a bad tag is looked into."""
        value = codec(1).seal(b"other", b"text", SEALED)

        assert codec(1).explain(NAME, value, reason, [b"other"]) is reason


# A rotation, stage by stage: the current key, then the old ones.
STAGES = {
    "p1": (1,),  # before
    "p2": (1, 2),  # everyone learns the new key, as an old one
    "p3": (2, 1),  # the new key encrypts
    "p4": (2,),  # the old key is gone
}
WHO_READS_WHAT = {
    "what p1 wrote is read by all but p4": ("p1", {"p1", "p2", "p3"}),
    "what p2 wrote is still under the first key": ("p2", {"p1", "p2", "p3"}),
    "what p3 wrote is read by all but p1": ("p3", {"p2", "p3", "p4"}),
    "what p4 wrote is not read by p1": ("p4", {"p2", "p3", "p4"}),
}


@pytest.mark.parametrize("form", ALL, ids=str)
class TestRotation:
    """The stages of a rotation."""

    @pytest.mark.parametrize(("writer", "readers"), WHO_READS_WHAT.values(), ids=WHO_READS_WHAT)
    def test_who_reads_what(self, form, writer, readers):
        """Each stage reads exactly what its keys allow."""
        value = codec(*STAGES[writer], formats=[form]).seal(NAME, b"text")

        opens = {
            stage
            for stage, keys in STAGES.items()
            if isinstance(codec(*keys, formats=[form]).open(NAME, value), Opened)
        }

        assert opens == readers

    @pytest.mark.parametrize("writer", STAGES)
    def test_after_a_rewrite_the_last_stage_reads_all(self, form, writer):
        """What p3 rewrote needs the first key no longer, whoever wrote it first."""
        value = codec(*STAGES[writer], formats=[form]).seal(NAME, b"text")
        rotating = codec(*STAGES["p3"], formats=[form])

        opened = rotating.open(NAME, value)
        rewritten = rotating.rewrite(NAME, opened)

        assert rotating.needs_rewrite(opened) == (writer in {"p1", "p2"})
        assert not rotating.needs_rewrite(rotating.open(NAME, rewritten))
        assert codec(*STAGES["p4"], formats=[form]).open(NAME, rewritten).plaintext == b"text"

    def test_rewriting_before_everyone_can_read_moves_nothing(self, form):
        """At p2 the first key is still current, so its values need no rewrite."""
        early = codec(*STAGES["p2"], formats=[form])

        assert not early.needs_rewrite(early.open(NAME, early.seal(NAME, b"text")))


class TestWrite:
    """One format for all that is written."""

    def test_value_under_the_current_key_moves_to_the_format(self):
        """A value in another format than the one to write is rewritten under any key."""
        one = codec(1, write=SEALED)
        opened = one.open(NAME, codec(1).seal(NAME, b"text", GCM))

        rewritten = one.open(NAME, one.rewrite(NAME, opened))

        assert one.needs_rewrite(opened)
        assert not one.needs_rewrite(rewritten)
        assert (rewritten.format, rewritten.plaintext) == (SEALED, b"text")

    def test_what_is_written_is_also_read(self):
        """The format to write is read even when it is not among the formats."""
        one = codec(1, formats=[GCM], write=SEALED)

        assert one.open(NAME, one.seal(NAME, b"text")).format == SEALED
        assert one.formats == (GCM, SEALED)

    def test_first_format_is_the_default(self):
        """Without a format to write, new values have the first one."""
        one = codec(1, formats=[GCM_BASE64, GCM])

        assert one.open(NAME, one.seal(NAME, b"text")).format == GCM_BASE64

    def test_no_format_is_refused(self):
        """A codec without formats would find nothing, and say that all is well."""
        with pytest.raises(FormatError, match=r"^no value format is given$") as caught:
            codec(1, formats=[])
        assert caught.value.hint == "name at least one: sealed, gcm, gcm-base64"

    @pytest.mark.parametrize("form", ALL, ids=str)
    def test_each_keeps_its_own(self, form):
        """Beside other formats a value keeps the one that it has."""
        ring = codec(1, 2, formats=ALL)
        opened = ring.open(NAME, codec(2).seal(NAME, b"text" * 20, form))
        moved = ring.open(NAME, ring.rewrite(NAME, opened))
        assert (moved.format, moved.key.id, moved.plaintext) == (form, key(1).id, b"text" * 20)


IN_A_ROW = [
    *(SEALED, GCM, GCM_BASE64, VENDOR),
    *(
        Format.parse("theirs", encoding, (*header, "nonce:12", "ciphertext", "tag:16"), aad)
        for encoding, header, aad in (
            ("hex", (), "name"),
            ("raw", (), "text:v1"),
            ("base64url", ("hex:01",), "header+name"),
            ("hex", ("key-id:8",), "name"),
            ("raw", ("key-id:8",), "hex:00ff"),
            ("base64", ("hex:01", "key-id:8"), "none"),
            ("base64", ("hex:01", "label:2"), "header+name"),
            ("raw", ("label:2",), "text:v1"),
        )
    ),
]


class CountingKey(Key):
    """A key that knows how often something was to be decrypted, with any key."""

    tries = 0

    def decrypt(self, nonce, body, aad):
        """What it opens."""
        CountingKey.tries += 1
        return super().decrypt(nonce, body, aad)


class TestInARow:
    """Header, nonce, ciphertext and tag in a row, as nearly all values are."""

    @pytest.mark.parametrize("form", IN_A_ROW, ids=str)
    def test_not_taken_apart(self, form, monkeypatch):
        """Such a value is opened and sealed with three slices, whatever is authenticated."""
        labels = {key(number).id: b"k%d" % number for number in (1, 2, 3)}
        values = [
            Codec(Keyring(key(number)), [form], None, labels).seal(NAME, b"text")
            for number in (1, 2, 3)
        ]
        for name in ("read_any", "seal_any"):
            monkeypatch.setattr(FormatCodec, name, lambda *_: pytest.fail("it is taken apart"))
        fresh = Format(form.name, form.encoding, form.layout, form.aad)
        ring = Codec(Keyring(key(1), [key(2), key(3)]), [fresh], None, labels)
        for number, value in enumerate(values, 1):
            opened = ring.open(NAME, value)
            assert (opened.plaintext, opened.key.id) == (b"text", key(number).id)
            moved = ring.open(NAME, ring.rewrite(NAME, opened))
            assert (moved.plaintext, moved.key.id) == (b"text", key(1).id)
        assert ring.open(NAME, b"A") is Reason.NOT_A_FORMAT

    @pytest.mark.parametrize(
        ("aad", "data"),
        [
            ("none", None),
            ("name", NAME),
            ("text:v1", b"v1"),
            ("hex:00ff", b"\x00\xff"),
            ("header+name", b"\x01" + NAME),
        ],
    )
    def test_what_is_authenticated(self, aad, data):
        """The cipher alone opens what is sealed, and makes what is opened, with this data."""
        form = Format.parse("theirs", "raw", ["hex:01", "nonce", "ciphertext", "tag:16"], aad)
        one, nonce = codec(1, formats=[form]), bytes(range(12))
        value = b"\x01" + nonce + key(1).encrypt(nonce, b"text", data)
        assert one.open(NAME, value).plaintext == b"text"
        made = one.seal(NAME, b"text")
        assert key(1).decrypt(made[1:13], made[13:], data) == b"text"

    @pytest.mark.parametrize("form", [GCM, NAMED, NODE], ids=str)
    def test_the_last_key_first(self, form):
        """The key that fitted last is tried first, so that most values are tried once."""
        keys = [
            CountingKey(hashlib.sha256(b"codec %d" % number).digest(), "") for number in (1, 2, 3)
        ]
        ring = Codec(Keyring(keys[0], keys[1:]), [form])
        made = {number: codec(number).seal(NAME, b"text", form) for number in (1, 2, 3)}
        tries = []
        for number in (1, 3, 3, 2, 2, 1):
            before = CountingKey.tries
            assert ring.read(NAME, made[number])[1] is keys[number - 1]
            tries.append(CountingKey.tries - before)
        assert [tries[0], tries[2], tries[4]] == [1, 1, 1]
        assert all(number <= 4 for number in tries)


class TestForbidden:
    """Formats in which nothing may be written yet."""

    @pytest.mark.parametrize("form", [VENDOR, NODE], ids=str)
    def test_only_those(self, form):
        """Nothing is sealed in them, and they are read as ever; others are written."""
        ring, value = codec(1, 2, formats=[GCM, form]), codec(2).seal(NAME, b"text", form)
        ring.forbid([form.name])
        with pytest.raises(UnmetFormatError, match=form.name):
            ring.rewrite(NAME, ring.open(NAME, value))
        assert ring.open(NAME, ring.seal(NAME, b"text")).format == GCM
        assert ring.forbidden == {form.name}

        ring.forbid([])

        assert ring.open(NAME, ring.rewrite(NAME, ring.open(NAME, value))).format == form
        assert ring.forbidden == frozenset()

    def test_at_first(self):
        """At first nothing is forbidden."""
        assert codec(1, formats=[VENDOR]).forbidden == frozenset()

    def test_fault(self):
        """What is kept of an old value can be written again, and not made up."""
        kept = Format.parse("kept", "raw", ["hex:01", "keep:2", "nonce", "ciphertext", "tag:16"])
        ring = codec(1, formats=[kept])
        assert ring.fault(kept) is None
        assert ring.fault(kept, new=True) == (
            "the format kept keeps parts of an old value, and there is none"
        )
        with pytest.raises(FormatError, match="keeps parts of an old value") as caught:
            ring.seal(NAME, b"text")
        assert caught.value.hint == "see `rotator docs formats`"


class TestNamed:
    """What values call their keys."""

    @pytest.mark.parametrize(
        ("value", "named"),
        [
            (codec(9).seal(NAME, b"x", SEALED), key(9).id),
            (codec(2).seal(NAME, b"x", SEALED), None),
            (codec(9).seal(NAME, b"x", GCM), None),
            (b"ROT", None),
            (b"", None),
        ],
        ids=["unknown key", "known key", "no id", "cut", "empty"],
    )
    def test_key_id(self, value, named):
        """A key id that nobody has is told, as text."""
        assert codec(1, 2).named_key(value) == named

    @pytest.mark.parametrize(
        ("label", "text"),
        [
            (b"k1", "k1"),
            ("schlüssel".encode(), "schlüssel"),
            (b"\xff", "hex:ff"),
            (b"a\x00", "hex:6100"),
            (b"hex:00", "hex:6865783a3030"),
        ],
    )
    def test_label(self, label, text):
        """A label is told as the configuration has it; what is no text there, by its bytes."""
        form = _text("raw", "{label}|{nonce}{ciphertext}{tag}")
        value = Codec(Keyring(key(2)), [form], None, {key(2).id: label}).seal(NAME, b"text")
        known = Codec(Keyring(key(1), [key(2)]), [form], None, {key(2).id: label})
        assert label_text(label) == text
        assert Codec(Keyring(key(1)), [form], None, {key(1).id: b"k0"}).named_key(value) == text
        assert (known.named_key(value), known.named_key(b"|")) == (None, None)


class TestLearn:
    """New values are written as those that are there."""

    @pytest.mark.parametrize(
        ("form", "way"),
        [
            *((SEALED, AS_IT_IS), (NAMED, AS_IT_IS), (NAMED, bytes.upper), (NODE, bytes.upper)),
            *((GCM_BASE64, AS_IT_IS), (GCM_BASE64, _bare), (BARE_URL, AS_IT_IS), (BARE_URL, _bare)),
            *((RAILS, AS_IT_IS), (RAILS, _bare), (CLOAK, AS_IT_IS), (LARAVEL, AS_IT_IS)),
            (LARAVEL, _bare),
        ],
    )
    def test_case_and_padding(self, form, way):
        """Case and padding are those of values that show them, also when later ones are none."""
        theirs, ours = (codec(1, formats=[form]) for _ in range(2))
        ours.learn(form, [way(theirs.seal(NAME, bytes(size))) for size in range(6)])
        ours.learn(form, [])

        made = [ours.seal(NAME, bytes(size)) for size in range(6)]

        assert [way(value) for value in made] == made
        assert [len(value) for value in made] == [
            len(way(theirs.seal(NAME, bytes(size)))) for size in range(6)
        ]
        assert all(ours.open(NAME, value).plaintext == bytes(at) for at, value in enumerate(made))

    def test_padding_where_it_is_not_usual(self):
        """Text in base64url has padding where the values that are there have it."""
        nonce, body = bytes(12), key(1).encrypt(bytes(12), b"text", None)
        padded = b".".join([b"v1", *map(base64.urlsafe_b64encode, (nonce, body))])
        ours = codec(1, formats=[CLOAK])
        assert not ours.seal(NAME, b"text").endswith(b"=")

        ours.learn(CLOAK, [padded])

        assert ours.seal(NAME, b"text").endswith(b"=")


class TestNested:
    """Values inside values."""

    @pytest.mark.parametrize("inner", ALL, ids=str)
    @pytest.mark.parametrize("outer", ALL, ids=str)
    @pytest.mark.parametrize("numbers", [(1, 1), (1, 2), (2, 1), (2, 3)])
    def test_value_in_a_value_is_found(self, outer, inner, numbers):
        """Whatever the two formats and keys are, the inner key is reported."""
        first, second = numbers
        value = codec(first).seal(NAME, codec(second).seal(NAME, b"x" * 80, inner), outer)

        opened = codec(1, 2, 3, formats=ALL).open(NAME, value)

        assert opened.key.id == key(first).id
        assert [inside.id for inside in opened.inner] == [key(second).id]

    def test_layers_are_reported_outermost_first(self):
        """Each layer's key is reported, in the order of the layers."""
        value = b"text"
        for number in (1, 2, 3):
            value = codec(number).seal(NAME, value, GCM)

        opened = codec(1, 2, 3).open(NAME, value)

        assert opened.key.id == key(3).id
        assert [inside.id for inside in opened.inner] == [key(2).id, key(1).id]

    def test_every_layer_is_opened(self):
        """A value that was encrypted again and again is opened to its innermost layer."""
        value = codec(2).seal(NAME, b"text", GCM)
        for _ in range(50):
            value = codec(1).seal(NAME, value, GCM)

        opened = codec(1, 2).open(NAME, value)

        assert [inside.id for inside in opened.inner] == [key(1).id] * 49 + [key(2).id]
        assert [one.id for one in opened.keys] == [key(1).id, key(2).id]

    def test_empty_inner_plaintext(self):
        """The smallest inner value is found too."""
        value = codec(1).seal(NAME, codec(2).seal(NAME, b"", GCM), GCM)

        assert len(codec(1, 2).open(NAME, value).inner) == 1

    def test_inner_value_under_an_unknown_key_is_plaintext(self):
        """Without the inner key there is nothing to tell it from data."""
        inner = codec(9).seal(NAME, b"text", SEALED)

        assert codec(1, 2).open(NAME, codec(1).seal(NAME, inner)).inner == ()

    def test_inner_value_of_another_name_is_plaintext(self):
        """A value bound to another name does not open here, inside no more than outside."""
        inner = codec(1).seal(b"other", b"text", SEALED)

        assert codec(1).open(NAME, codec(1).seal(NAME, inner)).inner == ()

    @given(st.binary(max_size=300))
    def test_plaintext_is_not_nested_by_chance(self, plaintext):
        """Data does not look like a value."""
        ring = codec(1, 2, formats=ALL)

        assert ring.open(NAME, ring.seal(NAME, plaintext)).inner == ()

    def test_nested_value_is_not_rewritten(self):
        """It is for a person to decide what a nested value should be."""
        ring = codec(1, 2)
        opened = ring.open(NAME, codec(2).seal(NAME, codec(2).seal(NAME, b"text")))

        with pytest.raises(ValueError, match="nested"):
            ring.rewrite(NAME, opened)


class BrokenKey(Key):
    """A key that encrypts something else than it was given."""

    def encrypt(self, nonce, plaintext, aad):
        """The ciphertext of the plaintext and one byte more."""
        return super().encrypt(nonce, plaintext + b"\x00", aad)


class ForgetfulLayout(BytesLayout):
    """A layout that loses the last byte."""

    def join(self, *parts):
        """The value without its last byte."""
        return super().join(*parts)[:-1]


class MislabellingLayout(BytesLayout):
    """A layout that writes another key's id."""

    def join(self, *parts):
        """The value with the key id of key 2."""
        return super().join(key(2).id_bytes, *parts[1:])


class TestSelfCheck:
    """Nothing is handed out that does not open."""

    def test_broken_cipher_is_caught(self):
        """A ciphertext of something else is not handed out."""
        broken = BrokenKey(hashlib.sha256(b"broken").digest(), "broken")
        one = Codec(Keyring(broken), [SEALED])

        with pytest.raises(SelfCheckError, match=r"4 bytes does not open .* as sealed") as caught:
            one.seal(NAME, b"text")

        assert caught.value.exit_code == Exit.FAILED
        assert caught.value.hint == (
            "nothing was written; check the memory of this machine and report the format"
        )
        assert "text" not in str(caught.value)

    @pytest.mark.parametrize("broken", [ForgetfulLayout, MislabellingLayout])
    @pytest.mark.parametrize("aad", ["none", "header+name"])
    def test_broken_format_is_caught(self, broken, aad):
        """A value that is laid out wrongly is not handed out, when rewriting either."""
        form = Format("broken", Encoding.RAW, SEALED.layout, aad)
        form.__dict__["cutter"] = broken("broken", SEALED.layout, Encoding.RAW)
        one = codec(1, 2, formats=[GCM], write=form)
        opened = one.open(NAME, codec(2).seal(NAME, b"text", GCM))

        with pytest.raises(SelfCheckError):
            one.rewrite(NAME, opened)


class TestWhole:
    """A codec as an object."""

    def test_keys_alternate_in_threads(self):
        """Many threads that meet values under different keys open all of them."""
        ring = codec(1, 2, 3, formats=[GCM])
        values = [codec(number % 3 + 1).seal(NAME, b"text", GCM) for number in range(300)]

        with ThreadPoolExecutor(8) as pool:
            opened = list(pool.map(lambda value: ring.open(NAME, value), values * 10))

        assert [found.key.id for found in opened] == [
            key(number % 3 + 1).id for number in range(300)
        ] * 10

    def test_plaintext_is_not_shown(self):
        """The text of an opened value holds no plaintext."""
        opened = codec(1).open(NAME, codec(1).seal(NAME, b"a secret"))

        assert "secret" not in f"{opened!r} {opened}"

    @pytest.mark.parametrize("make", [pickle.dumps, dataclasses.asdict])
    def test_opened_values_do_not_travel(self, make):
        """An opened value knows its key, so it stays in the process."""
        opened = codec(1).open(NAME, codec(1).seal(NAME, b"a secret"))

        with pytest.raises(TypeError, match="must not be pickled"):
            make(opened)

    def test_codec_does_not_travel(self):
        """A codec holds keys, so it stays in the process."""
        with pytest.raises(TypeError, match="must not be pickled"):
            pickle.dumps(codec(1))

    def test_digest_changes_with_keys_formats_and_writing(self):
        """Positions taken with other keys, formats or writing are not taken for the same."""
        codecs = [
            codec(1, 2),
            codec(2, 1),
            codec(1),
            codec(1, 2, formats=[GCM]),
            codec(1, 2, formats=[GCM, SEALED, GCM_BASE64]),
            codec(1, 2, write=SEALED),
            codec(1, 2, write=GCM),
        ]

        assert len({one.digest for one in codecs}) == len(codecs)
        assert codec(1, 2).digest == codecs[0].digest
