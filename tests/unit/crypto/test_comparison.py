"""Comparison: what stands around pieces, by tables of what values have there."""

import pytest

from rotator.crypto.comparison import OF_HEAD, Aad, Hit, propose
from rotator.crypto.cuts import Cut, Span
from rotator.crypto.encoding import Encoding
from rotator.crypto.keyring import Key

A, B = (Key(bytes([number]) * 32, f"key {number}") for number in range(2))
NONCE, BODY = (("nonce", 12),), (("ciphertext", 0), ("tag", 16))
ROW = (*NONCE, *BODY)
NOTHING = Aad("none", None)
BASE64, HEX, RAW = Encoding.BASE64, Encoding.HEX, Encoding.RAW


def hit(key, glue, pieces, encoding=HEX, *, within=None, aad=NOTHING):
    """A value under *key* that has *glue* around *pieces*, of which only the places matter."""
    text, spans = glue[0], []
    for parts, behind in zip(pieces, glue[1:], strict=True):
        spans.append(Span(len(text), len(text) + 4, parts))
        text += b"...." + behind
    return Hit(within, Cut(encoding, text, tuple(spans), b"", b""), aad, key)


def heads(*texts, encoding=HEX, **more):
    """What is made of one piece with these *texts* before it: two values of A, then those of B."""
    return propose([
        hit(key, (text, b""), [ROW], encoding, **more)
        for key, text in zip((A, A, B, B), texts, strict=True)
    ])  # fmt: skip


def tails(*texts, encoding=HEX):
    """What is made of one piece with these *texts* behind it."""
    return propose([
        hit(key, (b"", text), [ROW], encoding)
        for key, text in zip((A, A, B, B), texts, strict=True)
    ])  # fmt: skip


def by_key(old, new):
    """Texts of which the first two are the same, and the last two."""
    return old, old, new, new


PIECE = "{nonce}{ciphertext}{tag}"
LABELS = {
    "before a mark": (b"k1:", b"k2:", "{label}:", b"k1", b"k2"),
    "of several sizes": (b"k9:", b"k10:", "{label}:", b"k9", b"k10"),
    "behind a literal": (b"enc:k1:", b"enc:k2:", "enc:{label}:", b"k1", b"k2"),
    "a whole word": (b"prefix1.", b"prefix2.", "{label}.", b"prefix1", b"prefix2"),
    "one word of several": (b"a-1-z:", b"a-2-z:", "a-{label}-z:", b"1", b"2"),
    "up to the last difference": (b"a.1.b.1:", b"a.2.b.2:", "a.{label}:", b"1.b.1", b"2.b.2"),
    "its own mark behind it": (b"1-b-1-z:", b"2-b-2-z:", "{label:5}-z:", b"1-b-1", b"2-b-2"),
    "another mark in one": (b"k:a-b;", b"k:c;", "k:{label};", b"a-b", b"c"),
    "marks that differ": (b"k:a-b;", b"k:c+d;", "k:{label};", b"a-b", b"c+d"),
    "marks and words behind it": (b"k:a-b;z:", b"k:c;z:", "k:{label};z:", b"a-b", b"c"),
    "nothing in one": (b"k:;", b"k:c;", "k:{label};", b"", b"c"),
    "not ASCII": ("clé1:".encode(), "clè1:".encode(), "{label}:", "clé1".encode(), "clè1".encode()),
    "letters of another alphabet": (
        "a-ключ1:".encode(),
        "a-ключ22:".encode(),
        "a-{label}:",
        "ключ1".encode(),
        "ключ22".encode(),
    ),
    "a mark that is not ASCII": (
        "«k1»;".encode(),
        "«k2»;".encode(),
        "{label};",
        "«k1»".encode(),
        "«k2»".encode(),
    ),
    "quoted": (b'{"k":"1"}', b'{"k":"2"}', '{"k":"{label}"}', b"1", b"2"),
}


class TestLabels:
    """What is the same under a key, and another under another."""

    @pytest.mark.parametrize("case", LABELS)
    def test_before_a_piece(self, case):
        """A label is whole words, and all from the first that differs to the last."""
        old, new, layout, *called = LABELS[case]
        made = heads(*by_key(old, new))
        assert made.layout == layout + PIECE
        assert made.labels == dict(zip((A.id, B.id), called, strict=True))

    @pytest.mark.parametrize("case", LABELS)
    def test_behind_a_piece(self, case):
        """A label may stand behind the pieces."""
        old, new, layout, *called = LABELS[case]
        made = tails(*by_key(old, new))
        assert made.layout == PIECE + layout
        assert made.labels == dict(zip((A.id, B.id), called, strict=True))

    def test_there_is_none(self):
        """What is the same under all keys is a literal, and names none."""
        made = heads(*by_key(b"v1:", b"v1:"))
        assert (made.layout, made.labels) == ("v1:" + PIECE, {})

    def test_nothing_around(self):
        """Parts with nothing around them are written as a list."""
        made = heads(*by_key(b"", b""))
        assert (made.layout, made.labels) == (("nonce:12", "ciphertext", "tag:16"), {})

    @pytest.mark.parametrize("around", [(b"1:", b":1"), (b"1:", b":9")])
    def test_a_value_has_one(self, around):
        """Two places that differ by key need two labels: that is given up."""
        texts = [around, around, (b"2:", b":2"), (b"2:", b":2")]
        hits = [hit(key, both, [ROW]) for key, both in zip((A, A, B, B), texts, strict=True)]
        assert propose(hits) is None

    def test_between_pieces(self):
        """A label may stand between pieces, with literals around it."""
        texts = by_key((b"v1:", b".k1.", b"!"), (b"v1:", b".k2.", b"!"))
        hits = [
            hit(key, text, [NONCE, BODY]) for key, text in zip((A, A, B, B), texts, strict=True)
        ]
        made = propose(hits)
        assert made.layout == "v1:{nonce}.{label}.{ciphertext}{tag}!"
        assert made.labels == {A.id: b"k1", B.id: b"k2"}

    def test_one_value_under_each_key(self):
        """One value of each key is enough to tell what differs by key."""
        made = propose([hit(A, (b"k1:", b""), [ROW]), hit(B, (b"k2:", b""), [ROW])])
        assert (made.layout, made.labels) == ("{label}:" + PIECE, {A.id: b"k1", B.id: b"k2"})

    def test_more_than_another_has(self):
        """What one key has beyond the other is its label."""
        made = tails(*by_key(b":k", b":k-2"))
        assert (made.layout, made.labels) == (PIECE + ":k{label}", {A.id: b"", B.id: b"-2"})

    def test_no_end(self):
        """What nothing ends has a size; a label of several sizes cannot be said then."""
        assert heads(*by_key(b"k1", b"k2")).layout == "{label:2}" + PIECE
        assert tails(*by_key(b"k1", b"k2")).layout == PIECE + "{label}"
        assert tails(*by_key(b"k1", b"k10")).layout == PIECE + "{label}"
        assert heads(*by_key(b"k1", b"k10")) is None
        assert heads(*by_key(b"1-b-1-z:", b"10-b-10-z:")) is None


KEPT = {
    "a number": ([b"1:", b"2:", b"3:", b"4:"], "{keep}:"),
    "of several sizes": ([b"1:", b"22:", b"333:", b"4:"], "{keep}:"),
    "the same under one key": ([b"1:", b"1:", b"3:", b"4:"], "{keep}:"),
    "several words": ([b"a.1.b:", b"a.2.c:", b"a.3.d:", b"a.4.e:"], "a.{keep}:"),
    "words with the same between": ([b"1-x-1:", b"2-x-2:", b"3-x-3:", b"4-x-4:"], "{keep}:"),
    "to both quotes": (
        [b'"a-1-z":', b'"a-2-z":', b'"a-3-z":', b'"a-4-z":'],
        '"{keep}":',
    ),
    "not to one quote": ([b'"a-1-z,', b'"a-2-z,', b'"a-3-z,', b'"a-4-z,'], '"a-{keep}-z,'),
    "two with a mark between": ([b"1;1!", b"2;2!", b"3;3!", b"4;4!"], "{keep};{keep}!"),
    "two with no mark between": ([b"1:1!", b"2:2!", b"3:3!", b"4:4!"], "{keep}!"),
    "two quoted": (
        [b'"1-z":"y-1"!', b'"2-z":"y-2"!', b'"3-z":"y-3"!', b'"4-z":"y-4"!'],
        '"{keep}":"{keep}"!',
    ),
    "its own mark behind it": ([b"1-z-1-z", b"2-z-2-z", b"3-z-3-z", b"4-z-4-z"], "{keep:5}-z"),
    "its mark not twice": ([b"1-x-1--z", b"2-x-2--z", b"3-x-3--z", b"4-x-4--z"],
                           "{keep}--z"),
    "other marks": ([b"k:a-b;", b"k:c;", b"k:d+e;", b"k:f;"], "k:{keep};"),
    "not ASCII": (["é;é!".encode(), "è;è!".encode(), "ê;ê!".encode(), "ë;ë!".encode()],
                  "{keep};{keep}!"),
    "beside a label": ([b"k1;1!", b"k1;2!", b"k2;3!", b"k2;4!"], "{label};{keep}!"),
    "before a label": ([b"1;k1!", b"2;k1!", b"3;k2!", b"4;k2!"], "{keep};{label}!"),
    "a label in its quotes": (
        [b'"1-k1"!', b'"2-k1"!', b'"3-k2"!', b'"4-k2"!'], '"{keep}-{label}"!',
    ),
}  # fmt: skip


class TestKept:
    """What differs under one key."""

    @pytest.mark.parametrize("case", KEPT)
    def test_before_a_piece(self, case):
        """What is kept goes from the first word that differs to the last, and to both quotes."""
        texts, layout = KEPT[case]
        made = heads(*texts)
        assert made.layout == layout + PIECE
        assert made.labels == ({A.id: b"k1", B.id: b"k2"} if "label" in layout else {})

    def test_no_end(self):
        """What has several sizes and nothing to end it cannot be said."""
        assert heads(b"1", b"22", b"333", b"4") is None
        assert heads(b"1", b"2", b"3", b"4").layout == "{keep:1}" + PIECE
        assert tails(b"1", b"22", b"333", b"4").layout == PIECE + "{keep}"

    def test_between_labels(self):
        """What is kept between two places that name the key leaves these apart: two labels."""
        assert heads(b"k1;1;k1!", b"k1;2;k1!", b"k2;3;k2!", b"k2;4;k2!") is None

    def test_around_a_label(self):
        """What is kept never takes in a label: two parts are kept around it."""
        texts = [b"a1.k1.b1!", b"a2.k1.b2!", b"a3.k2.b3!", b"a4.k2.b4!"]
        made = heads(*texts)
        assert made.layout == "{keep}.{label}.{keep}!" + PIECE
        assert made.labels == {A.id: b"k1", B.id: b"k2"}


NOT_TEXT = {
    "a header": (by_key(b"\x01\xff", b"\x01\xff"), ("hex:01ff",), {}),
    "a label": (by_key(b"\x01", b"\x02"), ("label:1",), {A.id: b"\x01", B.id: b"\x02"}),
    "a label behind a header": (
        by_key(b"\xff\x01", b"\xff\x02"), ("hex:ff", "label:1"), {A.id: b"\x01", B.id: b"\x02"},
    ),
    "from the first to the last": (
        by_key(b"\x01\xff\x01\xfe", b"\x02\xff\x02\xfe"), ("label:3", "hex:fe"),
        {A.id: b"\x01\xff\x01", B.id: b"\x02\xff\x02"},
    ),
    "a word": (
        by_key(b"\xffkey1.z\xfe", b"\xffkey2.z\xfe"), ("hex:ff", "label:6", "hex:fe"),
        {A.id: b"key1.z", B.id: b"key2.z"},
    ),
    "a word at both ends": (
        by_key(b"key1z\xff", b"key2z\xff"), ("label:5", "hex:ff"),
        {A.id: b"key1z", B.id: b"key2z"},
    ),
    "a word at the end": (
        by_key(b"\xffkey1", b"\xffkey2"), ("hex:ff", "label:4"), {A.id: b"key1", B.id: b"key2"},
    ),
    "a word before bytes": (
        by_key(b"\xffkey1\xfe", b"\xffkey2\xfe"), ("hex:ff", "label:4", "hex:fe"),
        {A.id: b"key1", B.id: b"key2"},
    ),
    "no word": (
        by_key(b"\xffk\x01z\xfe", b"\xffk\x02z\xfe"), ("hex:ff6b", "label:1", "hex:7afe"),
        {A.id: b"\x01", B.id: b"\x02"},
    ),
    "kept": ([b"\xff\x01", b"\xff\x02", b"\xff\x03", b"\xff\x04"], ("hex:ff", "keep:1"), {}),
    "kept beside a word": (
        [b"\xffa1", b"\xffb1", b"\xffc2", b"\xffd2"], ("hex:ff", "keep:1", "label:1"),
        {A.id: b"1", B.id: b"2"},
    ),
    "kept behind a word": (
        [b"\xff1a", b"\xff1b", b"\xff2c", b"\xff2d"], ("hex:ff", "label:1", "keep:1"),
        {A.id: b"1", B.id: b"2"},
    ),
    "kept in two places": (
        [b"\xff\x01\xee\x01", b"\xff\x02\xee\x02", b"\xff\x03\xee\x03", b"\xff\x04\xee\x04"],
        ("hex:ff", "keep:3"), {},
    ),
    "kept without a word": ([b"\xffk\x01", b"\xffk\x02", b"\xffk\x03", b"\xffk\x04"],
                            ("hex:ff6b", "keep:1"), {}),
}  # fmt: skip
PARTS = ("nonce:12", "ciphertext", "tag:16")


class TestBytes:
    """What stands around pieces and is no text."""

    @pytest.mark.parametrize("case", NOT_TEXT)
    def test_it_is_a_list(self, case):
        """Bytes are compared one by one; a label of letters takes in those beside it."""
        texts, layout, called = NOT_TEXT[case]
        made = heads(*texts, encoding=RAW)
        assert (made.layout, made.labels) == ((*layout, *PARTS), called)

    @pytest.mark.parametrize("case", NOT_TEXT)
    def test_behind_the_pieces(self, case):
        """A tail is compared like a header."""
        texts, layout, called = NOT_TEXT[case]
        made = tails(*texts, encoding=RAW)
        assert (made.layout, made.labels) == ((*PARTS, *layout), called)

    def test_sizes_differ(self):
        """Bytes of several sizes do not compare."""
        assert heads(*by_key(b"\xff\x01", b"\xff\x01\x01"), encoding=RAW) is None
        assert tails(*by_key(b"\xff\x01", b"\xff\x01\x01"), encoding=RAW) is None

    def test_text_of_several_sizes_around_bytes(self):
        """A list has a size for each part: a tail of several sizes is none."""
        assert tails(*by_key(b"k9", b"k10"), encoding=RAW) is None
        assert heads(*by_key(b"k9:", b"k10:"), encoding=RAW).layout == "{label}:" + PIECE

    @pytest.mark.parametrize(
        ("head", "tail", "layout"),
        [
            (b"v1:", b"", "v1:" + PIECE),
            (b"v1:", b"!", ("hex:76313a", *PARTS, "hex:21")),
            (b"", b"!", (*PARTS, "hex:21")),
            (b"v1\n", b"", ("hex:76310a", *PARTS)),
            (b"", b"", PARTS),
        ],
    )
    def test_a_text_only_before_the_last_piece(self, head, tail, layout):
        """A layout of bytes is a text if all around is readable, and a piece ends it."""
        assert propose([hit(A, (head, tail), [ROW], RAW)]).layout == layout

    def test_a_mark_between(self):
        """Marks between parts of bytes are entries of a list, readable or not."""
        for mark in (b"::", b"\xff"):
            made = propose([hit(A, (b"v", mark, b""), [NONCE, BODY], RAW)])
            assert made.layout == (
                "hex:76", "nonce:12", f"hex:{mark.hex()}", "ciphertext", "tag:16",
            )  # fmt: skip

    def test_what_is_authenticated_with_the_name(self):
        """Only a list has a header that is authenticated with the name."""
        made = propose([hit(A, (b"v1:", b""), [ROW], RAW, aad=Aad("header+name", b"v1:n"))])
        assert (made.layout, made.aad) == (("hex:76313a", *PARTS), "header+name")
        made = propose([hit(A, (b"v1:", b""), [ROW], RAW, aad=Aad("name", b"n"))])
        assert (made.layout, made.aad) == ("v1:" + PIECE, "name")


class TestEncodings:
    """Which encoding is the format's."""

    @pytest.mark.parametrize(
        ("encoding", "within", "head", "said"),
        [
            (RAW, None, b"\x01", (RAW, ("hex:01", *PARTS), None)),
            (RAW, BASE64, b"\x01", (BASE64, ("hex:01", *PARTS), None)),
            (RAW, BASE64, b"", (BASE64, PARTS, None)),
            (RAW, BASE64, b"v1:", (RAW, "v1:" + PIECE, BASE64)),
            (HEX, None, b"", (HEX, PARTS, None)),
            (HEX, BASE64, b"", (HEX, PIECE, BASE64)),
            (HEX, BASE64, b"v1:", (HEX, "v1:" + PIECE, BASE64)),
            (HEX, None, b"v1:", (HEX, "v1:" + PIECE, None)),
        ],
    )
    def test_around_the_whole(self, encoding, within, head, said):
        """An encoding around bytes is that of a list; one around a text is said beside it."""
        made = propose([hit(A, (head, b""), [ROW], encoding, within=within)])
        assert (made.encoding, made.layout, made.within) == said

    @pytest.mark.parametrize(
        ("pieces", "layout"),
        [
            ([(("nonce", 16),), BODY], "{nonce:16}:{ciphertext}{tag}"),
            ([BODY, NONCE], "{ciphertext}{tag}:{nonce}"),
            ([(("tag", 16), ("nonce", 12)), (("ciphertext", 0),)], "{tag}{nonce}:{ciphertext}"),
        ],
    )
    def test_pieces(self, pieces, layout):
        """A text says a nonce's size if it is not 12 bytes; parts have the order of the values."""
        assert propose([hit(A, (b"", b":", b""), pieces)]).layout == layout

    def test_pieces_that_touch(self):
        """Two pieces with nothing between them are still written as a text."""
        made = propose([hit(A, (b"", b"", b""), [NONCE, BODY], BASE64)])
        assert made.layout == PIECE


class TestAuthenticated:
    """What stands before the first piece and is authenticated."""

    @staticmethod
    def made(old, new, head, encoding=HEX):
        """What is made of two values under each key, with what each of them authenticates."""
        keys = (A, A, B, B)
        return propose([
            hit(key, (head % text, b""), [ROW], encoding, aad=Aad(OF_HEAD, text))
            for key, text in zip(keys, (*old, *new), strict=True)
        ])  # fmt: skip

    def test_by_key(self):
        """What differs by key is the label, and literals stand around it."""
        made = self.made((b"k1", b"k1"), (b"k2", b"k2"), b"v1:%b:")
        assert (made.aad, made.layout) == ("label", "v1:{label}:" + PIECE)
        assert made.labels == {A.id: b"k1", B.id: b"k2"}

    def test_beside_what_is_kept(self):
        """Beside the label parts may be kept."""
        hits = [
            hit(key, (b"%d;%b;" % (number, label), b""), [ROW], aad=Aad(OF_HEAD, label))
            for number, (key, label) in enumerate([(A, b"k"), (A, b"k"), (B, b"z"), (B, b"z")])
        ]
        made = propose(hits)
        assert (made.aad, made.layout) == ("label", "{keep};{label};" + PIECE)

    def test_the_same(self):
        """What all values have is a text that the format says."""
        made = self.made((b"v1", b"v1"), (b"v1", b"v1"), b"%b:")
        assert (made.aad, made.layout, made.labels) == ("text:v1", "v1:" + PIECE, {})

    def test_bytes(self):
        """What cannot be printed is said in hex."""
        made = self.made((b"\xff", b"\xff"), (b"\xff", b"\xff"), b"%b", RAW)
        assert (made.aad, made.layout) == ("hex:ff", ("hex:ff", *PARTS))

    def test_the_header_of_a_jwe(self):
        """A JWE's header is the label even if all keys have the same; of one key it is a text."""
        header = b"eyJhbGciOiJkaXIifQ"
        made = self.made((header, header), (header, header), b"%b..")
        assert (made.aad, made.layout) == ("label", "{label}.." + PIECE)
        assert made.labels == {A.id: header, B.id: header}
        alone = propose([hit(A, (header + b"..", b""), [ROW], aad=Aad(OF_HEAD, header))])
        assert (alone.aad, alone.layout) == (
            f"text:{header.decode()}",
            header.decode() + ".." + PIECE,
        )

    @pytest.mark.parametrize("old", [(b"a1", b"a2"), (b"a2", b"a1")])
    def test_by_value(self, old):
        """What differs under one key names none, and no format says it."""
        assert self.made(old, (b"k2", b"k2"), b"%b:") is None

    @pytest.mark.parametrize("at", [0, 1])
    def test_beside_what_does_not_compare(self, at):
        """A label with bytes of several sizes beside it is given up."""
        odd = (b"\xff", b"\xff\xff")
        texts = [
            b"%b%b%b" % ((other, label, b"") if at == 0 else (b"", label, other))
            for label in (b"k1", b"k2") for other in odd
        ]  # fmt: skip
        hits = [
            hit(key, (text, b""), [ROW], RAW, aad=Aad(OF_HEAD, label))
            for key, text, label in zip(
                (A, A, B, B), texts, (b"k1", b"k1", b"k2", b"k2"), strict=True
            )
        ]
        assert propose(hits) is None

    @pytest.mark.parametrize("kind", ["none", "name", "text:x", "field"])
    def test_anything_else(self, kind):
        """What does not stand there is said as it was tried."""
        assert heads(*by_key(b"v:", b"v:"), aad=Aad(kind, b"x")).aad == kind
