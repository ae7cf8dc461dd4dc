"""`rotator keys` and `rotator keygen`."""

import json
import re

import pytest

from rotator.crypto.keyring import Key
from support.commandline import KEY_A, KEY_B, KEY_C, cache, config_file, run

IDS = {material: Key.from_hex(material, "test").id for material in (KEY_A, KEY_B, KEY_C)}
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

    def test_every_key_is_another(self):
        """Two keys differ."""
        assert run(["keygen"]).stdout != run(["keygen"]).stdout
