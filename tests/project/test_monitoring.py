"""Alert rules and dashboard: they ask for what rotator writes, and say what Prometheus accepts."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from rotator.errors import Exit
from rotator.report.live import progress
from rotator.report.metrics import metrics_text
from rotator.state.live import Owner, RunStatus
from support import sample_reports, scheduled
from support.promtool import promtool

NOW = datetime(2026, 11, 27, 2, tzinfo=UTC)
FOLDER = Path(__file__).parents[2] / "scripts" / "deploy"
RULES = FOLDER / "prometheus" / "rotator.rules.yml"
TESTS = FOLDER / "prometheus" / "rotator.rules.test.yml"
DASHBOARD = json.loads((FOLDER / "grafana" / "rotator.json").read_text())
ALERTS = {one["alert"]: one for one in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]}
PANELS = {one["title"]: one for one in DASHBOARD["panels"]}
SELECTOR = re.compile(r"\b(rotator_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(?:=~|!=|=)"([^"]*)"')


def written():
    """The metrics that rotator writes, each with the values of its labels."""
    report = sample_reports.example()
    [cache] = report.caches
    [old] = cache.keys
    current = old.model_copy(update={"id": "c4a10e5b22d9f6a3", "role": "current"})
    whole = cache.model_copy(update={"keys": (current, old), "swept_at": report.finished_at})
    run = RunStatus("1", Owner.here(), "run", ("a",), NOW, NOW, cache="a", phase="rotating")
    text = metrics_text(report.model_copy(update={"caches": (whole,)})) + progress.metrics_text(run)
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


WRITTEN = written()


def expressions():
    """Every expression of the rules and of the dashboard, by where it is."""
    yield from ((name, one["expr"]) for name, one in ALERTS.items())
    for title, panel in PANELS.items():
        yield from ((title, target["expr"]) for target in panel["targets"])
    for one in DASHBOARD["templating"]["list"]:
        if one["type"] == "query":
            yield one["name"], one["query"]["query"]


EXPRESSIONS = list(expressions())


@pytest.mark.parametrize(("place", "expression"), EXPRESSIONS, ids=[one[0] for one in EXPRESSIONS])
def test_what_is_asked_for_is_written(place, expression):
    """Each metric is one that rotator writes, with these labels, and with these values of them."""
    selectors = SELECTOR.findall(expression)
    assert selectors, place
    for name, matchers in selectors:
        for label, value in MATCHER.findall(matchers):
            assert label in WRITTEN[name]
            assert value in WRITTEN[name][label] | {"$cache"}
        assert name in WRITTEN


def test_what_the_tests_of_the_rules_have_is_written():
    """The series that the rules are tried with have the names and labels of rotator's."""
    given = [one for test in TRIED for one in test["input_series"]]
    for series in (one["series"] for one in given if one["series"].startswith("rotator")):
        [(name, labels)] = SELECTOR.findall(series)
        assert {label for label, _ in MATCHER.findall(labels)} == {"instance", *WRITTEN[name]}


TRIED = yaml.safe_load(TESTS.read_text())["tests"]


class TestRules:
    """scripts/deploy/prometheus."""

    def test_prometheus_accepts_them(self):
        """Prometheus' own check finds no fault in them."""
        code, said = promtool("check", "rules", RULES)
        assert (code, f"{len(ALERTS)} rules found" in said) == (0, True), said

    def test_each_fires_when_it_should(self):
        """Their own tests hold."""
        code, said = promtool("test", "rules", TESTS)
        assert code == 0, said

    @pytest.mark.parametrize("name", ALERTS)
    def test_each_has_a_test(self, name):
        """For each alert there is a moment at which it fires, and one at which it does not."""
        tries = [one for test in TRIED for one in test["alert_rule_test"]]
        assert {bool(one["exp_alerts"]) for one in tries if one["alertname"] == name} == {
            *(True, False)
        }

    @pytest.mark.parametrize("name", ALERTS)
    def test_each_says_what_it_is(self, name):
        """Each has a severity, a summary of one line, and what to look at."""
        alert = ALERTS[name]
        assert alert["labels"]["severity"] in {"info", "warning", "critical"}
        assert len(alert["annotations"]["summary"]) < 100
        assert alert["annotations"]["description"].endswith((".", "?"))

    def test_they_agree_with_the_schedules(self):
        """They fire on the exit codes that cron, systemd and Kubernetes alert on."""
        asked = " ".join(one["expr"] for one in ALERTS.values())
        found = {int(code) for code in re.findall(r"exit_code == (\d+)", asked)}
        assert found == scheduled.codes(scheduled.CRONTAB, "alert")


class TestDashboard:
    """scripts/deploy/grafana."""

    def test_prometheus_accepts_its_expressions(self, tmp_path):
        """Each is one that Prometheus can answer."""
        asked = [target["expr"] for panel in PANELS.values() for target in panel["targets"]]
        rules = [
            {"record": f"try:{number}", "expr": one.replace("$cache", ".*")}
            for number, one in enumerate(asked)
        ]
        path = tmp_path / "rules.yml"
        path.write_text(yaml.safe_dump({"groups": [{"name": "try", "rules": rules}]}))
        code, said = promtool("check", "rules", path)
        assert code == 0, said

    def test_panels_lie_beside_each_other(self):
        """No panel covers another one, and each has its own number and says what it shows."""
        cells = [
            (x, y)
            for place in (panel["gridPos"] for panel in PANELS.values())
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(cells) == len(set(cells))
        assert all(0 <= x < 24 for x, _ in cells)
        assert len({panel["id"] for panel in PANELS.values()}) == len(DASHBOARD["panels"])
        assert all(panel["description"] for panel in PANELS.values())

    def test_it_names_every_exit_code(self):
        """Each exit code has a word."""
        [named] = PANELS["Exit code"]["fieldConfig"]["defaults"]["mappings"]
        assert {int(code) for code in named["options"]} == set(Exit)

    def test_it_asks_whoever_imports_it_for_the_data(self):
        """No panel is bound to a data source of somebody else."""
        sources = {panel["datasource"]["uid"] for panel in PANELS.values()}
        assert sources == {"${datasource}"}
