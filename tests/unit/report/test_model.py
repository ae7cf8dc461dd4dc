"""Tests of the report: its shape as JSON, its file, and how it looks."""

import json as library
import os
import stat
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema import ValidationError as SchemaError
from pydantic import ValidationError

from rotator.errors import ConfigError, StateError
from rotator.protection import check_target
from rotator.report import files
from rotator.report.files import write_whole
from rotator.report.model import KINDS, STATUSES, VERDICTS, Cache, Outside, Report, Verification
from rotator.retirement.places import Kind, Status, Verdict
from rotator.state.database import default_path
from rotator.tally.tally import Outcome
from support.html_pages import report as page_report
from support.sample_reports import (
    HOUR,
    START,
    example,
    old_key,
    place,
    placed_key,
    problem,
    proven_key,
    report_on,
)

WRITTEN = Path(__file__).parents[2] / "written-by-1.0.0" / "reports"

# The example of the design, section 9; the fields behind a comment came later.
DESIGN = {
    "schema": 2,
    "rotator": "1.0.0",
    "mode": "run",
    "started_at": "2026-11-23T10:00:00Z",
    "finished_at": "2026-11-23T10:03:12Z",
    "exit_code": 0,
    "caches": [
        {
            "name": "shared-redis",
            "complete": True,
            "stopped": None,
            "visits": 812204,
            "outcomes": {
                "current": 1,
                "rotated": 812203,
                "would_rotate": 0,
                "gone": 0,
                "contended": 0,
                "undecryptable": 0,
                "nested": 0,
                "not_string": 0,
                "too_large": 0,
                "denied": 0,
                "failed": 0,
            },
            "verification": {
                "visits": 812100,
                "found_under_old_keys": 0,
                "complete": True,
                # later
                "method": "scan",
            },
            "coverage": {
                "mode": "standalone",
                "slots_covered": None,
                "topology_changed": False,
                "restarts": 0,
                "orphans": 0,
                "databases": [0],
                "nodes": [
                    {
                        "node": "redis-0.internal:6379",
                        "run_id": "5f0e",
                        "version": "redis 7.0.15",
                        "visits": 812204,
                        "complete": True,
                        # later
                        "restarts": 0,
                        "reasons": [],
                        "evictions": None,
                        "exchange": None,
                        "proven": False,
                        "unproven": [],
                        "latency": None,
                        "pages": None,
                        "waited_seconds": {},
                        "exchanged": {},
                    }
                ],
                "not_looked_at": [],
            },
            "keys": [
                {
                    "id": "9f2c41d07be3a655",
                    "role": "old",
                    "field": "caches[0].encryption.keys.old[0]",
                    "found": 812203,
                    "rotated": 812203,
                    "remaining": 0,
                    "remaining_without_ttl": 0,
                    "bytes": 287000000,
                    "drains_at": None,
                    "drain": [["2026-11-23T11:00:00Z", 0]],
                    "last_seen_at": "2026-11-23T10:02:01Z",
                    "verdict": "verifying",
                    "ready_at": "2026-11-23T11:02:01Z",
                    "held_until": None,
                    "reasons": ["last met 1 minute ago; 1h of quiet is asked for"],
                    "next_step": "run again after 11:02 UTC",
                    # later
                    "first_seen_at": "2026-11-23T10:00:00Z",
                    "prefixes": {"/app/oidc": 812203},
                    "samples": [],
                    "encryptions": 0,
                    "nonce_budget_used": 0.0,
                    "past": None,
                    "places": [],
                    "assumptions": [],
                    "at_least": False,
                }
            ],
            "problems": [
                {
                    "name": "/app/oidc:3f",
                    "node": "redis-0.internal:6379",
                    "outcome": "undecryptable",
                    "reason": "bad_tag",
                    "detail": "",
                    "field": None,  # later
                }
            ],
            "problems_total": 0,
            # later
            "accepted": {},
            "waited_seconds": {"memory": 1.5},
            "sweep_seconds": 192.4,
            "warnings": [],
            "error": None,
            "judged_at": None,
            "swept_at": None,
            "visits_now": None,
            "progress": None,
            "attempt": None,
            "outlook": None,
            "outside": None,
            "addresses": [],
            "history": None,
            "superseded": False,
            "outdated": False,
            "redis_user": None,
            "problem_sums": [],
            "estimate": None,
            "facts": None,
            "exit_code": None,
        }
    ],
    # later
    "error": None,
    "facts": None,
    "changes": [],
    "exit_meaning": "complete",
}


REFUSED = {
    "an outcome that is none": lambda: Cache(name="a", outcomes={"skipped": 1}),
    "a problem with an outcome that is none": lambda: problem(outcome="skipped"),
    "a verdict that is none": lambda: old_key(verdict="safe"),
    "an old key without a verdict": lambda: old_key(verdict=None),
    "a current key with a verdict": lambda: old_key(role="current"),
    "a role that is none": lambda: old_key(role="primary"),
    "a mode that is none": lambda: report_on(mode="test"),
    "a time without a zone": lambda: report_on(started_at=START.replace(tzinfo=None)),
    "a kind of place that is none": lambda: place("disk"),
    "a status that is none": lambda: place(status="fine"),
    "a verdict of a place that is none": lambda: place(verdict="safe"),
    "a word with a newline": lambda: place(status="clean\n"),
    "a method that is none": lambda: Verification(
        visits=1, found_under_old_keys=0, complete=True, method="trust"
    ),
}


class TestModel:
    """The report as data."""

    def test_as_in_the_design(self):
        """Field names, their order and their values are those of the design."""
        assert library.dumps(DESIGN, indent=2) + "\n" == files.json_text(example())

    def test_round_trip(self):
        """A report that was saved is read back as it was."""
        assert example() == Report.model_validate_json(files.json_text(example()))

    def test_later_version(self):
        """A field that a later version added does not make a report unreadable."""
        assert example() == Report.model_validate_json(library.dumps(DESIGN | {"novel": 1}))

    def test_place(self):
        """A place has the fields of the design in its order; later ones stand behind them."""
        report = report_on(Cache(name="a", keys=(placed_key(),)))

        found = library.loads(files.json_text(report))["caches"][0]["keys"][0]["places"][2]

        assert list(found.items()) == [
            ("kind", "backups"),
            ("where", ""),
            ("status", "holding"),
            ("since", None),
            ("evidence", "backups are kept for 30d"),
            ("remedy", ""),
            ("until", "2026-12-23T10:00:00Z"),
            ("verdict", "held"),
        ]

    def test_plain_words(self):
        """Words of an enumeration are kept as plain text."""
        assert type(place(Kind.RDB, status=Status.CLEAN).kind) is str
        assert type(problem(outcome=Outcome.FAILED).outcome) is str

    @pytest.mark.parametrize("name", ["again", "run", "dry-run", "stopped", "failed"])
    def test_earlier_version(self, name):
        """A report that 1.0.0 wrote is read: all is as it was, and its caches are outdated."""
        text = (WRITTEN / f"{name}.json").read_text()

        report = Report.model_validate_json(text)

        shown = library.loads(files.json_text(report))
        assert shown == shown | {
            one: value for one, value in library.loads(text).items() if one != "caches"
        }
        for before, now in zip(library.loads(text)["caches"], shown["caches"], strict=True):
            assert now["outdated"]
            before["problems"] = [{**one, "field": None} for one in before["problems"]]
            assert now | before | {"keys": now["keys"], "coverage": now["coverage"]} == now
            for old, key in zip(before["keys"], now["keys"], strict=True):
                later = {"places": [], "assumptions": [], "at_least": not before["complete"]}
                assert key == {**old, **later}

    def test_newer_schema(self):
        """A report of this schema, or a later one, is not outdated."""
        for schema in (2, 3):
            report = Report.model_validate_json(library.dumps(DESIGN | {"schema": schema}))
            assert [cache.outdated for cache in report.caches] == [False]

    @pytest.mark.parametrize("caches", [3, [3], {"name": 1}])
    def test_damaged(self, caches):
        """A report of the earlier schema that is none is refused, not an internal error."""
        with pytest.raises(ValidationError):
            Report.model_validate_json(library.dumps(DESIGN | {"schema": 1, "caches": caches}))

    def test_every_outcome_is_there(self):
        """Outcomes that did not occur are zero, and all stand in the design's order."""
        assert list(Cache(name="a").outcomes.items()) == [(str(one), 0) for one in Outcome]
        assert list(Cache(name="a", outcomes={Outcome.FAILED: 2}).outcomes)[-1] == "failed"

    @pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED.keys())
    def test_words_are_checked(self, make):
        """What is not in the design is refused when the report is made."""
        with pytest.raises(ValidationError):
            make()

    def test_times(self):
        """The past is cut off to whole seconds, a deadline rounded up, and both are UTC."""
        at = datetime(2026, 11, 23, 12, 0, 0, 1, tzinfo=timezone(2 * HOUR))

        key = old_key(last_seen_at=at, ready_at=at, drains_at=at, held_until=at, drain=[(at, 1)])

        assert key.last_seen_at == START
        late = START + timedelta(seconds=1)
        assert (key.ready_at, key.drains_at, key.held_until, key.drain) == (late,) * 3 + (
            ((late, 1),),
        )

    def test_names_that_are_not_utf_8(self):
        """A name with a byte that is not UTF-8 can be written."""
        name = b"a\x80".decode("utf-8", "surrogateescape")

        report = report_on(Cache(name="a", problems=(problem(name=name),), problems_total=1))

        assert "a\\\\udc80" in files.json_text(report)

    def test_verdicts(self):
        """The verdicts are those that the judgement knows."""
        assert list(VERDICTS) == [str(verdict) for verdict in Verdict]

    def test_frozen(self):
        """A report does not change once it is made."""
        with pytest.raises(ValidationError):
            example().exit_code = 3


class TestSchema:
    """The JSON Schema of a report."""

    def check(self, text):
        """Raise unless a report fits it."""
        schema = files.json_schema(Report)
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(library.loads(text))

    def test_reports_fit(self):
        """What is written fits: few fields or many, of today or of 1.0.0."""
        full = Cache(name="a", keys=(placed_key(), proven_key()), outside=Outside(visits=None))
        reports = [example(), report_on(), report_on(error="x"), report_on(full), page_report()]
        reports += [
            Report.model_validate_json(path.read_text())
            for path in WRITTEN.glob("*.json")
            if '"schema"' in path.read_text()
        ]
        for report in reports:
            self.check(files.json_text(report))

    @pytest.mark.parametrize(
        "odd", [{"mode": "test"}, {"started_at": 3}, {"caches": [{}]}, {"exit_code": "0"}]
    )
    def test_others_do_not(self, odd):
        """What is no report does not fit."""
        text = library.dumps(library.loads(files.json_text(example())) | odd)
        with pytest.raises(SchemaError):
            self.check(text)

    def test_says_what_may_stand(self):
        """It lists the words of a field, says what a time is, and that no field is left out."""
        parts = files.json_schema(Report)["$defs"]
        fields = parts["KeyPlace"]["properties"]
        assert fields["kind"]["enum"] == list(KINDS)
        assert fields["status"]["enum"] == list(STATUSES)
        assert {"type": "string", "format": "date-time"} in fields["until"]["anyOf"]
        assert parts["Key"]["required"] == list(parts["Key"]["properties"])


class TestFile:
    """Writing a report."""

    def test_written(self, tmp_path):
        """The file holds the report, and nothing else is left in the folder."""
        path = tmp_path / "report.json"

        files.Targets(report=path).write(example())

        assert Report.model_validate_json(path.read_text()) == example()
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("spelled", ["same", "folder/../same", "linked/same", "hard", "link"])
    @pytest.mark.parametrize("what", ["the configuration", "the state file", "the report"])
    def test_over_another(self, tmp_path, what, spelled):
        """A file that is in use is not written over, by whatever path it is named."""
        (tmp_path / "same").write_text("kept")
        (tmp_path / "folder").mkdir()
        (tmp_path / "linked").symlink_to(".")
        (tmp_path / "link").symlink_to("same")
        (tmp_path / "hard").hardlink_to(tmp_path / "same")
        used = {"the configuration": tmp_path / "a", "the state file": tmp_path / "b"}
        used[what] = tmp_path / "same"
        targets = files.Targets(report=used.get("the report"), metrics=tmp_path / spelled)
        with pytest.raises(ConfigError, match=f"the metrics would replace {what} ") as caught:
            targets.check([used["the configuration"]], used["the state file"])
        assert caught.value.hint

    def test_over_what_is_not_there_yet(self, tmp_path):
        """Nor are two outputs written to one new file, and each has one of its own."""
        targets = files.Targets(report=tmp_path / "x", metrics=tmp_path / "." / "x")
        with pytest.raises(ConfigError, match="would replace the report"):
            targets.check([tmp_path / "a"], tmp_path / "b")
        files.Targets(report=tmp_path / "x", metrics=tmp_path / "y").check(
            [tmp_path / "a"], tmp_path / "b"
        )

    @pytest.mark.parametrize("name", ["b-journal", "b.0123456789abcdef.lock", "pause"])
    def test_over_what_a_run_needs(self, tmp_path, name):
        """SQLite would delete a report that has the place of its journal, and a pause never end."""
        (tmp_path / "b.0123456789abcdef.lock").touch()
        state, paused = tmp_path / "b", tmp_path / "pause"
        with pytest.raises(ConfigError, match=f"the report would replace .* {tmp_path / name}$"):
            files.Targets(report=tmp_path / name).check([tmp_path / "a"], state, None, paused)

    def test_a_state_that_is_something_else(self, tmp_path):
        """The state file would be written to, so it is none of the files that must stay."""
        with pytest.raises(ConfigError, match="the state file is the configuration"):
            files.Targets().check([tmp_path / "a"], tmp_path / "." / "a")
        with pytest.raises(ConfigError, match="the state file is the secret file"):
            files.Targets().check([tmp_path / "a"], tmp_path / "b", f"secretfile://{tmp_path}/b")

    def test_over_the_default(self, tmp_path, monkeypatch):
        """Files that are not named on the command line count too."""
        monkeypatch.setenv("MAVERICS_CONFIG", str(tmp_path / "x"))
        with pytest.raises(ConfigError, match="would replace the configuration"):
            files.Targets(report=tmp_path / "x").check((), None)
        with pytest.raises(ConfigError, match="would replace the state file"):
            files.Targets(report=default_path()).check((), None)
        with pytest.raises(ConfigError, match="would replace the secret file"):
            files.Targets(report=tmp_path / "y").check((), None, f"secretfile://{tmp_path}/%79")

    @pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o000, 0o644)])
    def test_mode(self, tmp_path, umask, mode):
        """The file is for its owner to write and others to read, less what the umask takes away."""
        before = os.umask(umask)
        try:
            write_whole(tmp_path / "report", "x")
        finally:
            os.umask(before)

        assert stat.S_IMODE((tmp_path / "report").stat().st_mode) == mode

    def test_replaced(self, tmp_path):
        """A reader that has the old file open goes on reading the old one."""
        path = tmp_path / "report"
        path.write_text("old")

        with path.open() as reader:
            write_whole(path, "new")

            assert reader.read() == "old"
        assert path.read_text() == "new"

    def test_link(self, tmp_path):
        """A symbolic link is refused, wherever it leads; one to a folder may be on the way."""
        (tmp_path / "folder").mkdir()
        (tmp_path / "linked").symlink_to("folder")
        target = tmp_path / "linked" / "link"
        for there in ("nowhere", "link", "real"):
            target.unlink(missing_ok=True)
            target.symlink_to(there)
            with pytest.raises(ConfigError, match="is a symbolic link") as caught:
                write_whole(target, "new")
        assert str(tmp_path / "folder" / "real") in caught.value.hint

        write_whole(tmp_path / "linked" / "real", "new")

        assert (tmp_path / "folder" / "real").read_text() == "new"

    def test_relative(self, tmp_path, monkeypatch):
        """A bare file name is written to the current folder."""
        monkeypatch.chdir(tmp_path)

        write_whole(Path("report"), "x")

        assert (tmp_path / "report").read_text() == "x"

    def test_missing_folder(self, tmp_path):
        """A missing folder is a mistake of the command line, and the hint creates it."""
        with pytest.raises(ConfigError, match="does not exist") as caught:
            check_target(tmp_path / "none" / "report.json")

        assert caught.value.hint == f"create it: mkdir -p {tmp_path / 'none'}"

    def test_stdout(self):
        """Only the report is written to stdout: a page does not make a file that is called `-`."""
        with pytest.raises(ConfigError, match="only --report writes to stdout"):
            check_target(Path("-"))

    @pytest.mark.parametrize("target", ["/dev/null", "/dev/stdout", "/dev/stderr", "/"])
    def test_no_file(self, target):
        """A device, a folder, or the file that stdout goes to is left alone."""
        with pytest.raises(ConfigError, match="is not a file that can be replaced"):
            write_whole(Path(target), "x")

    @pytest.mark.parametrize("before", ["old", None])
    def test_no_room(self, tmp_path, before):
        """When writing fails the file is as it was, and no half of one is left."""
        path = tmp_path / "report"
        if before:
            path.write_text(before)
        script = (
            "import resource, signal, sys; from pathlib import Path;"
            "from rotator.errors import StateError; from rotator.report.files import write_whole;"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "try: write_whole(Path(sys.argv[1]), 'x' * 5000)\n"
            "except StateError as error: print(error)"
        )

        done = subprocess.run(
            [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
        )

        assert done.stdout == f"{path}: cannot be written: file too large\n"
        assert [one.read_text() for one in tmp_path.iterdir()] == ([before] if before else [])

    def test_lost_race(self, tmp_path, monkeypatch):
        """A folder that goes away between the check and the writing is reported too."""
        folder = tmp_path / "folder"
        folder.mkdir()
        monkeypatch.setattr("rotator.report.files.check_target", lambda _path: folder.rmdir())

        with pytest.raises(StateError, match="no such file or directory"):
            write_whole(folder / "report", "x")
