"""Bad input, and servers at fault: two lines that say what is wrong and what to do, and no more."""

import re
import socketserver
import tarfile
import threading

import pytest
import yaml

from rotator.cli.help import COMMANDS, load
from rotator.state.state import State
from support.commandline import KEY_A, KEY_B, cache, config_file, run
from support.processes import run_here

KEYS = {"current": KEY_B, "old": [KEY_A]}
OFF = {"keys": {"disabled": True}}


def refused(done, code=2):
    """The error and the hint of a command that wrote nothing else and ended with *code*."""
    stdout, stderr = (
        said if isinstance(said, str) else said.decode() for said in (done.stdout, done.stderr)
    )
    assert done.returncode == code, stderr
    assert stdout == ""
    assert "Traceback" not in stderr
    for key in (KEY_A, KEY_B):
        assert key not in stderr
    error, hint = [line for line in stderr.splitlines() if line.startswith("rotator: ")]
    assert error.startswith("rotator: error: ")
    assert hint.startswith("rotator: hint: ")
    for text in (error.removeprefix("rotator: error: "), hint.removeprefix("rotator: hint: ")):
        assert text
        assert not re.match("[A-Z][a-z]", text), "no capital at the beginning"
        # A server's own words are quoted as they are.
        assert code == 1 or not text.endswith("."), "no full stop at the end"
    return error, hint


STATES = {
    "notes": (lambda _: b"notes of somebody", "not a state file of rotator"),
    "damaged": (lambda made: made[:100] + bytes(len(made) - 100), ""),
    "cut": (lambda made: made[: len(made) // 2], ""),
    "empty": (lambda _: b"", "is empty"),
    "newer": (lambda made: made, "has schema 99"),
}
"""States that cannot be used: what makes one of a newer version's, and what is said of it."""
PROVIDER = ("--secret-provider", "secretfile://secrets")


def document(**changes):
    """A configuration as text, with changes to its only cache."""
    return yaml.safe_dump({"caches": [{**cache("127.0.0.1:1"), **changes}]})


def keys(**changes):
    """A configuration as text, with changes to its keys."""
    return document(encryption={"keys": {**KEYS, **changes}})


WRONG_FILES = {
    "broken YAML": ("caches: [", "maverics.yaml", ""),
    "not a mapping": ("- caches", "maverics.yaml", "mapping"),
    "a tab": ("caches:\n\t- name: x", "maverics.yaml", ""),
    "not text": ("\x00\x01", "maverics.yaml", ""),
    "a key that is too short": (keys(current="0b" * 16), "encryption.keys.current", "keygen"),
    "a key that is too long": (keys(current="0b" * 40), "encryption.keys.current", "keygen"),
    "a key that is not hex": (keys(old=["0x" * 32]), "encryption.keys.old[0]", "keygen"),
    "an old key equal to the current one": (keys(old=[KEY_A, KEY_B]), "keys.old[1]", ""),
    "a key listed twice": (keys(old=[KEY_A, KEY_A]), "keys.old[1]", ""),
    "no current key": (keys(current=None), "encryption.keys.current", ""),
    "local_default": (document(name="local_default"), "local_default", ""),
    "no caches": ("servers: []", "caches", ""),
    "an empty list of caches": ("caches: []", "caches", ""),
    "an empty file": ("", "caches", ""),
    "an address without a port": (document(redis={"addresses": ["redis"]}), "addresses[0]", "port"),
    "no address": (document(redis={"addresses": []}), "redis.addresses", ""),
    "a missing TLS profile": (
        document(redis={"addresses": ["127.0.0.1:1"], "tls": "redis-client"}),
        "caches[0].redis.tls",
        "",
    ),
    "an unset variable": (
        document(redis={"addresses": ["{{ env.NOT_SET_ANYWHERE }}:6379"]}),
        "NOT_SET_ANYWHERE",
        "set NOT_SET_ANYWHERE",
    ),
    "a reference without a provider": (
        keys(current="<cache_key>"),
        "<cache_key>",
        "--secret-provider",
    ),
    "prefix off with encryption on": (document(keys={"disablePrefix": True}), "disablePrefix", ""),
    "encryption off everywhere": (
        document(encryption={"disabled": True}),
        "nothing to rotate",
        "configuration",
    ),
    "a misspelled field": (
        document(encryption={"keys": {"current": KEY_B, "olds": [KEY_A]}}),
        "olds",
        "old",
    ),
    "a misspelled field of redis": (
        document(redis={"adresses": ["127.0.0.1:1"]}),
        "adresses",
        "addresses",
    ),
    "an unknown field of ours": (
        document() + "rotator: {caches: {shared-redis: {mach: ['*']}}}",
        "mach",
        "match",
    ),
    "an unknown format": (
        document() + "rotator: {caches: {shared-redis: {formats: [sealled]}}}",
        "formats[0]",
        "sealed",
    ),
}


class TestConfiguration:
    """What may be wrong with the file."""

    @pytest.mark.parametrize("case", WRONG_FILES)
    def test_a_wrong_file_is_refused(self, tmp_path, case):
        """The error names the field or the file, and the hint what to do; nothing is written."""
        text, named, advice = WRONG_FILES[case]
        path = tmp_path / "maverics.yaml"
        path.write_text(text)
        error, hint = refused(run_here(["run", "-c", path, "--state", tmp_path / "state"]))
        assert named in error
        assert advice in error + hint
        assert not (tmp_path / "state").exists()

    def test_a_missing_file(self, tmp_path):
        """The error names a file that is not there."""
        error, _ = refused(run(["run", "-c", tmp_path / "none.yaml"]))
        assert "none.yaml" in error

    def test_a_missing_file_of_the_environment(self, tmp_path):
        """So it does if MAVERICS_CONFIG names it."""
        error, _ = refused(run_here(["run"], env={"MAVERICS_CONFIG": str(tmp_path / "none.yaml")}))
        assert "none.yaml" in error

    def test_a_folder(self, tmp_path):
        """A folder is no configuration."""
        refused(run_here(["run", "-c", tmp_path]))

    def test_a_bundle_without_a_configuration(self, tmp_path):
        """A bundle has to hold a configuration."""
        path = tmp_path / "bundle.tar.gz"
        with tarfile.open(path, "w:gz"):
            pass
        error, _ = refused(run_here(["run", "-c", path]))
        assert "bundle.tar.gz" in error

    @pytest.mark.parametrize(
        ("url", "code"),
        [
            ("env://", 2),
            ("no-url", 2),
            ("stranger://user:pa55word@host", 2),
            ("secretfile://relative.yaml", 2),
            ("secretfile:///nowhere/user:pa55word@/secrets.yaml", 1),
        ],
    )
    def test_a_secret_provider_that_does_not_help(self, tmp_path, url, code):
        """A provider that is unknown, wrong or without the secret is refused."""
        path = config_file(tmp_path / "maverics.yaml", cache("127.0.0.1:1", current="<MISSING>"))
        refused(run_here(["run", "-c", path, "--secret-provider", url]), code)


WRONG_OPTIONS = {
    "an unknown cache": (["--cache", "sharedredis"], "sharedredis", "shared-redis"),
    "a time of no clock": (["--until", "5pm"], "such as 05:00", "run --help"),
    "a time that is past": (["--until", "2001-01-01T00:00Z"], "is in the past", "run --help"),
    "a duration without a unit": (["--max-duration", "5"], "--max-duration", "run --help"),
    "a negative duration": (["--quiet", "-1h"], "--quiet", "run --help"),
    "a duration for ever": (["--quiet", f"{10**9}d"], "--quiet", "run --help"),
    "an accept without a number": (["--accept", "undecryptable"], "--accept", "too_large"),
    "an accept of another outcome": (["--accept", "denied=1"], "--accept denied=1", "not_string"),
    "an accept of too many": (["--accept", f"too_large={'9' * 5000}"], "--accept", "too_large"),
    "a negative accept": (["--accept", "too_large=-1"], "--accept", "too_large"),
    "an accept of names outside without a number": (["--accept", "outside"], "outside", "empty"),
    "an accept of so much emptiness": (["--accept", "empty=3"], "--accept empty=3", "outside"),
    "files anew in a dry run": (["--refresh-files", "--dry-run"], "--refresh-files", "leave one"),
    "a wait without a unit": (["--wait", "4"], "--wait", "run --help"),
    "a switch to come": (
        ["--writers-switched-at", "2099-01-01T00:00Z"],
        "is in the future",
        "run --help",
    ),
    "a switch at no time": (["--writers-switched-at", "lately"], "such as 14:30", "run --help"),
    "a page of nothing": (["--page", "0"], "--page: expected a whole number", "run --help"),
    "no number": (["--workers", "many"], "at least 1, such as 4", "run --help"),
    "a rate without end": (["--max-rate", "inf"], "to 10,000,000, such as 500", "run --help"),
    "a latency without end": (["--max-latency", "inf"], "--max-latency", "run --help"),
    "a lag of any number": (["--max-lag", "9" * 400], "--max-lag", "run --help"),
    "an unknown word": (["--format", "xml"], "--format: expected one of table, json", "run --help"),
    "an unknown option": (["--dry"], "--dry", "run --help"),
    "a value of a switch": (["--fresh=1"], "--fresh: takes no value", "run --help"),
    "an option without its value": (["--state"], "--state: the value is missing", "run --help"),
    "an argument too many": (["everything"], "too many arguments", "run --help"),
    "a report into a missing folder": (["--report", "/nowhere/report.json"], "/nowhere", "mkdir"),
    "a report over a folder": (["--report", "/"], "/", ""),
}


class TestOptions:
    """What may be wrong with the command line of `run`."""

    @pytest.mark.parametrize("case", WRONG_OPTIONS)
    def test_a_wrong_option_is_refused(self, tmp_path, case):
        """The error names the option, and the hint says where to look."""
        more, named, advice = WRONG_OPTIONS[case]
        path = config_file(tmp_path / "maverics.yaml", cache("127.0.0.1:1"))
        error, hint = refused(run_here(["run", "-c", path, "--state", tmp_path / "state", *more]))
        assert named in error
        assert advice in hint
        assert len(error) < 500

    @pytest.mark.parametrize("command", COMMANDS)
    def test_a_number_that_is_none(self, command):
        """Every option that takes a number says which numbers, with one that it would take."""
        for option in load(command).params:
            kind = option.type_descriptor
            if kind.annotation not in {int, float}:
                continue
            least, most = kind.parameter_info.min, kind.parameter_info.max
            error, _ = refused(run_here([command, option.opts[0], "x"]))
            said, _, example = error.partition(", such as ")
            assert re.search(": expected a (whole )?number (of at least|from) [0-9]", said)
            assert least <= float(example) <= (most or float("inf"))

    def test_an_only_key_that_is_no_old_key(self, place, redis):
        """The current key is no old key either, and nothing is moved."""
        place.cache.put(redis, "name")
        before = redis.get("name")
        only = place.cache.ids[0]
        done = run_here(["run", "-c", place.file, "--state", place.state, "--only-key", only])
        error, hint = refused(done)
        assert only in error
        assert "rotator keys" in hint
        assert redis.get("name") == before

    @pytest.mark.parametrize(
        "limit", ["--max-rate inf", "--max-latency inf", f"--max-lag {10**400}"]
    )
    def test_a_limit_that_tune_refuses(self, tmp_path, limit):
        """No number that a run could not count with is given to one that goes on."""
        error, hint = refused(run_here(["tune", "--state", tmp_path / "state", *limit.split()]))
        assert limit.split()[0] in error
        assert "tune --help" in hint

    def test_a_wrong_environment_variable(self):
        """The hint says that the value came from the environment, and from which variable."""
        error, hint = refused(run_here(["run"], env={"ROTATOR_PAGE": "many"}))
        assert "--page" in error
        assert "ROTATOR_PAGE" in hint

    def test_an_unknown_command(self):
        """A command that is nearly one is refused, and the right one named."""
        error, hint = refused(run_here(["reprot"]))
        assert error.endswith("no such command: reprot")
        assert "did you mean `rotator report`?" in hint
        assert "`rotator help` shows" in hint

    @pytest.mark.parametrize(
        ("word", "command"), [("rotate", "run"), ("verify", "check"), ("list", "keys")]
    )
    def test_a_command_of_other_tools(self, word, command):
        """What other tools call a command leads to that command."""
        _, hint = refused(run_here([word]))
        assert f"did you mean `rotator {command}`?" in hint

    def test_several_files_in_one_variable(self, tmp_path):
        """MAVERICS_CONFIG names one file, and the hint says where several belong."""
        error, hint = refused(run_here(["keys"], env={"MAVERICS_CONFIG": f"{tmp_path}/a:b"}))
        assert "a:b: cannot be read: no such file" in error
        assert "one file" in hint
        assert "ROTATOR_CONFIG" in hint

    @pytest.mark.parametrize("given", [("-v", "-q"), ("-v", "--log-level", "info"), ("-qv",)])
    def test_two_levels_of_the_log(self, given):
        """-v, -q and --log-level say the same thing, so only one of them can be given."""
        error, hint = refused(run_here(["run", *given]))
        assert "-v, -q and --log-level" in error
        assert "one of them" in hint

    def test_an_unknown_option(self):
        """An option that is nearly one is refused, and the right one named."""
        error, hint = refused(run_here(["run", "--dry-rnu"]))
        assert error.endswith("no such option: --dry-rnu")
        assert "did you mean --dry-run? `rotator run --help` shows" in hint

    def test_an_option_that_is_like_none(self):
        """Where no option is spelt alike there is no guess."""
        error, hint = refused(run_here(["check", "--foo"]))
        assert error.endswith("no such option: --foo")
        assert "did you mean" not in hint

    @pytest.mark.parametrize("word", ["-", "x" * 200])
    def test_a_word_that_is_like_no_command(self, word):
        """Where nothing is spelt alike there is no guess, and a long word is cut."""
        error, hint = refused(run_here([word]))
        assert error.endswith(f"no such command: {word[:80]}")
        assert "did you mean" not in hint

    def test_a_missing_argument(self):
        """The error names the argument that is missing."""
        error, _ = refused(run_here(["inspect"]))
        assert error.endswith("missing argument NAME")

    def test_a_report_on_a_cache_that_has_none(self, place, redis):
        """`report` names the caches that it knows of."""
        place.cache.put(redis, "name")
        run_here(["run", "-c", place.file, "--state", place.state, "--dry-run"])
        error, hint = refused(run_here(["report", "--state", place.state, "--cache", "other"]))
        assert "other" in error
        assert "shared-redis" in hint


class TestServer:
    """What may be wrong with the server: code 1."""

    def test_nobody_there(self, tmp_path, closed_port):
        """The error names the address."""
        path = config_file(tmp_path / "maverics.yaml", cache(f"127.0.0.1:{closed_port}"))
        error, hint = refused(run(["run", "-c", path, "--state", tmp_path / "state"]), 1)
        assert f"127.0.0.1:{closed_port}" in error
        assert "rotator check" in hint

    def test_a_wrong_password(self, server, redis, tmp_path):
        """The error names the server and the hint the fields, but not the password."""
        redis.execute_command("ACL", "SETUSER", "someone", "reset", "on", ">right", "+@all", "~*")
        try:
            login = {"username": "someone", "password": "not-the-pa55word"}
            path = config_file(tmp_path / "maverics.yaml", cache(server.address, **login))
            done = run(["run", "-c", path, "--state", tmp_path / "state"])
            error, hint = refused(done, 1)
        finally:
            redis.execute_command("ACL", "DELUSER", "someone")
        assert server.address in error
        assert "redis.password" in hint
        assert "pa55word" not in done.stderr.decode()

    def test_missing_rights(self, server, redis, tmp_path):
        """A user who may only read is told which rights a run needs; a dry run needs less."""
        rules = ["reset", "on", ">right", "~*", "+@all", "-watch", "-evalsha"]
        redis.execute_command("ACL", "SETUSER", "reader", *rules)
        try:
            login = {"username": "reader", "password": "right"}
            path = config_file(tmp_path / "maverics.yaml", cache(server.address, **login))
            error, hint = refused(run(["run", "-c", path, "--state", tmp_path / "state"]), 1)
        finally:
            redis.execute_command("ACL", "DELUSER", "reader")
        assert "+watch" in error
        assert "ACL SETUSER" in hint

    def test_a_server_that_is_no_redis(self, tmp_path, listener):
        """Something else that answers there is refused, not believed."""
        path = config_file(tmp_path / "maverics.yaml", cache(listener))
        refused(run(["run", "-c", path, "--state", tmp_path / "state"]), 1)

    @pytest.mark.parametrize("broken", STATES)
    def test_a_state_that_cannot_be_used(self, tmp_path, broken):
        """A state file that is not ours, damaged or newer is left alone, and every command says."""
        path = config_file(tmp_path / "maverics.yaml", cache("127.0.0.1:1"))
        state = tmp_path / "state"
        with State(state) as made, made._database.change() as change:
            change("PRAGMA user_version = 99", ())
        spoil, said = STATES[broken]
        state.write_bytes(spoil(state.read_bytes()))
        before, config = state.read_bytes(), ["-c", path]
        for args in (
            ["run", *config],
            ["run", *config, "--dry-run", "--on-change", "true"],
            ["purge", *config, "--undecryptable", "--yes"],
            ["fence", *config],
            ["fence", *config, "--show"],
            ["report"],
            ["status"],
            ["status", "--watch", "--format", "json"],
            ["tune", "--pause"],
        ):
            done = run_here([*args, "--state", state])
            assert (done.returncode, done.stdout) == (1, ""), (args, done)
            assert "Traceback" not in done.stderr, args
            [error] = [line for line in done.stderr.splitlines() if line.startswith("rotator: e")]
            assert str(state) in error, args
            assert said in error, args
            assert state.read_bytes() == before, args

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--report", "maverics.yaml"), "the report would replace the configuration"),
            (("--html", "state"), "the page would replace the state file"),
            (("--report", "r", "--metrics-file", "./r"), "the metrics would replace the report"),
            (("--report", "secrets", *PROVIDER), "the report would replace the secret file"),
        ],
    )
    def test_an_output_that_is_another_file(self, tmp_path, monkeypatch, options, said):
        """It is refused before anything is done, and the file is as it was."""
        monkeypatch.chdir(tmp_path)
        config_file(tmp_path / "maverics.yaml", cache("127.0.0.1:1"))
        (tmp_path / "secrets").write_text("{}")
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        done = run_here(["run", "-c", "maverics.yaml", "--state", "state", *options])
        error, _ = refused(done)
        assert said in error
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.fixture
def listener():
    """The address of a server that greets like a mail server."""

    class Greeting(socketserver.BaseRequestHandler):
        """Says what a mail server says."""

        def handle(self):
            """Greet, and hang up."""
            self.request.sendall(b"220 mail.example ESMTP\r\n")
            self.request.recv(1000)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Greeting) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()
