"""The command line as a whole: its ends, its streams, and a variable for every option."""

import json
import os
import subprocess
import sys
from unittest import mock

import pytest

from rotator.cli import help as command_help
from rotator.cli import keys
from support.caches import NO_FILES, Cache, Place
from support.commandline import run
from support.processes import clean, run_here

COMMANDS = command_help.load_all()
OPTIONS = [
    (name, option.opts[0], option)
    for name, command in COMMANDS.items()
    for option in command.params
    if option.param_type_name == "option" and option.opts[0].startswith("--")
    if option.name != "help"
]

# Values that are not the default; "7" where none is given here: it is a number, a name and a path.
VALUES = {
    "--accept": ["undecryptable=1", "too_large=2"],
    "--at": ["2026-11-24T14:30Z"],
    "--cache": ["first"],
    "--by": ["2099-11-24T05:00Z"],
    "--config": ["one.yaml", "two.yaml"],
    "--db": ["3"],
    "--engine": ["dask"],
    "--format": ["json"],
    "--log-format": ["json"],
    "--progress-format": ["json"],
    "--log-level": ["debug"],
    "--max-duration": ["2h"],
    "--namespace": ["/app/oidc"],
    "--match": ["/app/*"],
    "--only-key": ["9f2c41d07be3a655"],
    "--reason": ["bad_tag", "wrong_name"],
    "--quiet": ["30d"],
    "--report": ["report.json"],
    "--secret-provider": ["env://"],
    "--state": ["state.db"],
    "--ttl": ["15m"],
    "--until": ["2099-11-24T05:00Z"],
    "--wait": ["4h"],
    "--writers-switched-at": ["2026-11-24T14:30Z"],
    "--values": ["1000"],  # at least 100
    "--require": ["retirable"],
    "--max-age": ["2h"],
}


def parsed(command, args, env):
    """What the options of a command become."""
    needed = ["x" for one in COMMANDS[command].params if one.param_type_name == "argument"]
    with mock.patch.dict(os.environ, clean(env), clear=True):
        return COMMANDS[command].make_context(command, [*args, *needed]).params


def shell(script, env=None):
    """Run a line of shell in which `rotator` is the command."""
    rotator = f"{sys.executable} -m rotator"
    return subprocess.run(
        ["sh", "-c", script.replace("rotator", rotator)],
        env=clean(env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class TestEnvironment:
    """Every option is also `ROTATOR_<OPTION>`."""

    @pytest.mark.parametrize(
        ("command", "flag", "option"), OPTIONS, ids=[" ".join(one[:2]) for one in OPTIONS]
    )
    def test_a_variable_is_as_good_as_an_option(self, command, flag, option):
        """The variable has the option's name, and does what the option does."""
        name = f"ROTATOR_{flag.removeprefix('--').replace('-', '_').upper()}"
        values = ["1"] if option.is_flag else VALUES.get(flag, ["7"])
        given = [flag] if option.is_flag else [word for one in values for word in (flag, one)]
        without = parsed(command, [], {})
        with_option = parsed(command, given, {})
        assert with_option[option.name] != without[option.name]
        between = os.pathsep if flag == "--config" else " "
        assert parsed(command, [], {name: between.join(values)}) == with_option

    def test_a_letter_that_stands_for_an_option(self):
        """-n is --dry-run."""
        assert parsed("run", ["-n"], {}) == parsed("run", ["--dry-run"], {})

    def test_a_flag_can_be_switched_off(self):
        """A flag with two sides takes 0 for the other one."""
        off = parsed("run", ["--no-progress"], {})
        assert parsed("run", [], {"ROTATOR_PROGRESS": "0"}) == off

    def test_the_command_line_wins(self):
        """An option that is given both ways is the one on the command line."""
        assert parsed("run", ["--page", "7"], {"ROTATOR_PAGE": "50"})["page"] == 7

    def test_the_orchestrators_own_variable_names_the_provider(self):
        """MAVERICS_SECRET_PROVIDER is the secret provider too, and ours comes first."""
        env = {"MAVERICS_SECRET_PROVIDER": "env://"}
        assert parsed("run", [], env)["secret_provider"] == "env://"
        env["ROTATOR_SECRET_PROVIDER"] = "secretfile:///x"
        assert parsed("run", [], env)["secret_provider"] == "secretfile:///x"

    def test_variables_alone_are_enough(self, place, redis):
        """A job in a container can be configured by its environment only."""
        place.cache.put(redis, "name")
        env = {
            "MAVERICS_CONFIG": str(place.file),
            "ROTATOR_STATE": str(place.state),
            "ROTATOR_FORMAT": "json",
            "ROTATOR_DRY_RUN": "true",
            "ROTATOR_LOG_LEVEL": "error",
        }
        done = run(["run"], env=env)
        assert (done.returncode, done.stderr) == (0, b"")
        assert json.loads(done.stdout)["mode"] == "dry-run"


class TestEnds:
    """How commands end that do not get as far as their work."""

    def test_nothing_at_all(self):
        """Without a command the help is shown, on stderr, because a result it is not."""
        done = run([])
        assert (done.returncode, done.stdout) == (2, b"")
        assert done.stderr == run(["--help"]).stdout

    def test_ctrl_c_before_the_work_has_begun(self, monkeypatch):
        """Ctrl-C where nothing waits for a page is 130 and two lines."""
        monkeypatch.setattr(keys, "generate", mock.Mock(side_effect=KeyboardInterrupt))
        done = run_here(["keygen"])
        assert (done.returncode, done.stdout) == (130, "")
        assert done.stderr.splitlines()[0] == "rotator: error: interrupted"
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("error", [RuntimeError("boom"), EOFError(), ValueError(), KeyError(1)])
    def test_a_fault_of_our_own_is_confessed(self, monkeypatch, error):
        """Any other exception is an internal error with the place where it was raised, and 1."""
        monkeypatch.setattr(keys, "generate", mock.Mock(side_effect=error))
        done = run_here(["keygen"])
        assert (done.returncode, done.stdout) == (1, "")
        *trace, said, hint = done.stderr.splitlines()
        assert said == f"rotator: error: internal error: {type(error).__name__}"
        assert hint.startswith("rotator: hint: this is a bug in rotator")
        assert "internal error" in trace[0]
        assert any("cli/keys.py" in line for line in trace)

    def test_the_exceptions_before_it_are_told_too(self, monkeypatch):
        """Of a chain of exceptions each has its place, the first one first; none its words."""

        def generate():
            try:
                {}["one"]
            except KeyError as error:
                raise ValueError("two") from error

        monkeypatch.setattr(keys, "generate", generate)
        stderr = run_here(["keygen"]).stderr
        assert stderr.index("builtins.KeyError") < stderr.index("builtins.ValueError")
        assert "two" not in stderr.replace('ValueError("two")', ""), "but for the line of code"


class TestStreams:
    """Outputs that are full, closed, or no longer read."""

    @pytest.mark.parametrize("command", ["keygen", "--help", "--version"])
    def test_stdout_is_full(self, command):
        """A result that cannot be written is an error, not a success."""
        done = shell(f"rotator {command} >/dev/full")
        assert done.returncode == 1
        assert done.stderr.splitlines() == [
            "rotator: error: the result could not be written: no space left on device",
            "rotator: hint: free some disk space, then run it again",
        ]

    def test_nobody_reads_stdout(self):
        """A reader that has had enough is no reason to complain."""
        done = shell("{ rotator --help; echo $? >&2; } | true")
        assert done.stderr in {"0\n", "1\n"}  # whether it still fitted into the pipe

    def test_stdout_is_closed(self, tmp_path):
        """Without a stdout the work is done all the same, and no file is mistaken for it."""
        state = tmp_path / "state"
        done = shell(f"rotator report --state {state} >&-")
        assert done.returncode == 1
        assert done.stderr.startswith("rotator: error: there is no state file")

    def test_stderr_is_closed(self):
        """Without a stderr there is still the exit code."""
        done = shell("rotator run --config /nowhere 2>&-")
        assert (done.returncode, done.stdout) == (2, "")


class TestHostileName:
    """A configuration may call a cache anything."""

    NAME = "[red]\x1b[31m\x07\x7f\x9b2J\u202eэ\u200b\nforged;`$(id)\\"

    def test_nothing_of_it_is_obeyed(self, server, redis, tmp_path):
        """No output, file, notification or completion has a character that a terminal obeys."""
        place = Place(tmp_path, Cache(server.address, name=self.NAME, settings=NO_FILES))
        place.cache.put(redis, "app:1")
        hook = tmp_path / "hook"
        hook.write_text(
            f'#!/bin/sh\nprintf %s "$ROTATOR_CACHES$ROTATOR_SUMMARY" >{tmp_path}/told\n'
        )
        state, config = ["--state", place.state], ["--config", place.file]
        work, as_json = [*config, *state], ["--format", "json"]
        stored = {"ROTATOR_STATE": str(place.state)}
        out = {one: tmp_path / f"r.{one}" for one in ("json", "html", "prom", "dsse")}
        key = ["--key", place.cache.ids[1]]
        for args in (
            ["run", *work, "--report", out["json"], "--on-change", f"sh {hook}", "-v"],
            ["run", *work, "--html", out["html"], "--progress-format", "json", "--progress"],
            ["run", *work, "-n", "--metrics-file", out["prom"], *as_json, "--log-format", "json"],
            ["purge", *work, *key, "--yes"],
            ["purge", *work, *key, "--yes", *as_json],
            ["fence", *work],
            *(
                ["report", *state, *more]
                for more in ((), as_json, ("--receipt", out["dsse"], *key))
            ),
            *(["fence", *work, "--show", *more] for more in ((), as_json)),
            *(["status", *state, *more] for more in ((), as_json)),
            *(["keys", *config, *more] for more in ((), as_json)),
            *(["check", *config, *more] for more in ((), as_json)),
            *(["detect", *config, *more] for more in ((), as_json)),
            *(["adopt", *work, "--match", "none", *more] for more in (("--yes",), as_json)),
            ["inspect", *config, "app:1"],
            ["run", *config, "--cache", self.NAME + "x"],
            ["tune", *state, "--pause", "--cache", self.NAME],
            ["--version"],
        ):
            done = run_here(args, env=stored)
            said = f"{done.stdout}{done.stderr}"
            assert "internal error" not in said, args
            self.require_plain(said)
        for path in (*out.values(), tmp_path / "told"):
            self.require_plain(path.read_text())
        for typed in ("rotator run --cache ", "rotator purge --key "):
            env = {"_ROTATOR_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": typed}
            done = run_here([], env={**env, "MAVERICS_CONFIG": str(place.file), **stored})
            self.require_plain(done.stdout)
            assert (place.cache.ids[1] in done.stdout) is ("--key" in typed)

    @staticmethod
    def require_plain(said):
        """Each line of it can be printed, and none of them is the name's own."""
        assert said.replace("\n", "").isprintable(), said
        assert "\nforged" not in said
