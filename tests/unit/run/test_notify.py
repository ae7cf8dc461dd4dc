"""Whether a run has news, and the command that is told: it ends well, or fails or hangs."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from rotator.errors import ConfigError, Exit
from rotator.run.notify import (
    INHERITED,
    STOPPED,
    Change,
    Event,
    NotificationCommand,
    event_for,
    summary,
)
from support.caches import wait_for

SCRIPTS = Path(__file__).parents[3] / "scripts" / "deploy" / "hooks"


FACTS = {
    "ROTATOR_EVENT": "changed",
    "ROTATOR_EXIT_CODE": "3",
    "ROTATOR_CACHES": "one\ntwo",
    "ROTATOR_CHANGES": '{"cache": "one", "after": "held"}\n{"cache": "two", "after": "held"}',
    "ROTATOR_SUMMARY": 'rotator: "one" \\ two',
    "ROTATOR_REPORT": "/var/lib/rotator/report.json",
}


def script(folder, text, name="hook.sh"):
    """A program that does what *text* says."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def said():
    """What is logged."""
    with structlog.testing.capture_logs() as logs:
        yield logs


class TestParse:
    """What is refused before anything begins."""

    def test_words(self, tmp_path):
        """Words are parted as a shell does, and nothing in them is replaced."""
        path = script(tmp_path, "true")
        hook = NotificationCommand.parse(f"{path} 'two words' $HOME `id` ;*")
        assert hook.words == (str(path), "two words", "$HOME", "`id`", ";*")

    @pytest.mark.parametrize(
        ("command", "message"),
        [
            ("", "no command"),
            ("   ", "no command"),
            ("sh 'unclosed", "quotation mark"),
            ("no-such-program-anywhere", "no program no-such-program-anywhere"),
            ("/nowhere/hook.sh --token hunter2", "no program /nowhere/hook.sh"),
        ],
    )
    def test_refused(self, command, message):
        """What cannot be run is refused, without its arguments, which may be secret."""
        with pytest.raises(ConfigError, match=message) as refused:
            NotificationCommand.parse(command)
        assert "hunter2" not in f"{refused.value}{refused.value.hint}"
        assert refused.value.hint

    def test_not_executable(self, tmp_path):
        """A file that may not be executed is no program."""
        path = tmp_path / "hook.sh"
        path.write_text("#!/bin/sh\n")
        with pytest.raises(ConfigError, match="no program"):
            NotificationCommand.parse(str(path))

    def test_repr(self):
        """Its arguments are not shown."""
        assert "hunter2" not in repr(NotificationCommand.parse("sh --token hunter2"))


class TestCall:
    """What becomes of it."""

    def test_environment(self, tmp_path, monkeypatch, said):
        """It gets the facts, what INHERITED names, and nothing else."""
        for name in ("VAULT_TOKEN", "ROTATOR_SECRET_PROVIDER", "AWS_SECRET_ACCESS_KEY", "KEY_1"):
            monkeypatch.setenv(name, "hunter2")
        monkeypatch.setenv("TZ", "Europe/Berlin")
        out = tmp_path / "env.json"
        code = f"import json, os; json.dump(dict(os.environ), open({str(out)!r}, 'w'))"
        assert NotificationCommand((sys.executable, "-c", code)).call(FACTS)
        got = json.loads(out.read_text())
        assert {name: got[name] for name in FACTS} == FACTS
        # Python itself may add LC_CTYPE.
        assert set(got) - set(FACTS) - {"LC_CTYPE"} <= set(INHERITED)
        assert (got["TZ"], got["PATH"]) == ("Europe/Berlin", os.environ["PATH"])
        assert "hunter2" not in out.read_text()
        assert [line["log_level"] for line in said] == ["debug"]

    def test_failed(self, tmp_path, said):
        """One that fails is a warning with what it said, without what looks like a secret."""
        path = script(tmp_path, f"echo out; echo https://u:hunter2@host {'0a' * 32} >&2; exit 7")
        assert not NotificationCommand((str(path),)).call(FACTS)
        (line,) = said
        assert (line["log_level"], line["exit_code"]) == ("warning", 7)
        assert line["output"].startswith("out\nhttps://")

    def test_hangs(self, tmp_path, said):
        """One that hangs is ended when its time is over, with all that it has started."""
        pid = tmp_path / "pid"
        path = script(tmp_path, f"sleep 600 & echo $! > {pid}; wait")
        begun = time.monotonic()
        assert not NotificationCommand((str(path),), seconds=1.0).call(FACTS)
        assert time.monotonic() - begun < 10
        (line,) = said
        assert (line["log_level"], line["seconds"]) == ("warning", 1.0)
        assert line["event"] == "the command of --on-change did not end in time"
        wait_for(lambda: not alive(int(pid.read_text())))

    def test_leaves_something_behind(self, tmp_path):
        """What it leaves to itself, with its output, is not waited for."""
        path = script(tmp_path, f"sleep 600 & echo $! > {tmp_path / 'pid'}")
        begun = time.monotonic()
        assert NotificationCommand((str(path),)).call(FACTS)
        assert time.monotonic() - begun < 10
        os.kill(int((tmp_path / "pid").read_text()), 9)

    def test_says_too_much(self, tmp_path, said):
        """Of a flood of output only the end is kept."""
        path = script(tmp_path, "yes | head -c 1000000; echo the end; exit 1")
        assert not NotificationCommand((str(path),)).call(FACTS)
        assert said[0]["output"].endswith("the end")
        assert len(said[0]["output"]) <= 4000

    def test_reads_nothing(self, tmp_path):
        """There is nothing on its stdin."""
        path = script(tmp_path, f"cat > {tmp_path / 'in'}")
        assert NotificationCommand((str(path),)).call(FACTS)
        assert (tmp_path / "in").read_bytes() == b""

    @pytest.mark.parametrize("left", ["nothing", "no program"])
    def test_gone_meanwhile(self, tmp_path, said, left):
        """One that was there before and cannot be run now is a warning."""
        path = script(tmp_path, "true")
        hook = NotificationCommand.parse(str(path))
        if left == "nothing":
            path.unlink()
        else:
            path.write_bytes(b"\x7fELF or not")
        assert not hook.call(FACTS)
        assert said[0]["event"] == "the command of --on-change could not be run"

    def test_large_facts(self, tmp_path):
        """Facts that are too many for a variable are cut at the end of a line."""
        out = tmp_path / "changes"
        path = script(tmp_path, f'printf %s "$ROTATOR_CHANGES" > {out}')
        facts = {
            **FACTS,
            "ROTATOR_CHANGES": "\n".join('{"cache": "ä\\u0000"}' for _ in range(9999)),
        }
        assert NotificationCommand((str(path),)).call(facts)
        lines = out.read_text().splitlines()
        assert 1000 < len(lines) < 9999
        assert {json.loads(line)["cache"] for line in lines} == {"ä\0"}


def alive(pid):
    """Whether a process runs: a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestScripts:
    """The examples in scripts/deploy/hooks."""

    @pytest.mark.parametrize("name", ["webhook.sh", "mail.sh"])
    def test_syntax(self, name):
        """Each is an executable script for any POSIX shell."""
        path = SCRIPTS / name
        assert os.access(path, os.X_OK)
        assert path.read_text().startswith("#!/bin/sh\n")
        subprocess.run(["sh", "-n", path], check=True)

    def test_webhook(self, tmp_path, said):
        """The webhook gets one JSON document, and its URL is on no command line."""
        assert shutil.which("curl"), "the tests need curl"
        got = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                got.append(
                    (self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                )
                self.send_response(500 if "broken" in self.path else 200)
                self.end_headers()

            def log_message(self, *_):
                pass

        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                results = []
                for place in ("hook?token=hunter2", "broken"):
                    file = tmp_path / "url"
                    file.write_text(f"http://127.0.0.1:{server.server_port}/{place}\n")
                    hook = NotificationCommand.parse(f"{SCRIPTS / 'webhook.sh'} {file}")
                    results.append(hook.call(FACTS))
            finally:
                server.shutdown()
                thread.join()
        assert results == [True, False]
        assert [line["log_level"] for line in said] == ["debug", "warning"]
        path, document = got[0]
        assert path == "/hook?token=hunter2"
        assert document == {
            "text": 'rotator: "one" \\ two',
            "event": "changed",
            "exit_code": 3,
            "changes": [{"cache": "one", "after": "held"}, {"cache": "two", "after": "held"}],
        }

    def test_webhook_without_changes(self, tmp_path):
        """Where nothing changed the list is empty, and a missing file is a failure."""
        hook = NotificationCommand.parse(f"{SCRIPTS / 'webhook.sh'} {tmp_path / 'none'}")
        assert not hook.call({**FACTS, "ROTATOR_CHANGES": ""})

    def test_mail(self, tmp_path, monkeypatch):
        """The mail has a subject, the facts and the changes."""
        script(tmp_path, f'[ "$1" = -t ] && cat > {tmp_path / "mail"}', name="sendmail")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert NotificationCommand.parse(f"{SCRIPTS / 'mail.sh'} ops@example.com").call(FACTS)
        head, _, body = (tmp_path / "mail").read_text().partition("\n\n")
        assert head.splitlines()[:2] == ["To: ops@example.com", 'Subject: rotator: "one" \\ two']
        assert "cache: one\ncache: two\n" in body
        assert FACTS["ROTATOR_CHANGES"] in body
        assert "report: /var/lib/rotator/report.json" in body


RETIRABLE = Change("a", "9f2c41d07be3a655", "caches[0].encryption.keys.old[0]", "held", "retirable")


CODES = [code for code in Exit if code != Exit.REQUIRED]  # 6 is of `report`


@pytest.mark.parametrize("before", [None, *CODES])
@pytest.mark.parametrize("code", [Exit.FAILED, Exit.USAGE, Exit.EMPTY])
@pytest.mark.parametrize("changes", [[], [RETIRABLE]])
def test_failed(code, before, changes):
    """A run that failed is always told, whatever was before it and whatever changed."""
    assert event_for(code, before, changes) is Event.FAILED


@pytest.mark.parametrize("code", [Exit.OK, Exit.NOT_MOVED, *STOPPED])
def test_changed(code):
    """A verdict that is another is told, even if the run was stopped."""
    assert event_for(code, code, [RETIRABLE]) is Event.CHANGED


@pytest.mark.parametrize(
    ("code", "event"), [(Exit.NOT_MOVED, Event.CHANGED), (Exit.BUSY, Event.FAILED)]
)
def test_newly(code, event):
    """These are told when the run before did not end like that."""
    assert {event_for(code, before, []) for before in (None, *CODES) if before != code} == {event}
    assert event_for(code, code, []) is None


@pytest.mark.parametrize("before", [None, *CODES])
def test_recovered(before):
    """That all is well is told once, after something that was told."""
    told = before in {Exit.FAILED, Exit.USAGE, Exit.NOT_MOVED, Exit.EMPTY, Exit.BUSY}
    assert event_for(Exit.OK, before, []) is (Event.RECOVERED if told else None)


@pytest.mark.parametrize("code", STOPPED)
@pytest.mark.parametrize("before", [None, *CODES])
def test_stopped(code, before):
    """A run that was stopped is as it should be."""
    assert event_for(code, before, []) is None


@given(st.lists(st.sampled_from(CODES), min_size=1))
def test_the_same_state_is_told_once(codes):
    """However runs end, only failures are told again while nothing is new."""
    before, told = None, None
    for code in codes:
        event = event_for(code, before, [])
        if code in STOPPED:
            assert event is None
            continue
        if code == before and code not in {Exit.FAILED, Exit.USAGE, Exit.EMPTY}:
            assert event is None
        if event is Event.RECOVERED:
            assert told in {Event.FAILED, Event.CHANGED}
        if event is not None:
            told = event
        before = code


@pytest.mark.parametrize(
    ("code", "error", "changes", "said"),
    [
        (1, "no way to it", [], "rotator failed (exit code 1): no way to it"),
        (0, None, [RETIRABLE], "rotator: a: key 9f2c41d0 is retirable (was held)"),
        (
            4,
            None,
            [Change("b", "1d77e0a94c5b2f38", "old[0]", None, "in-use")],
            "rotator: b: key 1d77e0a9 is in-use; as it is (exit code 4)",
        ),
        (0, None, [], "rotator: as it is (exit code 0)"),
    ],
)
def test_summary(code, error, changes, said):
    """One line says what happened."""
    assert summary(code, error, "as it is", changes) == said


def test_a_long_summary_is_cut():
    """Of many changes some are told, and how many more there are."""
    said = summary(0, None, "complete", [RETIRABLE] * 30)
    assert said.count("9f2c41d0") == 5
    assert said.endswith("; and 25 more")
