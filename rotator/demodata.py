"""
What the demo's applications store: sessions as tokens, under old keys and under the current one.

The formats are the built-in ones in turn. Some entries expire within seconds, most within hours or
days. Some never do, but none of those under the oldest key: that one would drain by itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import threading
from collections.abc import Iterator

from redis import Redis
from redis.exceptions import RedisError

from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Keyring
from rotator.format import BUILTIN

NAMESPACE = "/app/oidc"
_BATCH = 1000  # entries in one pipeline
_SECOND, _HOUR = 1000, 3_600_000  # ms
_SIGNATURE_BYTES = 128
_PAUSE_SECONDS = 0.01
_FORMATS = tuple(BUILTIN.values())

# S311: how long a session of the demo lives, and which one is next, is no secret.


def name_of(session: int) -> bytes:
    """The name under which a session is stored."""
    digest = hashlib.sha256(f"session-{session}".encode()).hexdigest()
    return f"{NAMESPACE}:{digest}".encode()


def token(session: int) -> bytes:
    """About 300 bytes that look like a signed token; no two are the same."""
    claims = {"iss": "https://id.example.com", "sub": f"user-{session}", "sid": os.urandom(8).hex()}
    parts = (b'{"alg":"RS256"}', json.dumps(claims).encode(), os.urandom(_SIGNATURE_BYTES))
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


def time_to_live(*, may_stay: bool) -> int | None:
    """A TTL in ms: mostly hours, one of 16 in seconds, and, where that may be, one of 50 none."""
    if may_stay and not random.randrange(50):  # noqa: S311 - see above
        return None
    if not random.randrange(16):  # noqa: S311 - see above
        return random.randrange(3 * _SECOND, 30 * _SECOND)  # noqa: S311 - see above
    return random.randrange(_HOUR // 2, 36 * _HOUR)  # noqa: S311 - see above


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
    An application at work, already under the current key, until `leave`.

    It ends sessions, renews them and begins new ones, about a hundred in a second.
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
                self._act(random.randrange(20))  # noqa: S311 - see above
        except RedisError:
            return

    def leave(self) -> None:
        """Stop, and wait until it has."""
        self._left.set()
        self.join()

    def _act(self, lot: int) -> None:
        session = random.randrange(self._sessions)  # noqa: S311 - see above
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
