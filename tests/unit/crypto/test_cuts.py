"""Cuts: which guesses there are, of values whose parts are put together here."""

import base64
from itertools import pairwise, permutations

import pytest

from rotator.crypto.cuts import bytes_cuts, text_cuts
from rotator.crypto.encoding import Encoding, decode
from rotator.crypto.samples import Samples

BASE64, BASE64URL, HEX, RAW = Encoding.BASE64, Encoding.BASE64URL, Encoding.HEX, Encoding.RAW
TAG = bytes(range(100, 116))
CIPHERTEXT = bytes(range(200, 221))
ORDERS = list(permutations(["nonce", "ciphertext", "tag"]))
WRITTEN = {
    HEX: lambda raw: raw.hex().encode(),
    BASE64: base64.b64encode,
    BASE64URL: lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"="),
}


def parts(nonce=12, ciphertext=CIPHERTEXT):
    """What a value consists of, by name."""
    return {"nonce": bytes(range(nonce)), "ciphertext": ciphertext, "tag": TAG}


def sized(pieces, nonce):
    """The parts of *pieces*, as a cut has them."""
    sizes = {"nonce": nonce, "ciphertext": 0, "tag": 16}
    return tuple(tuple((kind, sizes[kind]) for kind in piece) for piece in pieces)


def groupings(order):
    """An *order* of parts in one piece, in two, and in three."""
    first, second, third = order
    return (
        ((first, second, third),),
        ((first, second), (third,)),
        ((first,), (second, third)),
        ((first,), (second,), (third,)),
    )


def joined(texts, glue):
    """*texts* with *glue* around them, and where they stand."""
    whole, places = glue[0], []
    for text, behind in zip(texts, glue[1:], strict=True):
        places.append((len(whole), len(whole) + len(text)))
        whole += text + behind
    return whole, places


def found(cuts, places, pieces, held):
    """The cuts with these *pieces* at these *places*, and what is *held*."""
    return [
        cut for cut in cuts
        if [(span.start, span.end) for span in cut.spans] == places and cut.pieces == pieces
        and (cut.nonce, cut.body) == (held["nonce"], held["ciphertext"] + held["tag"])
    ]  # fmt: skip


def check(cuts):
    """Every cut holds what stands at its pieces, which have all three parts and do not overlap."""
    for cut in cuts:
        got = {}
        assert all(before.end <= then.start for before, then in pairwise(cut.spans))
        for start, end, inside in cut.spans:
            raw = decode(cut.encoding, cut.text[start:end])
            rest = len(raw) - sum(size for _, size in inside)
            assert rest >= 0
            for kind, size in inside:
                assert kind not in got
                got[kind], raw = raw[: size or rest], raw[size or rest :]
            assert raw == b""
        assert got.keys() == {"nonce", "ciphertext", "tag"}
        assert (cut.nonce, cut.body) == (got["nonce"], got["ciphertext"] + got["tag"])


def text_value(encoding, pieces, held, glue):
    """A text of *pieces* in an encoding."""
    texts = [WRITTEN[encoding](b"".join(held[kind] for kind in piece)) for piece in pieces]
    return joined(texts, glue)


class TestTexts:
    """Pieces in a text."""

    @pytest.mark.parametrize("encoding", WRITTEN)
    @pytest.mark.parametrize("order", ORDERS, ids="-".join)
    @pytest.mark.parametrize("nonce", [12, 16])
    @pytest.mark.parametrize("around", [(b"", b":", b""), (b"<", b"||", b">")])
    def test_any_order_and_grouping(self, encoding, order, nonce, around):
        """Three parts are found in any order, in one piece, in two or in three."""
        head, between, tail = around
        held = parts(nonce)
        for pieces in groupings(order):
            glue = [head, *[between] * (len(pieces) - 1), tail]
            text, places = text_value(encoding, pieces, held, glue)
            cuts = list(text_cuts(text, Samples([text])))
            cut = found(cuts, places, sized(pieces, nonce), held)[0]
            assert cut.glue == tuple(glue)
            assert cut.head == head
            assert cut.text == text
            check(cuts)

    @pytest.mark.parametrize("nonce", [8, 24, 32])
    @pytest.mark.parametrize("encoding", WRITTEN)
    @pytest.mark.parametrize("alone", [True, False])
    def test_other_nonces(self, nonce, encoding, alone):
        """A nonce of 8, 24 or 32 bytes is found only where it stands alone."""
        held, pieces = parts(nonce), (("nonce",), ("ciphertext", "tag"))
        if not alone:
            pieces = (("nonce", "ciphertext", "tag"),)
        text, places = text_value(encoding, pieces, held, [b":"] * (len(pieces) + 1))
        cuts = text_cuts(text, Samples([text]))
        assert bool(found(cuts, places, sized(pieces, nonce), held)) is alone

    @pytest.mark.parametrize("nonce", [11, 13, 15, 17, 20, 28])
    def test_no_other_size(self, nonce):
        """No other size is a nonce."""
        pieces = (("nonce",), ("ciphertext", "tag"))
        text, _ = text_value(HEX, pieces, parts(nonce), [b":"] * 3)
        assert nonce not in {len(cut.nonce) for cut in text_cuts(text, Samples([text]))}

    @pytest.mark.parametrize("order", ORDERS, ids="-".join)
    def test_an_empty_ciphertext(self, order):
        """Between two marks of a kind, or at an end, an empty ciphertext may stand."""
        held, pieces = parts(ciphertext=b""), tuple((kind,) for kind in order)
        text, places = text_value(HEX, pieces, held, [b"", b":", b":", b""])
        cuts = list(text_cuts(text, Samples([text])))
        assert found(cuts, places, sized(pieces, 12), held)
        check(cuts)

    @pytest.mark.parametrize("order", ORDERS, ids="-".join)
    def test_an_empty_ciphertext_in_a_piece(self, order):
        """Beside another part a ciphertext may be empty, too."""
        held = parts(ciphertext=b"")
        for pieces in groupings(order)[:3]:
            if ("ciphertext",) in pieces:
                continue
            text, places = text_value(HEX, pieces, held, [b"."] * (len(pieces) + 1))
            assert found(text_cuts(text, Samples([text])), places, sized(pieces, 12), held)

    def test_a_ciphertext_of_the_size_of_a_nonce(self):
        """A piece that could be nonce or ciphertext is tried as either."""
        held = parts(ciphertext=bytes(range(50, 62)))
        for order in ORDERS:
            pieces = tuple((kind,) for kind in order)
            text, places = text_value(HEX, pieces, held, [b"", b":", b":", b""])
            cuts = list(text_cuts(text, Samples([text])))
            assert found(cuts, places, sized(pieces, 12), held)
            turned = held | {"nonce": held["ciphertext"], "ciphertext": held["nonce"]}
            swapped = {"nonce": "ciphertext", "ciphertext": "nonce", "tag": "tag"}
            other = tuple((swapped[kind],) for kind in order)
            assert found(cuts, places, sized(other, 12), turned)

    def test_pieces_that_touch(self):
        """Padding ends a piece: another one may follow at once."""
        held, pieces = parts(16), (("nonce",), ("tag",), ("ciphertext",))
        text, places = text_value(BASE64, pieces, held, [b""] * 4)
        assert found(text_cuts(text, Samples([text])), places, sized(pieces, 16), held)

    def test_too_short(self):
        """What is shorter than nonce and tag is not cut as one."""
        for size, number in ((27, 0), (28, 6), (31, 6), (32, 12)):
            text = bytes(range(size)).hex().encode()
            cuts = [
                cut for cut in text_cuts(text, Samples([text]))
                if cut.encoding is HEX and cut.spans[0][:2] == (0, 2 * size)
            ]  # fmt: skip
            assert len(cuts) == number

    def test_the_likely_ones_first(self):
        """Of all cuts those come first whose pieces leave least of the text over."""
        text, _ = text_value(HEX, (("nonce",), ("ciphertext", "tag")), parts(), [b"ab:", b":", b""])
        cuts = list(text_cuts(text, Samples([text, b"ab:" + b"cd" * 20])))
        covered = [sum(span.end - span.start for span in cut.spans) for cut in cuts]
        assert covered == sorted(covered, reverse=True)
        assert len(set(covered)) > 3

    def test_how_many(self):
        """Of a text no more than 150 cuts are tried."""
        text = b":".join(bytes([at]).hex().encode() * 16 for at in range(10, 22))
        assert len(list(text_cuts(text, Samples([text])))) == 150

    def test_the_longest_runs(self):
        """The twelve longest runs are looked at, wherever they stand."""
        held = parts()
        text, places = text_value(
            HEX, tuple((kind,) for kind in held), held, [b"", b":", b":", b""]
        )
        for words in (b"ab:" * 40 + text, text + b":ab" * 40):
            shift = words.index(text)
            moved = [(start + shift, end + shift) for start, end in places]
            cuts = text_cuts(words, Samples([words]))
            assert found(cuts, moved, sized(tuple((kind,) for kind in held), 12), held)


class TestAlphabets:
    """Which encodings are tried."""

    @pytest.mark.parametrize(
        ("raw", "tried"),
        [
            (b"\xfb\xff\xbf" * 10, {BASE64, BASE64URL}),
            (b"\xfb\xef\xbe" * 10, {BASE64, BASE64URL}),
            (b"\x00\x10\x83" * 10, {BASE64}),
        ],
    )
    def test_what_a_text_has(self, raw, tried):
        """Marks of both alphabets rule out neither, and no mark means base64."""
        text = b"-+:_/:" + base64.b64encode(raw) if len(tried) == 2 else base64.b64encode(raw)
        assert {cut.encoding for cut in text_cuts(text, Samples([text]))} <= tried

    @pytest.mark.parametrize(
        ("encoding", "tried"), [(base64.b64encode, BASE64), (base64.urlsafe_b64encode, BASE64URL)]
    )
    def test_both_marks_of_one(self, encoding, tried):
        """A text with both marks of one alphabet, and not of the other, is in that one."""
        text = encoding(b"\xfb\xff\xbe" + bytes(range(40)))
        assert {cut.encoding for cut in text_cuts(text, Samples([text]))} == {tried}

    @pytest.mark.parametrize("mark", [b"-", b"_", b"+", b"/"])
    def test_one_mark(self, mark):
        """One mark may stand between pieces: both alphabets are tried."""
        text = base64.b64encode(bytes(28)) + mark + base64.b64encode(bytes(range(30)))
        assert {cut.encoding for cut in text_cuts(text, Samples([text]))} == {BASE64, BASE64URL}

    def test_hex(self):
        """What is hex all over is not base64 by chance."""
        text = bytes(range(32)).hex().encode()
        assert {cut.encoding for cut in text_cuts(text, Samples([text]))} == {HEX}


def starts(text, others, end):
    """Where pieces of all parts may begin that go up to *end*."""
    cuts = text_cuts(text, Samples([text, *others]))
    return {cut.spans[0].start for cut in cuts if cut.encoding is HEX and cut.spans[0].end == end
            and len(cut.spans) == 1}  # fmt: skip


class TestLiteralsInARun:
    """Literals of the characters that pieces have, too."""

    ONE, OTHER = (bytes([at]) * 60 for at in (0x11, 0x22))

    def test_shared(self):
        """Of what other values begin with, too, as much may be a literal, and a little more."""
        text, other = (b"abcdef" + raw.hex().encode() for raw in (self.ONE, self.OTHER))
        assert starts(text, [other], len(text)) == {0, 2, 6, 8}

    def test_odd(self):
        """A literal may have an odd number of characters."""
        text, other = (b"abcde" + raw.hex().encode() for raw in (self.ONE, self.OTHER))
        assert starts(text, [other], len(text)) == {1, 3, 5, 7}

    def test_not_shared(self):
        """What no other value has is not cut off but for a size that is known."""
        text = b"abcdef" + self.ONE.hex().encode()
        assert starts(text, [self.OTHER.hex().encode()], len(text)) == {0}

    def test_all_shared(self):
        """What three values have is not random, and no piece."""
        text = self.ONE.hex().encode()
        assert starts(text, [text, text], len(text)) == set()
        assert starts(text, [text], len(text)) == {0}

    @pytest.mark.parametrize("size", [28, 32])
    @pytest.mark.parametrize(("letters", "known"), [(1, True), (40, True), (42, False)])
    def test_of_a_known_size(self, size, letters, known):
        """Nonce and tag of an empty ciphertext are found behind 40 letters, and before as many."""
        piece = bytes(range(size)).hex().encode()
        for text, place in (
            (b"a" * letters + piece, (letters, letters + len(piece))),
            (piece + b"a" * letters, (0, len(piece))),
        ):
            spans = {cut.spans[0][:2] for cut in text_cuts(text, Samples([text]))}
            assert (place in spans) is known

    @pytest.mark.parametrize(("more", "known"), [(4, True), (5, False)])
    def test_of_a_known_size_and_shared(self, more, known):
        """Beside what others have, too, four letters more may be a literal."""
        piece = bytes(range(28)).hex().encode()
        text, other = (b"abcd" + letter * more + piece for letter in (b"e", b"f"))
        spans = {cut.spans[0][:2] for cut in text_cuts(text, Samples([text, other]))}
        assert ((4 + more, len(text)) in spans) is known

    @pytest.mark.parametrize("encoding", [BASE64, BASE64URL])
    @pytest.mark.parametrize("mark", [b"-", b"_"])
    @pytest.mark.parametrize("nonce", [12, 16])
    def test_a_mark_of_the_alphabet(self, encoding, mark, nonce):
        """A mark that base64url has may end a nonce."""
        held, pieces = parts(nonce), (("nonce",), ("ciphertext", "tag"))
        text, places = text_value(encoding, pieces, held, [b"", mark, b""])
        assert found(text_cuts(text, Samples([text])), places, sized(pieces, nonce), held)

    @pytest.mark.parametrize("size", [12, 16, 28, 32])
    @pytest.mark.parametrize("encoding", WRITTEN)
    @pytest.mark.parametrize("behind", [True, False])
    def test_sizes_that_are_known(self, size, encoding, behind):
        """Nonces and tags, and both together, are known by their length as text, padded or not."""
        letters, rest = WRITTEN[encoding](bytes(range(size))), bytes(range(100, 151))
        run = (b"aaa" + letters) if behind else (letters + b"aaa")
        text = run + b"." + WRITTEN[encoding](rest)
        start = 3 if behind else 0
        ends = {span[:2] for cut in text_cuts(text, Samples([text])) for span in cut.spans}
        assert (start, start + len(letters)) in ends


def bytes_value(pieces, held, glue):
    """A value in bytes."""
    return joined([b"".join(held[kind] for kind in piece) for piece in pieces], glue)


def heads(laid, others=()):
    """How many bytes are taken for a header if there is no tail, in their order."""
    cuts = bytes_cuts(laid, Samples([laid, *others]))
    return list(dict.fromkeys(cut.spans[0].start for cut in cuts if cut.spans[0].end == len(laid)))


def tails(laid, others=()):
    """How many bytes are taken for a tail if there is no header, in their order."""
    cuts = bytes_cuts(laid, Samples([laid, *others]))
    return list(dict.fromkeys(len(laid) - cut.spans[0].end for cut in cuts if not cut.head))


class TestBytes:
    """Parts in a row of bytes."""

    @pytest.mark.parametrize("order", ORDERS, ids="-".join)
    @pytest.mark.parametrize("nonce", [12, 16])
    @pytest.mark.parametrize("size", [0, 1, 21])
    def test_any_order(self, order, nonce, size):
        """Three parts are found in any order, behind a header and before a tail others have."""
        held = parts(nonce, CIPHERTEXT[:size])
        laid, places = bytes_value([order], held, [b"\xff\xfe", b"\xfd"])
        cuts = list(bytes_cuts(laid, Samples([laid, b"\xff\xfe" + bytes(9) + b"\xfd"])))
        [cut] = found(cuts, places, sized([order], nonce), held)
        assert (cut.encoding, cut.glue) == (RAW, (b"\xff\xfe", b"\xfd"))
        check(cuts)

    def test_headers(self):
        """What others begin with comes first, then none, a little, a little more, and less."""
        laid, other = (b"\xff" * 20 + bytes([at]) * 60 for at in (1, 2))
        assert heads(laid, [other])[:21] == [20, 0, 1, 2, 3, 4, *range(21, 29), *range(19, 12, -1)]
        assert set(heads(laid, [other])) == set(range(29))

    def test_headers_of_one(self):
        """What no other value has is eight bytes at most."""
        assert heads(b"\xff" * 20 + bytes(60)) == list(range(9))

    def test_headers_to_read(self):
        """What can be read is skipped at any length, and a byte behind it."""
        assert heads(b"a" * 20 + bytes(60)) == list(range(22))
        assert heads(b"a ~" * 7 + b"\x1f" + bytes(60))[-1] == 22
        assert heads(b"a" * 20 + bytes(60), [b"a" + b"\xff" * 79]) == [1, 0, *range(2, 10)]

    def test_tails(self):
        """What others end with comes first, then none, and then less and less."""
        laid, other = (bytes([at]) * 60 + b"\xff" * 5 for at in (1, 2))
        assert tails(laid, [other]) == [5, 0, 4, 3, 2, 1]
        assert tails(laid) == [0]

    def test_long_tails(self):
        """No more than 64 bytes are taken for a tail."""
        laid, other = (bytes([at]) * 60 + b"\xff" * 70 for at in (1, 2))
        assert tails(laid, [other])[:3] == [64, 0, 63]

    def test_how_many(self):
        """No more than 150 places are tried, the likely ones of header and tail together."""
        laid, other = (b"\xff" * 20 + bytes([at]) * 60 + b"\xee" * 20 for at in (1, 2))
        cuts = list(bytes_cuts(laid, Samples([laid, other])))
        places = list(dict.fromkeys((cut.spans[0].start, cut.spans[0].end) for cut in cuts))
        assert len(places) == 150
        assert places[:3] == [(20, 80), (20, 100), (0, 80)]

    def test_the_smallest(self):
        """What is shorter than nonce and tag is not cut."""
        assert list(bytes_cuts(bytes(27), Samples([bytes(27)]))) == []
        assert len(list(bytes_cuts(bytes(28), Samples([bytes(28)])))) == 6


def marked(pieces, glue, number=5, nonce=12):
    """Values that have *glue* in common, with what each holds and where it stands."""
    made = []
    for at in range(number):
        held = {
            "nonce": bytes([at * 7 + 1]) * nonce,
            "ciphertext": bytes([at * 7 + 2]) * (20 + at),
            "tag": bytes([at * 7 + 3]) * 16,
        }
        filled = [text(at) if callable(text) else text for text in glue]
        made.append((*bytes_value(pieces, held, filled), held))
    return made


def unlike(size):
    """Bytes that differ in each value."""
    return lambda at: bytes([at * 7 + 4]) * size


HEADS = {
    "none": b"",
    "literal": b"\xf0\xf1",
    "literal and unlike": lambda at: b"\xf0" + bytes([at * 7 + 4]) * 3,
}
SEVERAL = [pieces for order in ORDERS for pieces in groupings(order)[1:]]


class TestMarksWithin:
    """Bytes that all values have between parts."""

    @pytest.mark.parametrize("pieces", SEVERAL, ids=str)
    @pytest.mark.parametrize("nonce", [12, 16])
    @pytest.mark.parametrize("head", HEADS)
    def test_between(self, pieces, nonce, head):
        """Parts are found around marks, in any order, behind what is a header or is unlike."""
        glue = [HEADS[head], *[b"\xfa\xfb"] * (len(pieces) - 1), b""]
        values = marked(pieces, glue, nonce=nonce)
        samples = Samples([laid for laid, _, _ in values])
        for laid, places, held in values[::4]:
            cuts = list(bytes_cuts(laid, samples))
            assert found(cuts, places, sized(pieces, nonce), held)
            check(cuts)

    @pytest.mark.parametrize("pieces", SEVERAL[2::3], ids=str)
    @pytest.mark.parametrize("size", [1, 4, 5])
    def test_a_mark_that_begins_what_differs(self, pieces, size):
        """Up to four bytes behind the last mark may differ, such as a length."""

        def last(at):
            return b"\xfa" + bytes([at * 7 + 4]) * size

        values = marked(pieces, [b"\xf0\xf1", b"\xf9", last, b""])
        samples = Samples([laid for laid, _, _ in values])
        for laid, places, held in values:
            cuts = bytes_cuts(laid, samples)
            assert bool(found(cuts, places, sized(pieces, 12), held)) is (size < 5)

    @pytest.mark.parametrize("size", [1, 8, 9])
    def test_the_first_ones_in_a_header(self, size):
        """Bytes that all have may be in a header, before up to eight that differ."""
        pieces = (("nonce",), ("ciphertext", "tag"))

        def head(at):
            return bytes([at * 7 + 5]) * 2 + b"\xf7" + bytes([at * 7 + 4]) * size

        values = marked(pieces, [head, b"\xfa", b""])
        samples = Samples([laid for laid, _, _ in values])
        for laid, places, held in values:
            cuts = list(bytes_cuts(laid, samples))
            assert bool(found(cuts, places, sized(pieces, 12), held)) is (size < 9)

    def test_a_header_that_is_unlike(self):
        """Before the first mark up to eight bytes may differ."""
        pieces = (("nonce",), ("ciphertext", "tag"))
        for size in (8, 9):
            values = marked(pieces, [unlike(size), b"\xfa", b""])
            samples = Samples([laid for laid, _, _ in values])
            for laid, places, held in values:
                cuts = list(bytes_cuts(laid, samples))
                assert bool(found(cuts, places, sized(pieces, 12), held)) is (size < 9)
