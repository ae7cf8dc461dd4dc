"""Formats: how they are described, and where they find the parts of a value."""

import base64
import copy
import itertools
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.crypto.bytes_layout import Parts
from rotator.crypto.encoding import Encoding, encode, spelling
from rotator.crypto.layout import BUILTIN, FieldName, Format
from rotator.errors import FormatError

KEY_ID, NONCE, TAG = b"\xaa" * 8, b"\xbb" * 12, b"\xcc" * 16
GCM = ("nonce:12", "ciphertext", "tag:16")
PARTS = Parts(None, None, NONCE, TAG, b"", None)


def parse(layout=GCM, encoding="raw", aad="none", name="mine"):
    """The format of these fields."""
    return Format.parse(name, encoding, layout, aad)


@st.composite
def formats(draw):
    """Any format that can be described."""
    literals = draw(st.lists(st.binary(min_size=1, max_size=5), max_size=3))
    nonce = f"nonce:{draw(st.sampled_from([8, 12, 16, 24, 128]))}"
    parts = [nonce, "ciphertext", "tag:16", *(f"hex:{text.hex()}" for text in literals)]
    if draw(st.booleans()):
        parts.append("key-id:8")
    layout = draw(st.permutations(parts))
    aads = ["none", "name", "hex:00ff"]
    if layout.index(nonce) < min(layout.index("ciphertext"), layout.index("tag:16")):
        aads.append("header+name")
    encoding = draw(st.sampled_from(list(Encoding)))
    return parse(layout, encoding, draw(st.sampled_from(aads)))


class TestParse:
    """From configuration to format."""

    def test_spelling_does_not_matter(self):
        """A bare nonce is 12 bytes, and hex may be upper case."""
        first = parse(["hex:AB", "nonce", "ciphertext", "tag:16"], aad="hex:CD")
        second = parse(["hex:ab", "nonce:12", "ciphertext", "tag:16"], aad="hex:cd")

        assert first == second
        assert hash(first) == hash(second)
        assert (first.layout[0], first.aad) == ("hex:ab", "hex:cd")

    @pytest.mark.parametrize(("more", "constant"), [({}, False), ({"constant": True}, True)])
    def test_constant(self, more, constant):
        """That no literal names a key is declared, stays so in a copy, and makes it another one."""
        form = Format.parse("mine", "raw", ["hex:01", *GCM], **more)
        assert form.constant is constant
        again = pickle.loads(pickle.dumps(form))  # noqa: S301 - made on the line above
        assert again.constant is constant
        assert (form == parse(["hex:01", *GCM])) is not constant

    @pytest.mark.parametrize(
        ("described", "message"),
        [
            ({"name": ""}, "rotator.formats.: not a name for a format"),
            ({"name": "a b"}, "rotator.formats.a b: not a name for a format"),
            ({"name": "gcm"}, "rotator.formats.gcm: the name is taken"),
            ({"name": "same"}, "rotator.formats.same: the name is taken"),
            ({"encoding": "base32"}, "rotator.formats.mine.encoding: 'base32' is not known"),
            ({"aad": "nmae"}, "rotator.formats.mine.aad: 'nmae' is not known"),
            ({"aad": "nmae:x"}, "rotator.formats.mine.aad: 'nmae:x' is not known"),
            ({"aad": "header+name:x"}, "rotator.formats.mine.aad: 'header+name:x' is not known"),
            ({"aad": "hex:0"}, "rotator.formats.mine.aad: 'hex:0' is not known"),
            ({"aad": "hex:"}, "rotator.formats.mine.aad: 'hex:' is not known"),
            ({"layout": []}, "rotator.formats.mine.layout: 0 times nonce, not once"),
            ({"layout": GCM[1:]}, "rotator.formats.mine.layout: 0 times nonce, not once"),
            ({"layout": GCM[::2]}, "rotator.formats.mine.layout: 0 times ciphertext, not once"),
            ({"layout": GCM[:2]}, "rotator.formats.mine.layout: 0 times tag, not once"),
            ({"layout": [*GCM, "tag:16"]}, "rotator.formats.mine.layout: 2 times tag, not once"),
            (
                {"layout": [*GCM, "key-id:8", "key-id:8"]},
                "rotator.formats.mine.layout: more than one key-id",
            ),
            (
                {"layout": ["label:2", *GCM, "label:4"]},
                "rotator.formats.mine.layout: more than one label",
            ),
            (
                {"layout": ["ciphertext", "nonce:12", "tag:16"], "aad": "header+name"},
                "rotator.formats.mine.aad: the layout has no header before the nonce",
            ),
            (
                {"layout": ["tag:16", "nonce:12", "ciphertext"], "aad": "header+name"},
                "rotator.formats.mine.aad: the layout has no header before the nonce",
            ),
        ],
    )
    def test_wrong_description_is_refused_by_field(self, described, message):
        """The message names the field and what is wrong; the hint says what is allowed."""
        with pytest.raises(FormatError) as caught:
            parse(**described)

        assert str(caught.value) == message
        assert caught.value.hint

    @pytest.mark.parametrize(
        "part",
        [
            *("", "nonce:", "nonce:7", "nonce:129", "nonce:012", "nonce:1e1", "nonce:1000"),
            *("tag", "tag:12", "key-id", "key-id:4", "ciphertext:5", "hex", "hex:", "hex:0"),
            *("hex:0g", "hex:00 00", "salt:8", "nonce:\u0661\u0662"),
        ],
    )
    def test_unknown_part_is_refused_by_its_place(self, part):
        """The message names the entry of the layout, the hint all that may stand there."""
        with pytest.raises(FormatError) as caught:
            parse(["hex:00", part, *GCM])

        assert str(caught.value) == f"rotator.formats.mine.layout[1]: {part!r} is not a part"
        assert "hex:<literal>, key-id:8, label:<n>, keep:<n>, nonce:<n>" in caught.value.hint

    def test_text_tells_formats_apart(self):
        """Formats that differ in anything differ as text."""
        described = itertools.product(
            [GCM, ("nonce:16", *GCM[1:])], ["raw", "hex"], ["none", "name"], ["one", "two"]
        )

        assert len({str(parse(*fields)) for fields in described}) == 16

    def test_formats_may_travel(self):
        """A format holds no secret: it is pickled and copied."""
        form = parse(["hex:01", *GCM], aad="header+name")

        assert pickle.loads(pickle.dumps(form)) == form  # noqa: S301 - made on the line above
        assert copy.deepcopy(form).cutter.cut(b"\x01" + NONCE + TAG) == form.cutter.cut(
            b"\x01" + NONCE + TAG
        )


class TestFacts:
    """Facts that follow from a description."""

    @pytest.mark.parametrize(
        ("layout", "places"),
        [
            (GCM, (0, 12)),
            (("hex:01ff", "key-id:8", "nonce:16", "ciphertext", "tag:16"), (10, 26)),
            (("nonce:12", "tag:16", "ciphertext"), None),
            ((*GCM, "hex:01"), None),
        ],
    )
    def test_sequential(self, layout, places):
        """A header, nonce, ciphertext and tag in a row are told from any other layout."""
        assert parse(layout).cutter.sequential == places

    @pytest.mark.parametrize(
        ("layout", "has", "literals", "smallest"),
        [
            (GCM, (False, False, False), [], 28),
            (("keep:3", *GCM), (True, False, False), [], 31),
            (("label:4", *GCM, "hex:0102"), (False, True, False), [b"\x01\x02"], 34),
            (("hex:03", "key-id:8", *GCM), (False, False, True), [b"\x03"], 37),
            ("{nonce}{ciphertext}{tag}", (False, False, False), [], None),
            ("a:{keep}:{nonce}{ciphertext}{tag}", (True, False, False), [b"a:", b":"], None),
            ("{label}.{nonce}{ciphertext}{tag}", (False, True, False), [b"."], None),
        ],
    )
    def test_what_is_in_it(self, layout, has, literals, smallest):
        """A layout tells whether it has copied parts, a label, a key id, and literals."""
        form = parse(layout)
        cutter = form.cutter
        assert (cutter.kept, cutter.labelled, cutter.names_key) == has
        assert (cutter.literals, form.has_literals) == (literals, bool(literals))
        # 64 bytes of ciphertext and tag are never all ASCII by chance.
        assert form.min_random_size == (smallest - 16 + 64 if smallest else 0)

    @pytest.mark.parametrize(
        ("aad", "literal", "name"),
        [
            ("none", False, False),
            ("name", False, True),
            ("name-without:a:", False, True),
            ("field", False, True),
            ("header+name", False, True),
            ("label", False, False),
            ("hex:00", True, False),
            ("text:a", True, False),
        ],
    )
    def test_what_is_authenticated_with_it(self, aad, literal, name):
        """What is authenticated may be the same in all values, or bind a value to its name."""
        form = parse(("label:4", *GCM), aad=aad)
        assert (form.has_literals, form.binds_name) == (literal, name)

    def test_built_in_literals_name_no_key(self):
        """The literal of a format that is built in is known to name no key."""
        assert [form.has_literals for form in BUILTIN.values()] == [False] * 3

    @pytest.mark.parametrize(
        ("encoding", "layout", "more", "first"),
        [
            ("raw", GCM, {}, bytes(range(256))),
            ("raw", ("hex:0a0b", *GCM), {}, b"\x0a"),
            ("hex", ("hex:0a0b", *GCM), {}, b"0123456789abcdefABCDEF"),
            ("hex", "xy{nonce}{ciphertext}{tag}", {}, b"x"),
            ("hex", "{nonce}:{tag}{ciphertext}", {}, b"0123456789abcdefABCDEF"),
            ("hex", "{ciphertext}:{nonce}:{tag}", {}, b"0123456789abcdefABCDEF:"),
            ("hex", "{label}.{nonce}{ciphertext}{tag}", {}, bytes(range(256))),
            ("hex", "{keep}.{nonce}{ciphertext}{tag}", {}, bytes(range(256))),
            ("raw", "{nonce}{ciphertext}{tag}", {}, bytes(range(256))),
            ("raw", "a{nonce}{ciphertext}{tag}", {"within": "hex"}, b"0123456789abcdefABCDEF"),
        ],
    )
    def test_first_bytes(self, encoding, layout, more, first):
        """A value begins with a literal, a letter of its encoding, or anything."""
        form = Format.parse("mine", encoding, layout, **more)
        assert form.cutter.first_bytes == frozenset(first)

    @given(formats())
    def test_they_survive_a_journey(self, form):
        """A copy that was pickled knows the same as the format it was made of."""
        again = pickle.loads(pickle.dumps(form))  # noqa: S301 - made on this line
        assert again == form
        assert (str(again), again.constant) == (str(form), form.constant)


class TestBuiltIn:
    """The formats that need no description."""

    def test_order_is_the_default_order(self):
        """They are listed as they are tried by default."""
        assert list(BUILTIN) == ["sealed", "gcm", "gcm-base64"]

    def test_sealed(self):
        """A sealed value is ROT and a version, key id, nonce, ciphertext, tag."""
        value = BUILTIN["sealed"].cutter.join(KEY_ID, b"", NONCE, b"text" + TAG)

        assert value == b"ROT\x01" + KEY_ID + NONCE + b"text" + TAG
        assert BUILTIN["sealed"].cutter.header(KEY_ID) == b"ROT\x01" + KEY_ID

    def test_gcm(self):
        """A gcm value is nonce, ciphertext, tag; gcm-base64 is that in base64."""
        value = BUILTIN["gcm"].cutter.join(KEY_ID, b"", NONCE, b"text" + TAG)

        assert value == NONCE + b"text" + TAG
        assert BUILTIN["gcm-base64"].cutter.join(
            KEY_ID, b"", NONCE, b"text" + TAG
        ) == base64.b64encode(value)

    def test_what_is_authenticated(self):
        """Sealed values are bound to header and name, the others to nothing."""
        parts = PARTS._replace(header=b"header")
        authenticated = {name: form.associated(b"name", parts) for name, form in BUILTIN.items()}

        assert authenticated == {"sealed": b"headername", "gcm": None, "gcm-base64": None}
        assert [form.binds_name for form in BUILTIN.values()] == [True, False, False]


class TestSplit:
    """From value to parts and back."""

    @given(formats(), st.binary(), st.data())
    def test_joined_parts_are_found_again(self, form, ciphertext, data):
        """Any layout finds its parts again, the tag behind the ciphertext."""
        nonce = data.draw(st.binary(min_size=128, max_size=128))[: len(form.new_nonce())]
        # A tag that is not ASCII, as a real one is all but surely not when it matters.
        value = form.cutter.join(KEY_ID, b"", nonce, ciphertext + TAG)

        parts = form.cutter.cut(value)

        assert (nonce, ciphertext + TAG) == (parts.nonce, parts.body)
        assert parts.key_id == (KEY_ID if "key-id:8" in form.layout else None)
        if form.aad == "header+name":
            assert parts.header == form.cutter.header(KEY_ID)

    @given(formats(), st.binary(max_size=300))
    def test_what_fits_is_joined_to_itself(self, form, value):
        """Whatever fits comes back byte for byte from its parts, in its own spelling."""
        parts = form.cutter.cut(value)

        if parts is not None:
            named = (parts.key_id or b"", parts.label or b"")
            assert form.cutter.join(*named, parts.nonce, parts.body, parts.like) == value

    @given(formats())
    def test_smallest_value_has_an_empty_ciphertext(self, form):
        """An empty ciphertext fits, and one byte less does not."""
        smallest = form.cutter.join(KEY_ID, b"", form.new_nonce(), b"" + TAG)

        assert form.cutter.cut(smallest).body == TAG
        step = {"raw": 1, "hex": 2}.get(form.encoding, 4)
        assert form.cutter.cut(smallest[:-step]) is None

    def test_literal_in_the_middle_must_be_there(self):
        """A literal counts wherever it stands."""
        form = parse(["nonce:12", "hex:0102", "ciphertext", "tag:16", "hex:03"])
        value = form.cutter.join(b"", b"", NONCE, b"text" + TAG)

        assert value == NONCE + b"\x01\x02text" + TAG + b"\x03"
        assert form.cutter.cut(value).body == b"text" + TAG
        for at in (12, 13, len(value) - 1):
            wrong = bytearray(value)
            wrong[at] ^= 1
            assert form.cutter.cut(bytes(wrong)) is None

    def test_header_is_what_stands_before_the_nonce(self):
        """Literals and the key id before the nonce make the header, in their order."""
        form = parse(["hex:01", "key-id:8", "hex:02", *GCM], aad="header+name")
        value = form.cutter.join(KEY_ID, b"", NONCE, b"" + TAG)

        assert form.cutter.cut(value).header == b"\x01" + KEY_ID + b"\x02"

    @pytest.mark.parametrize(
        ("aad", "expected"),
        {
            "none": None,
            "name": b"app:name",
            "NAME": b"app:name",
            "name-without:app:": b"name",
            "name-without:App:": b"app:name",
            "field": b"data",
            "label": b"k1",
            "header+name": b"\x01k1app:name",
            "hex:00FF": b"\x00\xff",
            "text:V1:App": b"V1:App",
            "text:00FF": b"00FF",
        }.items(),
    )
    def test_associated(self, aad, expected):
        """Each way of authenticating says what the cipher gets."""
        parts = PARTS._replace(label=b"k1", header=b"\x01k1")
        form = parse(["hex:01", "label:2", *GCM], aad=aad)

        found = form.associated(FieldName(b"app:name", b"data"), parts)

        assert (None if found is None else bytes(found)) == expected

    def test_long_ascii_is_no_raw_value(self):
        """64 bytes of ciphertext and tag that are ASCII are text; fewer may be chance."""
        gcm = BUILTIN["gcm"]

        assert gcm.cutter.cut(b"a" * (12 + 64)) is None
        assert gcm.cutter.cut(b"a" * (12 + 63)) is not None
        assert gcm.cutter.cut(b"a" * (12 + 63) + b"\xe9") is not None

    def test_nonces_are_random_and_of_the_right_size(self):
        """Each nonce is new and has the size of the layout."""
        form = parse(["nonce:24", *GCM[1:]])

        assert {len(form.new_nonce()) for _ in range(100)} == {24}
        assert len({form.new_nonce() for _ in range(100)}) == 100


DAMAGE = {
    "an odd number of digits": ("hex", lambda text: text[:-1]),
    "a space for a digit": ("hex", lambda text: text[:-2] + b" c"),
    "mixed case": ("hex", lambda text: text[:-1] + b"C"),
    "a prefix": ("hex", lambda text: b"0x" + text),
    "a line break behind hex": ("hex", lambda text: text + b"\n"),
    "a line break behind base64": ("base64", lambda text: text + b"\n"),
    "too much padding": ("base64", lambda text: text + b"="),
    "a line break inside": ("base64", lambda text: text[:20] + b"\n" + text[20:]),
    "a letter of base64url": ("base64", lambda text: text[:-2] + b"-" + text[-1:]),
    "a letter that is not ASCII": ("base64", lambda text: text[:-1] + b"\xe9"),
    "a letter too many": ("base64", lambda text: text + b"A"),
    "letters of base64": ("base64url", lambda text: text.translate(bytes.maketrans(b"-_", b"+/"))),
    "a foreign letter": ("base64url", lambda text: text + b"!"),
}


class TestText:
    """Text encodings: strict, but for the two spellings of each."""

    @pytest.mark.parametrize(
        ("encoding", "spell"),
        {
            "hex": lambda raw: raw.hex().encode(),
            "HEX": lambda raw: raw.hex().upper().encode(),
            "base64": base64.b64encode,
            "base64 bare": lambda raw: base64.b64encode(raw).rstrip(b"="),
            "base64url": base64.urlsafe_b64encode,
            "base64url bare": lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"="),
        }.items(),
    )
    @pytest.mark.parametrize("length", [0, 1, 2, 3, 300])
    def test_spelling_is_kept(self, encoding, spell, length):
        """A value is joined again in the spelling it was found in, under one format name."""
        form = parse(encoding=encoding.split()[0].lower())
        value = spell(NONCE + b"\xfb" * length + TAG)

        like = form.cutter.likeness(value)

        assert form.cutter.join(b"", b"", NONCE, b"\xfb" * length + TAG, like) == value

    @pytest.mark.parametrize(("encoding", "damage"), DAMAGE.values(), ids=DAMAGE)
    def test_other_text_does_not_fit(self, encoding, damage):
        """What a decoder might forgive is refused, since it would not come back as it was."""
        form = parse(encoding=encoding)
        text = form.cutter.join(b"", b"", NONCE, b"\xfb\xff\xbe" + TAG)

        assert form.cutter.cut(text) is not None
        assert form.cutter.cut(damage(text)) is None

    @pytest.mark.parametrize(
        ("encoding", "texts", "written"),
        [
            ("raw", [b"FB"], b"\xfbf"),
            ("hex", [], b"fb66"),
            ("hex", [b"12", b""], b"fb66"),
            ("hex", [b"12", b"", b"1A", b"1a"], b"FB66"),
            ("hex", [b"12", b"1a", b"1A"], b"fb66"),
            ("base64", [b"Zm9v"], b"+2Y="),
            ("base64", [b"Zm9v", b"Zm8", b"Zm8="], b"+2Y"),
            ("base64", [b"Zm9v", b"Zm8=", b"Zg"], b"+2Y="),
            ("base64url", [b"Zm9v"], b"-2Y="),
            ("base64url", [b"Zm9v", b"Zg"], b"-2Y"),
            ("base64url", [b"Zm9v", b"Zg=="], b"-2Y="),
        ],
    )
    def test_texts_show_how_to_write(self, encoding, texts, written):
        """The first text that has letters, or a rest, shows case or padding (RFC 4648)."""
        kind = Encoding(encoding)

        assert encode(kind, b"\xfbf", spelling(kind, texts)) == written

    @pytest.mark.parametrize("bare", [28, 29])
    def test_loose_bits_are_refused(self, bare):
        """Bits of the last letter that belong to no byte must be zero (RFC 4648, section 3.5)."""
        form = parse(encoding="base64")
        text = base64.b64encode(bytes(bare))
        letter = text.index(b"=") - 1

        loose = text[:letter] + b"B" + text[letter + 1 :]

        assert form.cutter.cut(text) is not None
        assert form.cutter.cut(loose) is None
        assert form.cutter.cut(loose.rstrip(b"=")) is None

    def test_half_padding_is_refused(self):
        """Padding is all there or not there."""
        form = parse(encoding="base64")
        text = base64.b64encode(bytes(28))

        fits = [form.cutter.cut(end) is not None for end in (text, text[:-1], text[:-2])]

        assert text.endswith(b"==")
        assert fits == [True, False, True]


def test_names_of_fields():
    """A field's name is told from its hash's and from any other field's, and may travel."""
    name, other = FieldName(b"a", b"x"), FieldName(b"a", b"y")

    assert name == FieldName(b"a", b"x")
    assert len({name, other, FieldName(b"b", b"x"), b"a"}) == 4
    assert (name != other, name != b"a", name != b"a", name == b"a") == (True, True, True, False)
    assert bytes(name) == b"a"
    again = pickle.loads(pickle.dumps(name))  # noqa: S301 - made on this line
    assert (again, again.field) == (name, b"x")
