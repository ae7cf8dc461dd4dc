"""`rotator report`: from the state alone, as table, JSON or page, and `--require` for scripts."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import html5lib
import pytest
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ed25519
from prometheus_client.parser import text_string_to_metric_families

from rotator.report.archive import save_reports
from rotator.report.files import json_text
from rotator.report.model import KeyPlace
from rotator.retirement.history import SweepRecord
from rotator.state.state import State
from rotator.tally.tally import Mode, Tally
from support.caches import NO_FILES, Cache, Place, fill, now_ms
from support.html_pages import report
from support.processes import job, run_here

OLD = "9f2c41d07be3a655"
DRAINING = "1d77e0a94c5b2f38"
CURRENT = "c4a10e5b22d9f6a3"


def asked(state, *more):
    """`rotator report` on a state."""
    return run_here(["report", "--state", state, *more])


def leave(path, *caches, age=timedelta(hours=1), swept=True):
    """Leave the state that a run over these caches of the sample report leaves, so long ago."""
    at = datetime.now(UTC) - age
    whole = report(caches=caches, finished_at=at)
    with State(path) as state:
        for cache in caches:
            if swept:
                state.record_sweep(
                    SweepRecord.of(
                        Tally(),
                        cache=cache.name,
                        mode=Mode.RUN,
                        started_at=at,
                        finished_at=at,
                        complete=True,
                        proven=True,
                        current=CURRENT,
                        old=[OLD],
                    )
                )
            alone = whole.model_copy(update={"caches": (cache,)})
            state.save_report(cache.name, json_text(alone), at)


def cache_with(*keys, name="shared-redis"):
    """The first cache of the sample report with only those of its keys whose ids these are."""
    first = report().caches[0]
    return first.model_copy(
        update={"name": name, "keys": tuple(key for key in first.keys if key.id in keys)}
    )


@pytest.fixture
def state(tmp_path):
    """Where a state may be."""
    return tmp_path / "state.sqlite"


@pytest.mark.parametrize("module", ["report", "run"])
def test_libraries_of_renderings_are_imported_with_them(module):
    """A command that writes no page imports no jinja2, and without metrics no prometheus_client."""
    code = f"""
import sys
import rotator.cli.{module}
print(sorted({{"jinja2", "pygal", "prometheus_client"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestOutput:
    """What it shows."""

    def test_table(self, state):
        """The table tells how old it is, each verdict, and the history of each key."""
        leave(state, report().caches[0], age=timedelta(hours=3))

        done = asked(state)

        assert (done.returncode, done.stderr) == (0, "")
        assert "last complete sweep 3 hours ago: " in done.stdout
        assert "9f2c41d0 retirable: it can be removed" in done.stdout
        assert "never met by any sweep" in done.stdout

    def test_json(self, state):
        """The JSON is a report with the history of each old key."""
        leave(state, cache_with(OLD))

        (cache,) = json.loads(asked(state, "--format", "json").stdout)["caches"]

        assert cache["keys"][0]["past"]["clean_sweeps"] == 1
        assert cache["swept_at"] == cache["keys"][0]["past"]["clean_since"]

    def test_page(self, state, tmp_path):
        """The page is written, and the table goes to stdout all the same."""
        leave(state, report().caches[0])
        page = tmp_path / "keys.html"

        done = asked(state, "--html", page)

        assert done.returncode == 0
        assert "9f2c41d0 retirable" in done.stdout
        assert "Last complete sweep 1 hour ago" in page.read_text()
        html5lib.HTMLParser(strict=True).parse(page.read_text())

    def test_page_cannot_be_written(self, state, tmp_path):
        """Where the page cannot be written nothing is shown: it is a mistake of the command."""
        leave(state, report().caches[0])

        done = asked(state, "--html", tmp_path / "none" / "keys.html")

        assert (done.returncode, done.stdout) == (2, "")
        assert "mkdir -p" in done.stderr

    def test_one_cache(self, state):
        """With --cache it shows that one; one that the state does not know is an error."""
        leave(state, cache_with(OLD, name="a"), cache_with(OLD, name="b"))

        done = asked(state, "--cache", "b", "--format", "json")
        other = asked(state, "--cache", "c")

        assert [cache["name"] for cache in json.loads(done.stdout)["caches"]] == ["b"]
        assert other.returncode == 2
        assert "it holds reports on a, b" in other.stderr

    def test_several_servers(self, state):
        """With --cache it shows every server that answered to that name."""
        for address, key, history in [("10.0.0.7:1", OLD, "a"), ("10.0.0.9:1", DRAINING, "a#2")]:
            cache = cache_with(key, name="a").model_copy(update={"addresses": (address,)})
            with State(state) as opened:
                save_reports(report(caches=(cache,)), opened, {"a": history})

        done = asked(state, "--cache", "a")

        assert "\na (10.0.0.7:1): " in done.stdout
        assert "\na (10.0.0.9:1): " in done.stdout

    def test_no_state(self, state):
        """Without a state file it says so, and leaves none behind."""
        done = asked(state)

        assert done.returncode == 1
        assert f"there is no state file {state}" in done.stderr
        assert not state.exists()

    @pytest.mark.parametrize(
        ("content", "message"),
        [(b"", "is empty"), (b"not SQLite" * 100, "is damaged, or not a state file of rotator")],
    )
    def test_unusable_state(self, state, content, message):
        """A file that is no state is an error, and is left as it is."""
        state.write_bytes(content)

        done = asked(state, "--require", "retirable")

        assert done.returncode == 1
        assert message in done.stderr
        assert state.read_bytes() == content

    def test_newer_state(self, state):
        """A state of a newer version is an error."""
        leave(state, report().caches[0])
        with State(state) as opened, opened._database.change() as change:
            change("PRAGMA user_version = 99", ())

        done = asked(state, "--require", "retirable")

        assert done.returncode == 1
        assert "has schema 99" in done.stderr


class TestRequire:
    """`--require` for scripts."""

    @pytest.mark.parametrize("suffix", ["", f":{OLD}", f":{OLD[:8]}", f":{OLD.upper()}"])
    def test_holds(self, state, suffix):
        """It holds for a retirable key, named by its id, the beginning of it, or not at all."""
        leave(state, cache_with(CURRENT, OLD))

        done = asked(state, "--require", f"retirable{suffix}")

        assert (done.returncode, done.stderr) == (0, "")
        assert "9f2c41d0 retirable" in done.stdout

    def test_does_not_hold(self, state):
        """If it does not, the exit code is 6, and stderr says which key, why, and what to do."""
        leave(state, cache_with(CURRENT, OLD, DRAINING))

        done = asked(state, "--require", "retirable")

        assert done.returncode == 6
        assert "1d77e0a9 draining" in done.stdout
        error, hint = done.stderr.splitlines()
        assert error == (
            f"rotator: error: --require retirable does not hold: key {DRAINING} is draining: 48,210"
            " values with a TTL remain under it; the last expires at 2026-11-24"
        )
        assert hint == (
            "rotator: hint: run without --dry-run to move what remains, or wait and run again"
        )

    def test_one_of_several(self, state):
        """A retirable key may go although another one may not."""
        leave(state, cache_with(OLD, DRAINING))

        assert asked(state, "--require", f"retirable:{OLD}").returncode == 0
        assert asked(state, "--require", f"retirable:{DRAINING}").returncode == 6

    def test_current_key(self, state):
        """A current key is known, and never retirable."""
        leave(state, cache_with(CURRENT, OLD))

        done = asked(state, "--require", f"retirable:{CURRENT}")

        assert done.returncode == 6
        assert f"key {CURRENT} is the current key of shared-redis" in done.stderr

    @pytest.mark.parametrize(
        ("asked_for", "message"),
        [
            ("retirable:ffffffffffffffff", "no key has this id"),
            ("retirable:9f2c", "expected retirable or proven"),
            ("retirable:", "expected retirable or proven"),
            ("proven:9f2c", "expected retirable or proven"),
            ("proven:ffffffffffffffff", "no key has this id"),
            ("held", "expected retirable or proven"),
        ],
    )
    def test_wrong_usage(self, state, asked_for, message):
        """An unknown key, or another condition, is a mistake and not a condition that fails."""
        leave(state, cache_with(OLD))

        done = asked(state, "--require", asked_for)

        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr

    def test_ambiguous(self, state):
        """The beginning of two ids names neither."""
        key = cache_with(OLD).keys[0]
        twin = key.model_copy(update={"id": f"{OLD[:8]}00000000"})
        leave(state, cache_with().model_copy(update={"keys": (key, twin)}))

        done = asked(state, "--require", f"retirable:{OLD[:8]}")

        assert done.returncode == 2
        assert "several keys begin with this id" in done.stderr

    @pytest.mark.parametrize(
        ("age", "max_age", "code"),
        [(23, None, 0), (25, None, 6), (25, "2d", 0), (3, "2h", 6), (-2, None, 6)],
    )
    def test_age(self, state, age, max_age, code):
        """A sweep older than --max-age, or of a time to come, satisfies nothing."""
        leave(state, cache_with(OLD), age=timedelta(hours=age))

        done = asked(state, "--require", "retirable", *(["--max-age", max_age] if max_age else []))

        assert done.returncode == code
        assert ("the last complete sweep of shared-redis ended" in done.stderr) == (code == 6)

    def test_no_complete_sweep(self, state):
        """A verdict without a complete sweep behind it satisfies nothing."""
        leave(state, cache_with(OLD), swept=False)

        assert "there is no complete sweep" in asked(state, "--require", "retirable").stderr

    def test_other_cache(self, state):
        """--cache narrows which keys are asked about, not where they must be retirable."""
        worse = cache_with(OLD, name="b").keys[0].model_copy(update={"verdict": "held"})
        leave(
            state,
            cache_with(OLD, name="a"),
            cache_with(name="b").model_copy(update={"keys": (worse,)}),
            cache_with(DRAINING, name="c"),
        )

        done = asked(state, "--require", "retirable", "--cache", "a")

        assert done.returncode == 6
        assert f"key {OLD} is held" in done.stderr
        assert DRAINING not in done.stderr

    def test_superseded(self, state):
        """What a server had that another one superseded is not asked for."""
        gone = cache_with(DRAINING, name="a").model_copy(update={"superseded": True})
        leave(state, gone, cache_with(OLD, name="b"))

        everything = asked(state, "--require", "retirable")
        one = asked(state, "--require", f"retirable:{DRAINING}")

        assert (everything.returncode, one.returncode) == (0, 6)
        assert "no server that still exists was searched for" in one.stderr

    def test_no_old_key(self, state):
        """Where there is nothing to retire the condition does not hold."""
        leave(state, cache_with(CURRENT))

        assert asked(state, "--require", "retirable").returncode == 6

    def test_page_is_written_all_the_same(self, state, tmp_path):
        """A condition that does not hold does not keep the page back."""
        leave(state, cache_with(DRAINING))
        page = tmp_path / "keys.html"

        assert asked(state, "--require", "retirable", "--html", page).returncode == 6
        assert DRAINING in page.read_text()


class TestProven:
    """`--require proven`."""

    @staticmethod
    def leave(state, *, key=OLD, **statuses):
        """Leave a state in which the places of a key are clean, but for those with a status."""
        places = tuple(
            KeyPlace(
                kind=kind, where="", status=statuses.get(kind, "clean"), evidence=f"the {kind}"
            )
            for kind in ("names", "writers", "backups")
        )
        alone = cache_with(key).keys[0].model_copy(update={"places": places, "assumptions": ()})
        leave(state, cache_with().model_copy(update={"keys": (alone,)}))

    @pytest.mark.parametrize("suffix", ["", f":{OLD}", f":{OLD[:8]}"])
    def test_holds(self, state, suffix):
        """It holds for a retirable key of which every place is clean."""
        self.leave(state)

        done = asked(state, "--require", f"proven{suffix}")

        assert (done.returncode, done.stderr) == (0, "")

    def test_assumed(self, state):
        """What is only assumed makes it 6, with the place; for `retirable` it is good enough."""
        self.leave(state, writers="assumed")

        done = asked(state, "--require", f"proven:{OLD}")

        assert done.returncode == 6
        assert f"--require proven does not hold: key {OLD} is retirable" in done.stderr
        assert "the writers" in done.stderr
        assert asked(state, "--require", f"retirable:{OLD}").returncode == 0

    def test_not_retirable(self, state):
        """A key that is not even retirable is not proven."""
        self.leave(state, key=DRAINING)

        done = asked(state, "--require", "proven")

        assert done.returncode == 6
        assert f"--require proven does not hold: key {DRAINING} is draining" in done.stderr


class TestReceipt:
    """`--receipt` and `--verify-receipt`."""

    @pytest.fixture
    def keys(self, tmp_path):
        """The options that name a pair of keys, by what they are for."""
        key = ed25519.Ed25519PrivateKey.generate()
        private, public = tmp_path / "audit.pem", tmp_path / "audit.pub.pem"
        kind = pem.PrivateFormat.PKCS8
        private.write_bytes(key.private_bytes(pem.Encoding.PEM, kind, pem.NoEncryption()))
        private.chmod(0o600)
        kind = pem.PublicFormat.SubjectPublicKeyInfo
        public.write_bytes(key.public_key().public_bytes(pem.Encoding.PEM, kind))
        return {"sign": ("--sign", private), "public": ("--public", public)}

    def test_written_and_verified(self, state, tmp_path, keys):
        """It is signed, and verified without the state; the JSON is what was signed."""
        leave(state, cache_with(CURRENT, OLD, DRAINING))
        path = tmp_path / "receipt.json"

        made = asked(state, "--receipt", path, "--key", OLD[:8], *keys["sign"])
        state.unlink()
        verified = run_here(["report", "--verify-receipt", path, *keys["public"]])
        data = run_here(["report", "--verify-receipt", path, *keys["public"], "--format", "json"])

        assert (made.returncode, made.stderr) == (0, "")
        said = " ".join(made.stdout.split())
        assert f"{path}: receipt of key 9f2c41d0, retirable, signed with key " in said
        assert said.endswith("only that rotator found nothing that needs it.")
        assert (verified.returncode, verified.stderr) == (0, "")
        assert f"key {OLD}: old" in verified.stdout
        first, *_, last = verified.stdout.splitlines()
        assert first.startswith(f"{path} is unchanged since it was signed with key ")
        assert first.endswith("; that does not say who holds this key")
        assert last.startswith("This does not show that the key was destroyed, only that")
        assert "This does not show that the key was destroyed" in data.stderr
        assert json.loads(data.stdout)["key_id"] == OLD

    def test_not_retirable(self, state, tmp_path, keys):
        """Of a key that must stay it is written as well, says so, and the exit code is 0."""
        leave(state, cache_with(DRAINING))
        path = tmp_path / "receipt.json"

        made = asked(state, "--receipt", path, *keys["sign"], "--format", "json")
        verified = run_here(["report", "--verify-receipt", path, *keys["public"]])

        assert made.returncode == 0
        assert json.loads(made.stdout)
        assert "the key must not be removed yet: draining: 48,210 values" in made.stderr
        assert "draining: keep it" in verified.stdout

    def test_refused(self, state, tmp_path, keys):
        """One that is not signed, signed with another key, or changed is refused, each in words."""
        leave(state, cache_with(OLD))
        path = tmp_path / "receipt.json"
        asked(state, "--receipt", path)
        bare = run_here(["report", "--verify-receipt", path, *keys["public"]])
        asked(state, "--receipt", path, *keys["sign"])
        stranger = tmp_path / "other.pub.pem"
        kind = pem.PublicFormat.SubjectPublicKeyInfo
        public = ed25519.Ed25519PrivateKey.generate().public_key()
        stranger.write_bytes(public.public_bytes(pem.Encoding.PEM, kind))
        other = run_here(["report", "--verify-receipt", path, "--public", stranger])
        path.write_text(path.read_text().replace("A", "B", 1))
        changed = run_here(["report", "--verify-receipt", path, *keys["public"]])

        every = (bare, other, changed)
        assert [(one.returncode, one.stdout) for one in every] == [(1, "")] * 3
        assert "is not signed" in bare.stderr
        assert "is signed with another key" in other.stderr
        assert "changed" in changed.stderr

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--receipt", "r.json"], "a receipt is for one old key, and there are 2"),
            (["--receipt", "r.json", "--key", "f" * 64], "--key: no key has this id"),
            (["--receipt", "r.json", "--key", OLD[:4]], "--key: no key has this id"),
            (["--receipt", "none/r.json", "--key", OLD], "does not exist"),
            (["--receipt", "r.json", "--key", OLD, "--sign", "none.pem"], "no such file"),
            (["--key", OLD], "add --receipt"),
            (["--verify-receipt", "r.json"], "--verify-receipt and --public go together"),
            (["--public", "r.pem"], "--verify-receipt and --public go together"),
            (["--receipt", "r.json", "--from", "."], "--receipt does not go with --from"),
            (["--receipt", "k.pem", "--sign", "./k.pem"], "would replace the key that signs"),
            (["--receipt", "p.html", "--html", "p.html"], "would replace the page"),
            (["--receipt", "state.sqlite"], "would replace the state file"),
        ],
    )
    def test_wrong_usage(self, state, tmp_path, monkeypatch, options, message):
        """What cannot be meant is refused before anything is shown or written."""
        leave(state, cache_with(OLD, DRAINING))
        monkeypatch.chdir(tmp_path)

        done = asked(state, *options)

        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert "f" * 17 not in done.stderr
        assert not (tmp_path / "r.json").exists()

    @pytest.mark.parametrize(
        "options",
        [
            ["--html", "p.html"],
            ["--cache", "a"],
            ["--require", "retirable"],
            ["--max-age", "1h"],
            ["--by", "05:00"],
            ["--from", "."],
            ["--receipt", "r.json"],
            ["--key", OLD],
            ["--sign", "k.pem"],
            ["--state", "state.sqlite"],
        ],
        ids=lambda options: options[0],
    )
    def test_without_effect(self, tmp_path, monkeypatch, options):
        """What has no effect when a receipt is verified is refused; a variable is not."""
        monkeypatch.chdir(tmp_path)
        verify = ["report", "--verify-receipt", "a.json", "--public", "k.pem"]

        done = run_here([*verify, *options])
        other = run_here(
            verify, {f"ROTATOR_{options[0][2:].upper().replace('-', '_')}": options[1]}
        )

        assert (done.returncode, done.stdout) == (2, "")
        assert f"--verify-receipt does nothing else: it has no use for {options[0]}" in done.stderr
        assert "has no use for" not in other.stderr
        assert list(tmp_path.iterdir()) == []


class TestFrom:
    """`--from` for many hosts."""

    @pytest.fixture
    def folder(self, tmp_path):
        """Reports of two hosts, of one of which a key drains."""
        folder = tmp_path / "reports"
        now = datetime.now(UTC)
        for host, key in (("web-1", OLD), ("web-2", DRAINING)):
            cache = cache_with(key).model_copy(update={"swept_at": now})
            (folder / host).mkdir(parents=True)
            text = json_text(report(caches=(cache,), finished_at=now, exit_code=0, facts=None))
            (folder / host / "report.json").write_text(text)
        return folder

    def test_table_json_and_page(self, folder, tmp_path):
        """It prints one table, or JSON, and writes one page."""
        page = tmp_path / "keys.html"
        table = run_here(["report", "--from", folder, "--html", page])
        data = run_here(["report", "--from", folder, "--format", "json"])

        assert (table.returncode, table.stderr, data.returncode) == (0, "", 0)
        assert "2 reports of 2 hosts" in table.stdout
        said = " ".join(table.stdout.split())
        assert "draining: 48,210 values" in said
        assert "(shared-redis of web-2)" in said
        assert [key["id"] for key in json.loads(data.stdout)["keys"]] == [DRAINING, OLD]
        html5lib.HTMLParser(strict=True).parse(page.read_text())

    def test_require(self, folder):
        """`--require` asks all hosts."""
        every = run_here(["report", "--from", folder, "--require", "retirable"])
        one = run_here(["report", "--from", folder, "--require", f"retirable:{OLD[:8]}"])

        assert (every.returncode, one.returncode) == (6, 0)
        assert f"key {DRAINING} is draining" in every.stderr

    def test_a_file_that_is_no_report(self, folder):
        """What is no report is named and makes the exit code 1; the others are shown."""
        (folder / "broken.json").write_text("{")

        done = run_here(["report", "--from", folder, "--require", f"retirable:{OLD}"])

        assert done.returncode == 1
        assert "broken.json: not a report" in done.stdout
        assert "9f2c41d0 retirable" in done.stdout

    def test_time(self, folder):
        """When a rotation will be done is asked of one host."""
        done = run_here(["report", "--from", folder, "--by", "05:00"])
        assert (done.returncode, done.stdout) == (2, "")


@pytest.fixture
def place(server, redis, tmp_path):  # noqa: ARG001 - redis empties the server first
    """A configuration of one cache on the session's empty server, which has no file."""
    return Place(tmp_path, Cache(server.address, settings=NO_FILES))


class TestRealRuns:
    """On a real server: `run`, then `report`."""

    def test_from_rotation_to_retirement(self, place, redis):
        """A key is retirable for a script only when it is for the run."""
        fill(redis, place.cache, 30)
        assert run_here(job(place)).returncode == 0
        early = asked(place.state, "--require", "retirable")

        assert run_here(job(place, "--quiet", "0s")).returncode == 0
        late = asked(place.state, "--require", "retirable")

        assert (early.returncode, late.returncode) == (6, 0)
        assert "is verifying" in early.stderr
        assert "verdicts: verifying from " in late.stdout
        assert "retirable from " in late.stdout

    def test_interrupted_by_a_failure(self, place, redis):
        """After a run that could not look, the verdicts before it are what is known."""
        place.cache.put(redis, "app:1", key=0)
        for _ in range(2):
            run_here(job(place, "--quiet", "0s"))
        place.cache.redis["addresses"] = ["127.0.0.1:1"]
        place.configure(place.cache)

        assert run_here(job(place)).returncode == 1
        assert asked(place.state, "--require", "retirable").returncode == 0

    def test_met_again(self, place, redis):
        """A key that is used again is not retirable any more, and the history tells of it."""
        place.cache.put(redis, "app:1", key=0)
        for _ in range(2):
            run_here(job(place, "--quiet", "0s"))
        place.cache.put(redis, "app:2", key=1)
        run_here(job(place, "--dry-run", "--quiet", "0s"))

        done = asked(place.state, "--require", f"retirable:{place.cache.ids[1]}")
        other = asked(place.state, "--require", f"retirable:{place.cache.ids[2]}")

        assert (done.returncode, other.returncode) == (6, 0)
        assert "is in-use" in done.stderr
        assert "met again" in done.stdout

    def test_what_if_we_only_wait(self, place, redis):
        """A dry run answers it in one sentence for each key, in the table and on the page."""
        hour = 3_600_000
        for number in range(4):
            place.cache.put(redis, f"app:{number}", key=1, at_ms=now_ms() + number * hour + hour)
            place.cache.put(redis, f"app:b{number}", key=2, at_ms=now_ms() + hour)
        place.cache.put(redis, "app:stays", key=2)
        page = place.folder / "page.html"

        shown = " ".join(run_here(job(place, "--dry-run", "--html", page)).stdout.split())

        assert "if you only wait: all 4 values expire by " in shown
        assert "if you only wait: 4 of 5 values expire by " in shown
        assert page.read_text().count("if you only wait: ") == 2
        assert page.read_text().count("<figure>") == 2

    def test_files_of_a_run(self, place, redis):
        """A run leaves its report as JSON, as a page and as metrics, all of the same run."""
        fill(redis, place.cache, 30)
        names = ("report.json", "page.html", "rotator.prom")
        paths = [place.folder / name for name in names]

        run_here(job(place, "--report", paths[0], "--html", paths[1], "--metrics-file", paths[2]))

        finished = json.loads(paths[0].read_text())["finished_at"]
        assert finished.replace("T", " ").replace("Z", " UTC") in paths[1].read_text()
        stamp = next(
            sample.value
            for family in text_string_to_metric_families(paths[2].read_text())
            for sample in family.samples
            if sample.name == "rotator_last_run_timestamp_seconds"
        )
        assert stamp == datetime.fromisoformat(finished).timestamp()

    def test_files_of_a_failed_run(self, place):
        """A run that fails writes its failure into all of them."""
        place.cache.redis["addresses"] = ["127.0.0.1:1"]
        place.configure(place.cache)
        names = ("report.json", "page.html", "rotator.prom")
        paths = [place.folder / name for name in names]
        for path in paths:
            path.write_text("of an earlier run")

        done = run_here(
            job(place, "--report", paths[0], "--html", paths[1], "--metrics-file", paths[2])
        )

        assert done.returncode == 1
        assert json.loads(paths[0].read_text())["exit_code"] == 1
        assert "The run failed: nothing was judged." in paths[1].read_text()
        assert "rotator_last_run_success 0.0" in paths[2].read_text()

    def test_nothing_is_done_where_a_file_cannot_be_written(self, place, redis):
        """That a file cannot be written is found out before the first value is touched."""
        fill(redis, place.cache, 10)

        for option in ("--html", "--metrics-file"):
            done = run_here(job(place, option, place.folder / "none" / "file"))
            assert done.returncode == 2

        assert redis.info("commandstats").get("cmdstat_evalsha") is None
        assert not place.state.exists()

    def test_several_caches(self, server, redis, tmp_path):
        """A key that two caches share is retirable only when it is in both."""
        keys = Cache(server.address, keys=2).keys
        caches = [
            Cache(
                server.address, name=name, keys=keys, settings={"match": [f"{name}:*"], **NO_FILES}
            )
            for name in "ab"
        ]
        place = Place(tmp_path, *caches)
        redis.set("a:1", caches[0].seal("a:1", b"x", key=0))
        redis.set("b:1", caches[1].seal("b:1", b"x", key=1))
        for _ in range(2):
            run_here(job(place, "--cache", "a", "--quiet", "0s"))

        alone = asked(place.state, "--require", "retirable")
        for _ in range(3):  # the first still finds what is of the other outside of a's names
            run_here(job(place, "--quiet", "0s"))
        both = asked(place.state, "--require", "retirable")

        assert (alone.returncode, both.returncode) == (6, 0)
        assert "is in-use: 1 value under it outside" in alone.stderr
