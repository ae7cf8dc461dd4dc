"""Tests of reports of many hosts: which count, and what they come to."""

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.errors import ConfigError, StateError
from rotator.report.archive import unmet_conditions
from rotator.report.files import json_text
from rotator.report.fleet.collection import load_fleet
from rotator.report.model import Cache, Coverage, Key, Node
from support.sample_reports import old_key, report_on

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
OLD = "9f2c41d07be3a655"
WRITTEN = Path(__file__).parents[3] / "written-by-1.0.0" / "reports"


def cache(verdict="retirable", name="sessions", run_id="r1", address="127.0.0.1:6379", **fields):
    """A cache with one old key."""
    coverage = Coverage(mode="standalone", nodes=(Node(node=address, run_id=run_id),))
    key = old_key(verdict=verdict, reasons=(f"it is {verdict}",), next_step="do it")
    usual = {"keys": (key,), "coverage": coverage, "addresses": (address,), "swept_at": NOW - HOUR}
    return Cache(name=name, **usual | fields)


def leave(folder, place, *caches, ago=HOUR, host=None, **fields):
    """Write a report of so long ago into the folder; *host*: it says which host it is of."""
    report = report_on(*caches, finished_at=NOW - ago, **fields)
    data = json.loads(json_text(report)) | ({"facts": {"host": host}} if host else {})
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def verdicts(folder):
    """The verdict on each key over all."""
    fleet, _ = load_fleet(folder, NOW)
    return {key.id: key.verdict for key in fleet.keys}


def unmet(folder):
    """Why not all keys are retirable."""
    fleet, everything = load_fleet(folder, NOW)
    keys = [key.id for key in fleet.keys]
    limits = {"now": NOW, "max_age": timedelta(days=1)}
    return [reason for reason, _ in unmet_conditions(everything, keys, **limits)]


class TestSums:
    """What is said of a key over all."""

    def test_the_worst_counts(self, tmp_path):
        """The worst verdict of any host counts; what remains is added up."""
        leave(tmp_path, "a/1.json", cache())
        worse = cache("held", run_id="r2")
        left = worse.keys[0].model_copy(update={"remaining": 7})
        leave(tmp_path, "b/1.json", worse.model_copy(update={"keys": (left,)}))

        fleet, _ = load_fleet(tmp_path, NOW)

        [key] = fleet.keys
        assert (key.verdict, key.hosts, key.remaining) == ("held", 2, 7)
        assert [(one.host, one.verdict) for one in key.caches] == [
            ("b", "held"),
            ("a", "retirable"),
        ]
        assert (fleet.hosts, fleet.reports, fleet.replaced, fleet.findings) == (2, 2, 0, ())
        assert unmet(tmp_path) == [f"key {OLD} is held: it is held"]

    def test_interrupted(self, tmp_path):
        """Where one sweep did not come to its end more may remain than all of them counted."""
        leave(tmp_path, "web-1/r.json", cache(complete=True))
        leave(tmp_path, "web-2/r.json", cache("unknown", run_id="r2", complete=False))
        [key] = load_fleet(tmp_path, NOW)[0].keys
        assert key.at_least
        assert {one.host: one.at_least for one in key.caches} == {"web-1": False, "web-2": True}

    def test_oldest(self, tmp_path):
        """The oldest report that counts is named, and the oldest sweep of each key."""
        leave(tmp_path, "a/1.json", cache(swept_at=NOW - 9 * HOUR), ago=8 * HOUR)
        leave(tmp_path, "b/1.json", cache(run_id="r2"))

        fleet, _ = load_fleet(tmp_path, NOW)

        assert (fleet.oldest_host, fleet.oldest_at) == ("a", NOW - 8 * HOUR)
        assert fleet.keys[0].swept_at == NOW - 9 * HOUR

    def test_never_swept(self, tmp_path):
        """Where a cache was never swept there is no oldest sweep, and nothing is retirable."""
        leave(tmp_path, "a/1.json", cache())
        leave(tmp_path, "b/1.json", cache(run_id="r2", swept_at=None))
        assert load_fleet(tmp_path, NOW)[0].keys[0].swept_at is None
        assert unmet(tmp_path) == ["there is no complete sweep of sessions of b"]

    def test_current_on_another_host(self, tmp_path):
        """A key that another host still has as its current one is in use."""
        current = Key(id=OLD, role="current", field="caches[0].encryption.keys.current")
        leave(tmp_path, "a/1.json", cache())
        leave(tmp_path, "b/1.json", cache(run_id="r2", keys=(current,)))
        assert verdicts(tmp_path) == {OLD: "in-use"}
        assert unmet(tmp_path) == [f"key {OLD} is the current key of sessions of b"]

    def test_one_name(self, tmp_path):
        """With names only caches that are called so count; another name is a mistake."""
        leave(tmp_path, "a/1.json", cache("held"), cache(name="tokens", run_id="r2"))
        fleet, _ = load_fleet(tmp_path, NOW, ["tokens"])
        assert [key.verdict for key in fleet.keys] == ["retirable"]
        with pytest.raises(ConfigError, match="--cache other: no report covers it"):
            load_fleet(tmp_path, NOW, ["other"])


class TestWhichCount:
    """Reports that replace others."""

    @pytest.mark.parametrize("hosts", [None, "web-1"])
    def test_the_later_one_of_a_host(self, tmp_path, hosts):
        """A later report of a host replaces the earlier one, also where it is a better one."""
        leave(tmp_path, "x/1.json", cache("in-use"), ago=5 * HOUR, host=hosts)
        leave(tmp_path, f"{'y' if hosts else 'x'}/2.json", cache(), host=hosts)
        assert verdicts(tmp_path) == {OLD: "retirable"}
        fleet, _ = load_fleet(tmp_path, NOW)
        assert (fleet.replaced, fleet.findings) == (1, ())

    def test_other_hosts(self, tmp_path):
        """Reports of one address on several hosts are of several servers: both count."""
        leave(tmp_path, "a.json", cache("in-use", run_id="r1"), ago=5 * HOUR)
        leave(tmp_path, "b.json", cache(run_id="r2"))
        assert verdicts(tmp_path) == {OLD: "in-use"}

    def test_hosts_of_one_name(self, tmp_path):
        """Hosts of one name in folders of their own are several, also where one of them failed."""
        leave(tmp_path, "a/1.json", cache("in-use"), ago=5 * HOUR, host="localhost")
        leave(tmp_path, "b/1.json", cache(run_id="r2"), host="localhost")
        leave(tmp_path, "c/1.json", error="no such file", exit_code=2, ago=HOUR, host="localhost")

        fleet, _ = load_fleet(tmp_path, NOW)

        assert (fleet.keys[0].verdict, fleet.replaced) == ("in-use", 0)
        assert [one.kind for one in fleet.findings] == ["unknown", "failed"]

    def test_another_server_of_the_name(self, tmp_path):
        """A cache that is at other addresses now is another one: both count."""
        leave(tmp_path, "a/1.json", cache("in-use", address="10.0.0.7:6379"), ago=5 * HOUR)
        leave(tmp_path, "a/2.json", cache(address="10.0.0.9:6379"))
        assert verdicts(tmp_path) == {OLD: "in-use"}

    def test_a_run_that_did_not_look(self, tmp_path):
        """A later run that failed takes nothing away, but it is no younger for it."""
        leave(tmp_path, "a/1.json", cache(), ago=5 * HOUR)
        failed = cache(keys=(), coverage=None, error="connection refused")
        leave(tmp_path, "a/2.json", failed, exit_code=1)

        fleet, everything = load_fleet(tmp_path, NOW)

        assert verdicts(tmp_path) == {OLD: "retirable"}
        assert everything.caches[0].attempt.error == "connection refused"
        [finding] = fleet.findings
        assert (finding.kind, finding.where) == ("failed", "a")
        assert "connection refused" in finding.what

    def test_a_host_of_which_nothing_is_known(self, tmp_path):
        """Of a host whose only run failed nothing is known, so nothing is retirable."""
        leave(tmp_path, "a/1.json", cache())
        leave(tmp_path, "b/1.json", error="no such file", exit_code=2)
        assert unmet(tmp_path) == ["the last run could not judge every cache of b: no such file"]
        fleet, _ = load_fleet(tmp_path, NOW)
        assert [(one.kind, one.where) for one in fleet.findings] == [
            ("unknown", "every cache of b"),
            ("failed", "b"),
        ]
        assert fleet.gaps == 1

    def test_several_hosts_of_one_cache(self, tmp_path):
        """Of one cache the newest report of any host counts, and what differs is named."""
        leave(tmp_path, "a/1.json", cache("held"), ago=5 * HOUR)
        leave(tmp_path, "b/1.json", cache(address="redis:6379"))

        fleet, _ = load_fleet(tmp_path, NOW)

        assert [(key.verdict, key.hosts) for key in fleet.keys] == [("retirable", 1)]
        [finding] = fleet.findings
        assert (finding.kind, finding.where) == ("difference", "sessions")
        assert finding.what == (
            "b judged 9f2c41d0 retirable (2026-11-23 11:00 UTC), which counts; a judged it held"
            " (2026-11-23 07:00 UTC)"
        )

    @pytest.mark.parametrize(
        "fields", [{"name": "tokens"}, {"run_id": "r2"}, {"keys": ()}], ids=str
    )
    def test_not_known_to_be_one_cache(self, tmp_path, fields):
        """What is not known to be one cache, or has another keyring, is not replaced."""
        leave(tmp_path, "a/1.json", cache("held"), ago=5 * HOUR)
        leave(tmp_path, "b/1.json", cache(**fields))
        assert verdicts(tmp_path) == {OLD: "held"}

    def test_a_clock_in_the_future(self, tmp_path):
        """A report of a time to come is named; it replaces none and is not replaced."""
        leave(tmp_path, "a/1.json", cache("held"))
        leave(tmp_path, "a/2.json", cache(), ago=-48 * HOUR)
        leave(tmp_path, "b/1.json", cache("draining", run_id="r2"), ago=-48 * HOUR)
        leave(tmp_path, "b/2.json", cache(run_id="r2"))

        fleet, _ = load_fleet(tmp_path, NOW)

        assert [one.verdict for one in fleet.keys[0].caches] == [
            "draining",
            "held",
            "retirable",
            "retirable",
        ]
        assert [(one.kind, one.where) for one in fleet.findings] == [("clock", "a"), ("clock", "b")]

    def test_clocks_that_differ_a_little(self, tmp_path):
        """Clocks of hosts may differ by minutes."""
        leave(tmp_path, "a/1.json", cache(), ago=-timedelta(minutes=4))
        assert load_fleet(tmp_path, NOW)[0].findings == ()

    def test_superseded(self, tmp_path):
        """A server that another one replaced does not count."""
        leave(tmp_path, "a/1.json", cache(), cache("in-use", address="x:1", superseded=True))
        assert verdicts(tmp_path) == {OLD: "retirable"}


class TestFiles:
    """Files that are read, and those that are not."""

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "not a report of a run: Invalid JSON"),
            (b"\xff", "not a report of a run: Invalid JSON"),
            (b"[]", "not a report of a run: Input should be an object"),
            (b'{"schema": 2}', "not a report of a run: rotator: Field required"),
        ],
    )
    def test_no_report(self, tmp_path, content, message):
        """What is no report is named and passed over."""
        leave(tmp_path, "a/1.json", cache())
        (tmp_path / "b.json").write_bytes(content)
        fleet, _ = load_fleet(tmp_path, NOW)
        [finding] = fleet.findings
        assert (finding.kind, finding.where, fleet.reports) == ("unread", "b.json", 1)
        assert fleet.gaps == 1
        assert finding.what.startswith(message)

    def test_no_file(self, tmp_path):
        """A pipe is not waited for, a link to nothing is named, and a folder is no file."""
        leave(tmp_path, "a.json/1.json", cache())
        os.mkfifo(tmp_path / "b.json")
        (tmp_path / "c.json").symlink_to("none")
        findings = load_fleet(tmp_path, NOW)[0].findings
        assert [one.where for one in findings] == ["b.json", "c.json"]
        assert {one.what for one in findings} == {"not a file, or too large to be a report"}

    def test_a_closed_folder(self, tmp_path, monkeypatch):
        """A folder that cannot be looked into is named: it may hold the reports of a host."""
        leave(tmp_path, "a/1.json", cache())
        (tmp_path / "b").mkdir()
        scan = os.scandir

        def refuse(path):  # as the kernel does, but not to root
            if Path(path).name == "b":
                raise PermissionError(13, "Permission denied", str(path))
            return scan(path)

        monkeypatch.setattr(os, "scandir", refuse)
        [finding] = load_fleet(tmp_path, NOW)[0].findings
        assert (finding.kind, finding.where) == ("unread", "b")
        assert finding.what == "the folder cannot be looked into"

    def test_a_link_to_a_folder(self, tmp_path):
        """Where no link is followed, what is behind one is named, and so are hosts of one name."""
        leave(tmp_path, "at/one/1.json", cache(), host="same")
        leave(tmp_path, "at/two/1.json", cache(), host="same")
        (tmp_path / "at/three").symlink_to(tmp_path / "at/one")
        fleet, _ = load_fleet(tmp_path / "at", NOW)
        assert (fleet.reports, fleet.hosts) == (2, 2)
        [finding] = [one for one in fleet.findings if one.kind == "unread"]
        assert (finding.where, finding.what) == ("three", "links to folders are not followed")

    def test_a_time_that_utc_has_not(self, tmp_path):
        """A time past the end of the calendar makes a file no report."""
        leave(tmp_path, "a/1.json", cache())
        leave(tmp_path, "b/1.json", cache())
        text = json.loads((tmp_path / "b/1.json").read_text())
        text["finished_at"] = "9999-12-31T23:59:59-14:00"
        (tmp_path / "b/1.json").write_text(json.dumps(text))
        [finding] = load_fleet(tmp_path, NOW)[0].findings
        assert finding.kind == "unread"
        assert "a time before the year 1 or after 9999" in finding.what

    def test_a_later_version(self, tmp_path):
        """A report of a later version of rotator is not understood."""
        leave(tmp_path, "a/1.json", cache())
        leave(tmp_path, "b/1.json", cache(), schema=3)
        [finding] = load_fleet(tmp_path, NOW)[0].findings
        assert finding.what == "schema 3 is from a later version of rotator"

    def test_reports_of_1_0_0(self, tmp_path):
        """Reports of 1.0.0 are read; of a key that they have as retirable nothing is known."""
        (tmp_path / "a").mkdir()
        shutil.copy(WRITTEN / "again.json", tmp_path / "a")
        before = json.loads((WRITTEN / "again.json").read_text())["caches"][0]["keys"]
        fleet, _ = load_fleet(tmp_path, NOW)
        assert {key["verdict"] for key in before} == {None, "retirable"}
        assert {key.verdict for key in fleet.keys} == {"unknown"}
        assert unmet(tmp_path)

    def test_nothing_there(self, tmp_path):
        """A folder without a report on a cache is an error, and so is one that is not there."""
        with pytest.raises(StateError, match="there is no report in it"):
            load_fleet(tmp_path, NOW)
        with pytest.raises(ConfigError, match="there is no such folder"):
            load_fleet(tmp_path / "none", NOW)
        leave(tmp_path, "a/1.json", cache(superseded=True))
        with pytest.raises(StateError, match="no report in it covers a cache"):
            load_fleet(tmp_path, NOW)
