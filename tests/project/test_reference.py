"""The reference parts of the documents and the man page: current, whole, and plain text."""

import re
import subprocess

import pytest
import yaml
from jsonschema import Draft202012Validator
from markdown_it import MarkdownIt
from prometheus_client.parser import text_string_to_metric_families

from reference import commands, fields, words
from reference.manual import MAN_PAGE, escaped, manual, marked
from reference.markdown import item, paragraph, prose
from reference.pages import PAGES, PARTS, parts_of, renewed
from reference.types import fields_of
from rotator.cli.docs import config_schema
from rotator.cli.help import COMMANDS
from rotator.config.load import load
from rotator.config.schema import Assumption
from rotator.errors import ENDINGS, ConfigError
from rotator.report import metrics
from rotator.report.files import json_schema, reference
from rotator.report.fleet.model import Fleet
from rotator.report.live import progress
from rotator.report.model import Report
from rotator.report.receipt.model import Receipt
from rotator.retirement.places import Kind, Verdict
from rotator.state.live import Owner, RunStatus
from rotator.tally.tally import Outcome
from rotator.text import utc_now
from support import sample_reports
from support.processes import found

CURRENT = "it says something else than the code: run `make reference`"
OURS = [one for path, kind in fields.CONFIG.items() for one in fields.settings(path, kind)]
ROFF = re.compile(r"\\(?:e|-|&|\((?:aq|ga|ha|ti|dq)|f[BIR])")
MACROS = {"TH", "SH", "SS", "TP", "PP", "nf", "fi", "nh", "ad"}


class TestPages:
    """The parts of the documents that are made from the code."""

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
    def test_current(self, page):
        """What a page says is what the code says."""
        text = page.read_text()
        assert text == renewed(text), f"{page.name}: {CURRENT}"

    def test_every_part_is_somewhere(self):
        """No part is left out, and none is asked for that there is not."""
        assert {name for page in PAGES for name in parts_of(page.read_text())} == set(PARTS)

    @pytest.mark.parametrize("name", PARTS)
    def test_markdown(self, name):
        """It has no HTML, nothing is emphasized by chance, and its lines fit, but for tables."""
        text = PARTS[name]()
        tokens = [
            inner for one in MarkdownIt().parse(text) for inner in (one, *(one.children or ()))
        ]
        assert not {"html_block", "html_inline", "em_open"} & {token.type for token in tokens}
        for line in text.splitlines():
            assert line.count("`") % 2 == 0, f"code is broken: {line}"
            assert len(line) <= 100 or line.startswith("|"), line

    def test_the_words_that_there_are(self):
        """Verdicts, places and outcomes are explained, all of them, and nothing else."""
        assert list(words.VERDICTS) == list(Verdict)
        assert list(words.CLEAN) == list(Kind)
        assert set(words.MORE) <= set(Outcome)
        assert re.findall(r"^- \*\*`(\w+)`\*\*", words.outcomes(), re.MULTILINE) == list(Outcome)
        assert re.findall(r"^\| (\d+)", words.exit_codes(), re.MULTILINE) == [
            str(int(code)) for code in ENDINGS
        ]

    def test_every_metric(self):
        """The table of metrics has those that are written, with their labels."""
        report, now = sample_reports.example(), utc_now()
        [one] = report.caches
        whole = one.model_copy(update={"swept_at": report.finished_at})
        run = RunStatus("1", Owner.here(), "run", ("a",), now, now, cache="a", phase="rotating")
        text = metrics.metrics_text(report.model_copy(update={"caches": (whole,)}))
        text += progress.metrics_text(run)
        written = {
            sample.name: tuple(sample.labels)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        assert {name: set(labels) for name, labels in written.items()} == {
            name: set(one.labels) for name, one in metrics.METRICS.items()
        }


class TestConfiguration:
    """What is said of each field of the configuration."""

    def test_every_field(self):
        """Each is described, and nothing is that is no field."""
        kinds = {}
        for path, kind in fields.CONFIG.items():
            waiting = [(path, kind)]
            while waiting:
                _, one = waiting.pop()
                names = {field.name for field in fields_of(one)}
                kinds[one.__name__] = kinds.get(one.__name__, set()) | names
                inner = [fields.class_of(field.annotation) for field in fields_of(one)]
                waiting += [("", new) for new in inner if new and not issubclass(new, Assumption)]
        known = reference("rotator.config")
        for name, said in known.items():
            assert said.keys() <= kinds.get(name, {"is", "reason"}), name
        assert all(one.description.endswith(".") for one in OURS)

    def test_the_schema_has_it(self):
        """`rotator schema config` describes each field, and shows the example."""
        defined = config_schema()["$defs"]
        match = defined["CacheSettings"]["properties"]["match"]
        assert match["description"] in fields.config().replace("\n  ", " ")
        assert match["examples"] == [["/app/oidc:*"]]
        for kind in defined.values():
            for name, field in kind["properties"].items():
                inner = field.get("$ref") or field.get("additionalProperties", {}).get("$ref")
                assert inner or field.get("description"), (kind["title"], name)

    def examples(self):
        """A configuration that is made of the examples, and of what they refer to."""
        document = {"caches": [{}, {"name": "mesh", "type": "cluster"}]}
        names = {"caches[]": ("caches", 0), "tls.<name>": ("tls", "redis-client")}
        names["rotator.formats.<name>"] = ("rotator", "formats", "vendor-2026")
        names["rotator.caches.<name>"] = ("rotator", "caches", "shared-redis")
        for one in OURS:
            base = max((path for path in names if one.path.startswith(path)), key=len)
            *way, last = [*names[base], *one.path.removeprefix(f"{base}.").split(".")]
            place = document
            for step in way:
                place = place[step] if isinstance(step, int) else place.setdefault(step, {})
            place[last] = one.example
        return document

    def written(self, path, document):
        """A file with a configuration."""
        path.write_text(yaml.safe_dump(document))
        return path

    def test_the_examples_are_a_configuration(self, tmp_path):
        """All of them together are read without a warning, and fit the schema."""
        document = self.examples()
        del document["rotator"]["formats"]["vendor-2026"]["within"]  # only of a text
        assert load([self.written(tmp_path / "maverics.yaml", document)]).warnings == ()
        assert list(Draft202012Validator(config_schema()).iter_errors(document)) == []

    @pytest.mark.parametrize("setting", [one for one in OURS if one.required], ids=lambda s: s.path)
    def test_what_is_required(self, tmp_path, setting):
        """Without a field that is called required, the configuration is refused."""
        document = self.examples()
        document["caches"][0]["encryption"]["disabled"] = False
        document["caches"][0]["keys"]["disablePrefix"] = False
        parts = setting.path.replace("caches[]", "caches.0").replace("<name>", "vendor-2026")
        *way, last = parts.split(".")
        place = document
        for step in way:
            place = place[int(step)] if step.isdigit() else place[step]
        del place[last]
        with pytest.raises(ConfigError):
            load([self.written(tmp_path / "maverics.yaml", document)])

    def test_defaults(self):
        """The default of a field is that of the schema, written as in the file."""
        text = fields.config()
        assert "default `[sealed, gcm, gcm-base64]`" in text
        assert "`tls.<name>.minVersion` (`1.2` or `1.3`, default `1.2`)" in text
        assert "`caches[].redis.addresses` (list of host:port, required)" in text


class TestReports:
    """What is said of each field of a report, of a receipt, and of many hosts' reports."""

    def test_every_field(self):
        """Each is described, in the schema too, and nothing is that is no field."""
        known, met = reference("rotator.report"), set()
        for root in (Report, Receipt, Fleet):
            schema = json_schema(root)
            for part in (schema, *schema["$defs"].values()):
                met.add(part["title"])
                assert known[part["title"]].keys() == part["properties"].keys(), part["title"]
                assert all(field["description"] for field in part["properties"].values())
        assert met == known.keys()

    def test_every_class_is_told_once(self):
        """The fields of a class stand below one heading, which says where it is."""
        headings = re.findall(r"^### (.*)$", fields.report(), re.MULTILINE)
        assert len(headings) == len(set(headings)) == len(reference("rotator.report"))
        assert headings[:4] == ["The report", "`caches[]`", "`facts`", "`changes[]`"]


def section(text, heading):
    """The text below a heading of the reference of commands."""
    return re.split(rf"^### {heading}$", text, flags=re.MULTILINE)[1].partition("\n### ")[0]


class TestCommands:
    """The reference of commands."""

    @pytest.mark.parametrize("command", commands.commands(), ids=lambda one: one.name or "rotator")
    def test_every_option(self, command):
        """Each command has a heading, what it does, and all of its options."""
        text = section(commands.reference(), f"rotator {command.name}".strip())
        assert text.strip().startswith(prose(command.about[0])[:40])
        assert all(f"`{one.flag}" in text or one.written in text for one in command.options)
        assert ("Exit codes: 0" in text) is bool(command.name)

    def test_all_of_them(self):
        """They are those of `rotator --help`, after `rotator` itself."""
        assert [one.name for one in commands.commands()] == ["", *COMMANDS]

    def test_an_option_that_several_commands_have(self):
        """It is explained once, with the commands that have it."""
        text = section(commands.reference(), "Shared options")
        assert text.count("--secret-provider") == 1
        assert re.search(r"`--log-format [^-]*Commands: `run`,\s+`purge`\s+and\s+`adopt`\.", text)

    def test_a_range_that_is_not_known(self):
        """A range that cannot be said in words stops it, rather than being left out."""
        with pytest.raises(ValueError, match="not known"):
            commands._range("x in {1, 2}")


class TestManPage:
    """The man page."""

    def test_current(self):
        """It says what the code says."""
        assert MAN_PAGE.read_text() == manual(), f"{MAN_PAGE.name}: {CURRENT}"

    def test_everything_is_there(self):
        """It has every command, option, exit code, and the sections of a man page."""
        text = manual()
        for one in commands.commands():
            assert escaped(f"rotator {one.name}".strip()) in text
            assert all(rf"{escaped(option.flag)}\fR" in text for option in one.options)
            assert all(escaped(example.command) in text for example in one.examples)
        assert all(f"\n.TP\n\\fB{int(code)}\\fR\n" in text for code in ENDINGS)
        named = re.findall(r"^\.SH (.*)$", text, re.MULTILINE)
        assert named[:3] == ["NAME", "SYNOPSIS", "DESCRIPTION"]
        assert {"COMMANDS", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES", "SEE ALSO"} <= {
            *named
        }

    def test_escaped(self):
        """A line that is no macro is text: every sign in it is one that roff prints as it is."""
        for line in manual().splitlines():
            if line.startswith("."):
                assert line[1:3] in MACROS, line
                continue
            assert not line.startswith("'"), line
            assert not re.search(r"[\\'`^~\"-]", ROFF.sub("", line)), line
            assert line.isascii()

    def test_text_that_looks_like_a_macro(self):
        """A dot or a quote at the beginning of a line is text, and a backslash is printed."""
        assert marked(".tar.gz is read") == r"\&.tar.gz is read"
        assert marked(r"it's a \n, `--page` - and so on") == (
            r"it\(aqs a \en, \fB\-\-page\fR \- and so on"
        )

    def test_groff_understands_it(self):
        """There is nothing that groff warns of, and it prints what can be typed."""
        groff = found("groff", "Debian's package groff-base")
        done = subprocess.run(
            [groff, "-man", "-Tascii", "-ww", "-Wbreak", "-P-cbou", MAN_PAGE],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        assert "rotator run --dry-run" in done.stdout
        assert "rotator - replace the key" in done.stdout


class TestMarkdown:
    """How text becomes Markdown."""

    def test_prose(self):
        """Commands, options and words in angle brackets are code; a star is a star."""
        assert prose("see rotator run --dry-run or --page, of <name>, in *.json") == (
            r"see `rotator run --dry-run` or `--page`, of `<name>`, in \*.json"
        )
        assert prose("`--a <b>` stays, as tune --stop") == "`--a <b>` stays, as `tune --stop`"

    def test_lines(self):
        """Lines are not too long, and code and links are not broken."""
        long = item(f"{'word ' * 18}`code with blanks` and {'word ' * 15}[a link](#there).")
        assert [len(line) <= 100 for line in long.splitlines()] == [True] * 3
        assert "`code with blanks`" in long
        assert "[a link](#there)" in long
        assert paragraph(prose("one\n  two")) == "one two"
