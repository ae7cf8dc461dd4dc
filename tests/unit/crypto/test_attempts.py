"""Attempts: what is tried with a value and what is not, by values made with the library alone."""

import base64
import hashlib
import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rotator.crypto.attempts import Search, _cut_like
from rotator.crypto.comparison import OF_HEAD
from rotator.crypto.cuts import Cut, Span
from rotator.crypto.encoding import Encoding, decode
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import FieldName

BASE64, BASE64URL, HEX, RAW = Encoding.BASE64, Encoding.BASE64URL, Encoding.HEX, Encoding.RAW
ROW = (("nonce", 12), ("ciphertext", 0), ("tag", 16))
NONCE, BODY = ROW[:1], ROW[1:]
NAME = b"app:item:1"


def lower(raw):
    """Lower hex."""
    return raw.hex().encode()


def upper(raw):
    """Upper hex."""
    return raw.hex().upper().encode()


def bare(raw):
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def material(number):
    """32 bytes that are the same for the same number."""
    return hashlib.sha256(b"attempt %d" % number).digest()


class Counted(Key):
    """Counted: a key that knows how often it was tried, together with the others."""

    __slots__ = ()
    tries = 0

    def decrypt(self, nonce, body, aad):
        """Try, and count it."""
        Counted.tries += 1
        return super().decrypt(nonce, body, aad)


def search(values, keys=1, aads=()):
    """The cuts that open, with as many *keys*, and how many decryptions that takes."""
    made = [Counted(material(number), f"key {number}") for number in range(keys)]
    Counted.tries = 0
    return Search(Keyring(made[0], made[1:]), aads, values).hits(), Counted.tries


def sealed(number=0, size=40, aad=None):
    """Nonce, ciphertext and tag under the key of a *number*; other sizes have other ends."""
    at, made = 0, b""
    while made[-1:] != bytes([size % 256]):
        drawn = hashlib.sha512(b"%d %d %d" % (number, size, at)).digest()
        nonce = bytes([128 + size % 64]) + drawn[:11]  # no text
        made = nonce + AESGCM(material(number)).encrypt(nonce, drawn[:1] * size, aad)
        at += 1
    return made


def by_place(values):
    """*values* by place, with names of their own."""
    return {(0, b"app:item:%d" % at): value for at, value in enumerate(values)}


def numbers(hits):
    """The numbers of the values that were found, in the order in which they were."""
    return [int(name.rpartition(b":")[2]) for _, name in hits]


class TestWhichValues:
    """Values that are tried, and in which order."""

    @pytest.mark.parametrize(("more", "found"), [(0, True), (1, False)])
    def test_the_largest(self, more, found):
        """A value of 64 KiB is tried, and no larger one."""
        values = by_place([sealed(size=(1 << 16) - 28 + more)])
        assert bool(search(values)[0]) is found

    def test_the_shortest_come_last(self):
        """Values come by their size, and the shortest quarter of them after all others."""
        values = by_place([sealed(size=size) for size in (80, 10, 70, 20, 60, 30, 50, 40)])
        assert numbers(search(values)[0]) == [5, 7, 6, 4, 2, 0, 1, 3]

    @pytest.mark.parametrize(("closed", "found"), [(11, True), (12, False)])
    def test_after_values_that_are_closed(self, closed, found):
        """Twelve values that open in nothing are enough to give up the rest."""
        values = [sealed(9, size) for size in (10, 11, *range(50, 48 + closed))]
        hits, _ = search(by_place([*values, sealed(size=30)]))
        assert bool(hits) is found

    def test_values_that_open_before(self):
        """What opens gives nothing up: each kind of value is found behind another."""
        raw = [sealed(size=size) for size in (50, 51, 52)]
        hits, _ = search(by_place([*raw, sealed(9, 53), lower(sealed(size=30))]))
        assert sorted(numbers(hits)) == [0, 1, 2, 4]

    def test_plain_values(self):
        """What does not look encrypted is not tried, and does not count as closed."""
        values = [b"some words and some more " * number for number in range(1, 13)]
        hits, tries = search(by_place([*values, sealed(size=10)]))
        assert numbers(hits) == [12]
        assert tries == 1

    def test_behind_those_that_are_compared(self):
        """What is of another kind than the values that are compared is tried all the same."""
        raw = [sealed(size=size) for size in (*range(10, 15), *range(40, 114))]
        hits, _ = search(by_place([*raw, lower(sealed(size=0))]))
        assert len(hits) == 80

    def test_no_value(self):
        """Where there is nothing nothing is found."""
        assert search({}) == ({}, 0)


class TestLimits:
    """How many decryptions there are."""

    @staticmethod
    def closed(number):
        """Values that nothing opens, with more guesses than are made."""
        return by_place([b"a" * 200 + sealed(-1, 40 + at) for at in range(number)])

    @pytest.mark.parametrize(("number", "most"), [(1, 2500), (2, 3100), (3, 3700), (4, 3820),
                                                  (12, 4780), (20, 4780)])  # fmt: skip
    def test_of_closed_values(self, number, most):
        """The first closed value has 2,500, two have 600 each, and the next nine 120 each."""
        _, tries = search(self.closed(number))
        # The guesses of a cut are finished once they are begun: two of them near, and few far.
        assert most <= tries <= most + 12 * min(number, 12)

    def test_in_all(self):
        """There are 12,000 in all, however many keys there are."""
        assert search(self.closed(12), keys=1000)[1] == 12_000

    def test_one_guess_is_enough(self):
        """The first guess is nonce, ciphertext and tag, with nothing authenticated."""
        assert search(by_place([sealed()]))[1] == 1

    def test_like_the_first(self):
        """Of values like one that opened each takes one decryption, with the key of that one."""
        values = by_place([sealed(2, 40 + at) for at in range(8)])
        hits, tries = search(values, keys=3)
        assert (len(hits), tries) == (8, 3 + 7)

    @pytest.mark.parametrize("write", [lower, base64.b64encode])
    def test_like_the_first_in_an_encoding(self, write):
        """That is so within an encoding, too."""
        values = by_place([write(sealed(2, 40 + at)) for at in range(8)])
        hits, tries = search(values, keys=3)
        assert (len(hits), tries) == (8, 3 + 7)

    @pytest.mark.parametrize("kind", ["name", "name-without:app:", "text:AES256GCM", "text:mine"])
    def test_like_the_first_with_what_is_authenticated(self, kind):
        """Values like one that opened are tried with what that authenticates, and nothing else."""
        values = {}
        for size in range(40, 48):
            name = b"app:item:%d" % size
            of_name = {"name": name, "name-without:app:": name[4:]}
            aad = of_name.get(kind, kind.removeprefix("text:").encode())
            values[0, name] = sealed(size=size, aad=aad)
        alone = dict(list(values.items())[2:3])  # the first of all that is tried
        hits, tries = search(values, aads=["mine"])
        assert {hit.aad.kind for hit in hits.values()} == {kind}
        assert len(hits) == 8
        assert tries == search(alone, aads=["mine"])[1] + 7


def found(value, *, name=NAME, aads=()):
    """The only value's cut."""
    return search({(0, name): value}, aads=aads)[0].get((0, name))


class TestNames:
    """What may have been authenticated that the value does not hold."""

    @pytest.mark.parametrize("mark", [b":", b"/", b".", b"-", b"_", b"|"])
    @pytest.mark.parametrize("encoding", [HEX, RAW])
    def test_without_a_beginning(self, mark, encoding):
        """A name may lack one of its beginnings, up to any mark."""
        name = mark.join([b"app", b"item", b"1"])
        for end in (4, 9):
            value = sealed(aad=name[end:])
            hit = found(value.hex().encode() if encoding is HEX else value, name=name)
            assert hit.aad.kind == f"name-without:{name[:end].decode()}"
            assert hit.aad.data == name[end:]

    @pytest.mark.parametrize(("mark", "known"), [(b" ", False), (b"x", False), (b":", True)])
    def test_what_is_a_mark(self, mark, known):
        """Nothing else ends a beginning."""
        assert bool(found(sealed(aad=b"1"), name=b"app" + mark + b"1")) is known

    @pytest.mark.parametrize(("number", "known"), [(6, True), (7, False)])
    def test_six_beginnings(self, number, known):
        """A name has six beginnings that are tried."""
        name = b"a:b:c:d:e:f:g:h"
        assert bool(found(sealed(aad=name[2 * number :]), name=name)) is known

    def test_no_text(self):
        """A beginning that no configuration could say is not tried."""
        assert found(sealed(aad=b"1"), name=b"a:\xff:1") is None
        assert found(sealed(aad=b"\xff:1"), name=b"a:\xff:1").aad.kind == "name-without:a:"

    @pytest.mark.parametrize(
        ("aad", "kind"),
        [(None, "none"), (b"", "none"), (NAME, "name"), (b"AES256GCM", "text:AES256GCM"),
         (b"mine", "text:mine"), ("höhe".encode(), "text:höhe")],
    )  # fmt: skip
    def test_anything_else(self, aad, kind):
        """Nothing, the name, what a library is known for, and what the caller knows of."""
        hit = found(sealed(aad=aad), aads=["mine", "höhe"])
        assert hit.aad.kind == kind
        assert hit.aad.data == (aad or None)

    def test_what_nobody_said(self):
        """A text that nobody knows of is not found."""
        assert found(sealed(aad=b"mine"), aads=["yours"]) is None

    def test_the_field(self):
        """The field of a hash may be authenticated; a name that has none is not asked for it."""
        name = FieldName(b"app:1", b"some field")
        hit = found(sealed(aad=b"some field"), name=name)
        assert (hit.aad.kind, hit.aad.data) == ("field", b"some field")


def hexed(head, aad):
    """A text: *head*, then the three parts in hex with a mark between."""
    raw = sealed(aad=aad)
    return head + raw[:12].hex().encode() + b";" + raw[12:].hex().encode()


class TestHeads:
    """What stands before the first piece and may have been authenticated."""

    @pytest.mark.parametrize(
        ("head", "aad"),
        [
            (b"v1:", b"v1:"), (b"v1:", b"v1"), (b"v1:", b"1:"),
            (b"v1:k9:", b"v1"), (b"v1:k9:", b"k9"), (b"v1:k9:", b"v1:k9"), (b"v1:k9:", b"v1:k9:"),
            (b"v1:k9:", b"1:k9:"),
            (b"a-b:c:", b"a-b"), (b"a-b:c:", b"a"), (b"a-b:c:", b"b"), (b"a-b:c:", b"b:c"),
            (b"a-B-c:", b"B"), (b"A-b-C:", b"b"), (b"_A_:", b"_A_"), (b"_a_:", b"_a_"),
            (b"a_b+c/d=:", b"a_b+c/d="), (b"a_b+c/d=:", b"b+c"),
            (b"p.q.r.s.t.u.", b"t"), (b"p.q.r.s.t.u.", b"p.q.r.s.t"), (b"p.q.r.s.t.u.", b"q.r"),
        ],
    )  # fmt: skip
    def test_of_a_text(self, head, aad):
        """All of it, words from any of the first five to any, and what follows one character."""
        hit = found(hexed(head, aad))
        assert (hit.aad.kind, hit.aad.data) == (OF_HEAD, aad)
        assert hit.cut.head == head

    @pytest.mark.parametrize(
        ("head", "aad"),
        [
            (b"v1:k9:", b"k"), (b"v1:k9:", b":k9"), (b"v1:k9:", b"k9:"), (b"v1:k9:", b"v1:"),
            (b"p.q.r.s.t.u.", b"u"), (b"p.q.r.s.t.u.", b"t.u"), (b"v1:", b";"),
        ],
    )  # fmt: skip
    def test_not_of_a_text(self, head, aad):
        """No part of a word, no mark at an end of words, and no sixth word."""
        assert found(hexed(head, aad)) is None

    def test_of_a_jwe(self):
        """The header of a JWE may have no key behind it."""
        header = base64.urlsafe_b64encode(b'{"alg":"dir","enc":"A256GCM"}').rstrip(b"=")
        raw = sealed(aad=header)
        nonce, body, tag = (
            base64.urlsafe_b64encode(part).rstrip(b"=")
            for part in (raw[:12], raw[12:-16], raw[-16:])
        )
        hit = found(header + b".." + nonce + b"." + body + b"." + tag)
        assert (hit.aad.kind, hit.aad.data) == (OF_HEAD, header)
        assert hit.cut.pieces == (NONCE, (("ciphertext", 0),), (("tag", 16),))

    @pytest.mark.parametrize("start", [0, 1, 5, 8])
    def test_of_bytes(self, start):
        """Of bytes what is behind the first eight at most, or all of them."""
        head = b"\x01\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8"
        values = by_place([head + sealed(size=40 + at, aad=head[start:]) for at in range(2)])
        hits, _ = search(values)
        assert {(hit.aad.kind, hit.aad.data) for hit in hits.values()} == {(OF_HEAD, head[start:])}

    def test_not_of_bytes(self):
        """What is behind nine bytes is not tried."""
        head = b"\x01\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8"
        values = by_place([head + sealed(size=40 + at, aad=head[9:]) for at in range(2)])
        assert search(values)[0] == {}

    def test_short_bytes(self):
        """The last byte of a header may be all that is authenticated."""
        hit = found(b"\xf0\xf1" + sealed(aad=b"\xf1"))
        assert (hit.aad.kind, hit.aad.data) == (OF_HEAD, b"\xf1")

    def test_with_the_name(self):
        """A header of bytes before the nonce may be authenticated with the name behind it."""
        hit = found(b"\xf0\xf1" + sealed(aad=b"\xf0\xf1" + NAME))
        assert (hit.aad.kind, hit.aad.data) == ("header+name", b"\xf0\xf1" + NAME)

    def test_not_with_the_name(self):
        """Of a text, and before another part, no format has header and name."""
        raw = sealed(aad=b"\xf0\xf1" + NAME)
        assert found(b"\xf0\xf1" + raw[-16:] + raw[:-16]) is None
        assert found(hexed(b"v1:", b"v1:" + NAME)) is None


class TestEncodings:
    """What a value may be in as a whole."""

    @pytest.mark.parametrize(
        ("write", "within"),
        [
            (bytes, None), (lower, HEX), (upper, HEX), (base64.b64encode, BASE64),
            (bare, BASE64URL),
        ],
        ids=["raw", "lower", "upper", "base64", "base64url"],
    )  # fmt: skip
    def test_bytes_in_an_encoding(self, write, within):
        """What is in an encoding is cut as the bytes that it stands for."""
        raw = b"\xff\xff\xfe\xfb" + sealed(size=60)  # has marks of base64 that base64url has not
        hit = found(write(raw))
        assert (hit.within, hit.cut.encoding, hit.cut.text) == (within, RAW, raw)
        assert (hit.cut.head, hit.cut.pieces) == (raw[:4], (ROW,))

    @pytest.mark.parametrize("size", [0, 1])
    def test_the_smallest(self, size):
        """Nonce and tag alone are a value, in any encoding."""
        for write, within in ((bytes, None), (base64.b64encode, BASE64), (lower, HEX)):
            assert found(write(sealed(size=size))).within == within

    def test_a_text_in_an_encoding(self):
        """A text may be in an encoding as a whole, and its pieces in another."""
        text = hexed(b"v1:", None)
        hit = found(base64.b64encode(text))
        assert (hit.within, hit.cut.encoding, hit.cut.text) == (BASE64, HEX, text)

    def test_a_word_before_it(self):
        """A word and a mark before base64url are a literal, though all of it could be read."""
        text = b"enc_" + base64.urlsafe_b64encode(sealed(size=32))
        hits, _ = search(by_place([text, b"enc_" + base64.urlsafe_b64encode(sealed(size=35))]))
        assert {(hit.within, hit.cut.head) for hit in hits.values()} == {(None, b"enc_")}


def value_like(layout):
    """A text of *layout*, whose capitals are parts, and the cut that it should have."""
    text, spans, got = b"", [], {"nonce": b"", "ciphertext": b"", "tag": b""}
    for item in layout:
        if isinstance(item, bytes):
            text += item
        else:
            encoding, parts = item
            raw = b"".join(os.urandom(size or 33) for _, size in parts)
            written = {HEX: raw.hex().encode(), BASE64: base64.b64encode(raw), RAW: raw}[encoding]
            spans.append(Span(len(text), len(text) + len(written), parts))
            text += written
            for kind, size in parts:
                got[kind], raw = raw[: size or 33], raw[size or 33 :]
    return Cut(encoding, text, tuple(spans), got["nonce"], got["ciphertext"] + got["tag"])


LIKE = {
    "the same": ((b"v1:", b":", b"!"), (b"v1:", b":", b"!"), True),
    "another label": ((b"v1:k1:", b":", b""), (b"v1:k99:", b":", b""), True),
    "a label with marks": ((b"v1:k1:", b":", b""), (b"v1:k-9.z:", b":", b""), True),
    "what follows its mark": ((b"k1:v:", b":", b""), (b"kv:v:", b":", b""), True),
    "an empty label": ((b"v1:k1:", b":", b""), (b"v1::", b":", b""), True),
    "another mark": ((b"v1:", b":", b""), (b"v1;", b":", b""), False),
    "another mark between": ((b"v1:", b":", b""), (b"v1:", b";", b""), False),
    "another mark behind": ((b"v1:", b":", b"!"), (b"v1:", b":", b"?"), False),
    "a mark more": ((b"v1:", b":", b""), (b"v1:", b"::", b""), False),
    "a mark of patterns": ((b".*", b":", b""), (b"ab", b":", b""), False),
    "a caret as a mark": ((b"v1^", b":", b""), (b"v22^", b":", b""), True),
    "a bracket as a mark": ((b"v1]", b":", b""), (b"v22]", b":", b""), True),
    "a word that touches": ((b":v1", b":", b""), (b":z9", b":", b""), True),
    "a longer word that touches": ((b":v1", b":", b""), (b":z99", b":", b""), False),
    "a word at the end": ((b"", b":", b".k1"), (b"", b":", b".k9999"), True),
    "several words at the end": ((b"", b":", b".k1"), (b"", b":", b".k-9:z"), True),
    "no word at the end": ((b"", b":", b".k1"), (b"", b":", b""), False),
    "bytes": ((b"\xff\x01", b"\xfe", b"\xfd"), (b"\x00\x02", b"\x03", b"\n"), True),
    "more bytes": ((b"\xff\x01", b"\xfe", b""), (b"\xff\x01\x01", b"\xfe", b""), None),
    "a line": ((b"v\n1:", b":", b""), (b"z\n2;", b":", b""), True),
}


class TestLike:
    """Values that are cut like one that opened."""

    @pytest.mark.parametrize("case", LIKE)
    @pytest.mark.parametrize("encoding", [HEX, BASE64])
    @pytest.mark.parametrize("pieces", [(NONCE, BODY), (BODY, NONCE)], ids=["first", "last"])
    def test_text(self, case, encoding, pieces):
        """Marks are the same and words are not; bytes are as many as before."""
        one, other, alike = LIKE[case]
        cuts = []
        for glue in (one, other):
            (head, between, tail), (first, last) = glue, pieces
            cuts.append(value_like([head, (encoding, first), between, (encoding, last), tail]))
        found = _cut_like(cuts[0], cuts[1].text)
        assert (found == cuts[1]) is bool(alike)
        assert alike is None or bool(found) is alike

    @pytest.mark.parametrize("pieces", [(ROW,), (NONCE, BODY), (BODY, NONCE)])
    def test_bytes(self, pieces):
        """Bytes are cut by their sizes, whatever they are."""
        layout = [b"\xf0\xf1", (RAW, pieces[0])]
        for parts in pieces[1:]:
            layout += [b"\xf9", (RAW, parts)]
        one, other = value_like([*layout, b"\xfa"]), value_like([*layout, b"\xfb"])
        assert _cut_like(one, other.text) == other

    @pytest.mark.parametrize("encoding", [HEX, BASE64, RAW])
    @pytest.mark.parametrize("piece", [(("nonce", 16),), (("nonce", 12),), (("nonce", 24),)])
    def test_the_same_sizes(self, encoding, piece):
        """A nonce of another size is not like it."""
        one = value_like([b"a:", (encoding, piece), b":", (encoding, BODY)])
        assert _cut_like(one, value_like([b"a:", (encoding, piece), b":", (encoding, BODY)]).text)
        for more in (-3, -1, 1, 3):
            longer = (("nonce", piece[0][1] + more),)
            text = value_like([b"a:", (encoding, longer), b":", (encoding, BODY)]).text
            found = _cut_like(one, text)
            assert found is None or found.spans[1].start != one.spans[1].start + more

    def test_too_short(self):
        """What has no room for its parts is not like it."""
        one = value_like([b"a:", (HEX, ROW)])
        assert _cut_like(one, b"a:" + bytes(28).hex().encode()).body == bytes(16)
        assert _cut_like(one, b"a:" + bytes(27).hex().encode()) is None
        assert _cut_like(one, b"a:" + bytes(28).hex().encode() + b"0") is None

    def test_padding(self):
        """Base64 may have its padding, or lack it."""
        piece = (("nonce", 16),)
        one = value_like([(BASE64, piece), b":", (BASE64, BODY)])
        bare = one.text.replace(b"=", b"")
        found = _cut_like(one, bare)
        assert (found.nonce, found.body) == (one.nonce, one.body)
        assert [decode(BASE64, bare[start:end]) for start, end, _ in found.spans] == [
            one.nonce, one.body,
        ]  # fmt: skip
        assert _cut_like(found, one.text) == one
