"""
Compare-and-delete: a value goes only if it still is the one that was read.

The script answers as that of compare-and-set does: 1 deleted, 0 differs, -1 gone, or the text of an
error. UNLINK leaves the freeing of memory to a thread of the server
(https://redis.io/docs/latest/commands/unlink/); where the user may not use it, or the server has
another name for it, DEL is tried.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from redis.exceptions import ResponseError

from rotator.errors import ServerError
from rotator.server.connection import Command
from rotator.server.replies import Refusal, refusal
from rotator.server.store import Answer, Store

SCRIPT: Final = b"""
local answers = {}
for i = 1, #KEYS do
  local held = redis.pcall('GET', KEYS[i])
  if type(held) == 'table' then
    answers[i] = held.err
  elseif not held then
    answers[i] = -1
  elseif held ~= ARGV[i] then
    answers[i] = 0
  else
    local done = redis.pcall('UNLINK', KEYS[i])
    if type(done) == 'table' then
      done = redis.pcall('DEL', KEYS[i])
    end
    if type(done) == 'table' then
      answers[i] = done.err
    else
      answers[i] = done == 1 and 1 or -1
    end
  end
end
return answers
"""
SCRIPT_SHA: Final = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest()

Entry = tuple[bytes, bytes]
"""A name, and the value that was read there."""


class Deletion:
    """Deletes values of one node."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def compare_and_delete(self, entries: Sequence[Entry]) -> list[Answer | Refusal]:
        """
        Delete each entry whose value is still the one given; the answers are in their order.

        Raises:
            ServerError: The script cannot be loaded.
            LostError: The connection broke.
        """

        def call(batch: Sequence[int]) -> Command:
            names, values = zip(*(entries[index] for index in batch), strict=True)
            return ("EVALSHA", SCRIPT_SHA, len(names), *names, *values)

        names, sizes = [name for name, _ in entries], [len(value) for _, value in entries]
        return self._store.start_calls(names, sizes, call, self._load)()

    def _load(self) -> None:
        reply = self._store.connection.pipeline([("SCRIPT", "LOAD", SCRIPT)])[0]
        if isinstance(reply, ResponseError):
            said = refusal(reply).message
            raise ServerError(f"{self._store.node}: SCRIPT LOAD failed: {said}")
