"""
No key, password, credential URL or plaintext in anything that rotator writes.

Secrets are planted wherever it gets them from; then every command runs, well and badly, and all of
its output is searched. What must not be found is looked for in every form that it might take.
"""

import base64
import itertools
import json
import secrets
import signal
from functools import partial
from pathlib import Path

import pytest

from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key
from rotator.demo.local_server import LocalServer
from rotator.server import context
from rotator.server.connection import Connection
from support.caches import Cache, Place, fill
from support.commandline import run
from support.processes import Running, carry_out, job, run_here
from support.respfront import RespFront, bulk, listed, text_in

LEVELS = ["debug", "info", "warning", "error"]
FORMATS = ["console", "json"]
LOGS = list(itertools.product(LEVELS, FORMATS))


class Secrets:
    """What was planted, and the search for it."""

    def __init__(self):
        self.password = f"pw-{secrets.token_hex(12)}"
        self.plaintext = f"plain-{secrets.token_hex(12)}".encode()
        self.url_token = f"token-{secrets.token_hex(12)}"
        self.keys = []

    @property
    def url(self):
        """A provider's URL with a user, a password and a token in it."""
        return f"stranger://user:{self.password}@host/path?token={self.url_token}"

    def forms(self):
        """Every form in which a secret might be written down."""
        yield from (self.password.encode(), self.url_token.encode())
        for material in [self.plaintext, *map(bytes.fromhex, self.keys)]:
            yield from (material, material.hex().encode(), material.hex().upper().encode())
            yield repr(material)[2:-1].encode()
            # Base64 of a part: the padding depends on what stands before.
            yield base64.b64encode(material)[:-4]
            yield base64.urlsafe_b64encode(material)[:-4]
            yield material.hex()[:40].encode()

    def assert_not_in(self, *texts):
        """None of them is in any of these."""
        for text in texts:
            data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
            for form in self.forms():
                assert form not in data, data[:2000].decode(errors="replace")


@pytest.fixture
def planted():
    """Fresh secrets."""
    return Secrets()


@pytest.fixture(scope="module")
def locked():
    """A server that asks for a password, and the password."""
    password = f"pw-{secrets.token_hex(12)}"
    with LocalServer("--requirepass", password) as running:
        yield running, password


@pytest.fixture
def guarded(locked, planted, tmp_path):
    """A cache on that server, with planted plaintexts: values of every kind among them."""
    server, planted.password = locked
    cache = Cache(server.address, redis={"password": planted.password})
    planted.keys = cache.keys
    place = Place(tmp_path, cache)
    document = json.loads(place.file.read_text())
    document["caches"][0]["hashing"] = {"keys": {"disabled": True}}
    place.file.write_text(json.dumps(document))
    with server.client(password=planted.password) as client:
        client.flushall()
        fill(client, cache, 30)
        for number, form in enumerate(("gcm", "gcm-base64", "sealed")):
            cache.put(client, f"ns:{number}", planted.plaintext, key=number, form=form)
        cache.put(client, "nested", cache.seal("nested", planted.plaintext))
        client.set("plain", planted.plaintext)
        client.rename("ns:2", "moved")
    return place


def files(folder):
    """What every file in a folder holds, but for the configuration."""
    return [
        path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() and path.name != "maverics.json"
    ]


class TestCommands:
    """Every command, in a process of its own."""

    def test_no_process_shows_a_secret(self, guarded, planted):
        """The commands that work on values leave none of them on stdout, stderr or the disk."""
        config = ["--config", guarded.file]
        name = ["--namespace", "ns", "new"]
        done = run(["set", *config, *name], input=planted.plaintext)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        for args, code in [
            (["check", *config], 0),
            (["detect", *config], 3),
            (["inspect", *config, "ns:0"], 0),
            (job(guarded), 3),
        ]:
            done = run(args)
            assert done.returncode == code, done.stderr.decode()
            planted.assert_not_in(done.stdout, done.stderr)
        done = run(["get", *config, *name])
        assert (done.stdout, done.stderr) == (planted.plaintext, b""), "what get is asked for"
        planted.assert_not_in(*files(guarded.folder))

    def test_no_command_shows_a_secret(self, guarded, planted):
        """The others do not either, as a table or as JSON, and whether they succeed or not."""
        config = ["--config", guarded.file]
        name = ["--namespace", "ns"]
        work = [*config, "--state", guarded.state]
        run_here(job(guarded, "--dry-run"))
        for args, code in [
            (["keys", *config], 0),
            (["keys", *config, "--format", "json"], 0),
            (["check", *config, "--format", "json"], 0),
            (["detect", *config, "--format", "json"], 3),
            (["inspect", *config, "plain"], 3),
            (["inspect", *config, "plain", "--format", "json", "--reveal"], 3),
            (["inspect", *config, "moved"], 3),
            (["inspect", *config, "nested"], 0),
            (["delete", *config, *name, "none"], 1),
            (["get", *config, *name, "none"], 1),
            (["get", *config, "none"], 2),
            (["set", *config, *name, "name", planted.plaintext.decode()], 2),
            (["purge", *config, "--key", guarded.cache.ids[1], "--dry-run"], 0),
            (["purge", *config, "--undecryptable", "--dry-run", "--show-names"], 0),
            (["purge", *config, "--key", guarded.cache.keys[1]], 2),
            (["purge", *work, "--undecryptable", "--yes", "--format", "json"], 0),
            (["adopt", *config, "--match", "*", "--dry-run"], 0),
            (["adopt", *work, "--match", "pl*", "--yes", "--format", "json"], 0),
            (["report", "--state", guarded.state], 0),
            (["report", "--state", guarded.state, "--format", "json"], 0),
            (["report", "--state", guarded.file], 1),
        ]:
            done = run_here(args)
            assert done.returncode == code, (args, done)
            planted.assert_not_in(done.stdout, done.stderr)
        planted.assert_not_in(*files(guarded.folder))

    @pytest.mark.parametrize(("level", "form"), LOGS, ids=map("-".join, LOGS))
    def test_no_log_holds_a_secret(self, guarded, planted, level, form):
        """A run that meets all there is, at any level of the log and in both of its forms."""
        report = guarded.folder / "report.json"
        more = ["--log-level", level, "--log-format", form, "--report", report, "--show-names"]
        done = run_here(job(guarded, *more, "--progress"))
        assert done.returncode == 3
        planted.assert_not_in(done.stdout, done.stderr, *files(guarded.folder))
        assert report.exists()
        assert guarded.state.exists()

    def test_no_position_holds_a_secret(self, guarded, locked, planted):
        """What a killed run and an interrupted one leave on the disk holds no secret."""
        with locked[0].client(password=planted.password) as client:
            fill(client, guarded.cache, 3000, prefix="more")
        for number in (signal.SIGINT, signal.SIGKILL):
            with Running(*job(guarded, "--page", 1, "--log-level", "debug")) as running:
                running.wait_for_line(" plan ")
                running.signal(number)
                done = running.end()
            planted.assert_not_in(done.stdout, done.stderr, *files(guarded.folder))


class TestFailures:
    """What goes wrong, with the secrets at hand."""

    @pytest.mark.parametrize("command", ["run", "keys", "check", "detect"])
    def test_a_wrong_key_is_not_shown(self, planted, tmp_path, command):
        """A key with a mistake in it is still a secret."""
        for spoil in (lambda key: key[:-1], lambda key: f"{key}0", lambda key: f"x{key[1:]}"):
            cache = Cache("127.0.0.1:1")
            planted.keys = cache.keys[:]
            cache.keys[1] = spoil(cache.keys[1])
            place = Place(tmp_path, cache)
            done = run_here([command, "--config", place.file])
            assert done.returncode == 2
            planted.assert_not_in(done.stdout, done.stderr)

    def test_a_wrong_password_is_not_shown(self, locked, planted, tmp_path):
        """A password that the server refuses may be the right one of another server."""
        server, _ = locked
        place = Place(tmp_path, Cache(server.address, redis={"password": planted.password}))
        for command in ("run", "check", "detect"):
            done = run_here([command, "--config", place.file])
            assert done.returncode == 1
            planted.assert_not_in(done.stdout, done.stderr)

    @pytest.mark.parametrize("start", ["stranger", "env", "secretfile", "no-scheme"])
    def test_a_providers_url_is_not_shown(self, planted, tmp_path, start):
        """The URL of a secret provider may hold user, password and token."""
        place = Place(tmp_path, Cache("127.0.0.1:1", keys=["<one>", "<two>"]))
        url = planted.url.replace("stranger", start)
        url = url if "-" not in start else url.replace("://", ":")
        for more in (["--secret-provider", url], ["--secret-provider", url, url]):
            done = run_here(["run", "--config", place.file, *more])
            assert done.returncode in {1, 2}
            assert "Traceback" not in done.stderr
            # A file's path is no secret; what looks like a login in it is masked all the same.
            text = (
                done.stderr.replace(planted.url_token, "") if start == "secretfile" else done.stderr
            )
            planted.assert_not_in(done.stdout, text)

    def test_a_secret_in_the_wrong_place_is_not_shown(self, planted, tmp_path):
        """A key or a password where something else belongs is not quoted in the error."""
        key = secrets.token_hex(32)
        planted.keys = [key]
        for wrong in (
            {"encryption": {"keys": key}},
            {"encryption": {"keys": {"current": [key]}}},
            {"encryption": {"keys": {"current": {"value": key}, "old": [planted.password]}}},
            {"encryption": {"keys": {"current": key, "old": key}}},
            {"encryption": {"disabled": key}},
            {"redis": {"addresses": [f"redis://user:{planted.password}@host:6379"]}},
            {"redis": {"addresses": ["h:1"], "password": [planted.password]}},
            {"redis": {"addresses": ["h:1"], "pasword": planted.password}},
            {"redis": {"addresses": ["h:1"], "tls": planted.password}},
            {"keys": planted.password},
        ):
            place = Place(tmp_path, Cache("127.0.0.1:1", keys=[key, secrets.token_hex(32)]))
            document = json.loads(place.file.read_text())
            document["caches"][0] |= wrong
            place.file.write_text(json.dumps(document))
            done = run_here(job(place))
            assert done.returncode == 2, wrong
            planted.assert_not_in(done.stdout, done.stderr)

    def test_broken_yaml_is_not_quoted(self, planted, tmp_path):
        """The line in which YAML breaks may be that of a key."""
        planted.keys = [secrets.token_hex(32)]
        path = tmp_path / "maverics.yaml"
        for line in (
            "current: {key}: {password}",
            "current: '{key}",
            "\t{key}: {password}",
            "- !{key} x",
        ):
            path.write_text(
                "caches:\n  " + line.format(key=planted.keys[0], password=planted.password)
            )
            done = run_here(["run", "--config", path])
            assert done.returncode == 2
            planted.assert_not_in(done.stdout, done.stderr)


ECHOES = {
    "errors": lambda said: b"-ERR no " + said + b"\r\n",
    "refusals": lambda said: b"-NOPERM no " + said + b"\r\n",
    "strings": bulk,
    "lists": lambda said: listed([bulk(b"0"), listed([bulk(said)])]),
}
ASKED_FIRST = (b"AUTH", b"INFO", b"CLUSTER", b"CONFIG")
ECHOED = [
    *(("errors", ()), ("errors", ASKED_FIRST), ("refusals", (b"AUTH",))),
    *(("strings", (b"AUTH",)), ("strings", ASKED_FIRST), ("lists", (b"AUTH",))),
]


class TestEcho:
    """A server that repeats all that it was sent, the login too; no real one does."""

    @staticmethod
    def echo(said, spared):
        """Answers that repeat, but for the commands that are *spared*."""
        sent = []

        def answer(words, ask):
            sent.extend(words)
            name = words[0].upper()
            if name == b"INFO" and name in spared:
                return bulk(text_in(ask(words)).replace(b"standalone", sent[1]))
            return None if name in spared else said(b" ".join([*sent[:3], *words]))

        return answer

    @pytest.mark.parametrize("echo", ECHOED, ids=str)
    def test_what_is_repeated_is_not_shown(self, guarded, locked, planted, tmp_path, echo):
        """Password, keys and plaintexts are in no output, file or notification of any command."""
        hook = tmp_path / "hook"
        hook.write_text(f"#!/bin/sh\nenv > {guarded.folder}/environment\n")
        hook.chmod(0o755)
        run_here(job(guarded))  # what it knew before is in the report and the receipt
        said, spared = echo
        with RespFront(locked[0].port, self.echo(ECHOES[said], spared)) as front:
            document = json.loads(guarded.file.read_text())
            document["caches"][0]["redis"]["addresses"] = [front.address]
            guarded.file.write_text(json.dumps(document))
            config, name = ["--config", guarded.file], ["--namespace", "ns", "name"]
            work = [*config, "--state", guarded.state]
            out = {one: guarded.folder / f"r.{one}" for one in ("json", "html", "prom", "dsse")}
            progress, key = (
                ["--progress", "--progress-format", "json"],
                ["--key", guarded.cache.ids[1]],
            )
            for args in (
                ["run", *work, "-v", "--report", out["json"], "--on-change", hook],
                ["run", *work, "--html", out["html"], "--format", "json", *progress],
                ["run", *work, "-n", "--metrics-file", out["prom"], "--log-level", "debug"],
                ["check", *config],
                ["check", *config, "--stage", "--format", "json"],
                ["detect", *config],
                ["inspect", *config, "name"],
                ["get", *config, *name],
                ["set", *config, *name],
                ["delete", *config, *name],
                ["purge", *work, "--undecryptable", "--yes"],
                ["adopt", *work, "--match", "*", "--yes"],
                ["fence", *work],
                ["keys", *config],
                ["status", "--state", guarded.state],
                ["tune", "--state", guarded.state, "--max-rate", "5"],
                ["report", "--state", guarded.state, "--html", out["html"]],
                ["report", "--state", guarded.state, "--format", "json"],
                ["report", "--state", guarded.state, "--receipt", out["dsse"], *key],
            ):
                code, stdout, stderr = carry_out(args, input=planted.plaintext)
                assert b"internal error" not in stdout + stderr, (args, stderr)
                assert code in range(8)
                planted.assert_not_in(stdout, stderr)
        for path in (*out.values(), guarded.folder / "environment"):
            assert path.exists(), path
        planted.assert_not_in(*files(guarded.folder))


class Fault(Exception):  # noqa: N818 - a fault, not one of rotator's errors
    """What nobody expects, with everything it must not say in its words."""


def fail(planted, *_args, **_settings):
    """Raise with secrets in the locals of every frame, in the words, and in the cause."""
    key = bytes.fromhex(planted.keys[0])
    password = planted.password
    plaintext = [planted.plaintext, {"key": planted.keys[1]}]
    try:
        raise_with(key, password, plaintext)
    except Fault as error:
        fault = Fault(f"{planted.keys[1]} {planted.plaintext!r} {planted.url} {password}")
        fault.add_note(planted.password)
        raise fault from error


def raise_with(*words):
    """Raise the first of two faults."""
    raise Fault(*words)


class TestFaults:
    """Exceptions that nobody expected, raised with keys in local variables."""

    @pytest.mark.parametrize("log", LOGS, ids="-".join)
    @pytest.mark.parametrize(
        "place",
        [(Codec, "read"), (Key, "encrypt"), (Connection, "open")],
        ids=["codec", "encrypt", "connection"],
    )
    def test_a_traceback_holds_no_secret(self, guarded, planted, monkeypatch, log, place):
        """An internal error shows where it happened: no local variables, and not its words."""
        monkeypatch.setattr(*place, partial(fail, planted))
        level, form = log
        report = guarded.folder / "report.json"
        more = ["--log-level", level, "--log-format", form, "--report", report, "--progress"]
        done = run_here(job(guarded, *more))
        assert done.returncode == 1
        assert "internal error: Fault" in f"{done.stdout} {done.stderr}"
        assert "test_leaks.py" in done.stderr
        assert "in fail" in done.stderr
        assert report.exists()
        planted.assert_not_in(done.stdout, done.stderr, *files(guarded.folder))

    @pytest.mark.parametrize(
        "command", ["keys", "detect", "check", "inspect", "get", "set", "delete"]
    )
    def test_nor_does_that_of_another_command(self, guarded, planted, monkeypatch, command):
        """The other commands do not choose a form for their log, and are as discreet."""
        monkeypatch.setattr(Key, "from_text", partial(fail, planted))
        name = (
            ["--namespace", "ns", "name"] if command in {"get", "set", "delete", "inspect"} else []
        )
        done = run_here([command, "--config", guarded.file, *name])
        assert done.returncode == 1
        assert "internal error: Fault" in " ".join(f"{done.stdout} {done.stderr}".split())
        planted.assert_not_in(done.stdout, done.stderr)

    def test_nor_one_before_the_log_is_set_up(self, guarded, planted, monkeypatch):
        """A fault while the configuration is read is told in the same way."""
        monkeypatch.setattr(context, "load", partial(fail, planted))
        planted.keys = guarded.cache.keys
        done = run_here(["keys", "--config", guarded.file])
        assert done.returncode == 1
        assert "in fail" in done.stderr
        planted.assert_not_in(done.stdout, done.stderr)
