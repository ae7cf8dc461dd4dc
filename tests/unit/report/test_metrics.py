"""Tests of the Prometheus textfile."""

import re
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rotator.errors import ConfigError, ServerError
from rotator.report import files, metrics
from rotator.report.build import failed_report
from rotator.report.live import progress
from rotator.report.model import OUTCOMES, STATUSES, VERDICTS, Cache, Key, Report
from rotator.state.live import Owner, RunStatus
from rotator.tally.tally import Mode
from rotator.text import escape
from support.promtool import promtool
from support.sample_reports import placed_key
from support.textfile import parsed

START = datetime(2026, 11, 23, 10, tzinfo=UTC)


OLD = "9f2c41d07be3a655"


CURRENT = "c4a10e5b22d9f6a3"


LIVE = RunStatus(
    *("abc", Owner.here(), "run", ("a",), START, START),
    cache="a",
    phase="rotating",
    visits=7,
    expected=9,
)


def report_on(*caches, **fields):
    """A report on a run of three minutes."""
    usual = {
        "rotator": "1.0.0",
        "mode": "run",
        "started_at": START,
        "finished_at": START + timedelta(minutes=3),
        "exit_code": 0,
    }
    return Report(**usual | fields, caches=caches)


def looked_at(name="shared-redis", **fields):
    """What a report says of one cache."""
    usual = {
        "complete": True,
        "visits": 9,
        "outcomes": {"current": 2, "rotated": 4, "denied": 3},
        "swept_at": START,
        "keys": (
            Key(id=CURRENT, role="current", field="current", found=2, nonce_budget_used=0.25),
            Key(id=OLD, role="old", field="old[0]", found=7, remaining=3, verdict="in-use"),
        ),
    }
    return Cache(name=name, **usual | fields)


def shown(*caches, **fields):
    """Every sample of a report."""
    return parsed(metrics.metrics_text(report_on(*caches, **fields)))


class TestRender:
    """The numbers of a report."""

    def test_run(self):
        """When the run ended, how long it took, and how it ended."""
        samples = shown(looked_at())

        assert samples["rotator_last_run_timestamp_seconds",] == START.timestamp() + 180
        assert samples["rotator_run_duration_seconds",] == 180
        assert samples["rotator_last_run_success",] == 1
        assert samples["rotator_last_run_exit_code",] == 0

    def test_visits(self):
        """Every outcome of every cache is there, zero or not, and they sum to the visits."""
        samples = shown(looked_at("a"), looked_at("b", outcomes={"gone": 1}, visits=1))

        numbers = {
            outcome: samples["rotator_visits", ("cache", "a"), ("outcome", outcome)]
            for outcome in OUTCOMES
        }
        assert sum(numbers.values()) == 9
        assert (numbers["denied"], numbers["failed"]) == (3, 0)
        assert samples["rotator_visits", ("cache", "b"), ("outcome", "gone")] == 1

    def test_values_under_keys(self):
        """What an old key still has, and what the current one has by now."""
        samples = shown(looked_at())

        place = ("cache", "shared-redis")
        name = "rotator_values_under_key"
        assert samples[name, place, ("key_id", OLD), ("role", "old")] == 3
        assert samples[name, place, ("key_id", CURRENT), ("role", "current")] == 6

    @pytest.mark.parametrize("verdict", VERDICTS)
    def test_retirable(self, verdict):
        """Only the verdict retirable makes a key retirable; a current key never is."""
        old = Key(id=OLD, role="old", field="old[0]", verdict=verdict)

        samples = shown(looked_at(keys=(old, Key(id=CURRENT, role="current", field="current"))))

        place = (("cache", "shared-redis"), ("key_id", OLD))
        assert samples["rotator_key_retirable", *place] == (verdict == "retirable")
        assert [samples["rotator_key_verdict", *place, ("verdict", one)] for one in VERDICTS] == [
            one == verdict for one in VERDICTS
        ]
        assert not any(CURRENT in str(one) for one in samples if "retirable" in one[0])

    def test_coverage(self):
        """Whether the run saw everything, and when a sweep last did."""
        samples = shown(looked_at("a"), looked_at("b", complete=False, swept_at=None))

        assert samples["rotator_sweep_complete", ("cache", "a")] == 1
        assert samples["rotator_sweep_complete", ("cache", "b")] == 0
        name = "rotator_last_complete_sweep_timestamp_seconds"
        assert samples[name, ("cache", "a")] == START.timestamp()
        assert (name, ("cache", "b")) not in samples

    def test_budget(self):
        """How much of a key's nonces is used up."""
        samples = shown(looked_at())

        labels = (("cache", "shared-redis"), ("key_id", CURRENT), ("role", "current"))
        assert samples["rotator_nonce_budget_used_ratio", *labels] == 0.25

    def test_places(self):
        """How many places of an old key are in which state, and how much is assumed of it."""
        samples = shown(looked_at(keys=(placed_key(id=OLD),)))

        labels = (("cache", "shared-redis"), ("key_id", OLD))
        counted = [samples["rotator_key_places", *labels, ("status", one)] for one in STATUSES]
        assert counted == [2, 1, 1, 6]
        assert samples["rotator_key_assumptions", *labels] == 1

    def test_no_places(self):
        """Of a key without places every state is there, and zero; a current key has none."""
        samples = shown(looked_at())

        places = [one for one in samples if one[0] == "rotator_key_places"]
        assert {dict(labels)["key_id"] for _, *labels in places} == {OLD}
        assert [samples[one] for one in places] == [0] * len(STATUSES)

    def test_failed_run(self):
        """A failed run says so, and leaves no number of an earlier one to be believed."""
        error = ServerError("refused")

        samples = parsed(metrics.metrics_text(failed_report(error, Mode.RUN, START, START)))

        assert samples["rotator_last_run_success",] == 0
        assert samples["rotator_last_run_exit_code",] == 1
        assert not any("cache" in dict(labels) for _, *labels in samples)

    @pytest.mark.parametrize("code", [1, 3, 4, 5, 130])
    def test_other_exit_codes(self, code):
        """No exit code but 0 is a success."""
        samples = shown(looked_at(), exit_code=code)

        assert samples["rotator_last_run_success",] == 0
        assert samples["rotator_last_run_exit_code",] == code

    def test_hostile_name(self):
        """A cache may be called anything without breaking a line."""
        name = 'a"} 1\nrotator_key_retirable{cache="b\\'

        samples = shown(looked_at(name))

        assert samples["rotator_sweep_complete", ("cache", escape(name))] == 1
        assert ("rotator_key_retirable", ("cache", "b")) not in samples

    def test_described(self):
        """Everything has a help text and is a gauge, and nothing else is in the file."""
        families = list(
            text_string_to_metric_families(metrics.metrics_text(report_on(looked_at())))
        )

        assert {family.type for family in families} == {"gauge"}
        assert all(family.documentation for family in families)
        assert all(family.name.startswith("rotator_") for family in families)


class TestConventions:
    """Names of metrics as Prometheus has them (https://prometheus.io/docs/practices/naming/)."""

    def test_names(self):
        """A gauge has no suffix of a counter, and a unit is a base unit in the plural."""
        families = list(
            text_string_to_metric_families(metrics.metrics_text(report_on(looked_at())))
        )

        endings = [family.name.rpartition("_")[2] for family in families]
        assert not {"total", "count", "sum", "bucket", "info"} & set(endings) - {"info"}
        assert not {"milliseconds", "ms", "minutes", "percent", "kilobytes"} & set(endings)
        assert all(re.fullmatch(r"rotator(_[a-z]+)+", family.name) for family in families)

    @pytest.mark.parametrize("running", [None, LIVE, replace(LIVE, cache="")])
    def test_promtool(self, running, tmp_path):
        """Prometheus' own tool finds nothing wrong with the file, nor while a run goes on."""
        text = metrics.metrics_text(report_on(looked_at(keys=(placed_key(id=OLD),))))
        if running:
            (tmp_path / "rotator.prom").write_text(text)
            before = progress.read_metrics(tmp_path / "rotator.prom")
            text = before + progress.metrics_text(running)
            assert parsed(text)["rotator_run_in_progress",] == 1

        assert promtool("check", "metrics", text=text) == (0, "")

    def test_a_part_is_no_number_of_values(self):
        """What a stopped sweep counted under an old key is left out: there may be more."""
        samples = shown(looked_at(complete=False))

        found = [dict(one[1:])["role"] for one in samples if one[0] == "rotator_values_under_key"]
        assert found == ["current"]


class TestWrite:
    """The file."""

    def test_readable_by_the_collector(self, tmp_path):
        """Others may read it: node_exporter runs as somebody else."""
        path = tmp_path / "rotator.prom"

        files.Targets(metrics=path).write(report_on(looked_at()))

        assert stat.S_IMODE(path.stat().st_mode) & 0o044
        assert [one.name for one in tmp_path.iterdir()] == ["rotator.prom"]

    def test_missing_folder(self, tmp_path):
        """A missing folder is a mistake of the command line."""
        with pytest.raises(ConfigError):
            files.Targets(metrics=tmp_path / "none" / "rotator.prom").write(report_on())
