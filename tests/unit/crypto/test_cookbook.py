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

import rotator
from rotator.config.load import load
from rotator.crypto.codec import Opened
from rotator.crypto.keyring import Key as Ours
from rotator.crypto.keyring import generate
from rotator.server.context import CacheContext
from support.applications import APPLICATIONS
from support.layouts import Key

TEXT = (Path(rotator.__file__).parent / "docs" / "formats.md").read_text()
ROW = re.compile(
    r"^\| (?P<name>.+?) \| `(?P<entry>\{.*\})` \| (?P<labels>.*?) \|.*\|$", re.MULTILINE
)
ROWS = {row["name"]: (row["entry"], row["labels"]) for row in ROW.finditer(TEXT)}
NAME = b"app:session:1"
PLAINTEXTS = (b"x", b"hello", b'{"user":"1","roles":["a","b"]}', bytes(range(256)))


@pytest.fixture
def keys():
    """The old key and the current one, as the application has them."""
    return [Key(bytes.fromhex(generate()), name) for name in ("k1", "k2")]


def codec(folder, entry, application, keys):
    """The codec of a configuration into which *entry* is pasted as it stands in the document."""
    old, current = keys
    pasted = folder / "pasted.yaml"
    pasted.write_text(f"rotator:\n  formats:\n    theirs: {entry}\n")
    labels = {Ours.from_hex(key.secret.hex(), key.name).id: application.label(key) for key in keys}
    named = {"labels": labels} if application.label(current) else {}
    listed = {"current": current.secret.hex(), "old": [old.secret.hex()]}
    settings = {
        "caches": [
            {
                "name": "box",
                "type": "redis",
                "encryption": {"keys": listed},
                "redis": {"addresses": ["localhost:6379"]},
            }
        ],
        "rotator": {"caches": {"box": {"formats": ["theirs"], **named}}},
    }
    rest = folder / "rest.json"
    rest.write_text(json.dumps(settings))
    config = load([pasted, rest])
    return CacheContext(config, config.cache(), None).codec


class TestCookbook:
    """Each entry, with a value as that application lays it out."""

    def test_every_row_is_run(self):
        """Each row has an application that writes and reads, and each application a row."""
        assert list(ROWS) == list(APPLICATIONS)
        assert len(ROW.findall(TEXT)) == len(ROWS) >= 45

    @pytest.mark.parametrize("name", ROWS)
    def test_labels_are_announced(self, name, keys):
        """A row says whether there are labels, as its layout and the application do."""
        entry, labels = ROWS[name]
        has_label = "label" in str(yaml.safe_load(entry)["layout"])
        assert has_label == (labels != "no") == bool(APPLICATIONS[name].label(keys[0]))

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
    def test_the_application_reads_what_was_rewritten(self, name, keys, tmp_path):
        """With the new key alone, and the value is as long as before."""
        application, (old, current) = APPLICATIONS[name], keys
        one = codec(tmp_path, ROWS[name][0], application, keys)
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
    def test_what_is_under_the_current_key_is_left_alone(self, name, keys, tmp_path):
        """A value of the application's own under the current key opens, and needs nothing."""
        application = APPLICATIONS[name]
        one = codec(tmp_path, ROWS[name][0], application, keys)
        opened = one.open(NAME, application.write(keys[1], NAME, b"hello"))
        assert isinstance(opened, Opened)
        assert not one.needs_rewrite(opened)

    @pytest.mark.parametrize("name", ROWS)
    def test_a_flipped_byte_is_refused(self, name, keys, tmp_path):
        """Wherever it is; only in what a layout keeps, it changes nothing."""
        entry, application = ROWS[name][0], APPLICATIONS[name]
        one = codec(tmp_path, entry, application, keys)
        value = application.write(keys[0], NAME, b"hello")
        for place in range(len(value)):
            flipped = bytearray(value)
            flipped[place] ^= 1
            opened = one.open(NAME, bytes(flipped))
            if isinstance(opened, Opened):
                assert "{keep}" in entry
                assert opened.plaintext == b"hello"


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
