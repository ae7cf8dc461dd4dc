"""`run --on-change`: what is told after real runs, and what is not."""

import json
import signal
import sys
import threading

import pytest

import rotator.run.job
from rotator.errors import Exit, StateError
from rotator.report import files
from rotator.run import notify
from support.caches import Cache, Place, fill, wait_for_pages
from support.commandline import run
from support.processes import Running, job, run_here
from support.respfront import RespFront

FACTS = ("EVENT", "EXIT_CODE", "CACHES", "CHANGES", "SUMMARY", "REPORT")


class Listener:
    """A command for `--on-change` that writes down its environment, each time in a new file."""

    def __init__(self, folder):
        self._folder = folder / "told"
        self._folder.mkdir()
        code = (
            "import json, os, pathlib, sys\n"
            "folder = pathlib.Path(sys.argv[1])\n"
            "path = folder / str(len(list(folder.iterdir())))\n"
            "path.write_text(json.dumps(dict(os.environ)))\n"
        )
        path = folder / "listener.py"
        path.write_text(code)
        self.command = f"{sys.executable} {path} {self._folder}"

    @property
    def environments(self):
        """The environment of each call."""
        paths = sorted(self._folder.iterdir(), key=lambda path: int(path.name))
        return [json.loads(path.read_text()) for path in paths]

    def heard(self):
        """The events that were told since the last time this was asked, with their exit codes."""
        told = [(one["ROTATOR_EVENT"], int(one["ROTATOR_EXIT_CODE"])) for one in self.environments]
        for path in self._folder.iterdir():
            path.unlink()
        return told


@pytest.fixture
def listener(tmp_path):
    """Somebody to be told."""
    return Listener(tmp_path)


@pytest.fixture
def told(place, listener):
    """Runs over *place*, and gives the exit code and what was told of it."""

    def go(*more, env=None):
        done = run_here(job(place, "--on-change", listener.command, *more), env=env)
        return done.returncode, listener.heard()

    return go


class TestTold:
    """When somebody is told."""

    def test_from_rotation_to_retirement(self, place, redis, told):
        """Each new verdict is told once, and a night like the one before is not."""
        fill(redis, place.cache, 30)
        assert told("--dry-run") == (0, [("changed", 0)])
        assert told("--dry-run") == (0, [])
        assert told() == (0, [("changed", 0)])
        assert told() == (0, [])
        assert told("--quiet", "0s") == (0, [("changed", 0)])
        assert told("--quiet", "0s") == (0, [])

    def test_failures_are_told_every_time(self, place, redis, told):
        """A server that is gone is told every night, and once that it is back."""
        fill(redis, place.cache, 30)
        told()
        addresses = place.cache.redis["addresses"]
        place.cache.redis["addresses"] = ["127.0.0.1:1"]
        place.configure(place.cache)
        assert told() == (1, [("failed", 1)])
        assert told() == (1, [("failed", 1)])
        place.cache.redis["addresses"] = addresses
        place.configure(place.cache)
        assert told() == (0, [("recovered", 0)])
        assert told() == (0, [])

    def test_what_was_not_looked_at_is_told(self, place, redis, listener):
        """Of a run that could not look everywhere the first reason is in the summary."""
        fill(redis, place.cache, 300)

        def swap():
            """Swap two empty databases as fast as the server lets us."""
            while not over.is_set():
                redis.swapdb(14, 15)

        over = threading.Event()
        thread = threading.Thread(target=swap)
        thread.start()
        try:
            done = run_here(job(place, "--page", 10, "--on-change", listener.command))
        finally:
            over.set()
            thread.join()
        (env,) = listener.environments
        assert (done.returncode, env["ROTATOR_EVENT"]) == (1, "failed")
        assert env["ROTATOR_SUMMARY"].startswith("rotator failed (exit code 1): shared-redis: ")
        assert "was not swept to the end" in env["ROTATOR_SUMMARY"]

    def test_an_answer_that_is_not_understood_is_told(self, server, redis, tmp_path, listener):
        """It fails its cache only; all files are written, and the server and command are told."""

        def answer(words, _ask):
            return b"*1\r\n:7\r\n" if words[0] == b"SCAN" else None

        files = {one: tmp_path / f"r{one}" for one in ("--report", "--html", "--metrics-file")}
        with RespFront(server.port, answer) as front:
            odd, good = Cache(front.address, name="odd"), Cache(server.address, name="good")
            place = Place(tmp_path, odd, good)
            good.put(redis, "app:1")
            more = [word for pair in files.items() for word in pair]
            done = run_here(job(place, "--on-change", listener.command, *more))
        (env,) = listener.environments
        assert (done.returncode, env["ROTATOR_EVENT"]) == (Exit.FAILED, "failed")
        said = f"{front.address} gave an answer to SCAN that is not understood"
        assert said in env["ROTATOR_SUMMARY"]
        report = json.loads(files["--report"].read_text())
        assert [one["exit_code"] for one in report["caches"]] == [Exit.FAILED, Exit.OK]
        assert report["caches"][1]["outcomes"]["rotated"] == 1
        assert said in files["--html"].read_text()
        assert "rotator_last_run_exit_code 1" in files["--metrics-file"].read_text()

    def test_a_wrong_configuration_is_told(self, place, told):
        """What is wrong with the configuration is told, before there is a state too."""
        place.file.write_text("caches: [")
        assert told() == (2, [("failed", 2)])
        assert told() == (2, [("failed", 2)])
        assert not place.state.exists()

    def test_nothing_encrypted(self, told):
        """That nothing encrypted was found is told every time, unless it is no failure."""
        assert told()[1] == [("failed", 5)]
        assert told() == (5, [("failed", 5)])
        assert told("--allow-empty") == (0, [("recovered", 0)])

    def test_values_that_cannot_be_moved(self, place, redis, told):
        """That some values could not be moved is told when it is new."""
        place.cache.put(redis, "app:1", key=0)
        told()
        redis.set("foreign", "not a value of ours")
        assert told()[1] == [("changed", 3)]
        assert told() == (3, [])
        redis.delete("foreign")
        assert told()[1] == [("changed", 0)]  # the verdicts are better too

    def test_a_run_that_was_stopped(self, place, redis, told):
        """That time was up is not told, and does not make anything new again."""
        place.cache.put(redis, "app:1", key=0)
        redis.set("foreign", "not a value of ours")
        told()
        assert told() == (3, [])
        assert told("--max-duration", "0s") == (4, [])
        assert told() == (3, [])

    def test_runs_over_other_caches(self, server, redis, tmp_path, listener):
        """How a run over another cache ended does not make anything old or new."""
        caches = [
            Cache(server.address, name=name, settings={"match": [f"{name}:*"]}) for name in "ab"
        ]
        place = Place(tmp_path, *caches)
        for cache in caches:
            cache.put(redis, f"{cache.name}:1", key=0)
        redis.set("a:foreign", "not a value of ours")

        def go(name):
            run_here(job(place, "--cache", name, "--on-change", listener.command))
            return listener.heard()

        for name in "ab":
            go(name)
        assert (go("a"), go("b"), go("a")) == ([], [], [])

    def test_another_run_is_at_work(self, place, redis, listener):
        """That another run is at work is told when it is new."""
        fill(redis, place.cache, 3000)
        with Running(*job(place, "--page", 1)) as first:
            wait_for_pages(redis)
            first.signal(signal.SIGSTOP)
            for _ in range(2):
                done = run_here(job(place, "--on-change", listener.command))
                assert done.returncode == Exit.BUSY
            first.signal(signal.SIGCONT)
            first.signal(signal.SIGTERM)
            assert first.end().returncode == Exit.TERMINATED
        assert listener.heard() == [("failed", 7)]

    def test_a_report_that_cannot_be_written(self, place, redis, told, monkeypatch):
        """What fails after the last page is told as well, with the verdicts that changed."""

        def write(_path, _text):
            raise StateError("no space left on device", hint="make room")

        fill(redis, place.cache, 30)
        monkeypatch.setattr(files, "write_whole", write)
        assert told("--report", place.folder / "report.json") == (1, [("failed", 1)])

    def test_a_fault_of_our_own(self, place, redis, listener, monkeypatch):
        """A fault of rotator's own is told too, but not what the exception says."""

        def broken(*_, **__):
            raise ValueError("0a" * 32)

        fill(redis, place.cache, 30)
        monkeypatch.setattr(rotator.run.job, "build_report", broken)
        assert run_here(job(place, "--on-change", listener.command)).returncode == 1
        (env,) = listener.environments
        assert env["ROTATOR_SUMMARY"] == "rotator failed (exit code 1): internal error: ValueError"


class TestFacts:
    """What is told."""

    def test_facts(self, place, redis, listener):
        """The variables tell what changed, how the run ended, and where its report is."""
        fill(redis, place.cache, 30)
        path = place.folder / "report.json"
        done = run(job(place, "--on-change", listener.command, "--report", path))
        assert done.returncode == 0
        (env,) = listener.environments
        facts = {name: env[f"ROTATOR_{name}"] for name in FACTS}
        changes = [json.loads(line) for line in facts.pop("CHANGES").splitlines()]
        assert changes == [
            {
                "cache": "shared-redis",
                "key": key_id,
                "field": f"caches[0].encryption.keys.old[{number}]",
                "before": None,
                "after": "verifying",
            }
            for number, key_id in enumerate(place.cache.ids[1:])
        ]
        first, second = (key_id[:8] for key_id in place.cache.ids[1:])
        assert facts == {
            "EVENT": "changed",
            "EXIT_CODE": "0",
            "CACHES": "shared-redis",
            "SUMMARY": f"rotator: shared-redis: key {first} is verifying;"
            f" shared-redis: key {second} is verifying",
            "REPORT": str(path),
        }
        assert json.loads(path.read_text())["exit_code"] == 0

    def test_no_secret(self, server, redis, tmp_path, listener):
        """Nothing that rotator got its secrets from is in the environment of the command."""
        cache = Cache(server.address)
        fill(redis, cache, 10)
        secrets = {f"KEY_{number}": key for number, key in enumerate(cache.keys)}
        place = Place(tmp_path, Cache(server.address, keys=[f"<{name}>" for name in secrets]))
        more = {"VAULT_TOKEN": "hunter2", "ROTATOR_SECRET_PROVIDER": "env://", **secrets}
        env = {**more, "ROTATOR_ON_CHANGE": f"{listener.command} --token=hunter2"}
        done = run(job(place), env=env)
        assert done.returncode == 0
        (got,) = listener.environments
        allowed = {"PATH", "HOME", "LANG", "TZ", "USER", "LC_CTYPE"}
        assert set(got) <= allowed | {f"ROTATOR_{name}" for name in FACTS}
        for secret in ("hunter2", *cache.keys):
            assert secret not in json.dumps(got)
            assert secret.encode() not in done.stdout + done.stderr

    def test_keys_of_another_cache(self, server, redis, tmp_path, listener):
        """A key that another cache lists too is told for both."""
        keys = Cache(server.address, keys=2).keys
        caches = [
            Cache(server.address, name=name, keys=keys, settings={"match": [f"{name}:*"]})
            for name in "ab"
        ]
        place = Place(tmp_path, *caches)
        redis.set("a:1", caches[0].seal("a:1", b"x"))
        run_here(job(place, "--cache", "a", "--on-change", listener.command))
        (env,) = listener.environments
        changes = [json.loads(line) for line in env["ROTATOR_CHANGES"].splitlines()]
        assert [change["cache"] for change in changes] == ["a", "b"]
        assert env["ROTATOR_CACHES"] == "a"


class TestCommand:
    """What becomes of a command that does not do what it should."""

    def test_missing(self, place, redis):
        """A command that is not there is refused before anything is done."""
        fill(redis, place.cache, 10)
        done = run_here(job(place, "--on-change", "/nowhere/notify --token hunter2"))
        assert (done.returncode, done.stdout) == (2, "")
        assert "--on-change: there is no program /nowhere/notify" in done.stderr
        assert "hunter2" not in done.stderr
        assert not place.state.exists()

    @pytest.mark.parametrize(
        ("more", "said"),
        [("exit 3", "exit_code=3"), (f"echo {'0a' * 32} >&2; exit 1", "output=***")],
    )
    def test_failing(self, place, redis, more, said):
        """One that fails is a warning, and the run ends as it would have."""
        fill(redis, place.cache, 10)
        done = run_here(job(place, "--on-change", f"sh -c '{more}'"))
        assert done.returncode == 0
        assert "the command of --on-change failed" in done.stderr
        assert said in done.stderr

    def test_hanging(self, place, redis, monkeypatch):
        """One that hangs does not keep the run."""
        fill(redis, place.cache, 10)
        monkeypatch.setattr(
            notify.NotificationCommand,
            "parse",
            lambda _: notify.NotificationCommand(("sleep", "600"), seconds=0.5),
        )
        done = run_here(job(place, "--on-change", "sleep 600"))
        assert done.returncode == 0
        assert "did not end in time" in done.stderr

    def test_interrupted(self, place, redis, tmp_path):
        """Ctrl-C while it runs ends it, and the result is out already."""
        fill(redis, place.cache, 10)
        pid = tmp_path / "pid"
        command = f"sh -c 'echo $$ > {pid}; sleep 600'"
        with Running(*job(place, "--on-change", command)) as running:
            running.wait_until(pid.exists)
            running.signal(signal.SIGINT)
            done = running.end()
        assert done.returncode == 130
        assert "shared-redis: complete" in done.stdout
