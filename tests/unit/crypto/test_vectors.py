"""The vectors in tests/vectors, checked with rotator and with the bare cipher."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from rotator.crypto.codec import Codec, Opened, Reason
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN, Format

FOLDER = Path(__file__).parents[2] / "vectors"
SCRIPT = Path(__file__).parents[3] / "scripts" / "make_vectors.py"
FILES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
CASES = [
    pytest.param(file, vector, id=f"{name}: {vector['says']}")
    for name, file in FILES.items()
    for vector in file["vectors"]
]
VALID = [case for case in CASES if case.values[1]["valid"]]
INVALID = [case for case in CASES if not case.values[1]["valid"]]


def codec_of(file):
    """A codec that knows the keys and the one format of a vector file."""
    current, *old = (Key.from_text(key["key"], key["id"]) for key in file["keys"])
    described = file["format"]
    form = BUILTIN.get(described["name"]) or Format.parse(**described)
    return Codec(Keyring(current, old), [form])


def opened_by_hand(file, name, value):
    """The key id and plaintext of a value, read without rotator's code, in the plainest way."""
    described = file["format"]
    if described["encoding"] == "base64":
        value = base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    rest, parts, header = value, {}, b""
    for position, part in enumerate(described["layout"]):
        kind, _, argument = part.partition(":")
        size = len(argument) // 2 if kind == "hex" else int(argument or 0)
        if kind == "ciphertext":
            behind = described["layout"][position + 1 :]
            size = len(rest) - sum(int(later.partition(":")[2]) for later in behind)
        parts[kind], rest = rest[:size], rest[size:]
        if "nonce" not in parts:
            header += parts[kind]
    assert rest == b""
    aad = {"none": b"", "header+name": header + name}[described["aad"]]
    for key in file["keys"]:
        if parts.get("key-id", bytes.fromhex(key["id"])).hex() == key["id"]:
            mode = modes.GCM(parts["nonce"], parts["tag"])
            cipher = Cipher(algorithms.AES(bytes.fromhex(key["key"])), mode).decryptor()
            cipher.authenticate_additional_data(aad)
            plaintext = cipher.update(parts["ciphertext"])
            try:
                return key["id"], plaintext + cipher.finalize()
            except InvalidTag:
                continue
    return None


@pytest.mark.parametrize(("file", "vector"), VALID)
def test_valid_vector_opens(file, vector):
    """A valid vector opens to its plaintext, under the key it names."""
    name, value = bytes.fromhex(vector["name"]), bytes.fromhex(vector["value"])

    opened = codec_of(file).open(name, value)

    assert isinstance(opened, Opened)
    assert opened.plaintext.hex() == vector["plaintext"]
    assert opened.key.id == vector["key_id"]
    assert opened.inner == ()


@pytest.mark.parametrize(("file", "vector"), VALID)
def test_valid_vector_opens_by_hand(file, vector):
    """The bare cipher of the cryptography library agrees."""
    name, value = bytes.fromhex(vector["name"]), bytes.fromhex(vector["value"])

    expected = (vector["key_id"], bytes.fromhex(vector["plaintext"]))
    assert opened_by_hand(file, name, value) == expected


@pytest.mark.parametrize(("file", "vector"), VALID)
def test_valid_vector_holds_its_nonce(file, vector):
    """The nonce that a vector names is the one in its value."""
    codec = codec_of(file)

    parts = codec.formats[0].cutter.cut(bytes.fromhex(vector["value"]))

    assert parts.nonce.hex() == vector["nonce"]


@pytest.mark.parametrize(("file", "vector"), INVALID)
def test_invalid_vector_is_refused(file, vector):
    """An invalid vector is refused for its reason, a moved one once its first name is known."""
    codec = codec_of(file)
    name, value = bytes.fromhex(vector["name"]), bytes.fromhex(vector["value"])
    others = [bytes.fromhex(vector["written_for"])] if "written_for" in vector else []

    refused = codec.open(name, value)

    assert isinstance(refused, Reason)
    assert codec.explain(name, value, refused, others) == Reason(vector["reason"])


def test_every_format_has_vectors():
    """There is a file for each built-in format and one for a configured format."""
    assert set(FILES) == {*BUILTIN, "vendor-2026"}


def test_built_in_formats_are_as_described():
    """What a vector file says about a built-in format is what it is."""
    for name, form in BUILTIN.items():
        described = FILES[name]["format"]
        shown = [form.name, form.encoding, list(form.layout), form.aad]
        assert shown == list(described.values())


def test_script_writes_the_same_again(tmp_path):
    """Running the script gives the files that are there, byte for byte."""
    subprocess.run([sys.executable, SCRIPT, tmp_path], check=True)

    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in FOLDER.glob("*.json")}
