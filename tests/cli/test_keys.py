"""`rotator keys`, `rotator keygen` and `rotator fence`."""

import json
import os
import re
import stat
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from rotator.crypto.keyring import Key
from rotator.retirement.places import Fence
from rotator.state.state import State
from support.commandline import KEY_A, KEY_B, KEY_C, cache, config_file, run
from support.processes import run_here

IDS = {material: Key.from_text(material, "test").id for material in (KEY_A, KEY_B, KEY_C)}
NOWHERE = "127.0.0.1:1"


def keys_of(*arguments, **options):
    """The keys as `rotator keys --format json` lists them."""
    done = run(["keys", "--format", "json", *arguments], **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["keys"]


class TestKeys:
    """`rotator keys`."""

    def test_it_lists_role_id_and_field(self, tmp_path):
        """Every key is listed with its role, id and field, the current one first."""
        path = config_file(tmp_path / "c.yaml", cache(NOWHERE, current=KEY_B, old=[KEY_A, KEY_C]))
        field = "caches[0].encryption.keys"
        assert keys_of("-c", path) == [
            {
                "cache": "shared-redis",
                "role": role,
                "id": IDS[material],
                "field": f"{field}.{where}",
                "source": "in the file",
            }
            for role, material, where in [
                ("current", KEY_B, "current"),
                ("old", KEY_A, "old[0]"),
                ("old", KEY_C, "old[1]"),
            ]
        ]

    def test_a_reference_is_shown_as_it_stands(self, tmp_path):
        """A key from a secret provider is listed by its reference."""
        path = config_file(tmp_path / "c.yaml", cache(NOWHERE, current="<NEW>", old=["<OLD>"]))
        env = {"NEW": KEY_B, "OLD": KEY_A}
        found = keys_of("-c", path, "--secret-provider", "env://", env=env)
        assert [(key["source"], key["id"]) for key in found] == [
            ("<NEW>", IDS[KEY_B]),
            ("<OLD>", IDS[KEY_A]),
        ]

    def test_material_is_never_shown(self, tmp_path):
        """Neither the table nor the JSON holds a key."""
        path = config_file(tmp_path / "c.yaml", cache(NOWHERE, current=KEY_B, old=[KEY_A]))
        for form in ("table", "json"):
            done = run(["keys", "-c", path, "--format", form])
            assert KEY_A.encode() not in done.stdout + done.stderr
            assert KEY_B.encode() not in done.stdout + done.stderr

    def test_the_table_fits_100_columns(self, tmp_path):
        """However long cache names and references are, no line is longer than 100 columns."""
        long = cache(NOWHERE, name="a-cache-with-a-long-name" * 3, current="<A_LONG_REFERENCE>")
        path = config_file(tmp_path / "c.yaml", long)
        env = {"A_LONG_REFERENCE": KEY_B}
        done = run(["keys", "-c", path, "--secret-provider", "env://"], env=env)
        assert IDS[KEY_B].encode() in done.stdout
        assert max(map(len, done.stdout.decode().splitlines())) <= 100

    def test_caches_can_be_chosen(self, tmp_path):
        """`--cache` leaves the other caches out, and their secrets unresolved."""
        one, two = cache(NOWHERE, name="one"), cache(NOWHERE, name="two", current="<UNSET>")
        path = config_file(tmp_path / "c.yaml", one, two)
        assert {key["cache"] for key in keys_of("-c", path, "--cache", "one")} == {"one"}

    def test_a_cache_without_encryption_is_said_so(self, tmp_path):
        """A cache whose encryption is off has a line that says so."""
        off = {"encryption": {"disabled": True}}
        path = config_file(tmp_path / "c.yaml", cache(NOWHERE) | off)
        assert b"encryption is off" in run(["keys", "-c", path]).stdout

    @pytest.mark.parametrize("wrong", [KEY_A[:-1], "not hex"])
    def test_a_wrong_key_is_named_not_shown(self, tmp_path, wrong):
        """A key that is none exits with 2; the error names the field and not the value."""
        path = config_file(tmp_path / "c.yaml", cache(NOWHERE, old=[wrong]))
        done = run(["keys", "-c", path])
        assert done.returncode == 2
        assert b"caches[0].encryption.keys.old[0]" in done.stderr
        assert wrong.encode() not in done.stderr


class TestKeygen:
    """`rotator keygen`."""

    def test_it_prints_64_hex_characters(self):
        """What is printed is one key and a line break."""
        assert re.fullmatch(rb"[0-9a-f]{64}\n", run(["keygen"]).stdout)

    def test_its_examples_keep_the_key_to_themselves(self, tmp_path):
        """They hand the key on by a file for nobody else or a pipe, never as an argument."""
        programs = {"rotator": f"echo {KEY_A}", "vault": "echo $* >arguments; cat >given"}
        for name, text in programs.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / name).chmod(0o755)
        lines = run_here(["keygen", "--help"]).stdout.splitlines()
        for line in [line for line in lines if re.search(r"rotator keygen [|>]", line)]:
            env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
            subprocess.run(["sh", "-c", line], cwd=tmp_path, env=env, check=True)
        assert stat.S_IMODE((tmp_path / "cache_key").stat().st_mode) == 0o600
        assert (tmp_path / "given").read_text() == KEY_A
        assert KEY_A not in (tmp_path / "arguments").read_text()

    def test_every_key_is_another(self):
        """Two keys differ."""
        assert run(["keygen"]).stdout != run(["keygen"]).stdout


class TestFence:
    """`rotator fence`."""

    AT = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)

    @pytest.fixture
    def fence(self, tmp_path):
        """A function that calls it with a configuration, by default of two caches."""
        self.state = tmp_path / "state.db"

        def call(*more, caches=()):
            both = [cache(NOWHERE), cache(NOWHERE, name="other", old=[KEY_C])]
            path = config_file(tmp_path / "c.yaml", *(caches or both))
            return run(["fence", "-c", path, "--state", self.state, *more])

        return call

    def recorded(self, name="shared-redis"):
        """What the state holds of a cache."""
        with State(self.state) as state:
            return state.fence(name)

    @staticmethod
    def shown(fence, one):
        """What `--show` says of a cache, as JSON."""
        (found,) = json.loads(fence("--show", "--format", "json", caches=[one]).stdout)["fences"]
        return found

    def test_now(self, fence):
        """Without a time it is now, in every cache, for the keys that are listed there."""
        before = datetime.now(UTC)
        done = fence()
        after = datetime.now(UTC)
        assert (done.returncode, done.stderr) == (0, b"")
        for name, old in (("shared-redis", KEY_A), ("other", KEY_C)):
            found = self.recorded(name)
            assert (found.current, found.old) == (IDS[KEY_B], (IDS[old],))
            assert before <= found.at <= found.declared_at <= after
            assert name.encode() in done.stdout
        assert IDS[KEY_A][:8].encode() in done.stdout

    def test_at(self, fence):
        """A time in the past is taken as it is given, of one cache only if one is named."""
        assert fence("--cache", "other", "--at", "2026-11-24T14:30Z").returncode == 0
        assert self.recorded() is None
        assert self.recorded("other").at == self.AT

    def test_it_replaces_the_one_before(self, fence):
        """The last record counts."""
        fence("--at", "2026-11-20T14:30Z")
        fence("--at", "2026-11-24T14:30Z")
        assert self.recorded().at == self.AT

    @pytest.mark.parametrize("given", ["2999-01-01T00:00Z", "in an hour"])
    def test_a_time_to_come(self, fence, given):
        """A time to come is refused with what to write, and nothing is recorded."""
        done = fence("--at", given)
        assert done.returncode == 2
        assert b"14:30" in done.stderr
        assert not self.state.exists()

    def test_json(self, fence):
        """As JSON it is one object for each cache, with whole ids and times."""
        done = fence("--at", "2026-11-24T14:30Z", "--format", "json")
        first, _ = json.loads(done.stdout)["fences"]
        declared = datetime.fromisoformat(first.pop("declared_at"))
        assert datetime.now(UTC) - declared < timedelta(minutes=1)
        assert first == {
            "cache": "shared-redis",
            "at": "2026-11-24T14:30:00Z",
            "current": IDS[KEY_B],
            "old": [IDS[KEY_A]],
            "voided_at": None,
            "counts": "yes",
        }

    def test_show(self, fence):
        """With --show nothing is recorded, and what is recorded is told."""
        assert b"none is recorded" in fence("--show").stdout
        assert not self.state.exists()
        fence("--cache", "other", "--at", "2026-11-24T14:30Z")
        shown = fence("--show").stdout.decode()
        assert re.search(r"shared-redis .*none is recorded", shown)
        assert re.search(r"other .*2026-11-24 14:30.* yes", shown)
        assert self.recorded() is None

    def test_remove(self, fence):
        """With --remove it is forgotten, of one cache only if one is named."""
        fence()
        assert fence("--remove", "--cache", "other").returncode == 0
        assert self.recorded("other") is None
        assert self.recorded() is not None

    def test_another_current_key(self, fence):
        """With another current key it does not count any more."""
        fence()
        found = self.shown(fence, cache(NOWHERE, current=KEY_C))
        assert found["counts"] == "no longer: another key is current"

    def test_another_old_key(self, fence):
        """It does not count for an old key that was not listed when it was recorded."""
        fence()
        found = self.shown(fence, cache(NOWHERE, old=[KEY_A, KEY_C]))
        assert found["counts"] == f"yes, but not for {IDS[KEY_C][:8]}"

    def test_void(self, fence):
        """After a value was read that says otherwise it is void, and since when."""
        with State(self.state) as state:
            made = Fence(self.AT, IDS[KEY_B], (IDS[KEY_A],), self.AT, self.AT + timedelta(hours=1))
            state.set_fence("shared-redis", made)
        found = self.shown(fence, cache(NOWHERE))
        assert found["counts"] == "void: a value under an old key was met 2026-11-24 15:30:00 UTC"
        assert found["voided_at"] == "2026-11-24T15:30:00Z"

    @pytest.mark.parametrize(
        ("more", "caches"),
        [
            (["--show", "--remove"], [cache(NOWHERE)]),
            (["--show", "--at", "2026-11-24T14:30Z"], [cache(NOWHERE)]),
            (["--cache", "none"], [cache(NOWHERE)]),
            ([], [cache(NOWHERE, old=[])]),
            (["--cache", "off"], [cache(NOWHERE, name="off") | {"encryption": {"disabled": True}}]),
        ],
        ids=["show and remove", "show and a time", "no such cache", "no old key", "not encrypted"],
    )
    def test_what_cannot_be(self, fence, more, caches):
        """What cannot be recorded is refused with 2 and a hint, and leaves no state."""
        done = fence(*more, caches=caches)
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"hint: " in done.stderr
        assert not self.state.exists()

    def test_no_material(self, fence):
        """Nothing that is printed or stored holds a key."""
        for more in ([], ["--show"], ["--format", "json"]):
            done = fence(*more)
            for key in (KEY_A, KEY_B, KEY_C):
                assert key.encode() not in done.stdout + done.stderr
                assert key.encode() not in self.state.read_bytes()
