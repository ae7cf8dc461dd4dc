"""The document of formats: its cookbook, its examples and the lines that derive keys are true."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from clients.client import CLIENTS
from clients.cookbook import DOCUMENT, rows
from rotator.config.load import load
from rotator.crypto.codec import Opened
from rotator.crypto.keyring import Key as Ours
from rotator.crypto.keyring import generate
from rotator.server.context import CacheContext
from support.applications import APPLICATIONS
from support.layouts import Key

TEXT = DOCUMENT.read_text()
ROWS = {row.name: row for row in rows()}
VECTORS = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[2] / "vectors" / "clients").glob("*.json"))
}
NAME = b"app:session:1"
PLAINTEXTS = (b"x", b"hello", b'{"user":"1","roles":["a","b"]}', bytes(range(256)))


@pytest.fixture
def keys():
    """The old key and the current one, as the application has them."""
    return [Key(bytes.fromhex(generate()), name) for name in ("k1", "k2")]


def codec(folder, entry, keys, label):
    """
    The codec of a configuration into which *entry* is pasted as it stands in the document.

    *keys* are the old key and the current one, *label* says what values call a key.
    """
    pasted = folder / "pasted.yaml"
    pasted.write_text(f"rotator:\n  formats:\n    theirs: {entry}\n")
    labels = {Ours.from_text(key.secret.hex(), key.name).id: label(key) for key in keys}
    named = {"labels": labels} if all(labels.values()) else {}
    old, current = (key.secret.hex() for key in keys)
    cache = {
        "name": "box",
        "type": "redis",
        "encryption": {"keys": {"current": current, "old": [old]}},
        "redis": {"addresses": ["localhost:6379"]},
    }
    settings = {"caches": {"box": {"formats": ["theirs"], **named}}}
    rest = folder / "rest.json"
    rest.write_text(json.dumps({"caches": [cache], "rotator": settings}))
    config = load([pasted, rest])
    return CacheContext(config, config.cache(), None).codec


@pytest.fixture
def of_row(tmp_path, keys):
    """A function that returns the application of a row, and the codec of its entry."""

    def found(name):
        application = APPLICATIONS[name]
        return application, codec(tmp_path, ROWS[name].entry, keys, application.label)

    return found


class TestCookbook:
    """Each entry, with a value as that application lays it out."""

    def test_every_row_is_run(self):
        """Each row has an application that writes and reads, and each application a row."""
        assert list(ROWS) == list(APPLICATIONS)
        assert len(rows()) == len(ROWS) >= 45
        cookbook = TEXT.partition("## Cookbook")[2].partition("\n## ")[0]
        assert re.findall(r"^  `(\{.*\})`$", cookbook, re.MULTILINE) == [
            row.entry for row in rows()
        ]

    @pytest.mark.parametrize("name", ROWS)
    def test_labels_are_announced(self, name, keys):
        """A row says whether there are labels, as its layout and the application do."""
        has_label = "label" in str(yaml.safe_load(ROWS[name].entry)["layout"])
        assert has_label == ROWS[name].has_labels == bool(APPLICATIONS[name].label(keys[0]))

    @pytest.mark.parametrize("name", APPLICATIONS)
    def test_an_application_reads_what_it_wrote(self, name, keys):
        """A reader takes the values of its own writer, and none under another key."""
        application = APPLICATIONS[name]
        for plaintext in PLAINTEXTS:
            value = application.write(keys[0], NAME, plaintext)
            assert application.read(keys[0], NAME, value) == plaintext
        with pytest.raises((ValueError, InvalidTag)):
            application.read(keys[1], NAME, value)

    @pytest.mark.parametrize("name", ROWS)
    def test_the_application_reads_what_was_rewritten(self, name, keys, of_row):
        """With the new key alone, and the value is as long as before."""
        (application, one), (old, current) = of_row(name), keys
        for plaintext in PLAINTEXTS:
            value = application.write(old, NAME, plaintext)
            opened = one.open(NAME, value)
            assert isinstance(opened, Opened)
            assert opened.plaintext == plaintext
            assert one.needs_rewrite(opened)
            moved = one.rewrite(NAME, opened)
            assert application.read(current, NAME, moved) == plaintext
            assert len(moved) == len(value)

    @pytest.mark.parametrize("name", ROWS)
    def test_what_is_under_the_current_key_is_left_alone(self, name, keys, of_row):
        """A value of the application's own under the current key opens, and needs nothing."""
        application, one = of_row(name)
        opened = one.open(NAME, application.write(keys[1], NAME, b"hello"))
        assert isinstance(opened, Opened)
        assert not one.needs_rewrite(opened)

    @pytest.mark.parametrize("name", ROWS)
    def test_a_flipped_byte_is_refused(self, name, keys, of_row):
        """Wherever it is; only in what a layout keeps, it changes nothing."""
        application, one = of_row(name)
        value = application.write(keys[0], NAME, b"hello")
        for place in range(len(value)):
            flipped = bytearray(value)
            flipped[place] ^= 1
            opened = one.open(NAME, bytes(flipped))
            if isinstance(opened, Opened):
                assert "{keep}" in ROWS[name].entry
                assert opened.plaintext == b"hello"


class TestVectors:
    """Values that the clients themselves made; `make test-clients` has them read again, too."""

    def test_every_client_made_some(self):
        """Each client of `make test-clients` has a file, and each file a client."""
        assert [file["client"] for file in VECTORS.values()] == [one.name for one in CLIENTS]

    @pytest.mark.parametrize("file", VECTORS.values(), ids=VECTORS)
    def test_they_open_and_are_read_when_rewritten(self, file, tmp_path):
        """With the entry; then by a reader that knows the layout and the new key alone."""
        application = APPLICATIONS[file["client"]]
        labels = {key["name"]: key["label"] for key in file["keys"]}
        old, current = (Key(bytes.fromhex(key["key"]), key["name"]) for key in file["keys"])
        assert {key.name: application.label(key) for key in (old, current)} == labels
        entry = ROWS[file["client"]].entry
        one = codec(tmp_path, entry, (old, current), lambda key: labels[key.name])
        for vector in file["vectors"]:
            name, value = vector["name"].encode(), bytes.fromhex(vector["value"])
            opened = one.open(name, value)
            assert isinstance(opened, Opened)
            assert one.needs_rewrite(opened) == (vector["key"] == old.name)
            text = opened.plaintext.decode()
            assert text == vector["text"] or file["wraps"]
            assert application.read(current, name, one.rewrite(name, opened)).decode() == text


class TestExamples:
    """The blocks of YAML in the document."""

    @pytest.mark.parametrize(
        "block", re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    )
    def test_they_are_valid(self, block, tmp_path):
        """Each is a part of a configuration, and nothing in it is unknown."""
        part = tmp_path / "part.yaml"
        part.write_text(block)
        rest = tmp_path / "rest.yaml"
        rest.write_text(
            "caches: [{name: shared-redis, type: redis, encryption: {keys: {current: "
            f"{generate()}}}}}, redis: {{addresses: [localhost:6379]}}}}]"
        )
        assert load([rest, part]).warnings == ()


def hkdf(secret, info):
    """HKDF with SHA-256 and no salt, by a library."""
    return HKDF(hashes.SHA256(), 32, None, info).derive(secret)


def sha256(secret):
    """SHA-256, by a library."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(secret)
    return digest.finalize()


DERIVED = {
    "encode().hex()": lambda secret: secret,
    'hashlib.sha256(sys.stdin.read().rstrip("\\n").encode()).hexdigest()': sha256,
    "hashlib.scrypt": lambda secret: Scrypt(b"salt", 32, 16384, 8, 1).derive(secret),
    "hashlib.pbkdf2_hmac": lambda secret: PBKDF2HMAC(hashes.SHA256(), 32, b"salt", 100_000).derive(
        secret
    ),
    "NextAuth.js": lambda secret: hkdf(secret, b"NextAuth.js Generated Encryption Key"),
    "aes-256-gcm:v1:app": lambda secret: hkdf(sha256(secret), b"aes-256-gcm:v1:app"),
}
"""What makes the lines that derive a key out, and what a library derives."""


class TestDerivedKeys:
    """The lines that make a key of a secret."""

    LINES = re.findall(r"^python3 -c .*$", TEXT, re.MULTILINE)

    @pytest.mark.parametrize("line", LINES)
    @pytest.mark.parametrize("end", ["", "\n"])
    def test_they_derive_what_a_library_derives(self, line, end):
        """Each prints the key in hex, whether its input ends in a line break or not."""
        [derive] = [derive for mark, derive in DERIVED.items() if mark in line]
        secret = "a secret of 32 characters, 'äöü'"
        done = subprocess.run(
            ["sh", "-c", line],
            input=secret + end,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
        )
        assert done.stdout == f"{derive(secret.encode()).hex()}\n"

    def test_none_is_forgotten(self):
        """There is a line for each way of deriving."""
        assert len(self.LINES) == len(DERIVED)
