"""Text layouts: what may be described, and that there is one way to cut a value."""

import base64
import json
import os
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rotator.crypto.codec import Codec, Opened, Reason
from rotator.crypto.encoding import Encoding
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import Format
from rotator.crypto.text_layout import TextLayout
from rotator.errors import FormatError

NONCE, TAG = b"\xbb" * 12, b"\xcc" * 16
OLD, NEW, OTHER = (Key(bytes([number]) * 32, f"key {number}") for number in (1, 2, 3))
LABELS = {OLD.id: b"k1", NEW.id: b"k2"}
NAME = b"app:item:1"

LAYOUTS = {
    "node": ("hex", "{nonce}:{tag}:{ciphertext}", {}),
    "node-16": ("hex", "{nonce:16}:{ciphertext}:{tag}", {}),
    "prefixed": ("base64", "enc:v1:{nonce}{ciphertext}{tag}", {}),
    "rails": ("base64", "{ciphertext}--{nonce}--{tag}", {}),
    "json": ("base64", '{"iv":"{nonce}","tag":"{tag}","data":"{ciphertext}"}', {}),
    "jwe": ("base64url", "{label}..{nonce}.{ciphertext}.{tag}", {"aad": "label"}),
    "cloak": ("base64url", "v1.aesgcm256.{label}.{nonce}.{ciphertext}{tag}", {}),
    "k8s": ("raw", "k8s:enc:aesgcm:v1:{label}:{nonce}{ciphertext}{tag}", {"aad": "name"}),
    "laravel": (
        "base64",
        '{"iv":"{nonce}","value":"{ciphertext}","mac":"","tag":"{tag}"}',
        {"within": "base64"},
    ),
    "in hex": ("base64url", "a.{nonce}.{ciphertext}{tag}", {"within": "hex"}),
    "sized": ("raw", "{label:2}{keep:3}{nonce}{ciphertext}{tag}", {"aad": "text:v1"}),
    "spring": ("hex", "{cipher}{nonce:16}{ciphertext}{tag}", {}),
    "caddy": (
        "base64",
        '{"value":"{nonce}{ciphertext}{tag}","modified":"{keep}","size":{keep},"encryption":1}',
        {"aad": "name-without:app:"},
    ),
    "label last": ("hex", "{nonce}{ciphertext}{tag}.{label}", {}),
    "keep last": ("hex", "{nonce}{ciphertext}{tag}|{keep}", {}),
}


def form_of(name):
    """One of the layouts, as a format."""
    encoding, layout, more = LAYOUTS[name]
    return Format.parse("mine", encoding, layout, **more)


def codec_of(form, current=NEW, *old, labels=None):
    """A codec of one format."""
    return Codec(Keyring(current, old), [form], None, LABELS if labels is None else labels)


def spelled(cutter, kept):
    """Texts as an old value has them: *kept* where parts are kept."""
    items = [item for item in cutter._items if item.kind != "literal"]
    sizes = [len(kept) if item.size is None else item.size for item in items]
    return tuple(
        (kept * size)[:size] if item.kind == "keep" else text
        for item, size, text in zip(items, sizes, cutter._spelling, strict=True)
    )


def application_value(form, key, plaintext, name=NAME, kept=b"\x01\x02"):
    """What an application writes: *kept* stands where parts are kept."""
    like = (spelled(form.cutter, kept), None)
    example = form.cutter.join(b"", LABELS[key.id], bytes(form.cutter.nonce_size), bytes(16), like)
    return codec_of(form, key).seal(name, plaintext, form, example)


def parsed(encoding, layout, more):
    """The format, or the error, which names what is wrong and says what to do."""
    try:
        return Format.parse("mine", encoding, layout, **more)
    except FormatError as error:
        refused = error
    assert str(refused).startswith("rotator.formats.mine.")
    assert refused.hint
    return refused


class TestRotation:
    """Values under an old key, rewritten under the current one."""

    @pytest.mark.parametrize("name", LAYOUTS)
    @given(plaintext=st.binary(max_size=200))
    def test_any_plaintext_is_moved(self, name, plaintext):
        """The new value opens with the new key alone, and is as long as the old one."""
        form = form_of(name)
        value = application_value(form, OLD, plaintext)
        both = codec_of(form, NEW, OLD)

        moved = both.rewrite(NAME, both.open(NAME, value))

        alone = codec_of(form, NEW).open(NAME, moved)
        assert (alone.plaintext, alone.key, len(moved)) == (plaintext, NEW, len(value))
        assert not both.needs_rewrite(both.open(NAME, moved))

    @pytest.mark.parametrize("name", LAYOUTS)
    def test_only_what_has_to_differs(self, name):
        """Literals and what is kept stay as they are, the label becomes the current key's."""
        form = form_of(name)
        value = application_value(form, OLD, b"text")
        both = codec_of(form, NEW, OLD)

        before, after = (
            form.cutter.cut(one) for one in (value, both.rewrite(NAME, both.open(NAME, value)))
        )

        kinds = [kind for kind, _, _ in form.cutter._steps if kind != "literal"]
        kept = [i for i, kind in enumerate(kinds) if kind == "keep"]
        assert [before.like[0][i] for i in kept] == [after.like[0][i] for i in kept]
        assert after.label == (b"k2" if form.cutter.labelled else None)

    @pytest.mark.parametrize("name", LAYOUTS)
    @given(data=st.data())
    def test_flipped_bits_are_refused(self, name, data):
        """A value in which any bit is another does not open, but for what is merely kept."""
        form = form_of(name)
        value = bytearray(application_value(form, OLD, b"some text"))
        at = data.draw(st.integers(0, len(value) - 1))
        value[at] ^= 1 << data.draw(st.integers(0, 7))
        cut = form.cutter.cut(bytes(value))
        original = form.cutter.cut(application_value(form, OLD, b"some text"))
        assume(not (cut and form.cutter.kept and cut[2:4] == original[2:4]))

        opened = codec_of(form, NEW, OLD).open(NAME, bytes(value))

        assert not isinstance(opened, Opened) or form.cutter.kept

    @pytest.mark.parametrize("name", LAYOUTS)
    @given(value=st.binary(max_size=300))
    def test_random_bytes_are_no_values(self, name, value):
        """Whatever bytes there are, they do not open, and nothing breaks."""
        assert isinstance(codec_of(form_of(name), NEW, OLD).open(NAME, value), Reason)


class TestSpelling:
    """How a value is written stays as it was."""

    @pytest.mark.parametrize("respell", [bytes.upper, bytes.lower], ids=["upper", "lower"])
    @pytest.mark.parametrize("plaintext", [b"", b"\x00", b"text" * 9])
    def test_case_of_hex(self, respell, plaintext):
        """Hex in upper case stays so, whatever digits a piece happens to have."""
        form = form_of("node")
        value = respell(application_value(form, OLD, plaintext))
        both = codec_of(form, NEW, OLD)

        moved = both.rewrite(NAME, both.open(NAME, value))

        assert respell(moved) == moved

    def test_digits_tell_nothing(self):
        """A piece that has digits only is written like the others from then on."""
        form, nonce = form_of("node"), bytes.fromhex("12" * 12)
        body = OLD.encrypt(nonce, b"text" * 9, None)
        value = b":".join(part.hex().upper().encode() for part in (nonce, body[-16:], body[:-16]))
        both = codec_of(form, NEW, OLD)

        moved = both.rewrite(NAME, both.open(NAME, value))

        assert moved == moved.upper()

    def test_pieces_in_two_cases(self):
        """Each piece has its own case, if they have two."""
        form = form_of("node")
        nonce, rest = application_value(form, OLD, b"text" * 9).split(b":", 1)
        both = codec_of(form, NEW, OLD)

        moved = both.rewrite(NAME, both.open(NAME, nonce.upper() + b":" + rest))

        first, second = moved.split(b":", 1)
        assert (first.isupper(), second.islower()) == (True, True)

    @pytest.mark.parametrize("name", ["rails", "json", "jwe", "cloak", "laravel", "prefixed"])
    @pytest.mark.parametrize("size", range(4))
    def test_padding(self, name, size):
        """Base64 without padding stays without, piece by piece."""
        form = form_of(name)
        value = application_value(form, OLD, bytes(size)).replace(b"=", b"")
        both = codec_of(form, NEW, OLD)

        moved = both.rewrite(NAME, both.open(NAME, value))

        assert (b"=" in moved, len(moved)) == (False, len(value))

    @pytest.mark.parametrize(
        ("old", "new"),
        [('":"', '": "'), ("/", "\\/"), ("+", "\\u002B"), ("}", "}\n"), ('"iv"', '"IV"')],
    )
    def test_other_json_is_refused(self, old, new):
        """JSON that says the same in other characters is not half understood."""
        form = form_of("json")
        # Long enough to have every character of base64 in it.
        body = OLD.encrypt(NONCE, b"\xff" * 6000, None)
        parts = {"iv": NONCE, "tag": body[-16:], "data": body[:-16]}
        text = json.dumps(
            {name: base64.b64encode(part).decode() for name, part in parts.items()},
            separators=(",", ":"),
        )
        codec = codec_of(form, NEW, OLD)

        assert isinstance(codec.open(NAME, text.encode()), Opened)
        assert old in text
        assert codec.open(NAME, text.replace(old, new).encode()) is Reason.NOT_A_FORMAT

    def test_new_values(self):
        """Without an old value base64 is padded, and base64url is not, as applications have it."""
        padded = codec_of(form_of("rails")).seal(NAME, b"text")
        bare = codec_of(form_of("jwe")).seal(NAME, b"text")

        assert (b"=" in padded, b"=" in bare) == (True, False)


class TestLabels:
    """What values call their keys."""

    @pytest.mark.parametrize("name", ["jwe", "cloak", "k8s", "sized", "label last"])
    def test_unknown_label(self, name):
        """A label that no key has is an unknown key id, shown as it stands."""
        form = form_of(name)
        value = application_value(form, OLD, b"text")
        codec = codec_of(form, NEW)
        only = Codec(Keyring(NEW), [form], None, {NEW.id: b"k2"})

        assert codec.open(NAME, value) is not None
        assert only.open(NAME, value) is Reason.UNKNOWN_KEY_ID
        assert only.named_key(value) == "k1"

    def test_shared_label(self):
        """Two keys may have one label: each of them is tried."""
        form = form_of("jwe")
        labels = dict.fromkeys([OLD.id, NEW.id, OTHER.id], b"header")
        values = [
            Codec(Keyring(key), [form], None, labels).seal(NAME, b"text")
            for key in (OLD, NEW, OTHER)
        ]
        codec = codec_of(form, NEW, OLD, OTHER, labels=labels)

        assert [codec.open(NAME, value).key for value in values] == [OLD, NEW, OTHER]

    def test_shared_label_in_bytes(self):
        """The same holds where the layout is a list."""
        form = Format.parse("mine", "raw", ["label:2", "nonce", "ciphertext", "tag:16"])
        labels = dict.fromkeys([OLD.id, NEW.id], b"k0")
        value = Codec(Keyring(OLD), [form], None, labels).seal(NAME, b"text")
        codec = codec_of(form, NEW, OLD, labels=labels)

        moved = codec.rewrite(NAME, codec.open(NAME, value))

        assert codec_of(form, NEW, labels=labels).open(NAME, moved).plaintext == b"text"

    def test_label_in_bytes(self):
        """A label in a list of parts is rewritten, whatever the encoding around it."""
        for encoding in Encoding:
            layout = ["hex:01", "label:2", "keep:1", "nonce", "tag:16", "ciphertext"]
            form = Format.parse("mine", encoding, layout, "label")
            laid = b"\x01k1\xfe" + NONCE
            body = OLD.encrypt(NONCE, b"text", b"k1")
            _, value = form.cutter.likeness(b""), laid + body[-16:] + body[:-16]
            value = {
                "raw": lambda raw: raw,
                "hex": lambda raw: raw.hex().encode(),
                "base64": base64.b64encode,
                "base64url": base64.urlsafe_b64encode,
            }[encoding](value)
            both = codec_of(form, NEW, OLD)

            moved = both.rewrite(NAME, both.open(NAME, value))

            parts = form.cutter.cut(moved)
            assert (parts.label, parts.header) == (b"k2", b"\x01k2\xfe")
            assert codec_of(form, NEW).open(NAME, moved).plaintext == b"text"

    @pytest.mark.parametrize("layout", [["keep:4", "nonce", "ciphertext", "tag:16"],
                                        "{keep}|{nonce}{ciphertext}{tag}"])  # fmt: skip
    def test_kept_part_of_an_earlier_value(self, layout):
        """What is kept is that of the value itself, also if others were read meanwhile."""
        form = Format.parse("mine", "hex", layout)
        codec, kept = codec_of(form, NEW, OLD), [b"aaaa", b"bbbb"]
        body = NONCE + OLD.encrypt(NONCE, b"text", None)
        raw = isinstance(layout, list)
        values = [
            (one + body).hex().encode() if raw else one + b"|" + body.hex().encode() for one in kept
        ]
        opened = [codec.open(NAME, value) for value in values]
        moved = [codec.rewrite(NAME, one) for one in opened]
        assert [bytes.fromhex(one.decode())[:4] if raw else one[:4] for one in moved] == kept

    @pytest.mark.parametrize(
        ("layout", "value", "opens"),
        [
            ("{nonce}{ciphertext}{tag}.{label}", "%s.", False),
            ("{label}.{nonce}{ciphertext}{tag}", ".%s", False),
            ("{label}.-{nonce}{ciphertext}{tag}", "a-b.-%s", True),
            ("{nonce}{ciphertext}{tag}|{keep}", "%s|", True),
            ("{keep}|{nonce}{ciphertext}{tag}", "|%s", True),
        ],
    )
    def test_nothing_there(self, layout, value, opens):
        """A label has a byte at least, and what is kept may have none."""
        text = (NONCE + OLD.encrypt(NONCE, b"text", None)).hex()
        codec = codec_of(Format.parse("mine", "hex", layout), OLD, labels={OLD.id: b"a-b"})
        found = codec.open(NAME, (value % text).encode())
        assert isinstance(found, Opened) is opens
        assert opens or found is Reason.NOT_A_FORMAT

    def test_no_label_for_the_current_key(self):
        """Values are read, and nothing is written."""
        form = form_of("cloak")
        value = application_value(form, OLD, b"text")
        codec = Codec(Keyring(NEW, [OLD]), [form], None, {OLD.id: b"k1"})

        with pytest.raises(FormatError, match="needs a label for the current key"):
            codec.rewrite(NAME, codec.open(NAME, value))

    @pytest.mark.parametrize(
        ("layout", "label", "fault"),
        [
            ("v1.{label}.{nonce}{ciphertext}{tag}", b"a.b", "holds '.', which ends {label}"),
            ("v1{label}..{nonce}{ciphertext}{tag}", b"a.b", "holds '.', which ends {label}"),
            ("v1.{label:2}{nonce}{ciphertext}{tag}", b"abc", "has 3 bytes, and {label:2} has 2"),
            ("v1.{label:2}{nonce}{ciphertext}{tag}", b"a.", None),
            ("{nonce}{ciphertext}{tag}.{label}", b"a.b", None),
            (["label:4", "nonce", "ciphertext", "tag:16"], b"abc", "has 3 bytes, and label:4"),
            (["nonce", "ciphertext", "tag:16"], b"abc", None),
            ("{nonce}{ciphertext}{tag}", b"abc", None),
        ],
    )
    def test_labels_that_would_not_be_found_again(self, layout, label, fault):
        """What ends a label cannot be in one, and a length is a length."""
        found = Format.parse("mine", "hex", layout).cutter.label_fault(label)

        assert (found or "").startswith(fault or "")
        assert (found is None) == (fault is None)


class TestDescriptions:
    """What may be described."""

    @pytest.mark.parametrize(
        ("encoding", "layout", "named"),
        [
            ("hex", "{nonce}:{tag}", "0 times {ciphertext}"),
            ("hex", "{nonce}{nonce}{tag}{ciphertext}", "2 times {nonce}"),
            ("hex", "{label}.{label}.{nonce}{tag}{ciphertext}", "more than one {label}"),
            ("hex", "{ciphertext}a{nonce}:{tag}", "'a' does not end {ciphertext}"),
            ("base64", "{ciphertext}/{nonce}:{tag}", "'/' does not end {ciphertext}"),
            ("base64", "{ciphertext}=:{nonce}:{tag}", "'=:' does not end {ciphertext}"),
            ("base64url", "{ciphertext}--{nonce}:{tag}", "'--' does not end {ciphertext}"),
            ("base64", "{nonce}:{tag}A{ciphertext}", "'A' does not end {tag}"),
            ("hex", "{label}.{ciphertext}a{nonce}:{tag}", "'a' does not end {ciphertext}"),
            (
                "base64",
                "{nonce:16}{label:2}{ciphertext}{tag}",
                "nothing says where {nonce:16} ends",
            ),
            ("base64", "{tag}{keep:1}{nonce}{ciphertext}", "nothing says where {tag} ends"),
            ("raw", "{ciphertext}:{nonce}{tag}", "nothing says where {ciphertext} ends"),
            ("raw", "{nonce}{ciphertext}{tag}:", "nothing says where {nonce}{ciphertext}{tag}"),
            ("hex", "{label}{nonce}{ciphertext}{tag}", "nothing says where {label} ends"),
            ("hex", "{keep}{nonce}{ciphertext}{tag}", "nothing says where {keep} ends"),
            ("hex", "{nonce}{ciphertext}{tag}{keep}", "nothing says where {nonce}{ciphertext}"),
            ("hex", "{keep}{label}:{nonce}{ciphertext}{tag}", "nothing says where {keep} ends"),
            ("hex", "{nonce:7}{ciphertext}{tag}", "{nonce:7} has no such size"),
            ("hex", "{nonce:129}{ciphertext}{tag}", "{nonce:129} has no such size"),
            ("hex", "{nonce}{ciphertext:5}{tag}", "{ciphertext:5} has no such size"),
            ("hex", "{nonce}{ciphertext}{tag:12}", "{tag:12} has no such size"),
            ("hex", "{keep:0}{nonce}{ciphertext}{tag}", "{keep:0} has no such size"),
            ("hex", "{nonse}{nonce}{ciphertext}{tag}", "{nonse} is not a part"),
            ("hex", "{Nonce}{nonce}{ciphertext}{tag}", "{Nonce} is not a part"),
            ("hex", "{key-id}:{nonce}{ciphertext}{tag}", "{key-id} is not a part"),
            ("hex", "{kid}:{nonce}{ciphertext}{tag}", "{kid} is not a part"),
            ("hex", "{iv}{nonce}{ciphertext}{tag}", "{iv} is not a part"),
            ("hex", "\ud800{nonce}{ciphertext}{tag}", "is not text"),
            ("hex", "", "0 times {nonce}"),
        ],
    )
    def test_refused(self, encoding, layout, named):
        """A layout that can be cut in two ways, or in none, is refused with the part named."""
        with pytest.raises(FormatError) as caught:
            Format.parse("mine", encoding, layout)

        assert str(caught.value).startswith(f"rotator.formats.mine.layout: {named}")
        assert caught.value.hint

    @pytest.mark.parametrize(
        ("encoding", "layout"),
        [
            ("hex", "{nonce}{label:2}{ciphertext}{tag}"),
            ("raw", "{tag}{keep:1}{nonce}{ciphertext}"),
            ("base64", "{nonce}{label:2}{ciphertext}{tag}"),
            ("base64url", "{nonce:15}{keep:1}{ciphertext}{tag}"),
        ],
    )
    def test_known_lengths(self, encoding, layout):
        """A piece whose length as text is known needs nothing that ends it."""
        form = Format.parse("mine", encoding, layout)
        both = codec_of(form, NEW, OLD)
        moved = both.rewrite(NAME, both.open(NAME, application_value(form, OLD, b"text")))
        assert codec_of(form, NEW).open(NAME, moved).plaintext == b"text"

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ({"within": "raw"}, "rotator.formats.mine.within: raw cannot be around a text"),
            ({"within": "gzip"}, "rotator.formats.mine.within: 'gzip' is not known"),
            ({"aad": "label"}, "rotator.formats.mine.aad: the layout has no label"),
            (
                {"aad": "header+name"},
                "rotator.formats.mine.aad: the layout has no header before the nonce",
            ),
            ({"aad": "text:"}, "rotator.formats.mine.aad: 'text:' is not known"),
            ({"aad": "text:\udcff"}, "rotator.formats.mine.aad: is not text"),
            ({"aad": "name-without:"}, "rotator.formats.mine.aad: 'name-without:' is not known"),
            (
                {"within": "hex", "layout": ["nonce", "ciphertext", "tag:16"]},
                "rotator.formats.mine.within: goes with a layout that is a text",
            ),
            (
                {"layout": ["label:1", "key-id:8", "nonce", "ciphertext", "tag:16"]},
                "rotator.formats.mine.layout: both key-id and label",
            ),
        ],
    )
    def test_refused_besides(self, more, message):
        """What goes around a layout, or is authenticated with it, has to fit it."""
        described = {"layout": "{nonce}:{tag}:{ciphertext}", "encoding": "hex"} | more

        with pytest.raises(FormatError) as caught:
            Format.parse("mine", **described)

        assert str(caught.value) == message
        assert caught.value.hint

    @pytest.mark.parametrize("name", LAYOUTS)
    @given(data=st.data())
    def test_mutated(self, name, data):
        """A layout with a character more or less is taken or refused, and what is taken works."""
        encoding, layout, more = LAYOUTS[name]
        at = data.draw(st.integers(0, len(layout) - 1))
        put = data.draw(st.sampled_from(["", *string.printable, "{keep}", "{label}", "{nonce}"]))
        mutated = layout[:at] + put + layout[at + data.draw(st.integers(0, 2)) :]
        form = parsed(encoding, mutated, more)
        if isinstance(form, FormatError) or any(map(form.cutter.label_fault, LABELS.values())):
            return

        value = application_value(form, OLD, b"text")

        assert codec_of(form, NEW, OLD).open(NAME, value).plaintext == b"text"


ALPHABET = 'ab:.-_{}"=+/k'
LITERALS = st.text(ALPHABET, min_size=1, max_size=3)


@st.composite
def drawn_layouts(draw):
    """Any text: parts in any order, with and without text between them."""
    parts = ["{nonce}", "{ciphertext}", "{tag}"]
    parts += draw(st.lists(st.sampled_from(["{label}", "{keep}", "{keep:2}"]), max_size=2))
    parts = draw(st.permutations(parts))
    between = [draw(st.one_of(st.just(""), LITERALS)) for _ in range(len(parts) + 1)]
    return between[0] + "".join(part + text for part, text in zip(parts, between[1:], strict=True))


class TestSize:
    """How long a value has to be, or may be."""

    @pytest.mark.parametrize(
        ("layout", "texts"),
        [
            ("enc:{nonce}{ciphertext}{tag}", [bytes(27)]),
            ("enc:{nonce}{tag}:{ciphertext}", [bytes(27), bytes(29)]),
            ("enc:{nonce}:{tag}:{ciphertext}", [bytes(11), bytes(13)]),
        ],
    )
    def test_wrong(self, layout, texts):
        """A piece that is too short for its parts, or too long for fixed ones, does not fit."""
        codec = codec_of(Format.parse("mine", "hex", layout), NEW)
        behind = {0: "", 1: ":00", 2: ":" + "00" * 16 + ":00"}[layout.count(":") - 1]
        for text in texts:
            value = f"enc:{text.hex()}{behind}".encode()
            assert codec.open(NAME, value) is Reason.NOT_A_FORMAT

    def test_long_ascii_is_no_raw_value(self):
        """64 bytes of ciphertext and tag that are ASCII are text; in hex they may be chance."""
        raw, coded = (
            Format.parse("mine", encoding, "a:{nonce}{ciphertext}{tag}").cutter
            for encoding in ("raw", "hex")
        )
        assert raw.cut(b"a:" + b"b" * (12 + 63)) is not None
        assert raw.cut(b"a:" + b"b" * (12 + 64)) is None
        assert raw.cut(b"a:" + b"b" * (12 + 64) + b"\xff") is not None
        assert coded.cut(b"a:" + (b"b" * (12 + 64)).hex().encode()) is not None


class TestOneWay:
    """There is one way to cut a value."""

    @given(drawn_layouts(), st.sampled_from(list(Encoding)), st.binary(max_size=40), st.data())
    def test_accepted_layouts(self, layout, encoding, ciphertext, data):
        """Whatever layout is accepted finds its own parts again, and joins them to the same."""
        try:
            cutter = TextLayout("mine", layout, encoding, None)
        except FormatError:
            return
        label = data.draw(st.binary(min_size=1, max_size=4))
        assume(cutter.label_fault(label) is None)
        kept = data.draw(st.text("cd", min_size=2, max_size=2)).encode()
        body = ciphertext + os.urandom(16)

        value = cutter.join(b"", label, NONCE, body, (spelled(cutter, kept), None))

        parts = cutter.cut(value)
        assert (parts.nonce, parts.body) == (NONCE, body)
        assert parts.label == (label if cutter.labelled else None)
        assert cutter.join(b"", label, NONCE, body, parts.like) == value

    @given(drawn_layouts(), st.sampled_from(list(Encoding)), st.text(ALPHABET, max_size=120))
    def test_what_fits_is_joined_to_itself(self, layout, encoding, text):
        """Whatever text fits comes back byte for byte from its parts."""
        try:
            cutter = TextLayout("mine", layout, encoding, None)
        except FormatError:
            return

        parts = cutter.cut(text.encode())

        if parts is not None:
            label = parts.label or b""
            assert cutter.join(b"", label, parts.nonce, parts.body, parts.like) == text.encode()
