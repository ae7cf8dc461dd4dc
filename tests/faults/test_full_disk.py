"""A disk that fills while a run writes its state or its report."""

import io
import pickle
import resource
from contextlib import redirect_stdout
from unittest import mock

import pytest

from rotator.errors import Exit, StateError
from rotator.report.files import Targets
from rotator.report.model import Report
from rotator.run.preflight import run_lock
from rotator.state.state import State
from support.caches import Cache, Place, contents, fill
from support.clusters import codec_of
from support.processes import job, run_here
from year.disks import Disk

NAMES = 300


@pytest.fixture
def disk(tmp_path):
    """A small disk."""
    made = Disk(tmp_path / "disk")
    yield made
    made.remove()


@pytest.fixture
def scene(server, redis, disk, tmp_path):
    """A configuration with its state on that disk, and values; what they hold, by name."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    place = Place(folder, Cache(server.address))
    place.state = disk.folder / "state.db"
    entries = fill(redis, place.cache, NAMES)
    return place, {name: (entry[0], entry[3]) for name, entry in entries.items()}


def held(client, place):
    """What every name holds and until when."""
    codec = codec_of(place.cache)
    return {
        name: (codec.open(name, value).plaintext, at_ms)
        for name, (value, at_ms) in contents(client).items()
    }


def refused(done):
    """The error and the hint of a command that could not be done."""
    assert done.returncode == Exit.FAILED, done.stderr
    assert "Traceback" not in done.stderr
    (error,) = [one for one in done.stderr.splitlines() if one.startswith("rotator: error: ")]
    (hint,) = [one for one in done.stderr.splitlines() if one.startswith("rotator: hint: ")]
    return error.removeprefix("rotator: error: "), hint.removeprefix("rotator: hint: ")


class TestState:
    """The state is on the disk that fills."""

    def test_in_the_middle(self, scene, disk, redis, monkeypatch):
        """The run ends with an error that says so; what was done stays, and the next goes on."""
        place, expected = scene
        monkeypatch.setattr("rotator.sweep.node.worker._SAVE_SECONDS", 0)

        def fill_up(phase, page):
            if (phase, page) == ("rotating", 4):
                disk.fill()

        with redirect_stdout(io.StringIO()), pytest.raises(StateError) as error:
            place.run(on_page=fill_up, page=20)
        disk.free()
        assert str(place.state) in str(error.value)
        assert error.value.hint
        assert error.value.exit_code == Exit.FAILED
        assert held(redis, place) == expected
        with State(place.state) as state:
            assert state.last_reports() == {}
            saved = state.load_position(place.cache.name, "run", place.cache.redis["addresses"][0])
        assert saved is not None
        assert saved["cursor"] != "0"
        report = place.run()
        assert report.exit_code == Exit.OK
        assert 0 < report.caches[0].outcomes["rotated"] <= NAMES
        assert held(redis, place) == expected

    def test_between_two_runs(self, scene, disk, redis):
        """The last report and what was known before stay as they are, also on the disk."""
        place, expected = scene
        report = disk.folder / "report.json"
        assert run_here([*job(place), "--report", report]).returncode == Exit.OK
        before = disk.content
        with disk.full():
            error, hint = refused(run_here([*job(place), "--report", report]))
            assert run_here(["report", "--state", place.state]).returncode == Exit.OK
        assert "state" in error
        assert hint
        after = disk.content
        assert after["report.json"] == before["report.json"]
        assert set(after) == set(before)
        with State(place.state) as state:
            (at, text) = state.last_reports()[place.cache.name]
        assert at.replace(microsecond=0) == Report.model_validate_json(text).finished_at
        assert run_here([*job(place), "--report", report]).returncode == Exit.OK
        assert disk.content["report.json"] != before["report.json"]
        assert held(redis, place) == expected

    def test_before_the_first_run(self, scene, disk, redis):
        """Where no state can be made nothing is begun, and nothing is left behind."""
        place, _ = scene
        before = contents(redis)
        with disk.full():
            error, hint = refused(run_here(job(place)))
        assert str(place.state) in error
        assert "room" in hint or "disk" in hint
        assert disk.content == {}
        assert contents(redis) == before

    def test_what_the_lock_tells_can_wait(self, scene, disk):
        """A lock holds although there is no room for whose it is."""
        place, _ = scene
        with State(place.state) as state, disk.full(), run_lock(state.path, "a"):
            with pytest.raises(Exception, match="in progress") as busy, run_lock(place.state, "a"):
                pass
            assert "process unknown" in busy.value.hint

    def test_an_error_keeps_its_hint_on_its_way(self):
        """What a worker process meets is told by its parent with the same hint."""
        error = pickle.loads(pickle.dumps(StateError("no room", hint="make some")))  # noqa: S301 - ours
        assert (str(error), error.hint) == ("no room", "make some")


class TestReport:
    """The report is on the disk that fills, the state elsewhere."""

    @pytest.mark.parametrize("kind", ["report", "html", "metrics"])
    @pytest.mark.parametrize("before", [True, False], ids=["replaced", "new"])
    def test_no_half_report(self, scene, disk, kind, before):
        """It is as it was, and there is no half of one."""
        place, _ = scene
        report = place.run()
        target = disk.folder / "written"
        targets = Targets(**{kind: target})
        if before:
            targets.write(place.run(dry_run=True))
        there = disk.content
        with disk.full(), pytest.raises(StateError) as error:
            targets.write(report)
        assert str(error.value).startswith(f"{target}: cannot be written: ")
        assert "make room" in error.value.hint
        assert disk.content == there
        targets.write(report)
        assert disk.content != there

    def test_stdout_has_it_all_the_same(self, scene):
        """A report that finds no room goes to stdout still, which as the metrics says so."""
        place, _ = scene
        metrics = place.folder / "metrics.prom"
        # Every file of the run is small but this one: it is beyond a limit that the others keep.
        target = place.folder / "report.html"
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        assert run_here(job(place)).returncode == Exit.OK
        room = place.state.stat().st_size + 4096 * 8
        page = "x" * (room + 1)
        with mock.patch("rotator.report.html.render", return_value=page):
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
            try:
                given = ["--html", target, "--metrics-file", metrics, "--format", "json"]
                done = run_here([*job(place), *given])
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
        error, hint = refused(done)
        assert error == f"{target}: cannot be written: file too large"
        assert "make room" in hint
        printed = Report.model_validate_json(done.stdout)
        assert printed.caches[0].complete
        assert printed.exit_code == Exit.FAILED
        assert "rotator_last_run_success 0.0" in metrics.read_text()
        assert not target.exists()
        with State(place.state) as state:
            assert state.last_sweep(place.cache.name) is not None
