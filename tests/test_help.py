"""What `--help` says: enough to work with, short enough to read, and true."""

import re
import shlex

import pytest
import typer
from running import run_here

from rotator import cli
from rotator.errors import Exit

COMMAND = typer.main.get_command(cli.app)
COMMANDS = list(COMMAND.commands)

# The design's options of `run` that one server needs.
RUN_OPTIONS = """
    --config --secret-provider --cache --dry-run --no-verify --quiet --only-key --max-duration
    --page --workers --accept --allow-empty --fresh --state --report --format --log-format
    --log-level --progress --no-progress
"""
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

    @pytest.mark.parametrize("command", [None, *COMMANDS])
    def test_it_fits_100_columns(self, command):
        """However wide the terminal is, no line is longer than 100 columns."""
        text = help_of(*([command] if command else []), columns=200)
        assert max(map(len, text.splitlines())) <= 100

    @pytest.mark.parametrize("command", [None, "run"])
    def test_it_fits_80_columns(self, command):
        """On a terminal of 80 columns no line of the main commands is broken."""
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

    @pytest.mark.parametrize("example", EXAMPLES)
    def test_the_examples_are_commands(self, example):
        """What the examples show can be typed: every option and argument in it exists."""
        name, *rest = shlex.split(example)
        COMMAND.commands[name].make_context(name, rest)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_option_is_explained(self, command):
        """No option and no argument stands there without a word."""
        for one in COMMAND.commands[command].params:
            assert one.help, one.name


class TestRotator:
    """`rotator --help`."""

    def test_it_lists_the_exit_codes(self):
        """Every exit code is in the table, and no other."""
        table = help_of().partition("Exit codes:")[2].partition("\n\n")[0]
        assert re.findall(r"^ {2,6}(\d+)  ", table, re.MULTILINE) == [
            str(int(code)) for code in Exit
        ]

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

    def test_completion_makes_no_noise(self):
        """There are no options that only shells need."""
        assert "completion" not in help_of()

    def test_the_short_form(self):
        """-h is --help."""
        assert run_here(["run", "-h"]) == run_here(["run", "--help"])


class TestRun:
    """`rotator run --help`."""

    @pytest.mark.parametrize("option", RUN_OPTIONS.split())
    def test_it_has_the_options_of_the_design(self, option):
        """Every option that one server needs is there."""
        assert re.search(rf"(^|\s){option}\b", help_of("run"))
