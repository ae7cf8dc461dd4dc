"""Format search: finds what the language can say from values alone, and nothing that is not so."""

import base64
import os
import sys
from collections import Counter
from itertools import chain

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from rotator.crypto.codec import Codec, Opened
from rotator.crypto.encoding import Encoding, encode
from rotator.crypto.format_search import search_formats
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN, FieldName, Format
from rotator.errors import FormatError

OLD, NEW, THIRD, LOST = (Key(os.urandom(32), f"key {number}") for number in range(4))
RING = Keyring(NEW, [OLD, THIRD])
LABELS = {OLD.id: b"k1", NEW.id: b"k2", THIRD.id: b"k3"}
PARTS = ("nonce:12", "ciphertext", "tag:16")
MOST_CALLS = 200_000  # for 12 values; the costliest layouts need 105,000, in some 30 ms


def token(header):
    """A JWE's header in base64url."""
    return encode(Encoding.BASE64URL, header).rstrip(b"=")


def labels(old, new):
    """What two keys are called."""
    return {OLD.id: old, NEW.id: new}


# What applications write: encoding, layout, what else its format has, and labels if they matter.
LAYOUTS = {
    "node": ("hex", "{nonce}:{tag}:{ciphertext}", {}),
    "node-16": ("hex", "{nonce:16}:{ciphertext}:{tag}", {}),
    "dots": ("base64url", "v1.{nonce}.{tag}.{ciphertext}", {}),
    "prefix": ("base64", "enc:v1:{nonce}{ciphertext}{tag}", {}),
    "touching": ("base64url", "enc_{nonce}{ciphertext}{tag}", {}),
    "touching hex": ("hex", "v1{nonce}{tag}{ciphertext}", {}),
    "touching label": ("base64", "{label:2}{nonce}{ciphertext}{tag}", {}),
    "rails": ("base64", "{ciphertext}--{nonce}--{tag}", {}),
    "json": ("base64", '{"iv":"{nonce}","tag":"{tag}","data":"{ciphertext}"}', {}),
    "kid": ("base64", "enc:{label}:{nonce}:{tag}:{ciphertext}", {}),
    "spring": ("hex", "{cipher}{nonce:16}{ciphertext}{tag}", {}),
    "shell": ("hex", "aes256gcm${nonce}${ciphertext}${tag}", {}),
    "nonce and tag": ("base64", "{nonce}{tag}.{ciphertext}", {}),
    "nonce last": ("base64", "{ciphertext}{tag}:{nonce}", {}),
    "tag first": ("hex", "{nonce}|{tag}{ciphertext}", {}),
    "mark of the alphabet": ("base64url", "{nonce}_{ciphertext}{tag}", {}),
    "label last": ("hex", "{nonce}{ciphertext}{tag}.{label}", {}),
    "cloak": (
        "base64url",
        "v1.aesgcm256.{label}.{nonce}.{ciphertext}{tag}",
        {"labels": labels(b"9f2c41d07be3a655", b"c298726709d1c725")},
    ),
    "jwe": (
        "base64url",
        "{label}..{nonce}.{ciphertext}.{tag}",
        {
            "aad": "label",
            "labels": labels(
                token(b'{"alg":"dir","enc":"A256GCM","kid":"old"}'),
                token(b'{"alg":"dir","enc":"A256GCM","kid":"2"}'),
            ),
        },
    ),
    "jwe without kid": (
        "base64url",
        "{label}..{nonce}.{ciphertext}.{tag}",
        {"aad": "label", "labels": dict.fromkeys(LABELS, token(b'{"alg":"dir","enc":"A256GCM"}'))},
    ),
    "authenticated label": ("base64", "v2:{label}:{nonce}:{ciphertext}{tag}", {"aad": "label"}),
    "authenticated version": ("base64", "v1:{nonce}{ciphertext}{tag}", {"aad": "text:v1"}),
    "without its prefix": ("base64", "{nonce}.{ciphertext}{tag}", {"aad": "name-without:app:"}),
    "given": ("hex", "{nonce}:{ciphertext}{tag}", {"aad": "text:sessions"}),
    "letters that are not ASCII": (
        "hex",
        "{label}:{nonce}:{ciphertext}{tag}",
        {"labels": labels("clé".encode(), "clè".encode())},
    ),
    "kubernetes": (
        "raw",
        "k8s:enc:aesgcm:v1:{label}:{nonce}{ciphertext}{tag}",
        {"aad": "name", "labels": labels(b"key9", b"key10")},
    ),
    "label in base64": (
        "raw",
        "{label}:{nonce}{ciphertext}{tag}",
        {"within": "base64", "labels": labels(b"key9", b"key10")},
    ),
    "laravel": (
        "base64",
        '{"iv":"{nonce}","value":"{ciphertext}","mac":"","tag":"{tag}"}',
        {"within": "base64"},
    ),
    "in hex": ("base64url", "a.{nonce}.{ciphertext}{tag}", {"within": "hex"}),
    "in base64url": ("hex", "{nonce}:{ciphertext}:{tag}", {"within": "base64url"}),
    "tink": (
        "raw",
        ["hex:01", "label:4", *PARTS],
        {"labels": labels(bytes.fromhex("0a0b0c0d"), bytes.fromhex("7f000001"))},
    ),
    "version byte": ("raw", ["label:1", *PARTS], {"labels": labels(b"\x01", b"\x02")}),
    "pycryptodome": ("raw", ["nonce:16", "tag:16", "ciphertext"], {}),
    "tag before all": ("raw", ["tag:16", "nonce:12", "ciphertext"], {}),
    "name": ("raw", [*PARTS], {"aad": "name"}),
    "header": ("raw", ["hex:76310a", *PARTS], {"aad": "header+name"}),
    "long header": ("raw", ["hex:" + "ab01" * 20, *PARTS], {}),
    "tail": ("raw", [*PARTS, "hex:ffee"], {}),
    "in the midst": ("raw", ["nonce:12", "hex:00", "ciphertext", "tag:16"], {}),
    "header in base64": ("base64", ["hex:02", *PARTS], {}),
    "sqlalchemy": ("base64", ["nonce:12", "tag:16", "ciphertext"], {}),
    "sizes": ("raw", ["hex:0c000000", "nonce:12", "hex:10000000", "tag:16", "ciphertext"], {}),
    "sizes in base64": (
        "base64",
        ["hex:0000000c", "nonce:12", "hex:00000010", "tag:16", "ciphertext"],
        {},
    ),
    "separated bytes": ("raw", "{nonce}::{tag}::{ciphertext}", {"within": "base64"}),
    "separated from the end": (
        "base64",
        ["ciphertext", "hex:3a3a", "nonce:12", "hex:3a3a", "tag:16"],
        {},
    ),
    "protobuf": (
        "raw",
        ["hex:0a0c", "nonce:12", "hex:1210", "tag:16", "hex:1a", "keep:1", "ciphertext"],
        {},
    ),
    "elixir": (
        "raw",
        ["hex:010a", "label:10", "nonce:12", "tag:16", "ciphertext"],
        {"aad": "text:AES256GCM", "labels": labels(b"AES.GCM.V1", b"AES.GCM.V2")},
    ),
    "lettuce": ("raw", "${label}+1${nonce}{ciphertext}{tag}", {}),
    "jasypt": ("base64", "ENC({nonce}{ciphertext}{tag})", {}),
    "active record": ("base64", '{"p":"{ciphertext}","h":{"iv":"{nonce}","at":"{tag}"}}', {}),
    "dapr": ("base64", "{nonce}{ciphertext}{tag}||{label}", {}),
    "nonce of 32": ("base64", "ENC[data:{ciphertext},iv:{nonce:32},tag:{tag}]", {}),
    "kept": ("raw", ["hex:01", "keep:4", *PARTS], {}),
    "caddy": (
        "base64",
        '{"value":"{nonce}{ciphertext}{tag}","modified":"{keep}","size":{keep},"encryption":1}',
        {},
    ),
}


class Application:
    """Application: writes values in a *form*, and says whether it reads what it is given."""

    def __init__(self, form, called=LABELS):
        self.form, self.labels = form, called if form.cutter.labelled else {}

    @classmethod
    def of(cls, encoding, layout, more):
        """The one that writes a layout of the table."""
        more = dict(more)
        called = more.pop("labels", LABELS)
        return cls(Format.parse("theirs", encoding, layout, **more), called)

    def write(self, name, plaintext, key, number):
        """A value under *key*; its *number* stands where parts are kept."""
        codec = Codec(Keyring(key), [self.form], None, self.labels)
        return codec.seal(name, plaintext, self.form, self._example(key, number))

    def _example(self, key, number):
        """A value that tells what is kept, if anything is."""
        cutter = self.form.cutter
        if not cutter.kept:
            return None
        if not isinstance(self.form.layout, str):
            size = cutter.smallest - len(cutter.start)
            return encode(self.form.encoding, cutter.start + os.urandom(size))
        items = [item for item in cutter._items if item.kind != "literal"]
        kept = (b"17%03d" % number * 9, b"2026-01-%02dT10:00:%02dZ" % (number + 1, number))
        texts = [
            (kept[at % 2] if item.size is None else kept[0][: item.size])
            if item.kind == "keep"
            else text
            for at, (item, text) in enumerate(zip(items, cutter._spelling, strict=True))
        ]
        label = self.labels.get(key.id, b"")
        return cutter.join(b"", label, bytes(cutter.nonce_size), bytes(16), (tuple(texts), None))

    def reads(self, name, value, plaintext):
        """Whether it reads *value* with the new key alone."""
        opened = Codec(Keyring(NEW), [self.form], None, self.labels).open(name, value)
        return isinstance(opened, Opened) and opened.plaintext == plaintext

    def fill(self, *keys, size=40):
        """Twelve values by place, under these *keys* in turn, and what they hold."""
        names = [b"app:item:%d" % number for number in range(12)]
        held = {name: os.urandom(size + 7 * at) for at, name in enumerate(names)}
        values = {
            (0, name): self.write(name, held[name], keys[at % len(keys)], at)
            for at, name in enumerate(names)
        }
        return values, held


def search(values, ring=RING, named=BUILTIN, aads=()):
    """What is found where only `sealed` is configured."""
    return search_formats(Codec(ring, [BUILTIN["sealed"]]), named, values, aads)


def rotated(found, values):
    """The values of the places that were found, moved to the new key as what was found says."""
    forms = list(dict.fromkeys(form for form, _ in found.guesses.values()))
    codec = Codec(RING, forms or [BUILTIN["gcm"]], None, found.labels)
    return {
        name: codec.rewrite(name, codec.open(name, values[0, name])) for _, name in found.guesses
    }


class TestLayouts:
    """What applications write."""

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_it_is_found(self, layout):
        """One format opens all twelve values, and what it moves the application reads."""
        application = Application.of(*LAYOUTS[layout])
        values, held = application.fill(OLD, NEW)
        found = search(values, aads=["sessions"])
        assert found.guesses.keys() == values.keys()
        assert len({form for form, _ in found.guesses.values()}) == 1
        for name, value in rotated(found, values).items():
            assert application.reads(name, value, held[name])

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_labels_are_what_applications_call_keys(self, layout):
        """Labels are whole, and there are none where values name no key."""
        application = Application.of(*LAYOUTS[layout])
        values, _ = application.fill(OLD, NEW)
        found = search(values, aads=["sessions"])
        known = {key.id: application.labels.get(key.id) for key in (OLD, NEW)}
        assert found.labels == {key_id: text for key_id, text in known.items() if text}
        assert found.alone == {}

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_it_costs_little(self, layout):
        """Twelve values take a bounded number of calls, whatever the layout."""
        values, _ = Application.of(*LAYOUTS[layout]).fill(OLD, NEW)
        assert spent(values, aads=["sessions"]) < MOST_CALLS

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_a_few_values_are_enough(self, layout):
        """Three values under each of two keys are found as well as twelve."""
        application = Application.of(*LAYOUTS[layout])
        values, held = application.fill(OLD, NEW)
        few = dict(list(values.items())[:6])
        found = search(few, aads=["sessions"])
        assert found.guesses.keys() == few.keys()
        for name, value in rotated(found, few).items():
            assert application.reads(name, value, held[name])

    @pytest.mark.parametrize("layout", ["node", "prefix", "kid", "cloak", "tink", "rails", "json"])
    @pytest.mark.parametrize("size", [0, 1])
    def test_short_plaintexts(self, layout, size):
        """Empty plaintexts, and those of a byte, are found beside longer ones."""
        application = Application.of(*LAYOUTS[layout])
        values, held = application.fill(OLD, NEW, size=size)
        found = search(values)
        assert found.guesses.keys() == values.keys()
        for name, value in rotated(found, values).items():
            assert application.reads(name, value, held[name])


class TestDoubt:
    """What values cannot tell."""

    def test_one_key_only(self):
        """A label that was seen under one key looks like a literal, and that is said."""
        values, _ = Application.of(*LAYOUTS["kid"]).fill(OLD)
        found = search(values)
        [form] = {form for form, _ in found.guesses.values()}
        assert form.layout == "enc:k1:{nonce}:{tag}:{ciphertext}"
        assert found.alone == {form.name: OLD.id}

    def test_nothing_stands_for_itself(self):
        """Where there is no literal there is no doubt."""
        values, _ = Application.of(*LAYOUTS["pycryptodome"]).fill(OLD)
        assert search(values).alone == {}

    def test_one_value_under_each_key(self):
        """What differs may differ by value, and that is said."""
        values, _ = Application.of(*LAYOUTS["kid"]).fill(OLD, NEW)
        found = search(dict(list(values.items())[:2]))
        assert found.single == {"detected"}
        assert search(dict(list(values.items())[:6])).single == set()
        assert search(values).single == set()

    def test_a_key_has_one_label(self):
        """Of two formats that call a key otherwise only one is found: no cache can have both."""
        colons, dots = (
            Application(Format.parse("theirs", "hex", layout), labels(old, new))
            for layout, old, new in (
                ("{label}:{nonce}:{ciphertext}{tag}", b"k1", b"k2"),
                ("{label}.{nonce}.{tag}.{ciphertext}", b"a1", b"a2"),
            )
        )
        values = colons.fill(OLD, NEW)[0]
        values |= {(1, name): value for (_, name), value in dots.fill(OLD, NEW)[0].items()}
        found = search(values)
        assert len(found.guesses) == 12
        assert found.labels in ({OLD.id: b"k1", NEW.id: b"k2"}, {OLD.id: b"a1", NEW.id: b"a2"})

    def test_labels_that_are_configured_stay(self):
        """A format that calls a key otherwise than the configuration is not found."""
        values, _ = Application.of(*LAYOUTS["kid"]).fill(OLD, NEW)
        codec = Codec(RING, [BUILTIN["sealed"]], None, {OLD.id: b"another"})
        found = search_formats(codec, BUILTIN, values)
        assert (found.guesses, found.labels) == ({}, {OLD.id: b"another"})

    def test_fields_of_hashes(self):
        """The name of the field may be authenticated, and then the format says so."""
        form = Format.parse("theirs", "hex", "{nonce}:{ciphertext}{tag}", "field")
        codec = Codec(Keyring(OLD), [form])
        names = [FieldName(b"app:%d" % at, b"field %d" % at) for at in range(6)]
        values = {(0, name): codec.seal(name, os.urandom(30)) for name in names}
        found = search(values)
        assert {form.aad for form, _ in found.guesses.values()} == {"field"}
        assert found.guesses.keys() == values.keys()

    def test_several_formats(self):
        """Each has a name of its own, and all values open."""
        first, second = (Application.of(*LAYOUTS[name]) for name in ("node", "prefix"))
        values = first.fill(OLD, NEW)[0]
        values |= {(1, name): value for (_, name), value in second.fill(OLD)[0].items()}
        found = search(values)
        assert len(found.guesses) == 24
        assert {form.name for form, _ in found.guesses.values()} == {"detected", "detected-2"}

    def test_the_same_pieces_between_other_marks(self):
        """What stands between the pieces tells two formats apart, not only what they consist of."""
        first, second = (Application(Format.parse("theirs", "hex", layout)) for layout in
                         ("{nonce}:{tag}:{ciphertext}", "{nonce}.{tag}.{ciphertext}"))  # fmt: skip
        values = first.fill(OLD, NEW)[0]
        values |= {(1, name): value for (_, name), value in second.fill(OLD, NEW)[0].items()}
        found = search(values)
        assert len(found.guesses) == 24
        assert {form.layout for form, _ in found.guesses.values()} == {
            *(first.form.layout, second.form.layout),
        }


def unmarked(write, size, head=b""):
    """Tag, nonce and ciphertext, so that *write* makes of them what may be in either alphabet."""
    while True:
        nonce = os.urandom(12)
        body = OLD.encrypt(nonce, os.urandom(size), None)
        text = write(body[-16:] + nonce + body[:-16])
        if not set(text) & set(b"+/-_"):
            return head + text


def padded(raw):
    """Base64 as most libraries write it."""
    return base64.b64encode(raw)


def bare(raw):
    """Base64 without padding."""
    return padded(raw).rstrip(b"=")


def within(raw):
    """A text in hex, in base64 as a whole."""
    return padded(b"v1:" + raw.hex().encode())


class TestAlphabets:
    """Values that may be in two alphabets."""

    @pytest.mark.parametrize("head", [b"", b"v1:", b"v=1:"])
    @pytest.mark.parametrize(
        ("write", "sizes", "alphabet"),
        [
            (padded, (1,), "base64"), (padded, (3,), "base64"), (padded, (2, 5), "base64"),
            (padded, (1, 2, 3), "base64"), (bare, (1,), "base64url"), (bare, (3,), "base64url"),
            (bare, (1, 2, 3), "base64url"), (bare, (2, 5), "base64"),
        ],
    )  # fmt: skip
    def test_padding_tells(self, head, write, sizes, alphabet):
        """What has padding, or needs none, is in base64; what lacks it is in base64url."""
        values = {(0, b"%d" % at): unmarked(write, at, head) for at in sizes}
        found = search(values)
        assert {form.encoding for form, _ in found.guesses.values()} == {alphabet}
        assert found.guesses.keys() == values.keys()

    def test_some_padding(self):
        """Padding of one value outweighs that another one lacks it."""
        values = {(0, b"1"): unmarked(padded, 1), (0, b"2"): unmarked(bare, 3)}
        found = search(values)
        assert {form.encoding for form, _ in found.guesses.values()} == {"base64"}
        assert found.guesses.keys() == values.keys()

    @pytest.mark.parametrize("size", [1, 2, 3])
    @pytest.mark.parametrize(("cut", "alphabet"), [(b"", "base64"), (b"=", "base64url")])
    def test_around_the_whole(self, size, cut, alphabet):
        """That is so of an encoding around the whole, too."""
        text = unmarked(within, size).rstrip(cut)
        [(form, _)] = search({(0, b"n"): text}).guesses.values()
        assert form.encoding == "hex"
        assert form.within == (alphabet if len(text) % 4 else "base64")

    @pytest.mark.parametrize("name", ["base64", "base64url"])
    def test_a_mark_tells_more(self, name):
        """One value with a mark of an alphabet outweighs all that have none."""
        form = Format.parse("theirs", name, ["tag:16", "nonce:12", "ciphertext"])
        values = {(0, b"%d" % at): unmarked(padded, at) for at in (2, 5, 8)}
        held = b""
        while not set(held) & set(b"+/-_"):
            held = Codec(Keyring(OLD), [form]).seal(b"", os.urandom(11))
        found = search(values | {(0, b"held"): held})
        assert {form.encoding for form, _ in found.guesses.values()} == {name}
        assert len(found.guesses) == 4

    def test_a_named_format(self):
        """A format with a name is taken if the other alphabet opens as many values, not more."""
        form = Format.parse("mine", "base64", ["tag:16", "nonce:12", "ciphertext"])
        values = {(0, b"%d" % at): unmarked(bare, at) for at in (1, 3)}
        found = search(values, named={"mine": form})
        assert {form for form, _ in found.guesses.values()} == {form}


def texts(key, *heads, write=bytes.hex, glue=":", tail="", bare=""):
    """A value under *key* for each of *heads*: that, a nonce, *glue*, the rest, and a *tail*."""
    made = []
    for number, head in enumerate(heads):
        nonce = os.urandom(16)
        body = key.encrypt(nonce, os.urandom(40 + number), None)
        pieces = [write(raw).strip(bare or None) for raw in (nonce, body)]
        made.append((head + glue.join(pieces) + tail).encode())
    return made


def standard(raw):
    """Base64 as a text."""
    return base64.b64encode(raw).decode()


def numbered(values):
    """*values* by place."""
    return {(0, b"n%d" % at): value for at, value in enumerate(values)}


def layouts(found):
    """The layouts that were found."""
    return {form.layout for form, _ in found.guesses.values()}


class TestGroups:
    """Which values are of one format."""

    @pytest.mark.parametrize("turned", [False, True])
    def test_another_encoding(self, turned):
        """The same pieces in two encodings are two formats."""
        parts = [texts(OLD, *["v:"] * 4), texts(OLD, *["v:"] * 4, write=standard)]
        if turned:
            parts.reverse()
        values = numbered([*parts[0], *parts[1], *texts(OLD, *["v;"] * 4)])
        found = search(values)
        assert found.guesses.keys() == values.keys()
        assert {form.encoding for form, _ in found.guesses.values()} == {"hex", "base64"}
        assert len({form for form, _ in found.guesses.values()}) == 3

    @pytest.mark.parametrize("wrap", [bytes.hex, standard])
    def test_another_encoding_around_them(self, wrap):
        """A text as it is and one in an encoding are two formats."""
        inner = texts(OLD, *["v:"] * 4)
        plain = [*texts(OLD, *["v:"] * 4), *texts(OLD, *["v;"] * 4)]
        values = numbered([*plain, *(wrap(one).encode() for one in inner)])
        found = search(values)
        assert found.guesses.keys() == values.keys()
        assert {form.within for form, _ in found.guesses.values()} == {
            None, "hex" if wrap is bytes.hex else "base64",
        }  # fmt: skip

    def test_two_encodings_around_them(self):
        """Two encodings around one text are two formats."""
        inner = [*texts(OLD, *["v:"] * 8), *texts(OLD, *["v;"] * 4)]
        values = numbered([
            *(one.hex().encode() for one in inner[:4]),
            *(standard(one).encode() for one in inner[4:]),
        ])  # fmt: skip
        found = search(values)
        assert found.guesses.keys() == values.keys()
        assert {form.within for form, _ in found.guesses.values()} == {"hex", "base64"}

    def test_what_they_authenticate(self):
        """Values that authenticate something else are of another format."""
        values = {}
        for database, aad in enumerate(["none", "name"]):
            form = Format.parse("theirs", "hex", "v:{nonce}:{ciphertext}{tag}", aad)
            for (_, name), value in Application(form).fill(OLD, NEW)[0].items():
                values[database, name] = value
        found = search(values)
        assert found.guesses.keys() == values.keys()
        assert {form.aad for form, _ in found.guesses.values()} == {"none", "name"}

    def test_labels_with_marks_of_their_own(self):
        """Where marks differ by key, and by nothing else, the label may hold them."""
        values = numbered([*texts(OLD, *["a-1;"] * 3), *texts(NEW, *["b.2;"] * 3)])
        found = search(values)
        assert layouts(found) == {"{label};{nonce:16}:{ciphertext}{tag}"}
        assert found.labels == {OLD.id: b"a-1", NEW.id: b"b.2"}
        assert found.guesses.keys() == values.keys()

    @pytest.mark.parametrize(
        "heads",
        [("AB;", "CD;", "EF;"), ("ab;", "cd;", "ef;"), ("1;", "2;", "3;"), ("", "a", "Bc")],
        ids="".join,
    )
    def test_words_that_differ(self, heads):
        """Words and digits between the same marks are kept: all values are of one format."""
        heads = [f";{head.rstrip(';')};" for head in heads]
        values = numbered([*texts(OLD, *heads), *texts(NEW, *heads)])
        found = search(values)
        assert layouts(found) == {";{keep};{nonce:16}:{ciphertext}{tag}"}
        assert found.guesses.keys() == values.keys()

    @pytest.mark.parametrize("turned", [False, True])
    def test_beside_what_no_format_says(self, turned):
        """Values whose parts nothing tells apart do not keep others from being found."""
        odd = texts(OLD, "x.1", "x.22", "x.333", "x.4444", write=standard, glue=".")
        plain = texts(OLD, *["v1:"] * 4, write=standard, tail="" if turned else "!" * 60)
        values = numbered([*odd, *plain])
        found = search(values)
        assert layouts(found) == {
            f"v1:{{nonce:16}}:{{ciphertext}}{{tag}}{'' if turned else '!' * 60}"
        }
        assert len(found.guesses) == 4

    def test_an_alphabet_that_cannot_be(self):
        """A mark that base64url has rules that out, though there is no padding."""
        values = numbered(texts(OLD, *["v1:"] * 4, write=standard, tail="--z", bare="="))
        found = search(values)
        assert {form.encoding for form, _ in found.guesses.values()} == {"base64"}
        assert found.guesses.keys() == values.keys()

    def test_half_a_character(self):
        """What is not even text is no text of a layout: nothing is found, and nothing fails."""
        whole, half = texts(OLD, "éé:", "éé;")
        values = numbered([whole, half.replace("éé;".encode(), b"\xc3(\xc3(:")])
        assert search(values).guesses == {}

    def test_names(self):
        """Formats are numbered, past the names that are given away."""
        kinds = [texts(OLD, *[head] * 3) for head in ("a:", "b;", "c,")]
        values = numbered(chain(*kinds))
        taken = dict.fromkeys(("detected", "detected-3"), BUILTIN["gcm"])
        for named, names in (
            (BUILTIN, {"detected", "detected-2", "detected-3"}),
            (taken, {"detected-2", "detected-4", "detected-5"}),
        ):
            found = search(values, named=named)
            assert {form.name for form, _ in found.guesses.values()} == names


class TestNamed:
    """Formats that have a name, and are not in use."""

    def test_they_are_tried(self):
        """Values in one of them are found in that one, under each key."""
        values, _ = Application(BUILTIN["gcm"]).fill(OLD, NEW)
        found = search(values)
        assert {form for form, _ in found.guesses.values()} == {BUILTIN["gcm"]}
        assert {key.id for _, key in found.guesses.values()} == {OLD.id, NEW.id}
        assert found.guesses.keys() == values.keys()

    def test_labels_that_are_configured(self):
        """A format that has a name is read with the labels that are configured."""
        form = Format.parse("mine", "hex", "{label}:{nonce:16}:{ciphertext}{tag}")
        codec = Codec(RING, [BUILTIN["sealed"]], None, {OLD.id: b"k1"})
        values = numbered(texts(OLD, *["k1:"] * 3))
        found = search_formats(codec, {"mine": form}, values)
        assert set(found.guesses.values()) == {(form, OLD)}
        assert found.labels == {OLD.id: b"k1"}

    def test_another_alphabet(self):
        """One that reads some values by chance only is not taken for theirs."""
        layout = ("nonce:12", "ciphertext", "tag:16")
        mine, theirs = (Format.parse(name, name, layout) for name in ("base64", "base64url"))
        codec, values = Codec(Keyring(OLD), [theirs]), {}
        while len({(b"-" in one, b"_" in one) for one in values.values()}) < 4:
            values[0, b"n%d" % len(values)] = codec.seal(b"", b"")
        for named in ({"mine": mine}, {"mine": mine, "theirs": theirs}):
            found = search_formats(Codec(RING, [BUILTIN["sealed"]]), named, values)
            assert found.guesses.keys() == values.keys()
            assert {form.encoding for form, _ in found.guesses.values()} == {"base64url"}


def spent(values, **more):
    """How many calls a search makes, of functions and methods: the same on a busy machine."""
    made = Counter()
    sys.setprofile(lambda _frame, event, _what: made.update((event,)))
    try:
        search(values, **more)
    finally:
        sys.setprofile(None)
    return made["call"] + made["c_call"]


class TestNothing:
    """What nothing opens."""

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_another_key(self, layout):
        """Values under a key that is not there are not found, and cost no more."""
        values, _ = Application.of(*LAYOUTS[layout]).fill(OLD, NEW)
        ring = Keyring(LOST, [THIRD])
        assert search(values, ring).guesses == {}
        assert spent(values, ring=ring) < MOST_CALLS

    @pytest.mark.parametrize("encoding", Encoding)
    def test_random_bytes(self, encoding):
        """Random bytes are no format, and cost no more."""
        values = {(0, b"n%d" % at): encode(encoding, os.urandom(300)) for at in range(12)}
        assert search(values).guesses == {}
        assert spent(values) < MOST_CALLS

    def test_plain_text(self):
        """Plain text is not searched, however much of it there is."""
        text = b'{"user":"1","roles":["admin","reader"],"text":"some words, and more"}'
        values = {(0, b"n%d" % at): text + b"." * at for at in range(200)}
        assert search(values).guesses == {}
        assert spent(values) < MOST_CALLS


WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=6)
MARKS = st.sampled_from([":", ".", "|", "$", "--", "::", "~", " ", "#", '","', "_", "-", "/", ""])
LETTERS = st.sampled_from("abcdefghijklmnopqrstuvwxyz")


@st.composite
def text_layouts(draw):
    """A layout as a text: pieces in any order and grouping, between words and marks."""
    size = draw(st.sampled_from(["{nonce}", "{nonce:16}"]))
    parts = draw(st.permutations([size, "{ciphertext}", "{tag}"]))
    between = [draw(st.sampled_from(["", draw(MARKS)])) for _ in range(2)]
    head = draw(st.sampled_from(["", draw(WORDS) + draw(MARKS)]))
    named = draw(st.sampled_from(["", "", "{label}" + draw(MARKS), "{label:2}" + draw(MARKS)]))
    kept = draw(st.sampled_from(["", "", "", "{keep}" + draw(MARKS)]))
    tail = draw(st.sampled_from(["", "", draw(MARKS) + draw(WORDS)]))
    body = parts[0] + between[0] + parts[1] + between[1] + parts[2]
    return head + named + kept + body + tail


@st.composite
def bytes_layouts(draw):
    """A layout in bytes: parts in any order, behind a header or before a tail."""
    size = draw(st.sampled_from(["nonce:12", "nonce:16"]))
    parts = draw(st.permutations([size, "ciphertext", "tag:16"]))
    literal = st.binary(min_size=1, max_size=8).map(lambda text: f"hex:{text.hex()}")
    head = draw(st.sampled_from([[], [draw(literal)]]))
    named = draw(st.sampled_from([[], [], ["label:2"]]))
    kept = draw(st.sampled_from([[], [], ["keep:4"]]))
    tail = draw(st.sampled_from([[], [], [draw(literal)]]))
    return [*head, *named, *kept, *parts, *tail]


@st.composite
def formats(draw):
    """Any format that the language can say, of those that applications may have."""
    aad = draw(st.sampled_from(["none", "none", "name", "name-without:app:", "label", "text:v1"]))
    encoding = draw(st.sampled_from(list(Encoding)))
    more = {}
    if draw(st.booleans()):
        layout = draw(text_layouts())
        more["within"] = draw(st.sampled_from([None, None, "base64", "base64url", "hex"]))
    else:
        layout = draw(bytes_layouts())
    try:
        return Format.parse("theirs", encoding, layout, aad, **more)
    except FormatError:
        assume(False)


class TestAnyLayout:
    """Layouts drawn from the language."""

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(form=formats(), keys=st.sampled_from([(OLD, NEW), (OLD, OLD, NEW), (OLD, NEW, THIRD)]))
    def test_what_is_found_is_right(self, form, keys):
        """The application reads what is moved, but where it is said that a label may be missed."""
        application = Application(form)
        try:
            values, held = application.fill(*keys)
        except FormatError:
            assume(False)
        found = search(values, aads=["v1"])
        event("found" if found.guesses.keys() == values.keys() else "not found")
        for name, value in rotated(found, values).items():
            doubted = found.guesses[0, name][0].name in found.alone
            assert doubted or application.reads(name, value, held[name])
