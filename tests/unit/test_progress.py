"""Tests of the progress bar, on a real pseudo-terminal."""

import io
import json
import logging
import os
import re
import threading
from contextlib import closing, contextmanager

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from tqdm.utils import disp_len

from rotator.console import configure_logging
from rotator.progress import Meter, Progress, clock, start_progress, write_line
from support.terminals import TerminalText, set_width


class Screen:
    """
    A pseudo-terminal, and what it shows: `lines` above the last one, which is `current`.

    It obeys only carriage return and line feed: whatever else a bar might send is a failure.
    """

    def __init__(self, columns=100):
        self._leader, follower = os.openpty()
        self.stream = os.fdopen(follower, "w", encoding="utf-8", errors="backslashreplace")
        self.columns = columns
        self.resize(columns)
        self.raw = b""
        self.lines, self.current = [], ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def resize(self, columns):
        """Make it so many columns wide."""
        set_width(self.stream, columns)

    def _read(self):
        """Take in everything until the other end is closed, so that no writer ever waits."""
        while chunk := self._next():
            self.raw += chunk

    def _next(self):
        """What was written, or nothing at the end."""
        try:
            return os.read(self._leader, 65536)
        except OSError:  # how Linux says that the other end is closed
            return b""

    def end(self):
        """Close the terminal."""
        self.stream.close()
        self._reader.join()
        os.close(self._leader)

    def close(self):
        """Close the terminal and work out what it shows."""
        self.end()
        for text in re.split("(?<=\n)", self.raw.decode().replace("\r\n", "\n")):
            *drawn, last = text.split("\r")
            # A bar that reached the last column would go on in the next line.
            assert all(disp_len(bar) < self.columns for bar in drawn)
            self.current = overwritten([*drawn, last.removesuffix("\n")])
            assert self.current.isprintable()
            if text.endswith("\n"):
                self.lines.append(self.current)


def overwritten(texts):
    """What is left of texts that were written over each other from the first column."""
    cells = {}
    for text in texts:
        cells.update(enumerate(text))
    return "".join(cells[column] for column in sorted(cells)).rstrip()


@contextmanager
def screen(columns=100):
    """A screen that is closed, and so complete, after the block."""
    opened = Screen(columns)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def _logging():
    """Leave the log as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


class TestWhether:
    """When a bar is drawn at all."""

    def test_not_on_a_file(self):
        """Without a terminal nothing is drawn."""
        stream = io.StringIO()

        with start_progress("shared-redis", "rotating", total=10, stream=stream) as progress:
            progress.advance(10, rotated=10)
            progress.wait("memory")

        assert type(progress) is Progress
        assert stream.getvalue() == ""

    def test_forced(self):
        """A bar that is asked for is drawn anywhere."""
        stream = io.StringIO()

        with start_progress("shared-redis", "looking", progress=True, stream=stream):
            pass

        assert "shared-redis: looking" in stream.getvalue()

    def test_another_word(self):
        """What becomes of values is not always that they are rotated."""
        with (
            screen() as shown,
            start_progress(
                "shared-redis", "deleting", total=10, done="deleted", stream=shown.stream
            ) as progress,
        ):
            progress.advance(visits=4, rotated=3)
            progress.wait("rate")

        assert "3 deleted" in shown.raw.decode()

    def test_terminal(self):
        """On a terminal a bar is drawn, and when it is closed the line is empty again."""
        with (
            screen(150) as shown,
            start_progress("shared-redis", "rotating", total=1000, stream=shown.stream) as progress,
        ):
            progress.advance(visits=400, rotated=390, left=1)
            progress.wait("redis-1 is 12 MB behind")

        drawn = shown.raw.decode()
        assert "shared-redis: rotating" in drawn
        assert "400 of 1,000 visits" in drawn
        assert "390 rotated" in drawn
        assert "1 left under old keys" in drawn
        assert "waiting: redis-1 is 12 MB behind" in drawn
        assert (shown.lines, shown.current) == ([], "")

    def test_goes_on(self):
        """The bar begins where an earlier run was, and counts nodes that are done, each once."""
        with (
            screen(200) as shown,
            start_progress("a", "rotating", total=1000, stream=shown.stream) as progress,
        ):
            progress.begin_nodes({"a:1": 400, "b:1": 300, "c:1": 300})
            progress.wait("the nodes")
            progress.resume(600, 500, 7)
            progress.advance(visits=100, rotated=90)
            for node in ("a:1", "b:1", "a:1", "d:1"):
                progress.end_node(node)
            progress.wait("the end")

        first, *_, last = [one for one in shown.raw.decode().split("\r") if "waiting" in one]
        assert "0 of 3 nodes, waiting: the nodes" in first
        assert " 70%  700 of 1,000 visits" in last
        assert "2 of 3 nodes, waiting: the end, 590 rotated, 7 left under old keys" in last

    @pytest.mark.parametrize(("locale", "is_ascii"), [("ANSI_X3.4-1968", True), ("UTF-8", False)])
    def test_in_the_c_locale(self, monkeypatch, locale, is_ascii):
        """Where the locale knows ASCII alone the bar is of ASCII, whatever Python would write."""
        monkeypatch.setattr("rotator.progress.getencoding", lambda: locale)
        with (
            screen() as shown,
            start_progress("box", "rotating", total=1000, stream=shown.stream) as progress,
        ):
            assert progress._meter.ascii_only is is_ascii

    def test_switched_off(self):
        """On a terminal nothing is drawn if that is asked for."""
        with (
            screen() as shown,
            start_progress("a", "looking", progress=False, stream=shown.stream) as progress,
        ):
            progress.advance(1)

        assert shown.raw == b""


class TestTogether:
    """A bar, threads and log lines on one terminal."""

    @pytest.mark.usefixtures("_logging")
    @pytest.mark.parametrize("columns", [100, 40])
    def test_log_lines_are_never_torn(self, columns):
        """Every log line stands whole and alone on its line, whoever writes and draws meanwhile."""
        threads, each = 4, 100
        with screen(columns) as shown:
            configure_logging("json", "info", shown.stream)
            log, library = structlog.get_logger(), logging.getLogger("redis")
            progress = start_progress("shared-redis", "rotating", total=350, stream=shown.stream)

            def work(thread):
                for number in range(each):
                    progress.advance(1, rotated=1)
                    progress.wait(f"reason {number}" if number % 3 else None)
                    log.info("page", thread=thread, number=number)
                    library.warning("retry %d %d", thread, number)

            workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            progress.close()

        lines = [json.loads(text) for text in shown.lines]
        pages = [(line["thread"], line["number"]) for line in lines if line["event"] == "page"]
        retries = [line["event"] for line in lines if line["event"] != "page"]
        pairs = [(thread, number) for thread in range(threads) for number in range(each)]
        assert sorted(pages) == pairs
        assert sorted(retries) == sorted(f"retry {thread} {number}" for thread, number in pairs)
        assert shown.current == ""
        assert shown.raw.count(b"\r") > threads * each

    def test_counts_of_threads_add_up(self):
        """No visit is lost when several threads advance at once."""
        stream = io.StringIO()
        with start_progress("a", "looking", progress=True, stream=stream) as progress:

            def work():
                for _ in range(2000):
                    progress.advance(visits=1, rotated=1)

            workers = [threading.Thread(target=work) for _ in range(4)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            progress.wait("the end")

            assert "8,000 visits" in stream.getvalue()
            assert "8,000 rotated" in stream.getvalue()

    def test_bar_returns_after_a_line(self):
        """After a line is written the bar is below it."""
        with screen() as shown:
            progress = start_progress("a", "looking", total=10, stream=shown.stream)
            write_line("one\ntwo", shown.stream)
            # Left open, as by a process that was killed.

        assert shown.lines == ["one", "two"]
        assert shown.current.startswith("a: looking")
        assert type(progress) is not Progress

    def test_repeated_reason_is_drawn_once(self):
        """A wait that is reported again and again does not make the bar flicker."""
        with screen() as shown:
            progress = start_progress("a", "looking", total=10, stream=shown.stream)
            for _ in range(50):
                progress.wait("memory")
                progress.wait(None)
            progress.close()

        assert shown.raw.count(b"waiting: memory") == 1

    def test_terminal_that_is_gone(self):
        """A terminal that is gone ends the bar, not the sweep, and no other thread waits for it."""
        reader, writer = os.pipe()
        stream = os.fdopen(writer, "w")
        progress = start_progress("a", "looking", total=10, progress=True, stream=stream)
        os.close(reader)

        progress.wait("memory")
        progress.advance(5)
        write_line("line", stream)
        progress.close()
        elsewhere = io.StringIO()
        other = threading.Thread(target=write_line, args=("line", elsewhere), daemon=True)
        other.start()
        other.join(10)
        assert elsewhere.getvalue() == "line\n"

        with pytest.raises(BrokenPipeError):
            stream.close()


class Narrowing(TerminalText):
    """
    A terminal that wraps its last line when it becomes narrower, as xterm and VTE do.

    Its width is that of a pseudo-terminal. It obeys carriage return, cursor up and erase below;
    `rows` are what it shows, below a line that was there before.
    """

    def __init__(self, columns):
        self.columns, self.rows, self._row, self._column = columns, ["a line", ""], 1, 0
        self.drawn = ""
        super().__init__(columns)

    def resize(self, columns):
        """Wrap the last line anew; the cursor stays behind the same character."""
        super().resize(columns)
        (above, text), at = self.rows, self._column
        self.rows = [above, *(text[n : n + columns] for n in range(0, len(text) or 1, columns))]
        row, column = divmod(max(at - 1, 0), columns)
        self.columns, self._row, self._column = columns, 1 + row, column + (at > 0)

    def write(self, text):
        """Show it."""
        for part in re.findall(r"\x1b\[\d+A|\x1b\[J|\r|[^\r]+", text):
            if part == "\r":
                self._column = 0
            elif part == "\x1b[J":
                self.rows = [*self.rows[: self._row], self.rows[self._row][: self._column]]
            elif part.startswith("\x1b"):
                self._row -= int(part[2:-1])
            else:
                end = self._column + len(part)
                assert end < self.columns, "it would go on in the next row"
                row = self.rows[self._row].ljust(self._column)
                self.rows[self._row] = row[: self._column] + part + row[end:]
                self._column, self.drawn = end, part.rstrip()
        return len(text)


class TestSizes:
    """A terminal the width of which changes while the bar is up."""

    @pytest.mark.parametrize("last", ["rate", "a reason that is longer than any other one was"])
    @pytest.mark.parametrize(
        "sizes", [(120, 50, 30), (120, 90, 30), (100, 20, 100), (90, 89, 88), (60, 120, 40)]
    )
    def test_no_row_is_left(self, last, sizes, monkeypatch):
        """However narrow it becomes, the bar of that width stands alone in one row."""
        monkeypatch.setenv("TERM", "xterm")
        with closing(Narrowing(sizes[0])) as shown:
            progress = start_progress("shared-redis", "looking", total=10, stream=shown)
            for columns in sizes:
                shown.resize(columns)
                for reason in ("latency, and so on and so forth", last):
                    progress.wait(reason)
                    assert reason in shown.drawn or columns < 100
                    assert [row.rstrip() for row in shown.rows] == ["a line", shown.drawn]
            progress.close()
            assert [row.rstrip() for row in shown.rows] == ["a line", ""]

    def test_a_terminal_that_obeys_nothing(self, monkeypatch):
        """With TERM=dumb no sequence is sent, whatever the width becomes."""
        monkeypatch.setenv("TERM", "dumb")
        with screen() as shown:
            progress = start_progress("shared-redis", "looking", total=10, stream=shown.stream)
            progress.wait("a reason that makes the line as long as that: eighty columns, or more")
            shown.resize(40)
            progress.wait("rate")
            progress.close()
        assert b"\x1b" not in shown.raw


BAR = {"elapsed": 80.0, "rate": 4230.0, "rotated": 7}


def line(*, columns, title="shared-redis: rotating", ascii_only=False, **given):
    """The bar as text in that many *columns*; one more than them stays free."""
    now = {name: given.pop(name) for name in ("total", "elapsed", "rate")}
    now |= {"n": given.pop("visits"), "ncols": columns + 1}
    return Meter(title, "rotated", ascii_only, **given).text(**now)


class TestLine:
    """What the bar says."""

    def test_estimate(self):
        """With an estimate the bar has a share, a speed and a time to go."""
        text = line(**BAR, visits=341_200, total=812_204, columns=120)

        assert text.startswith("shared-redis: rotating  █")
        assert text.endswith(" 42%  341,200 of 812,204 visits, 4,230/s, 1:51 to go, 7 rotated")

    def test_passed_estimate(self):
        """When visits pass the estimate it is said what was expected, not more than 100%."""
        text = line(**BAR, visits=812_300, total=812_204, columns=120)

        assert "812,300 visits (expected 812,204), 4,230/s, 1:20, 7 rotated" in text
        assert "%" not in text

    @pytest.mark.parametrize("total", [None, 0])
    def test_no_estimate(self, total):
        """Without an estimate the bar counts."""
        text = line(**BAR, visits=1_000, total=total, columns=120)

        assert text == "shared-redis: rotating  1,000 visits, 4,230/s, 1:20, 7 rotated"

    def test_not_whole_before_the_end(self):
        """100% is shown only when the last visit is done."""
        assert " 99%" in line(**BAR, visits=999_999, total=1_000_000, columns=120)
        assert "100%" in line(**BAR, visits=1_000_000, total=1_000_000, columns=120)

    def test_wait_is_kept(self):
        """A reason to wait is kept where there is no room for sums."""
        bar = BAR | {"reason": "redis-1 is 12 MB behind", "rotated": 341_200}

        text = line(**bar, visits=341_200, total=812_204, columns=79)

        assert text.endswith(" 42%  4,230/s, 1:51 to go, waiting: redis-1 is 12 MB behind")

    @pytest.mark.parametrize(
        ("columns", "expected"),
        [
            (149, "341,200 of 812,204 visits, 4,230/s, 1:51 to go, {}, {}"),
            (128, "341,200 of 812,204, 4,230/s, 1:51 to go, {}, 7 rotated, 3 under old keys"),
            (117, "341,200 of 812,204, 4,230/s, 1:51 to go, {}, 3 under old keys"),
            (99, "4,230/s, 1:51 to go, {}, 3 under old keys"),
            (79, "4,230/s, 1:51 to go, 2 of 3 nodes, waiting: rate"),
            (60, "4,230/s, 1:51 to go, waiting: rate"),
            (45, "4,230/s, 1:51 to go"),
            (30, "4,230/s, 1:51 to go"),
        ],
    )
    def test_words_go_first(self, columns, expected):
        """The narrower the terminal, the fewer words; percentage, speed and time stay."""
        more_words = ["2 of 3 nodes, waiting: rate", "7 rotated, 3 left under old keys"]
        more = {"reason": "rate", "nodes": {"a", "b", "c"}, "ended": {"a", "b"}}

        text = line(**BAR, **more, left=3, visits=341_200, total=812_204, columns=columns)

        assert text.endswith(f" 42%  {expected.format(*more_words)}")

    def test_goes_on(self):
        """What an earlier run visited counts for the share, and not for the speed."""
        shown = {"total": 100_000, "elapsed": 10.0, "rate": None, "ncols": 121, "initial": 58_000}
        text = Meter("a: rotating", "rotated", False).text(n=60_000, **shown)

        assert " 60%  60,000 of 100,000 visits, 200/s, 3:20 to go" in text

    def test_ascii(self):
        """A terminal without UTF-8 gets a bar of ASCII."""
        text = line(**BAR, visits=341_200, total=812_204, columns=150, ascii_only=True)

        assert text.isascii()
        assert "###" in text

    @given(
        st.fixed_dictionaries(
            {
                "title": st.text(st.characters(categories=["L", "N"]), max_size=60),
                "visits": st.integers(0, 10**12),
                "total": st.none() | st.integers(0, 10**12),
                "elapsed": st.floats(0, 10**7),
                "rate": st.none() | st.floats(0, 10**7),
                "reason": st.none() | st.text(st.characters(categories=["L", "N"]), max_size=60),
                "rotated": st.integers(0, 10**12),
                "left": st.integers(0, 10**12),
                "columns": st.integers(1, 200),
                "ascii_only": st.booleans(),
            }
        )
    )
    def test_never_too_long(self, bar):
        """The line is never longer than the terminal is wide."""
        assert disp_len(line(**bar)) <= bar["columns"]

    @pytest.mark.parametrize(
        ("seconds", "expected"),
        [(0, "0:00"), (7.9, "0:07"), (754, "12:34"), (3723, "1:02:03"), (360_000, "100:00:00")],
    )
    def test_clock(self, seconds, expected):
        """Seconds are shown as a clock shows them."""
        assert expected == clock(seconds)
