"""Tests of signed envelopes: what is signed, and what is told of one that is not as it was."""

import base64
import json
import logging
import stat

import pytest
import rfc8785
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.errors import ConfigError, ReceiptError
from rotator.report.receipt import envelope

PAYLOAD = b'{"key_id":"9f2c41d07be3a655"}'
FORMAT = pem.PrivateFormat.PKCS8
NAMES = ("payload", "payloadType", "signatures")
SAFE = 2**53 - 1


def write_private(path, key, secret=None, mode=0o600):
    """The path, where the private key is written as PEM."""
    how = pem.BestAvailableEncryption(secret) if secret else pem.NoEncryption()
    path.write_bytes(key.private_bytes(pem.Encoding.PEM, FORMAT, how))
    path.chmod(mode)
    return path


def write_public(path, key):
    """The path, where the public key is written as PEM."""
    kind = pem.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(key.public_key().public_bytes(pem.Encoding.PEM, kind))
    return path


class Pair:
    """A pair of keys, in files."""

    def __init__(self, folder, name):
        self.key = ed25519.Ed25519PrivateKey.generate()
        self.private = write_private(folder / f"{name}.pem", self.key)
        self.public = envelope.read_public(write_public(folder / f"{name}.pub.pem", self.key))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for all."""
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def pair(folder):
    """The keys that sign."""
    return Pair(folder, "audit")


@pytest.fixture(scope="module")
def other(folder):
    """The keys of somebody else."""
    return Pair(folder, "other")


@pytest.fixture(scope="module")
def signed(pair):
    """The text of a signed envelope."""
    return envelope.seal(PAYLOAD, envelope.read_signer(pair.private))


def refusal(tmp_path, text, public, hint=""):
    """What is said of an envelope with this text; *hint* is in what to do."""
    path = tmp_path / "receipt.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ReceiptError) as caught:
        envelope.unseal(path, public)
    assert caught.value.hint
    assert hint in caught.value.hint
    return str(caught.value).removeprefix(f"{path} ")


def test_round_trip(tmp_path, pair, signed):
    """What was signed comes out again, with the key that signed it."""
    path = tmp_path / "receipt.json"
    path.write_text(signed)
    assert envelope.unseal(path, pair.public) == PAYLOAD


def test_another_implementation_agrees(pair, signed):
    """The signature is one of ed25519 over the DSSE encoding, written here by hand."""
    form = json.loads(signed)
    [one] = form["signatures"]
    kind, body = form["payloadType"].encode(), base64.b64decode(form["payload"])
    encoded = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)
    pair.key.public_key().verify(base64.b64decode(one["sig"]), encoded)
    assert (kind, body) == (envelope.PAYLOAD_TYPE.encode(), PAYLOAD)


def test_the_file_is_canonical(signed):
    """The file is canonical JSON and a line break."""
    assert rfc8785.dumps(json.loads(signed)).decode() + "\n" == signed


def test_vectors_of_rfc_8785():
    """Numbers, texts and the order of names are as in RFC 8785, sections 3.2.2 and 3.2.3."""
    numbers = {"numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001]}
    text = {"string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/"}
    order = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert envelope.canonical(numbers) == b'{"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}'
    assert envelope.canonical(text) == '{"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'.encode()
    assert list(json.loads(envelope.canonical(dict.fromkeys(reversed(order), 1)))) == order


@settings(max_examples=25)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-SAFE, SAFE)
        | st.text(st.characters(codec="utf-8")),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner)
        ),
        max_leaves=10,
    )
)
def test_canonical_json_is_read_back(data):
    """Canonical JSON is the same data, and the same text when it is written once more."""
    written = envelope.canonical(data)
    assert json.loads(written) == data
    assert envelope.canonical(json.loads(written)) == written


def test_every_changed_byte_is_refused(tmp_path, pair, signed):
    """Each byte of a signed receipt counts: whichever is changed, it is refused."""
    text = signed.encode()
    said = set()
    for place in range(len(text)):
        for change in (0x01, 0x20):
            changed = bytearray(text)
            changed[place] ^= change
            said.add(refusal(tmp_path, bytes(changed), pair.public).partition(" (id")[0])
    assert said == {
        "is not a receipt, or it was changed",
        "was changed after it was signed",
        "was changed around what is signed",
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "\n",
        lambda text: text.rstrip("\n"),
        lambda text: text.replace(",", ", "),
        lambda text: json.dumps(json.loads(text), indent=2),
    ],
    ids=["line break", "no line break", "spaces", "indented"],
)
def test_changed_around(tmp_path, pair, signed, change):
    """Where only the text around is another one, that is what is said."""
    assert refusal(tmp_path, change(signed), pair.public) == "was changed around what is signed"


def test_a_second_signature(tmp_path, pair, other, signed):
    """Anybody can put a signature beside another one: a file with two is not as it was signed."""
    form, second = json.loads(signed), envelope.seal(PAYLOAD, envelope.read_signer(other.private))
    form["signatures"] += json.loads(second)["signatures"]
    text = envelope.canonical(form) + b"\n"
    assert refusal(tmp_path, text, pair.public) == "was changed around what is signed"


def test_changed_payload(tmp_path, pair, signed):
    """Another payload under the same signature was changed after it was signed."""
    form = json.loads(signed)
    form["payload"] = base64.b64encode(PAYLOAD.replace(b"9f", b"9e")).decode()
    text = envelope.canonical(form) + b"\n"
    hint = "do not rely on it; ask for the original"
    assert refusal(tmp_path, text, pair.public, hint) == "was changed after it was signed"


def test_another_key(tmp_path, pair, other, signed):
    """A receipt that somebody else signed is told from one that was changed, by both ids."""
    ids = [one.public.keyid[: envelope.SHOWN_ID] for one in (pair, other)]
    assert refusal(tmp_path, signed, other.public) == (
        f"is signed with another key (id {ids[0]}), not with the one given (id {ids[1]})"
    )


def test_a_claimed_id(tmp_path, pair, other, signed):
    """Whoever puts the id of another key to a signature gets no further."""
    text = signed.replace(pair.public.keyid, other.public.keyid)
    assert refusal(tmp_path, text, other.public) == "was changed after it was signed"


def test_another_key_is_asked_for(tmp_path, other, signed):
    """Where somebody else signed, the key of the signer is what is missing."""
    refusal(tmp_path, signed, other.public, hint="verify with the public key of the signer")


@pytest.mark.parametrize("place", [0, 15, 16, 63])
def test_a_changed_id(tmp_path, pair, signed, place):
    """Wherever the id of the key is changed, the key still verifies, and that is what is said."""
    own = pair.public.keyid
    other = own[:place] + ("0" if own[place] != "0" else "1") + own[place + 1 :]
    said = refusal(tmp_path, signed.replace(own, other), pair.public, hint="do not rely on it")
    assert said == "was changed around what is signed"


def test_a_changed_id_and_payload(tmp_path, pair, signed):
    """Two ids that look the same are not told apart by what they look like: it was changed."""
    own = pair.public.keyid
    form = json.loads(signed.replace(own, own[:-1] + ("0" if own[-1] != "0" else "1")))
    form["payload"] = base64.b64encode(b"{}").decode()
    text = envelope.canonical(form) + b"\n"
    hint = "do not rely on it; ask for the original"
    assert refusal(tmp_path, text, pair.public, hint) == "was changed after it was signed"


@pytest.mark.parametrize("drop", [False, True])
def test_not_signed(tmp_path, pair, signed, drop):
    """An envelope without a signature is not signed, whether it had one or never did."""
    text = envelope.seal(PAYLOAD, None)
    if drop:
        text = json.dumps(json.loads(signed) | {"signatures": []})
    assert refusal(tmp_path, text, pair.public) == "is not signed"


def test_another_kind_of_payload(tmp_path, pair):
    """What is signed as something else is no receipt."""
    from securesystemslib.dsse import Envelope  # noqa: PLC0415 - only here

    made = Envelope(PAYLOAD, "application/vnd.in-toto+json", {})
    made.sign(envelope.read_signer(pair.private))
    text = json.dumps(made.to_dict())
    assert refusal(tmp_path, text, pair.public) == "is signed, but it is not a receipt of rotator"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"payload": 1}',
        b"[" * 100_000,
        b'{"payload":"","payloadType":"","signatures":[{"keyid":"a"}]}',
        b'{"payload":"*","payloadType":"","signatures":[]}',
        b'{"payload":"\xc3\xa4","payloadType":"","signatures":[]}',
        b'{"payload":"","payloadType":"","signatures":[%s,%s]}'
        % ((b'{"keyid":"a","sig":""}',) * 2),
    ],
    ids=range(10),
)
def test_no_receipt(tmp_path, pair, text):
    """What is no envelope is said to be none, whatever it is."""
    assert refusal(tmp_path, text, pair.public) == "is not a receipt, or it was changed"


@given(
    st.binary()
    | st.builds(
        lambda *parts: json.dumps(dict(zip(NAMES, parts, strict=True))).encode(),
        st.text(),
        st.text(),
        st.lists(st.dictionaries(st.sampled_from(["keyid", "sig", "more"]), st.text()), max_size=3),
    )
)
def test_whatever_is_in_the_file(folder, pair, content):
    """Whatever a file holds, what is not signed is refused, and by nothing but that error."""
    refusal(folder, content, pair.public)


class TestKeys:
    """Keys that sign and verify, in PEM files."""

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda path, _key: path.write_text("nothing"), "this is not a PEM private key"),
            (write_public, "this is a public key, which cannot sign"),
            (lambda path, key: write_private(path, key, b"word"), "the key needs a passphrase"),
            (
                lambda path, _key: write_private(path, ec.generate_private_key(ec.SECP256R1())),
                "the key is of another kind than ed25519",
            ),
            (lambda path, _key: path.write_bytes(b"x" * 70_000), "is too large"),
            (lambda path, _key: path.mkdir(), "is a directory"),
            (lambda _path, _key: None, "no such file or directory"),
        ],
        ids=["text", "public", "passphrase", "kind", "large", "folder", "none"],
    )
    def test_no_key_to_sign_with(self, tmp_path, make, message):
        """What cannot sign is refused in a sentence with a hint, and nothing of it is quoted."""
        path = tmp_path / "key.pem"
        make(path, ed25519.Ed25519PrivateKey.generate())
        with pytest.raises(ConfigError, match=r".") as caught:
            envelope.read_signer(path)
        assert message in str(caught.value)
        assert str(path) in str(caught.value)
        assert caught.value.hint
        assert caught.value.__cause__ is None
        if path.is_file():
            assert not any(
                line and line in f"{caught.value} {caught.value.hint}"
                for line in path.read_text().splitlines()
            )

    def test_no_key_to_verify_with(self, pair):
        """A private key in place of the public one is refused, and the hint makes a public one."""
        with pytest.raises(ConfigError, match="this is a private key") as caught:
            envelope.read_public(pair.private)
        assert "openssl pkey -in KEY.pem -pubout" in caught.value.hint

    @pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True)])
    def test_a_key_that_everybody_may_read(self, tmp_path, capsys, mode, warned):
        """A private key that everybody may read signs, with a warning."""
        path = write_private(tmp_path / "k.pem", ed25519.Ed25519PrivateKey.generate(), mode=mode)
        envelope.read_signer(path)
        assert ("everybody can read the signing key" in capsys.readouterr().out) == warned
        assert stat.S_IMODE(path.stat().st_mode) == mode

    def test_the_signer_shows_no_secret(self, pair):
        """Neither `repr` nor the log of what signs holds the key."""
        signer = envelope.read_signer(pair.private)
        lines = pair.private.read_text().splitlines()
        assert not any(line in f"{signer!r} {signer.__dict__!r}" for line in lines)
        logging.getLogger(__name__).info("%r", signer)


@pytest.mark.parametrize(
    ("missing", "named"), [("rfc8785", "rfc8785"), ("securesystemslib.dsse", "securesystemslib")]
)
def test_a_library_is_missing(monkeypatch, missing, named):
    """Without a library of the extra, it is named, and so is the extra."""
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    with pytest.raises(ConfigError, match=f"a receipt needs {named}, which is") as caught:
        envelope.require_libraries()
    assert caught.value.hint == "pip install 'redis-rotator[receipt]'"
