"""Keys and keyrings: what they accept, what they tell, what they never give away."""

import base64
import copy
import dataclasses
import hashlib
import hmac
import pickle

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from rotator.crypto.keyring import (
    LIMIT,
    WARN_AT,
    Key,
    Keyring,
    generate,
    signing_key,
    used,
    verifying_key,
    warning,
)
from rotator.errors import KeyMaterialError

MATERIAL = bytes(range(32))
HEX = MATERIAL.hex()
BASE64 = base64.b64encode(MATERIAL).decode()
ID = "410afb6763263e82"
FIELD = "caches[0].encryption.keys.current"
OLD = "caches[0].encryption.keys.old"


def key(number, field=FIELD):
    """A key that is the same for the same number."""
    return Key(hashlib.sha256(b"%d" % number).digest(), field)


class TestKey:
    """One key."""

    def test_id_is_derived_from_the_material(self):
        """The id is the beginning of an HMAC of the material."""
        mac = hmac.new(MATERIAL, b"rotator/key-id/v1", "sha256")

        made = Key.from_text(HEX, FIELD)

        assert (mac.digest()[:8], mac.hexdigest()[:16]) == (made.id_bytes, made.id)

    def test_id_is_what_it_always_was(self):
        """The id of a known key does not change from release to release."""
        assert Key.from_text(HEX, FIELD).id == ID

    def test_case_of_the_hex_does_not_matter(self):
        """Upper-case hex is the same key."""
        assert Key.from_text(HEX.upper(), FIELD).id == ID

    def test_fresh_keys_are_accepted(self):
        """What `generate` makes is a key, and never the same one twice."""
        first, second = generate(), generate()

        assert Key.from_text(first, FIELD).id != Key.from_text(second, FIELD).id

    @pytest.mark.parametrize("before", ["", "base64:"])
    @pytest.mark.parametrize("behind", ["", "="])
    def test_base64(self, before, behind):
        """43 or 44 characters of base64 are a key, whichever alphabet they have."""
        for material in (MATERIAL, b"\xfb\xff" * 16):
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                text = before + encode(material).decode().rstrip("=") + behind
                made = Key.from_text(text, FIELD)
                assert (made.id, made.field) == (Key(material, FIELD).id, FIELD)

    @pytest.mark.parametrize(
        ("text", "fault"),
        {
            "": "the key is empty",
            HEX[:-2]: "the key has 62 characters, not 64",
            HEX + "00": "the key has 66 characters, not 64",
            HEX + "\n": "the key has spaces or a line break around it",
            f" {HEX}": "the key has spaces or a line break around it",
            HEX[:-1] + "g": "the key has characters that are not hex",
            HEX[:-1] + "\u0660": "the key has characters that are not hex",
            HEX[:-2] + "0 ": "the key has characters that are not hex",
            BASE64[:-2]: "the key has 42 characters, not 64",
            f"base64:{HEX}": "the key has 64 characters that are not 32 bytes in base64",
            f"base64:{BASE64[:-2]}": "the key has 42 characters that are not 32 bytes in base64",
            BASE64 + "\n": "the key has spaces or a line break around it",
            BASE64.replace("A", "!"): "the key has 44 characters that are not 32 bytes in base64",
            BASE64[:-1].replace("A", "!"): (
                "the key has 43 characters that are not 32 bytes in base64"
            ),
        }.items(),
    )
    def test_wrong_material_is_refused_by_field(self, text, fault):
        """The message names the field and the fault, the hint what a key is."""
        with pytest.raises(KeyMaterialError) as caught:
            Key.from_text(text, FIELD)

        assert str(caught.value) == f"{FIELD}: {fault}"
        assert "rotator keygen" in caught.value.hint

    @given(
        st.text(alphabet="89abcdefXYZ", min_size=8).filter(lambda text: len(text) not in (43, 64))
    )
    def test_refusal_never_shows_the_text(self, text):
        """No four characters of a refused key are in the message or the hint, nor is a cause."""
        with pytest.raises(KeyMaterialError) as caught:
            Key.from_text(text, "field")

        shown = f"{caught.value} {caught.value.hint}"
        assert not any(text[at : at + 4] in shown for at in range(len(text) - 3))
        assert caught.value.__context__ is None

    @given(st.binary(), st.binary(min_size=8, max_size=128), st.none() | st.binary())
    def test_what_was_encrypted_decrypts(self, plaintext, nonce, aad):
        """Any plaintext comes back under the same nonce and associated data."""
        body = key(1).encrypt(nonce, plaintext, aad)

        assert key(1).decrypt(nonce, body, aad) == plaintext

    def test_wrong_key_gives_nothing(self):
        """Decrypting under another key gives None, not an error."""
        body = key(1).encrypt(bytes(12), b"text", None)

        assert key(2).decrypt(bytes(12), body, None) is None

    @pytest.mark.parametrize("body", [b"", b"short", bytes(15)])
    def test_too_short_for_a_tag_gives_nothing(self, body):
        """Fewer bytes than a tag has give None, not an error."""
        assert key(1).decrypt(bytes(12), body, None) is None


class TestKeyring:
    """The keys of one cache."""

    def test_current_comes_first(self):
        """All keys are listed, the current one in front."""
        first, second, third = key(1), key(2, f"{OLD}[0]"), key(3, f"{OLD}[1]")

        ring = Keyring(first, [second, third])

        assert (first, second, third) == ring.all

    def test_keys_are_found_by_id(self):
        """A key is found by the 8 bytes that values carry; an unknown id gives None."""
        ring = Keyring(key(1), [key(2, f"{OLD}[0]")])

        assert ring.by_id(key(2).id_bytes) is ring.old[0]
        assert ring.by_id(key(3).id_bytes) is None

    def test_roles(self):
        """A key is current or old, and a stranger has no role."""
        ring = Keyring(key(1), [key(2, f"{OLD}[0]")])

        assert (ring.role(key(1).id), ring.role(key(2).id)) == ("current", "old")
        with pytest.raises(KeyError):
            ring.role(key(3).id)

    def test_old_key_equal_to_the_current_one_is_refused(self):
        """The message names both fields."""
        with pytest.raises(KeyMaterialError) as caught:
            Keyring(key(1), [key(2, f"{OLD}[0]"), key(1, f"{OLD}[1]")])

        assert str(caught.value) == f"{OLD}[1]: the same key as {FIELD}"

    def test_key_listed_twice_is_refused(self):
        """Two old fields with one key are named."""
        with pytest.raises(KeyMaterialError) as caught:
            Keyring(key(1), [key(2, f"{OLD}[0]"), key(2, f"{OLD}[1]")])

        assert str(caught.value) == f"{OLD}[1]: the same key as {OLD}[0]"
        assert caught.value.hint

    def test_digest_tells_keyrings_apart(self):
        """The digest is the same for the same keys in the same roles, and for nothing else."""
        same = [Keyring(key(1), [key(2)]).digest, Keyring(key(1, "f"), [key(2, "g")]).digest]
        others = [Keyring(key(2), [key(1)]), Keyring(key(1)), Keyring(key(1), [key(2), key(3)])]

        assert same[0] == same[1]
        assert len({same[0], *(ring.digest for ring in others)}) == 4


@dataclasses.dataclass
class Holder:
    """Something that holds keys, as a dataclass would."""

    held: object


SECRET_HOLDERS = {
    "key": Key.from_text(HEX, FIELD),
    "keyring": Keyring(key(2), [Key.from_text(HEX, f"{OLD}[0]")]),
}


@pytest.mark.parametrize("held", SECRET_HOLDERS.values(), ids=SECRET_HOLDERS)
class TestSecrecy:
    """No way of looking at a key gives its material."""

    def test_repr_shows_id_and_field_only(self, held):
        """Text made of a key holds its id, not its material."""
        shown = f"{held!r} {held} {[held]}"

        assert ID in shown
        assert HEX[:8] not in shown
        assert repr(MATERIAL)[2:10] not in shown

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_pickle_is_refused(self, held, protocol):
        """A key does not leave the process by pickling."""
        with pytest.raises(TypeError, match="must not be pickled"):
            pickle.dumps(held, protocol)

    @pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
    def test_copy_is_refused(self, held, duplicate):
        """A key is not copied."""
        with pytest.raises(TypeError, match="must not be pickled or copied"):
            duplicate(held)

    def test_asdict_is_refused(self, held):
        """A dataclass that holds keys does not become a dictionary."""
        with pytest.raises(TypeError, match="must not be pickled or copied"):
            dataclasses.asdict(Holder(held))

    def test_vars_are_not_there(self, held):
        """There is no instance dictionary that a serializer could walk."""
        with pytest.raises(TypeError):
            vars(held)


def test_material_is_not_kept():
    """Of all that a key holds, only the cipher knows the material."""
    made = Key.from_text(HEX, FIELD)

    held = [getattr(made, slot) for slot in Key.__slots__]

    assert not any(MATERIAL in value for value in held if isinstance(value, bytes))
    assert not any(HEX in value for value in held if isinstance(value, str))


@pytest.mark.parametrize(
    ("role", "encryptions", "seen", "says"),
    [
        ("current", 0, 0, None),
        ("current", LIMIT // 20, LIMIT // 40, None),
        (
            "current",
            LIMIT,
            1000,
            (
                "has used 100% of the 2^32 encryptions that are safe with random nonces"
                " (4,294,967,296 by rotator, 1,000 values met under it):"
                " make a new key current before it is used up"
            ),
        ),
        (
            "old",
            1000,
            3 * LIMIT,
            (
                "has used 300% of the 2^32 encryptions that are safe with random nonces"
                " (1,000 by rotator, 12,884,901,888 values met under it):"
                " do not make it current again"
            ),
        ),
    ],
)
def test_warning(role, encryptions, seen, says):
    """How much of a key is used up is told once it is much: what it wrote and what was met."""
    found = warning("9f2c41d07be3a655", role, encryptions, seen)
    assert found == (says and f"the {role} key 9f2c41d0 {says}")


def test_much():
    """What is much counts both, and begins at the limit that is set for it."""
    assert used(LIMIT // 4, LIMIT // 2) == 0.75
    enough = int(WARN_AT * LIMIT) + 1
    assert warning("0" * 16, "old", enough, 0)
    assert warning("0" * 16, "old", enough - 1, 0) is None


def pem(key, *, public=False, passphrase=None):
    """The text of a file that openssl would write."""
    if public:
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return key.public_key().public_bytes(serialization.Encoding.PEM, kind)
    cipher = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, cipher)


SIGNS, CURVE = ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())


class TestSigningKeys:
    """Keys that sign, and those that check."""

    def test_pair(self):
        """What the one signs the other verifies."""
        signs = signing_key(pem(SIGNS), "a.pem")
        verifying_key(pem(SIGNS, public=True), "b.pem").verify(signs.sign(b"text"), b"text")

    @pytest.mark.parametrize(
        ("read", "text", "says", "hint"),
        [
            (signing_key, b"", "this is not a PEM private key", "make one: openssl genpkey"),
            (signing_key, pem(SIGNS, public=True), "this is a public key, which cannot sign",
             "make one: openssl genpkey"),
            (signing_key, pem(CURVE), "the key is of another kind than ed25519",
             "make one: openssl genpkey"),
            (signing_key, pem(SIGNS, passphrase=b"x"), "the key needs a passphrase",
             "give one without: openssl pkey -in a.pem -out KEY.pem"),
            (verifying_key, b"", "this is not a PEM public key",
             "make it from the key that signed: openssl pkey"),
            (verifying_key, pem(SIGNS), "this is a private key",
             "make it from the key that signed: openssl pkey"),
            (verifying_key, pem(CURVE, public=True), "the key is of another kind than ed25519",
             "make it from the key that signed: openssl pkey"),
        ],
    )  # fmt: skip
    def test_not_one(self, read, text, says, hint):
        """What a file is instead is said, with the command that makes what is needed."""
        with pytest.raises(KeyMaterialError) as raised:
            read(text, "a.pem")
        assert str(raised.value) == f"a.pem: {says}"
        assert raised.value.hint.startswith(hint)


def test_what_was_wrong_with_a_list():
    """A key that is listed twice is named at both places, with what to do."""
    text = generate()
    keys = [Key.from_text(text, name) for name in ("first", "second")]
    with pytest.raises(KeyMaterialError) as raised:
        Keyring(keys[0], keys[1:])
    assert str(raised.value) == "second: the same key as first"
    assert raised.value.hint == "remove second; every key is listed once"


def test_digest_of_a_ring():
    """The digest is of the keys, their order and their roles, and is the same in every release."""
    first, second = (Key.from_text(digit * 64, digit) for digit in "12")
    known = "\n".join([f"current {first.id}", f"old {second.id}"])
    assert Keyring(first, [second]).digest == hashlib.sha256(known.encode()).hexdigest()
