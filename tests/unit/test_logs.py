"""Tests of the log: its form, and above all what must never be in it."""

import base64
import io
import json
import logging
import secrets
import warnings

import pytest
import structlog

from rotator.console import configure_logging

FORMATS = ["console", "json"]
LEVELS = ["debug", "info", "warning", "error", "critical"]


@pytest.fixture(autouse=True)
def _as_before():
    """Every test configures the log for itself, and leaves it as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream):
    """What was logged as JSON, line by line."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class Keyed:
    """Holds key material, and shows it to whoever asks for its repr."""

    def __init__(self, material):
        self.material = material

    def __repr__(self):
        return f"Keyed({self.material!r}, {self.material.hex()})"


def fail(material):
    """Raise an error that has a cause and a context, with the material in every frame."""
    local = material
    password = password_of(material)
    holder = Keyed(local)
    text = base64.b64encode(local).decode()
    try:
        caused(local)
    except ValueError:
        raise RuntimeError(f"context {len(text + password)} {holder.material!r}")  # noqa: B904 - a context


def caused(material):
    """Raise the second error of the chain, with the first as its cause."""
    try:
        first(material)
    except KeyError as error:
        raise ValueError(f"key {material.hex()}") from error


def first(material):
    """Raise the first error of the chain."""
    password = password_of(material)
    copies = {"material": material, "hex": material.hex(), "password": password}
    raise KeyError(copies["hex"])


def password_of(material):
    """A secret that looks like nothing, so that only its absence protects it."""
    return f"pw{material.hex()[:16]}"


def refuse():
    """Raise what a client library might, with the URL it was given."""
    raise ConnectionError("redis://u:s3cret@h:1 refused")


class TestLeaks:
    """Key material is in no log line, whatever is raised and however it is logged."""

    @pytest.mark.parametrize("level", LEVELS)
    @pytest.mark.parametrize("log_format", FORMATS)
    def test_exceptions(self, log_format, level, capfd):
        """Neither local variables nor messages of a chain of exceptions show a key."""
        material = secrets.token_bytes(32)
        stream = io.StringIO()
        configure_logging(log_format, "debug", stream)
        ways = structlog.get_logger("rotator.test"), logging.getLogger("redis.connection")

        try:
            fail(material)
        except RuntimeError as error:
            for log in ways:
                getattr(log, level)("failed", exc_info=True)
                getattr(log, level)("failed", exc_info=error, stack_info=True)
                getattr(log, level)("failed %s", error)
                log.exception("failed")
            ways[0].msg(
                "failed", error=error, chain=[error, error.__context__], holder=Keyed(material)
            )

        shown = stream.getvalue() + "".join(capfd.readouterr())
        assert shown.count("failed") >= 6
        assert "RuntimeError" in shown
        assert "KeyError" in shown
        assert_absent(material, shown)

    @pytest.mark.parametrize("log_format", FORMATS)
    def test_values(self, log_format):
        """Key material that is logged by mistake is taken out, however deep it is."""
        material = secrets.token_bytes(32)
        stream = io.StringIO()
        configure_logging(log_format, "debug", stream)
        log = structlog.get_logger()

        log.info("key %s", material.hex(), raw=material, text=material.hex().upper())
        log.info("deep", one={"two": [(material,), {material.hex(): material.hex()}]})
        log.bind(holder=Keyed(material)).warning("bound %r", material)

        assert_absent(material, stream.getvalue())

    def test_credentials(self):
        """Credentials in URLs are taken out of events, values and exceptions."""
        stream = io.StringIO()
        configure_logging("json", "debug", stream)
        log = structlog.get_logger()

        log.info("at redis://u:s3cret@h:1", url="hashivault://v/x?token=s3cret")
        try:
            refuse()
        except ConnectionError:
            log.exception("lost")

        assert "s3cret" not in stream.getvalue()
        assert lines(stream)[0]["event"] == "at redis://***@h:1"

    def test_arguments_that_do_not_fit(self, capfd):
        """A record that cannot be rendered is named, without its arguments."""
        stream = io.StringIO()
        configure_logging("json", "info", stream)

        logging.getLogger("redis").warning("%d tries", "s3cret")

        assert lines(stream)[0]["event"] == "a log line could not be rendered"
        assert lines(stream)[0]["logger"] == "redis"
        assert "s3cret" not in stream.getvalue() + "".join(capfd.readouterr())


def assert_absent(material, shown):
    """The material is in the text in no form that could be read back."""
    forms = [
        password_of(material),
        material.hex(),
        material.hex().upper(),
        material.hex(" "),
        repr(material)[2:-1],
        repr(list(material)),
        base64.b64encode(material).decode(),
        base64.urlsafe_b64encode(material).decode(),
    ]
    for form in forms:
        assert form not in shown
        assert json.dumps(form)[1:-1] not in shown


class TestForm:
    """What a log line looks like."""

    def test_json(self):
        """A JSON line begins with time, level and event, and the time is UTC."""
        stream = io.StringIO()
        configure_logging("json", "info", stream)

        structlog.get_logger().info("connected", node="redis-0:6379", page=500)

        (line,) = lines(stream)
        assert list(line) == ["timestamp", "level", "event", "node", "page"]
        assert line["timestamp"].endswith("Z")
        assert (line["level"], line["event"], line["page"]) == ("info", "connected", 500)

    def test_console(self):
        """A console line has time, level, event and fields, and no colours in a file."""
        stream = io.StringIO()
        configure_logging("console", "info", stream)

        structlog.get_logger().warning("connection lost", node="redis-0:6379")

        time, rest = stream.getvalue().split(" ", 1)
        assert time.endswith("Z")
        assert rest.split() == ["[warning", "]", "connection", "lost", "node=redis-0:6379"]

    def test_console_sends_no_control_characters(self):
        """A terminal obeys nothing that is logged, and a value cannot pretend to be a line."""
        stream = io.StringIO()
        configure_logging("console", "info", stream)

        structlog.get_logger().info("a\nb \x1b[2J", name="\x1b]0;x\x07\nfake", deep=["\x1b[2J"])

        assert stream.getvalue().count("\n") == 1
        assert "\x1b" not in stream.getvalue()

    def test_level(self):
        """What is less important than the level is not written."""
        stream = io.StringIO()
        configure_logging("json", "warning", stream)
        log = structlog.get_logger()

        for level in LEVELS:
            getattr(log, level)("line")

        assert [line["level"] for line in lines(stream)] == ["warning", "error", "critical"]

    def test_libraries(self):
        """Libraries are heard from WARNING up, in the same form, and so are Python's warnings."""
        stream = io.StringIO()
        configure_logging("json", "debug", stream)

        logging.getLogger("urllib3").info("not this")
        logging.getLogger("redis").warning("retry %d", 2)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", DeprecationWarning, stacklevel=1)

        retry, old = lines(stream)
        assert list(retry)[:3] == ["timestamp", "level", "event"]
        assert (retry["logger"], retry["event"]) == ("redis", "retry 2")
        assert (old["logger"], old["level"]) == ("py.warnings", "warning")
        assert "old" in old["event"]

    def test_second_call(self):
        """A second call replaces the first: nothing is written twice."""
        first, second = io.StringIO(), io.StringIO()
        configure_logging("json", "info", first)
        log = structlog.get_logger()
        log.info("one")
        configure_logging("json", "info", second)

        log.info("two")
        logging.getLogger("redis").error("three")

        assert [line["event"] for line in lines(first)] == ["one"]
        assert [line["event"] for line in lines(second)] == ["two", "three"]

    def test_lost_terminal(self):
        """A log that can no longer be written does not end the run."""
        stream = Broken()
        configure_logging("console", "info", stream)

        structlog.get_logger().info("one")
        logging.getLogger("redis").error("two")

        assert stream.tries == 2


class Broken(io.StringIO):
    """A stream whose reader is gone."""

    tries = 0

    def write(self, _text):
        """Fail as a closed pipe does."""
        self.tries += 1
        raise BrokenPipeError
