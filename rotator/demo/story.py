"""
Story: plays a rotation with its own data and application, on a private server.

Every step is the real command line, run as it is shown. All of it lives in one temporary folder and
one server process, and both are gone at the end, also when a signal comes first.

What the application stores are sessions, as tokens, in each of the built-in formats in turn, under
old keys and under the current one. Some entries expire within seconds, most within hours or days.
Some never do, but none of those under the oldest key: that one would drain by itself.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import randbelow

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from rotator.console import columns_of, print_result
from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key, Keyring, generate
from rotator.crypto.layout import BUILTIN
from rotator.demo.local_server import DeferredSignals, LocalServer, find_binary
from rotator.errors import Exit, ServerError
from rotator.progress import start_progress, write_line

VALUES = 50_000
CACHE = "demo"
NAMESPACE = "/app/oidc"
QUIET_SECONDS = 3
_BATCH = 1000  # entries in one pipeline
_SECOND, _HOUR = 1000, 3_600_000  # ms
_SIGNATURE_BYTES = 128
_PAUSE_SECONDS = 0.01  # between two acts of the application
_POLL_SECONDS = 0.05
_GRACE_SECONDS = 5.0  # for a command to end that was told to
_FORMATS = tuple(BUILTIN.values())
_SECRETS = ("cache_key_3", "cache_key_2", "cache_key_1")  # the newest first

_CONFIG = """\
caches:
  - name: {cache}
    type: redis
    encryption:
      keys:
        current: <{keys[0]}>
        old: [<{keys[1]}>, <{keys[2]}>]
    redis:
      addresses: [{address}]
"""


@dataclass(frozen=True, slots=True)
class Step:
    """Step: one command of the story, with what to say and how many seconds to wait before it."""

    says: str
    command: tuple[str, ...]
    pause: float = 0


STORY = (
    Step(
        "These are the keys in the configuration. rotator shows their ids, never the keys.",
        ("keys",),
    ),
    Step(
        "Look first: what is under which key, and what would expire by itself. Nothing is written.",
        ("run", "--dry-run"),
    ),
    Step(
        "Now rotate. The application keeps running: its writes win, and every TTL is kept.",
        ("run",),
    ),
    Step(
        "No value is under an old key any more. Before a key can be removed, it must not be met for"
        f" an hour, so that a forgotten writer shows; in this demo, for {QUIET_SECONDS} seconds."
        " A later complete sweep must confirm it:",
        ("run", "--quiet", f"{QUIET_SECONDS}s"),
        pause=QUIET_SECONDS,
    ),
    Step(
        "The verdicts are saved with their reasons. Showing them again does not touch Redis.",
        ("report",),
    ),
)


_CLOSING = (
    "That was the demo. Its server and its folder are removed.\n\n"
    "For your own cache: make a key with `rotator keygen`, and list it under `old` at every"
    " application. Then make it the current key everywhere, and list the former key under `old`."
    " After that:"
)
_COMMANDS = """\
    rotator check --config maverics.yaml
        is all ready for a run? if not, what is missing
    rotator run --config maverics.yaml --dry-run
        look, without writing
"""


def name_of(session: int) -> bytes:
    """Return the name under which a session is stored."""
    digest = hashlib.sha256(f"session-{session}".encode()).hexdigest()
    return f"{NAMESPACE}:{digest}".encode()


def token(session: int) -> bytes:
    """Return about 300 bytes that look like a signed token; no two are the same."""
    claims = {"iss": "https://id.example.com", "sub": f"user-{session}", "sid": os.urandom(8).hex()}
    parts = (b'{"alg":"RS256"}', json.dumps(claims).encode(), os.urandom(_SIGNATURE_BYTES))
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


def time_to_live(*, may_stay: bool) -> int | None:
    """Return a TTL in ms: mostly hours, one of 16 in seconds and, if *may_stay*, one of 50 none."""
    if may_stay and not randbelow(50):
        return None
    if not randbelow(16):
        return 3 * _SECOND + randbelow(27 * _SECOND)
    return _HOUR // 2 + randbelow(36 * _HOUR)


def fill(client: Redis, keyring: Keyring, count: int) -> Iterator[int]:
    """Store *count* sessions, two thirds under the first old key; gives the size of each batch."""
    codecs = [Codec(Keyring(key), _FORMATS) for key in keyring.old]
    for start in range(0, count, _BATCH):
        sessions = range(start, min(start + _BATCH, count))
        with client.pipeline(transaction=False) as pipeline:
            for session in sessions:
                oldest = session % 3 == 0
                _store(pipeline, codecs[-1 if oldest else 0], session, may_stay=not oldest)
            pipeline.execute()
        yield len(sessions)


class Application(threading.Thread):
    """
    Application: ends, renews and begins sessions, about a hundred in a second, until `leave`.

    It writes under the current key already.
    """

    def __init__(self, client: Redis, keyring: Keyring, sessions: int) -> None:
        super().__init__(name="demo-application", daemon=True)
        self._client = client
        self._codec = Codec(Keyring(keyring.current), _FORMATS)
        self._sessions = sessions
        self._left = threading.Event()

    def run(self) -> None:
        """Go on until told to leave, or until there is no server any more."""
        try:
            while not self._left.wait(_PAUSE_SECONDS):
                self._act(randbelow(20))
        except RedisError:
            return

    def leave(self) -> None:
        """Stop, and wait until it has."""
        self._left.set()
        self.join()

    def _act(self, lot: int) -> None:
        session = randbelow(self._sessions)
        if lot == 0:
            self._client.delete(name_of(session))
            return
        if lot < 5:
            session = self._sessions
            self._sessions += 1
        _store(self._client, self._codec, session)


def _store(client: Redis, codec: Codec, session: int, *, may_stay: bool = True) -> None:
    name = name_of(session)
    value = codec.seal(name, token(session), _FORMATS[session // 3 % len(_FORMATS)])
    client.set(name, value, px=time_to_live(may_stay=may_stay))


def run_demo(values: int = VALUES) -> Exit:
    """
    Play the story with so many *values*; return the exit code it ends with.

    Raises:
        ServerError: There is no server program, or it does not start.
    """
    find_binary()
    with DeferredSignals() as ending:
        code = _Stage(ending, values).play()
        if ending.signal is not None:
            write_line("rotator: stopped; the demo's server and folder are removed", sys.stderr)
            return ending.exit_code
    if code is Exit.OK:
        _say(_CLOSING)
        print_result(_COMMANDS)
    return code


@dataclass
class _Stage:
    """Stage: holds the server, the folder and the application as long as they are needed."""

    ending: DeferredSignals
    values: int

    def play(self) -> Exit:
        """Tell the story from the first value to the last verdict, or as far as it gets."""
        _say(
            f"A private server holds {self.values:,} values under two old keys, in three formats:"
            " sessions with short, long and no TTLs."
        )
        with (
            tempfile.TemporaryDirectory(prefix="rotator-demo-", ignore_cleanup_errors=True) as name,
            LocalServer() as server,
            server.client(retry=Retry(NoBackoff(), 0)) as client,
        ):
            keys = {secret: generate() for secret in _SECRETS}
            current, *old = (Key.from_text(text, secret) for secret, text in keys.items())
            keyring = Keyring(current, old)
            self._fill(client, keyring)
            application = Application(client, keyring, self.values)
            application.start()
            try:
                shown = self._configure(Path(name), server, keys)
                foreign = ("ROTATOR_", "MAVERICS_")  # settings of another cache
                own = {key: text for key, text in os.environ.items() if not key.startswith(foreign)}
                return self._tell(own | shown)
            finally:
                application.leave()

    def _fill(self, client: Redis, keyring: Keyring) -> None:
        with start_progress(CACHE, "filling", total=self.values) as progress:
            try:
                for stored in fill(client, keyring, self.values):
                    progress.advance(stored)
                    if self.ending.signal is not None:
                        return
            except RedisError as error:
                raise ServerError(f"the private server refuses the values: {error}") from None

    def _configure(
        self, folder: Path, server: LocalServer, keys: Mapping[str, str]
    ) -> dict[str, str]:
        """Write the configuration and the secrets, and show how rotator is told of them."""
        config, secrets = folder / "maverics.yaml", folder / "secrets.yaml"
        text = _CONFIG.format(cache=CACHE, keys=_SECRETS, address=server.address)
        config.write_text(text)
        secrets.touch(mode=0o600)
        secrets.write_text(json.dumps({"secrets": keys}))
        settings = {
            "MAVERICS_CONFIG": str(config),
            "MAVERICS_SECRET_PROVIDER": f"secretfile://{secrets}",
            "ROTATOR_STATE": str(folder / "state.db"),
            "ROTATOR_LOG_LEVEL": "warning",
        }
        if self.ending.signal is None:
            _say(
                "An application keeps adding, renewing and deleting sessions, already under the"
                " current key. This is its configuration; the keys are in the secrets file."
            )
            print_result("\n".join(f"$ export {name}={value}" for name, value in settings.items()))
            print_result(f"$ cat $MAVERICS_CONFIG\n{text}")
        return settings

    def _tell(self, environment: Mapping[str, str]) -> Exit:
        """Show every step of the story; return the exit code of the first one that fails."""
        for step in STORY:
            until = time.monotonic() + step.pause
            while time.monotonic() < until and self.ending.signal is None:
                time.sleep(_POLL_SECONDS)
            if self.ending.signal is not None:
                break
            _say(step.says)
            print_result(f"$ rotator {' '.join(step.command)}")
            code = self._run(step.command, environment)
            if code and self.ending.signal is None:
                return Exit(code) if code in set(Exit) else Exit.FAILED
        return Exit.OK

    def _run(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Run one command line to its end; when a signal comes, end it too."""
        # A group of its own: Ctrl-C is for the demo. A command that is just starting would show a
        # traceback; SIGTERM ends that one silently, and one at work as Ctrl-C would.
        line = [sys.executable, "-m", "rotator", *command]
        with subprocess.Popen(line, env=environment, process_group=0) as process:  # noqa: S603 - ours
            while process.poll() is None and self.ending.signal is None:
                time.sleep(_POLL_SECONDS)
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE_SECONDS)
                process.kill()  # nothing happens if it has ended
        return process.returncode


def _say(text: str) -> None:
    """Print a part of the story, set apart from what commands print."""
    width = columns_of(sys.stdout)
    parts = [textwrap.fill(part, width) for part in text.split("\n\n")]
    print_result("\n{}\n\n".format("\n\n".join(parts)))
