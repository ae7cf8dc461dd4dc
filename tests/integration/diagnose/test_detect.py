"""`rotator detect`: what opens the stored values, and what would if it were configured."""

import base64
import json
import os

import pytest
import yaml
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cluster.local_cluster import LocalCluster
from rotator.config.load import load
from rotator.crypto.codec import Codec, Opened
from rotator.crypto.encoding import Encoding, encode
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN, Format
from rotator.demo.local_server import LocalServer
from rotator.server.context import CacheContext
from support.clusters import tagged
from support.commandline import KEY_A, KEY_B, KEY_C, cache, config_file, run

PARTS = ("nonce:12", "ciphertext", "tag:16")
A, B = (Key.from_text(material, "test").id for material in (KEY_A, KEY_B))

# What other libraries make of AES-GCM by habit: encoding, layout, aad.
HABITS = {
    "nonce of 16": ("raw", ("nonce:16", "ciphertext", "tag:16"), "none"),
    "tag before the ciphertext": ("base64", ("nonce:12", "tag:16", "ciphertext"), "none"),
    "tag first": ("raw", ("tag:16", "nonce:12", "ciphertext"), "none"),
    "nonce last": ("raw", ("ciphertext", "tag:16", "nonce:12"), "none"),
    "hex": ("hex", PARTS, "none"),
    "base64url": ("base64url", PARTS, "none"),
    "bound to the name": ("raw", PARTS, "name"),
    "base64, bound to the name": ("base64", PARTS, "name"),
    "a version byte": ("base64", ("hex:02", *PARTS), "none"),
    "an authenticated header": ("raw", ("hex:76310a", *PARTS), "header+name"),
    "a constant authenticated": ("raw", ("hex:7631", *PARTS), "hex:7631"),
}


def fill(redis, form, material=KEY_A, count=20, prefix="/app/oidc"):
    """Store *count* values in *form* under the key *material*."""
    codec = Codec(Keyring(Key.from_text(material, "test")), [form])
    names = [f"{prefix}:{os.urandom(8).hex()}".encode() for _ in range(count)]
    redis.mset({name: codec.seal(name, os.urandom(40)) for name in names})
    return names


@pytest.fixture
def config(tmp_path, server, redis):  # noqa: ARG001 - empties the server
    """A configuration of one cache with a current and an old key."""
    return config_file(tmp_path / "maverics.yaml", cache(server.address))


def detect(config, *arguments, code):
    """What `rotator detect --format json` says."""
    done = run(["detect", "-c", config, "--format", "json", *arguments])
    assert done.returncode == code, done.stderr
    assert done.stderr == b""
    return json.loads(done.stdout)


def counted(hits):
    """The hits as {(format, key): count}."""
    return {(hit["format"], hit["key"]): hit["count"] for hit in hits}


class TestDetect:
    """Configured formats."""

    def test_it_counts_by_format_and_key(self, config, redis):
        """Values are counted by the format and key that open them, and all is well."""
        fill(redis, BUILTIN["sealed"], KEY_A, 10)
        fill(redis, BUILTIN["sealed"], KEY_B, 5)
        fill(redis, BUILTIN["gcm-base64"], KEY_A, 3)
        found = detect(config, code=0)
        expected = {("sealed", A): 10, ("sealed", B): 5, ("gcm-base64", A): 3}
        assert counted(found["opened"]) == expected
        assert (found["detected"], found["refused"], found["configuration"]) == ([], {}, None)

    def test_spellings_are_one_format(self, config, redis):
        """Base64 with padding and without are counted together."""
        for name in fill(redis, BUILTIN["gcm-base64"], count=12):
            redis.set(name, redis.get(name).rstrip(b"="))
        fill(redis, BUILTIN["gcm-base64"], count=8)
        assert counted(detect(config, code=0)["opened"]) == {("gcm-base64", A): 20}

    def test_every_database_is_sampled(self, config, redis, server):
        """A large database leaves room for a small one."""
        fill(redis, BUILTIN["gcm"], count=500)
        with server.client(db=7) as seventh:
            fill(seventh, BUILTIN["gcm"], KEY_B, count=4)
        found = detect(config, "--samples", "50", code=0)
        assert (found["databases"], found["sampled"]) == ([0, 7], 50)
        assert counted(found["opened"]) == {("gcm", A): 46, ("gcm", B): 4}

    def test_a_large_cache_is_only_sampled(self, config, redis):
        """No more values are looked at than were asked for."""
        fill(redis, BUILTIN["gcm"], count=3000)
        assert detect(config, "--samples", "10", code=0)["sampled"] == 10

    def test_as_many_samples_as_values(self, tmp_path):
        """With as many samples as there are values all are looked at, however nodes share them."""
        with LocalCluster(primaries=3, replicas=0) as cluster:
            ours = cache(cluster.addresses[0])
            form = Codec(Keyring(Key.from_text(KEY_A, "test")), [BUILTIN["sealed"]])
            slots = {node: cluster.member(node).slots[0][0] for node in cluster.primaries}
            for (node, slot), number in zip(slots.items(), (40, 5, 15), strict=True):
                with node.client() as client:
                    for name in tagged(slot, number):
                        client.set(name, form.seal(name, b"text"))
            config = config_file(tmp_path / "c.yaml", ours)
            assert detect(config, "--samples", "60", code=0)["sampled"] == 60

    def test_only_names_to_visit_are_sampled(self, tmp_path, server, redis):
        """The patterns and databases of the configuration bound the sample."""
        fill(redis, BUILTIN["gcm"], KEY_A, 10)
        fill(redis, BUILTIN["gcm"], KEY_B, 6, prefix="/other")
        with server.client(db=1) as first:
            fill(first, BUILTIN["gcm"], KEY_B, 6, prefix="/other")
        bounds = {"caches": {"shared-redis": {"match": ["/other:*"], "databases": [0]}}}
        path = config_file(tmp_path / "c.yaml", cache(server.address), rotator=bounds)
        assert counted(detect(path, code=0)["opened"]) == {("gcm", B): 6}

    def test_other_types_are_counted_not_opened(self, config, redis):
        """A list is counted beside the values and does not spoil the result."""
        fill(redis, BUILTIN["gcm"], count=3)
        redis.lpush("list", b"element")
        found = detect(config, code=0)
        assert (found["strings"], found["other"]) == (3, {"not_string": 1})

    def test_nested_values_are_counted(self, config, redis):
        """A value within a value is counted under its outer key, and as nested."""
        codec = Codec(Keyring(Key.from_text(KEY_B, "test")), [BUILTIN["gcm"]])
        inner = codec.seal(b"name", b"plaintext")
        redis.set("name", codec.seal(b"name", inner))
        assert detect(config, code=0)["nested"] == 1

    def test_an_unknown_key_is_named(self, config, redis):
        """Values that name a key which is not configured are counted by its id."""
        fill(redis, BUILTIN["sealed"], KEY_C, 5)
        fill(redis, BUILTIN["sealed"], KEY_B, 5)
        found = detect(config, code=3)
        assert found["refused"] == {"unknown_key_id": 5}
        assert found["unknown_keys"] == {Key.from_text(KEY_C, "test").id: 5}

    def test_a_moved_value_is_told_from_a_broken_one(self, config, redis):
        """A value bound to another sampled name is wrong_name, a damaged one bad_tag."""
        names = fill(redis, BUILTIN["sealed"], count=4)
        redis.set(names[0], redis.get(names[1]))
        redis.setrange(names[2], 40, b"damage")
        assert detect(config, code=3)["refused"] == {"wrong_name": 1, "bad_tag": 1}

    @pytest.mark.parametrize(
        "plain", [b"{}", b'{"a": "plain text, rather short"}', b"some words " * 50]
    )
    def test_nothing_encrypted_exits_with_5(self, config, redis, plain):
        """Plain text is not taken for a value of an unknown format."""
        redis.mset({"one": plain, "two": plain})
        assert detect(config, code=5)["refused"] == {"not_a_format": 2}

    def test_an_empty_cache_exits_with_5(self, config):
        """Where nothing is stored, nothing encrypted was found."""
        assert detect(config, code=5)["sampled"] == 0

    def test_encryption_that_is_off_is_a_usage_error(self, tmp_path, server):
        """A cache without encryption has nothing to detect."""
        off = {"encryption": {"disabled": True}}
        path = config_file(tmp_path / "c.yaml", cache(server.address) | off)
        done = run(["detect", "-c", path])
        assert done.returncode == 2
        assert b"encryption is off" in done.stderr

    def test_nothing_is_written(self, config, redis):
        """Detecting sends no command that writes."""
        fill(redis, BUILTIN["gcm"])
        before = redis.info("persistence")["rdb_changes_since_last_save"]
        detect(config, code=0)
        assert redis.info("persistence")["rdb_changes_since_last_save"] == before


class TestGuess:
    """Formats that are not configured."""

    @pytest.mark.parametrize("habit", HABITS.values(), ids=HABITS)
    def test_a_common_layout_is_found_and_works(self, config, redis, tmp_path, habit):
        """The YAML that is printed, added to the configuration, opens every value."""
        names = fill(redis, Format.parse("theirs", *habit), KEY_A)
        done = run(["detect", "-c", config])
        assert done.returncode == 3
        pasted = tmp_path / "formats.yaml"
        pasted.write_bytes(done.stdout[done.stdout.index(b"\nrotator:\n") :])
        codec = CacheContext(load([config, pasted]), load([config]).caches[0], None).codec
        assert all(isinstance(codec.open(name, redis.get(name)), Opened) for name in names)
        again = run(["detect", "-c", config, "-c", pasted])
        assert again.returncode == 0, again.stdout

    def test_two_layouts_have_two_names(self, config, redis, tmp_path):
        """Values in two unknown layouts, under two keys, give two formats."""
        fill(redis, Format.parse("one", *HABITS["hex"]), KEY_A, 12)
        fill(redis, Format.parse("two", *HABITS["a version byte"]), KEY_B, 6)
        fill(redis, BUILTIN["gcm"], KEY_B, 3)
        found = detect(config, code=3)
        assert counted(found["detected"]) == {("detected", B): 6, ("detected-2", A): 12}
        pasted = tmp_path / "formats.yaml"
        pasted.write_text(yaml.safe_dump(found["configuration"]))
        assert run(["detect", "-c", config, "-c", pasted]).returncode == 0

    def test_a_built_in_format_is_only_listed(self, tmp_path, server, redis):
        """A built-in format that the cache does not list needs no description."""
        fill(redis, BUILTIN["gcm-base64"])
        ours = {"caches": {"shared-redis": {"formats": ["sealed"]}}}
        path = config_file(tmp_path / "c.yaml", cache(server.address), rotator=ours)
        found = detect(path, code=3)["configuration"]
        assert found == {
            "rotator": {"caches": {"shared-redis": {"formats": ["gcm-base64", "sealed"]}}}
        }

    def test_a_taken_name_is_left_alone(self, tmp_path, server, redis):
        """A format that is called `detected` already keeps its name."""
        fill(redis, Format.parse("one", *HABITS["hex"]))
        described = {"encoding": "hex", "layout": ["tag:16", "nonce:12", "ciphertext"]}
        ours = {"formats": {"detected": described}}
        path = config_file(tmp_path / "c.yaml", cache(server.address), rotator=ours)
        found = detect(path, code=3)["configuration"]["rotator"]
        assert list(found["formats"]) == ["detected-2"]

    def test_base64url_is_not_taken_for_base64(self, tmp_path, server, redis):
        """Text that fits both encodings is counted with those that fit one."""
        fill(redis, Format.parse("url", *HABITS["base64url"]), count=60)
        ours = {"caches": {"shared-redis": {"formats": ["sealed"]}}}
        path = config_file(tmp_path / "c.yaml", cache(server.address), rotator=ours)
        [hit] = detect(path, code=3)["detected"]
        assert (hit["encoding"], hit["count"]) == ("base64url", 60)

    def test_another_key_is_not_guessed(self, config, redis):
        """Values in an unknown layout under an unknown key stay bad_tag."""
        fill(redis, Format.parse("theirs", *HABITS["nonce of 16"]), KEY_C)
        found = detect(config, code=3)
        assert (found["detected"], found["refused"]) == ([], {"bad_tag": 20})

    def test_the_table_fits_100_columns(self, tmp_path, redis, server):
        """Neither tables nor YAML are wider than 100 columns."""
        long = "a-cache-with-quite-a-long-name"
        path = config_file(tmp_path / "c.yaml", cache(server.address, name=long))
        fill(redis, Format.parse("theirs", *HABITS["an authenticated header"]))
        fill(redis, BUILTIN["sealed"], KEY_C)
        fill(redis, BUILTIN["sealed"], KEY_B)
        redis.set("plain", b"text")
        done = run(["detect", "-c", path])
        assert max(map(len, done.stdout.decode().splitlines())) <= 100


def json_of(nonce, tag, body):
    """A JSON as Node applications write it."""
    texts = {"iv": nonce, "tag": tag, "data": body}
    return json.dumps({name: base64.b64encode(text).decode() for name, text in texts.items()})


# What applications write of nonce, tag and ciphertext, as a function of these and what they call
# the key; and how they read it: the texts of nonce, tag and ciphertext, and the label.
APPLICATIONS = {
    "JSON": (
        lambda _, nonce, tag, body: json_of(nonce, tag, body).encode(),
        lambda value: [base64.b64decode(text) for text in json.loads(value).values()],
    ),
    "label": (
        lambda label, *parts: f"{label}:{':'.join(part.hex() for part in parts)}".encode(),
        lambda value: [bytes.fromhex(text) for text in value.decode().split(":")[1:]],
    ),
    "number as a label": (
        lambda label, *parts: f"0{label[1]}.{'.'.join(part.hex() for part in parts)}".encode(),
        lambda value: [bytes.fromhex(text) for text in value.decode().split(".")[1:]],
    ),
    "label in bytes": (
        lambda label, nonce, tag, body: b"\x01" + label.encode() + b"\x00\xff" + nonce + tag + body,
        lambda value: [value[5:17], value[17:33], value[33:]],
    ),
}


def written(write, label, material, plaintext):
    """What an application writes: nothing of rotator is in it."""
    nonce = os.urandom(12)
    sealed = AESGCM(bytes.fromhex(material)).encrypt(nonce, plaintext, None)
    return write(label, nonce, sealed[-16:], sealed[:-16])


def read(parse, material, value):
    """What an application reads with one key."""
    nonce, tag, body = parse(value)
    return AESGCM(bytes.fromhex(material)).decrypt(nonce, body + tag, None)


def pasted(config, tmp_path, *arguments):
    """What `rotator detect` prints from the line `rotator:` on, in a file, and its text."""
    done = run(["detect", "-c", config, *arguments])
    assert done.returncode == 3, done.stderr
    text = done.stdout[done.stdout.index(b"\nrotator:\n") + 1 :]
    path = tmp_path / "printed.yaml"
    path.write_bytes(text)
    return path, text.decode()


class TestPasted:
    """The YAML that is printed, in a file of its own beside the configuration."""

    @pytest.mark.parametrize("name", APPLICATIONS)
    def test_a_run_with_it(self, config, redis, tmp_path, name):
        """It moves every value, and the application reads them with the new key alone."""
        write, parse = APPLICATIONS[name]
        held = {f"app:{number}": os.urandom(20 + number) for number in range(9)}
        for number, (key, plaintext) in enumerate(held.items()):
            label, material = ("k2", KEY_B) if number < 3 else ("k1", KEY_A)
            redis.set(key, written(write, label, material, plaintext))
        printed, _ = pasted(config, tmp_path)
        done = run(["run", "-c", config, "-c", printed, "--state", tmp_path / "state"])
        assert done.returncode == 0, done.stderr
        assert {key: read(parse, KEY_B, redis.get(key)) for key in held} == held

    def test_what_is_ambiguous_is_quoted(self, config, redis, tmp_path):
        """Labels that YAML would take for numbers, and ids of keys, are texts."""
        write, _ = APPLICATIONS["number as a label"]
        for number in range(8):
            label, material = (("k2", KEY_B), ("k1", KEY_A))[number % 2]
            redis.set(f"app:{number}", written(write, label, material, os.urandom(30)))
        _, text = pasted(config, tmp_path)
        assert f'"{A}": "01"' in text
        assert f'"{B}": "02"' in text

    def test_bytes_of_labels(self, config, redis, tmp_path):
        """A label that is no text is printed in hex, whole."""
        for number in range(8):
            key, label = ((KEY_B, b"\x7f\x00\x00\x01"), (KEY_A, b"\x0a\x0b\x0c\x0d"))[number % 2]
            form = Format.parse("theirs", "raw", ["hex:01", "label:4", *PARTS])
            ring = Keyring(Key.from_text(key, "test"))
            codec = Codec(ring, [form], None, {ring.current.id: label})
            redis.set(f"app:{number}", codec.seal(b"", os.urandom(30), form))
        _, text = pasted(config, tmp_path)
        labels = yaml.safe_load(text)["rotator"]["caches"]["shared-redis"]["labels"]
        assert labels == {A: "hex:0a0b0c0d", B: "hex:7f000001"}

    def test_one_key_only(self, config, redis, tmp_path):
        """A literal that was seen under one key has a comment: it may be a label."""
        write, _ = APPLICATIONS["label"]
        for number in range(6):
            redis.set(f"app:{number}", written(write, "k1", KEY_A, os.urandom(30)))
        _, text = pasted(config, tmp_path)
        assert "# detected: seen under one key only" in text
        assert yaml.safe_load(text)["rotator"]["formats"]["detected"]["layout"].startswith("k1:")

    def test_a_label_that_was_not_seen(self, tmp_path, server, redis):
        """That of the current key cannot be known: a comment says what to add, a run refuses."""
        write, _ = APPLICATIONS["label"]
        base = cache(server.address, current=KEY_C, old=[KEY_A, KEY_B])
        path = config_file(tmp_path / "c.yaml", base)
        for number in range(8):
            label, material = (("k2", KEY_B), ("k1", KEY_A))[number % 2]
            redis.set(f"app:{number}", written(write, label, material, os.urandom(30)))
        printed, text = pasted(path, tmp_path)
        current = Key.from_text(KEY_C, "test").id
        assert f'"{current}"' in " ".join(line for line in text.splitlines() if "#" in line)
        done = run(["run", "-c", path, "-c", printed, "--state", tmp_path / "state"])
        assert done.returncode == 2
        assert current.encode() in done.stderr

    def test_several_formats(self, config, redis, tmp_path):
        """With two formats that of all values under the current key is to be written."""
        (write_json, _), (write_hex, _) = APPLICATIONS["JSON"], APPLICATIONS["label"]
        for number in range(12):
            redis.set(f"old:{number}", written(write_json, "", KEY_A, os.urandom(30)))
        for number in range(4):
            redis.set(f"new:{number}", written(write_hex, "k2", KEY_B, os.urandom(30)))
        _, text = pasted(config, tmp_path)
        section = yaml.safe_load(text)["rotator"]
        write = section["caches"]["shared-redis"]["write"]
        assert section["formats"][write]["encoding"] == "hex"
        assert len(section["caches"]["shared-redis"]["formats"]) == 2

    def test_formats_of_several_applications(self, config, redis, tmp_path):
        """Where the current key is used in two formats each value keeps its own."""
        (write_json, _), (write_hex, _) = APPLICATIONS["JSON"], APPLICATIONS["label"]
        for number in range(12):
            label, material = (("k1", KEY_A), ("k2", KEY_B))[number % 2]
            redis.set(f"json:{number}", written(write_json, "", material, os.urandom(30)))
            redis.set(f"hex:{number}", written(write_hex, label, material, os.urandom(30)))
        printed, text = pasted(config, tmp_path)
        assert yaml.safe_load(text)["rotator"]["caches"]["shared-redis"]["write"] == "same"
        before = {name: redis.get(name) for name in redis.scan_iter()}
        done = run(["run", "-c", config, "-c", printed, "--state", tmp_path / "state"])
        assert done.returncode == 0
        for name, value in before.items():
            assert redis.get(name)[:1] == value[:1]  # a brace, or the beginning of a label

    def test_what_is_authenticated_may_be_told(self, config, redis, tmp_path):
        """A text that values do not hold is found where it is given, and printed."""
        form = Format.parse("theirs", "hex", "{nonce}:{tag}:{ciphertext}", "text:sessions")
        names = fill(redis, form)
        assert detect(config, code=3)["detected"] == []
        printed, text = pasted(config, tmp_path, "--aad", "other", "--aad", "sessions")
        assert yaml.safe_load(text)["rotator"]["formats"]["detected"]["aad"] == "text:sessions"
        found = detect(config, "-c", printed, code=0)
        assert counted(found["opened"]) == {("detected", A): len(names)}

    def test_what_is_no_text(self, config):
        """A text that is not UTF-8 is refused."""
        done = run(["detect", "-c", config, "--aad", "\udcff"])
        assert done.returncode == 2
        assert b"--aad: is not UTF-8 text" in done.stderr

    def test_labels_of_a_known_format(self, config, redis, tmp_path):
        """What values of a configured format call a key without a label is ready to paste."""
        write, _ = APPLICATIONS["label"]
        for number in range(6):
            label, material = (("k2", KEY_B), ("k1", KEY_A))[number % 2]
            redis.set(f"app:{number}", written(write, label, material, os.urandom(30)))
        theirs = {"encoding": "hex", "layout": "{label}:{nonce}:{tag}:{ciphertext}"}
        ours = {"formats": {"theirs": theirs}, "caches": {"shared-redis": {"formats": ["theirs"]}}}
        more = tmp_path / "more.yaml"
        more.write_text(yaml.safe_dump({"rotator": ours}))
        printed, text = pasted(config, tmp_path, "-c", more)
        told = yaml.safe_load(text)["rotator"]
        assert told["caches"]["shared-redis"]["labels"] == {B: "k2", A: "k1"}
        assert "formats" not in told
        detect(config, "-c", more, "-c", printed, code=0)

    def test_unknown_labels_are_shown(self, config, redis):
        """What values of a detected layout call a key that is not there is shown as it stands."""
        write, _ = APPLICATIONS["label"]
        keys = [("k2", KEY_B), ("k1", KEY_A), ("k0", KEY_C)]
        for number in range(9):
            label, material = keys[number % 3]
            redis.set(f"app:{number}", written(write, label, material, os.urandom(30)))
        found = detect(config, code=3)
        assert found["unknown_keys"] == {"k0": 3}
        assert found["refused"] == {"unknown_key_id": 3}


class TestForeign:
    """What nothing opens."""

    def test_its_writer_is_named(self, config, redis):
        """A value that begins as another tool's is told, with what to use instead."""
        redis.set("token", b"gAAAAA" + base64.urlsafe_b64encode(os.urandom(70)))
        found = detect(config, code=3)
        [told] = found["foreign"]
        assert (told["count"], told["name"]) == (1, "Fernet")
        assert "MultiFernet.rotate" in told["instead"]
        assert b"MultiFernet.rotate" in run(["detect", "-c", config]).stdout

    @pytest.mark.parametrize("encoding", Encoding)
    def test_random_bytes_look_encrypted(self, config, redis, encoding):
        """In whatever encoding: that they do not look encrypted is never said of them."""
        redis.mset({f"n{number}": encode(encoding, os.urandom(29)) for number in range(20)})
        assert detect(config, code=3)["refused"] == {"bad_tag": 20}


def test_a_server_that_is_gone_exits_with_1(tmp_path):
    """Without a server there is an error and no result."""
    with LocalServer() as gone:
        path = config_file(tmp_path / "c.yaml", cache(gone.address))
    done = run(["detect", "-c", path])
    assert (done.returncode, done.stdout) == (1, b"")
