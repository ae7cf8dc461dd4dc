"""Tests of what the terminal is sent."""

import io
import os
import re
import sys
from unittest.mock import patch

import pytest
import structlog
from rich.table import Table
from structlog.testing import capture_logs

from rotator.console import WaitLog, configure_logging, console, print_error, print_result, table
from rotator.errors import ConfigError, ServerError
from rotator.text import escape
from support.terminals import TerminalText, set_width


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        """It always is."""
        return True


def wide_table():
    """A table that would like to be wider than any terminal."""
    table = Table("name", "verdict", style="red", header_style="bold red")
    table.add_row("x" * 300, "in-use")
    return table


class TestErrors:
    """How an error is shown."""

    def test_error_and_hint(self, capsys):
        """An error and its hint are a line each, on stderr."""
        print_error(ConfigError("caches[0].name: missing", hint="give it a name"))

        out, err = capsys.readouterr()
        assert out == ""
        assert err == "rotator: error: caches[0].name: missing\nrotator: hint: give it a name\n"

    def test_without_hint(self):
        """Without a hint there is one line."""
        stream = io.StringIO()

        print_error(ServerError("connection refused"), stream)

        assert stream.getvalue() == "rotator: error: connection refused\n"

    def test_single_line(self):
        """A message of several lines is shown as one, and the terminal obeys nothing in it."""
        stream = io.StringIO()

        print_error(ServerError("ERR one\r\n  two \x1b[2J", hint="a\nb"), stream)

        assert stream.getvalue() == "rotator: error: ERR one two \\x1b[2J\nrotator: hint: a b\n"

    def test_credentials(self):
        """Credentials that a library put into its message are taken out."""
        stream = io.StringIO()

        print_error(ServerError("cannot reach redis://u:s3cret@h:1"), stream)

        assert stream.getvalue() == "rotator: error: cannot reach redis://***@h:1\n"


class TestResults:
    """How a result is printed."""

    @pytest.mark.parametrize("text", ["{}", "{}\n"])
    def test_text(self, capsys, text):
        """A text is printed as it is, with one newline at the end."""
        print_result(text)

        assert capsys.readouterr() == ("{}\n", "")

    def test_piped(self, monkeypatch):
        """Without a terminal a rendering is 100 columns wide and has no colours, even if forced."""
        monkeypatch.setenv("FORCE_COLOR", "1")
        stream = io.StringIO()

        print_result(wide_table(), stream)

        lines = stream.getvalue().splitlines()
        assert max(map(len, lines)) == 100
        assert "\x1b" not in stream.getvalue()

    def test_no_padding(self):
        """No line ends in spaces."""
        stream = io.StringIO()
        table = Table(box=None)
        table.add_row("a")

        print_result(table, stream)

        assert not [line for line in stream.getvalue().splitlines() if line != line.rstrip()]

    def test_terminal_has_colours(self, monkeypatch):
        """On a terminal there are colours and bold words, unless NO_COLOR says otherwise."""
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.delenv("NO_COLOR", raising=False)
        coloured, plain = Terminal(), Terminal()

        print_result(wide_table(), coloured)
        monkeypatch.setenv("NO_COLOR", "1")
        print_result(wide_table(), plain)

        assert "\x1b[1;31m" in coloured.getvalue()
        assert "\x1b" not in plain.getvalue()

    @pytest.mark.parametrize("log_format", ["console", "json"])
    def test_a_terminal_without_colours(self, monkeypatch, log_format):
        """With TERM=dumb neither a table nor a log line has a colour or any other sequence."""
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "dumb")
        stream = Terminal()
        print_result(wide_table(), stream)
        configure_logging(log_format, stream=stream)
        structlog.get_logger().warning("something", cache="one")
        structlog.reset_defaults()
        assert "something" in stream.getvalue()
        assert "\x1b" not in stream.getvalue()

    def test_narrow_terminal(self):
        """A result is no wider than the terminal."""
        leader, follower = os.openpty()
        with os.fdopen(follower, "w", encoding="utf-8") as stream:
            set_width(follower, 70)
            assert console(stream).width == 70
            set_width(follower, 250)
            assert console(stream).width == 100
        os.close(leader)

    @pytest.mark.parametrize("columns", [80, 60])
    def test_ids_stay_whole(self, columns):
        """On a narrow terminal a table breaks anything but the id of a key."""
        with TerminalText(columns) as stream:
            row = (
                "shared-redis",
                "current",
                "373e154874fd5c01",
                "caches[0].encryption.keys.current",
            )
            print_result(table("cache", "role", "key id", "field", rows=[row]), stream)
            shown = stream.getvalue()
        assert "373e154874fd5c01" in shown
        assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines())) <= columns

    def test_encoding(self, monkeypatch):
        """What the encoding of stdout does not know is spelt out instead of failing."""
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))

        print_result("ключ")

        assert raw.getvalue() == b"\\u043a\\u043b\\u044e\\u0447\n"


class TestWaits:
    """What is said of something that is waited for."""

    @pytest.mark.parametrize(("well", "event"), [(True, "no longer waiting"), (False, "gave up")])
    def test_a_line_a_minute(self, well, event):
        """It is said when it begins, again each minute, and when it ends, however often asked."""
        shown = []
        with patch("rotator.console.time") as clock, capture_logs() as lines:
            told = WaitLog(shown.append)
            for seconds in range(2 * 130):
                clock.monotonic.return_value = 1000 + seconds / 2
                told.waits("waiting for the server", node="a:1")
            told.ended(well=well)
        assert [line["event"][: len(event)] for line in lines][-1] == event
        assert lines[-1]["seconds"] == 129.5
        assert [(line["event"], line["node"]) for line in lines[:-1]] == [
            ("waiting for the server", "a:1")
        ] * 3
        assert (set(shown[:-1]), shown[-1]) == ({"for the server"}, None)

    def test_when_it_is_said(self):
        """Between two lines there are 60 seconds, also where the waits between are few."""
        said = []
        with patch("rotator.console.time") as clock, capture_logs() as lines:
            told = WaitLog()
            for seconds in (0, 59, 60, 61, 119, 120, 500, 501):
                clock.monotonic.return_value = seconds
                told.waits("waiting")
                said += [seconds] * len(lines)
                lines.clear()
        assert said == [0, 60, 120, 500]

    def test_what_never_was(self):
        """Where nothing was waited for nothing is said of an end."""
        with capture_logs() as lines:
            WaitLog().ended(well=True)
        assert lines == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ключ", "plain ключ"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\x00\n\u202eb", "a\\x00\\n\\u202eb"),
        ("\udc80", "\\udc80"),
    ],
)
def test_escape(text, expected):
    """What cannot be printed is spelt out."""
    assert expected == escape(text)
