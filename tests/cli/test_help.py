"""What `--help` says: enough to work with, short enough to read, and true."""

import os
import re
import shlex
import subprocess
import sys

import pytest

from rotator.cli import help as command_help
from rotator.config.load import DEFAULT_PLACE
from rotator.errors import ENDINGS, Exit
from support.processes import run_here

COMMANDS = command_help.load_all()

# The design's options of `run` that one server needs.
RUN_OPTIONS = """
    --config --secret-provider --cache --dry-run --no-verify --quiet --only-key --max-duration
    --page --workers --accept --allow-empty --fresh --state --report --format --log-format
    --log-level --progress --no-progress
"""
# Those that a script goes by.
CODES = {"run": range(8), "status": (1, 2, 3, 4), "tune": (1, 2), "report": (1, 2, 6)}
# Words that mean something else here (design, section 1).
NEVER = re.compile(r"\b(update|stats|envelope|primary key)\b", re.IGNORECASE)


def help_of(*command, columns=80):
    """The help of a command, or of rotator itself, on a terminal of so many columns."""
    done = run_here([*command, "--help"], env={"COLUMNS": str(columns)})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def examples(text):
    """The examples in a help text, as lists of words."""
    block = text.partition("Examples:\n")[2].partition("\n\n")[0]
    for line in block.splitlines():
        found = re.search(r"\brotator .*", line)
        if found:
            alone = re.split(r" {2,}|\)|[|>&]", found[0])[0]
            yield shlex.split(alone)[1:]


EXAMPLES = sorted(
    {
        shlex.join(example)
        for name in (None, *COMMANDS)
        for example in examples(help_of(*([name] if name else [])))
    }
)


class TestEvery:
    """What all help texts have in common."""

    def test_receipts_are_of_reports(self):
        """Options of receipts stand under a heading of their own, in the help of `report` alone."""
        with_heading = {one for one in COMMANDS if "\nReceipts:\n" in help_of(one)}
        assert with_heading == {"report"}

    @pytest.mark.parametrize("command", [None, *COMMANDS])
    def test_it_fits_100_columns(self, command):
        """However wide the terminal is, no line is longer than 100 columns."""
        text = help_of(*([command] if command else []), columns=200)
        assert max(map(len, text.splitlines())) <= 100

    @pytest.mark.parametrize("command", [None, *COMMANDS])
    def test_it_fits_80_columns(self, command):
        """On a terminal of 80 columns no line is broken, and no word is cut off."""
        text = help_of(*([command] if command else []))
        assert max(map(len, text.splitlines())) <= 80

    @pytest.mark.parametrize("command", [None, *COMMANDS])
    def test_it_is_plain(self, command):
        """It is ASCII without colours, and uses the words of the project."""
        text = help_of(*([command] if command else []))
        assert re.fullmatch(r"[\n -~]*", text)
        assert not NEVER.search(text)

    @pytest.mark.parametrize("command", [None, *COMMANDS])
    def test_it_ends_in_examples(self, command):
        """Every command shows how it is used."""
        assert list(examples(help_of(*([command] if command else []))))

    @pytest.mark.parametrize("command", COMMANDS)
    def test_it_names_its_exit_codes(self, command):
        """Every command says which codes it ends with, and all of them are rotator's."""
        said = help_of(command).partition("Exit codes:")[2].partition("\n\n")[0]
        codes = {int(number) for number in re.findall(r"\b(\d+)\s+(?=[a-z])", said)}
        assert {0, *CODES.get(command, ())} <= codes
        assert codes <= set(Exit)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_it_names_what_else_has_a_say(self, command):
        """Variables and files are there for just those commands that heed them."""
        text = help_of(command)
        options = {flag for one in COMMANDS[command].params for flag in one.opts}
        for flag, words in {
            "--config": ("MAVERICS_CONFIG", str(DEFAULT_PLACE)),
            "--secret-provider": ("MAVERICS_SECRET_PROVIDER",),
            "--state": ("~/.local/state/rotator/state.db",),
        }.items():
            told = text.partition("Environment:")[2]
            assert all((word in told) is (flag in options) for word in words), flag

    @pytest.mark.parametrize("command", COMMANDS)
    def test_values_say_what_they_are(self, command):
        """No option takes just a text or an integer: FILE, NAME, DURATION or a choice."""
        assert not re.search(r"<(str|int|float|path|filename)>", help_of(command))

    @pytest.mark.parametrize("example", EXAMPLES)
    def test_the_examples_are_commands(self, example):
        """What the examples show can be typed: every option and argument in it exists."""
        name, *rest = shlex.split(example)
        COMMANDS[name].make_context(name, rest)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_option_is_explained(self, command):
        """No option and no argument stands there without a word."""
        for one in COMMANDS[command].params:
            assert one.help, one.name


class TestRotator:
    """`rotator --help`."""

    def test_it_lists_the_exit_codes(self):
        """Every exit code is in the table, and no other."""
        table = help_of().partition("Exit codes:")[2].partition("\n\n")[0]
        assert re.findall(r"^ {2,6}(\d+)  ", table, re.MULTILINE) == [
            str(int(code)) for code in Exit
        ]

    def test_exit_codes_are_those_of_the_errors(self):
        """Each code has the meaning of the one table, in the order of its numbers."""
        table = help_of().partition("Exit codes:")[2].partition("\n\n")[0]
        expected = [f"{code:d} {ending.long}" for code, ending in ENDINGS.items()]
        assert " ".join(table.split()) == " ".join(expected)
        assert list(ENDINGS) == list(Exit)

    def test_it_lists_the_commands(self):
        """Every command is there, with a sentence."""
        text = help_of()
        for command in COMMANDS:
            assert re.search(rf"^  {command} +[A-Z]", text, re.MULTILINE)
        assert "...\n" not in text.partition("Commands:")[2], "none is cut off"

    def test_it_tells_of_the_environment(self):
        """The rule for variables is there, since the options do not name them."""
        assert "ROTATOR_MAX_DURATION=2h" in help_of()
        assert "env var" not in help_of("run")

    @pytest.mark.parametrize("command", COMMANDS)
    def test_completion_makes_no_noise(self, command):
        """The options that only shells need are those of rotator itself."""
        assert "completion" not in help_of(command)

    def test_the_state_is_where_it_is_said_to_be(self):
        """The default place of the state is the one in the help."""
        home = {"HOME": "/home/someone"}
        script = "from rotator.state.database import default_path; print(default_path())"
        for more, place in (
            ({}, "/home/someone/.local/state/rotator/state.db"),
            ({"XDG_STATE_HOME": "/state"}, "/state/rotator/state.db"),
        ):
            clean = {name: one for name, one in os.environ.items() if name != "XDG_STATE_HOME"}
            done = subprocess.run(
                [sys.executable, "-c", script],
                env={**clean, **home, **more},
                capture_output=True,
                text=True,
                check=True,
            )
            assert done.stdout == f"{place}\n"

    def test_the_short_form(self):
        """-h is --help."""
        assert run_here(["run", "-h"]) == run_here(["run", "--help"])


class TestRun:
    """`rotator run --help`."""

    @pytest.mark.parametrize("option", RUN_OPTIONS.split())
    def test_it_has_the_options_of_the_design(self, option):
        """Every option that one server needs is there."""
        assert re.search(rf"(^|\s){option}\b", help_of("run"))


class TestTopics:
    """`rotator help`."""

    @pytest.mark.parametrize("name", ["run", "help"])
    def test_a_command(self, name):
        """On a command it says what the command's --help says."""
        assert run_here(["help", name]).stdout == help_of(name)

    def test_no_topic(self):
        """Without a topic it is `rotator --help`."""
        assert run_here(["help"]).stdout == help_of()

    @pytest.mark.parametrize("name", command_help.TOPICS)
    def test_a_document(self, name):
        """On a document it is that document."""
        assert run_here(["help", name]) == run_here(["docs", name])

    def test_every_document(self):
        """No document has a command's name."""
        assert not COMMANDS.keys() & set(command_help.TOPICS)

    def test_a_topic_that_is_none(self):
        """A topic that is nearly one is refused, and the right one named."""
        done = run_here(["help", "format"])
        assert (done.returncode, done.stdout) == (2, "")
        error, hint = done.stderr.splitlines()
        assert error == "rotator: error: there is no help on format"
        assert hint.startswith("rotator: hint: did you mean `rotator help formats`? ")
