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
from typing import Any, Final

from redis.crc import key_slot
from redis.exceptions import ResponseError

from rotator.answers import WRONG_TYPE, Meaning, Refusal, refusal
from rotator.errors import ServerError
from rotator.store import Answer, Store

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

# One call holds up every other client of the server (redis-rules 2.2).
NAMES_A_CALL: Final = 50
_BYTES_A_CALL: Final = 1 << 19

Entry = tuple[bytes, bytes]
"""A name, and the value that was read there."""


class Deletion:
    """
    Deletes values of one node.

    *asking* is for a store that was made with `Store.asking`: one name at a time.
    """

    def __init__(self, store: Store, *, asking: bool = False) -> None:
        self._store = store
        self._asking = asking
        self._loaded = False

    def compare_and_delete(self, entries: Sequence[Entry]) -> list[Answer | Refusal]:
        """
        Delete each entry whose value is still the one given; the answers are in their order.

        Raises:
            ServerError: The script cannot be loaded.
            LostError: The connection broke.
        """
        answers: list[Answer | Refusal] = [Answer.GONE] * len(entries)
        batches = self._batches(entries)
        alone: list[int] = []
        for batch, reply in zip(batches, self._send(entries, batches), strict=True):
            if isinstance(reply, ResponseError | Refusal):
                # One name spoilt it, or the script was forgotten: each gets a call of its own.
                self._loaded &= not _forgotten(reply)
                alone += batch
                continue
            for index, one in zip(batch, reply, strict=True):
                answers[index] = _answer(one)
        singly = self._send(entries, [[index] for index in alone])
        for index, reply in zip(alone, singly, strict=True):
            whole = isinstance(reply, ResponseError | Refusal)
            answers[index] = _answer(reply if whole else reply[0])
        return answers

    def _send(self, entries: Sequence[Entry], batches: Sequence[Sequence[int]]) -> list[Any]:
        """The replies to a call for each of *batches*."""
        if not batches:
            return []
        self._load()
        commands = []
        for batch in batches:
            names, values = zip(*(entries[index] for index in batch), strict=True)
            commands.append(("EVALSHA", SCRIPT_SHA, len(names), *names, *values))
        if self._asking:
            return [self._store.answer(*command) for command in commands]
        return self._store.connection.pipeline(commands)

    def _load(self) -> None:
        if self._loaded:
            return
        reply = self._store.connection.pipeline([("SCRIPT", "LOAD", SCRIPT)])[0]
        if isinstance(reply, ResponseError):
            said = refusal(reply).message
            raise ServerError(f"{self._store.node}: SCRIPT LOAD failed: {said}")
        self._loaded = True

    def _batches(self, entries: Sequence[Entry]) -> list[list[int]]:
        """Indices of *entries* cut so that a call is short and, in a cluster, of one slot."""
        slots: dict[int, list[int]] = {}
        for index, (name, _) in enumerate(entries):
            group = key_slot(name) if self._store.clustered else 0
            slots.setdefault(index if self._asking else group, []).append(index)
        batches: list[list[int]] = []
        for members in slots.values():
            size = _BYTES_A_CALL + 1  # so that each slot begins a batch of its own
            for index in members:
                size += len(entries[index][1])
                if size > _BYTES_A_CALL or len(batches[-1]) >= NAMES_A_CALL:
                    batches.append([])
                    size = len(entries[index][1])
                batches[-1].append(index)
        return batches


def _forgotten(reply: ResponseError | Refusal) -> bool:
    """Whether the server no longer knows the script."""
    said = reply if isinstance(reply, Refusal) else refusal(reply)
    return said.message.startswith("NOSCRIPT")


def _answer(reply: int | bytes | ResponseError | Refusal) -> Answer | Refusal:
    """What the script, or the server in its place, said of one name."""
    if isinstance(reply, int):
        return Answer(reply)
    refused = reply if isinstance(reply, Refusal) else refusal(reply)
    if refused.message.startswith(WRONG_TYPE):  # a list took the value's place since it was read
        return Answer.CHANGED
    return Answer.DENIED if refused.meaning is Meaning.DENIED else refused
