"""
Lua scripts: compare-and-set and compare-and-delete, many names a call.

- Both answer one element a name: 1 done, 0 differs, -1 gone, or the text of an error. They call
  with pcall, so that one name's error leaves the others their answer (redis-rules 2.2).
- Neither has a shebang line: Redis 6 takes it for a syntax error.
- The whole value decides. A part of it would not do: an application whose nonces repeat may have
  written another value that begins alike and is as long.
- UNLINK leaves the freeing of memory to a thread of the server
  (https://redis.io/docs/latest/commands/unlink/); where the user may not use it, or the server has
  another name for it, DEL is tried.
"""

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from rotator.crypto.keyring import Key

# One call holds up every other client of the server: 50 values of 1 kB take 150 to 335 us
# (redis-rules 2.2), which nobody notices.
NAMES_A_CALL: Final = 50
_BYTES_A_CALL = 1 << 19
_IFEQ = b"*6\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$4\r\nIFEQ\r\n$%d\r\n%b\r\n$7\r\nKEEPTTL\r\n"

SCRIPT: Final = b"""
local answers, pcall, type = {}, redis.pcall, type
local count = #KEYS
for i = 1, count do
  local name = KEYS[i]
  local held = pcall('GET', name)
  if held == ARGV[i] then
    local done = pcall('SET', name, ARGV[count + i], 'XX', 'KEEPTTL')
    if type(done) == 'table' and done.err then
      answers[i] = done.err
    else
      answers[i] = done and 1 or -1
    end
  elseif type(held) == 'table' then
    answers[i] = held.err
  else
    answers[i] = held and 0 or -1
  end
end
return answers
"""

SCRIPT_SHA: Final = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest()

DELETE_SCRIPT: Final = b"""
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
DELETE_SCRIPT_SHA: Final = hashlib.sha1(DELETE_SCRIPT, usedforsecurity=False).hexdigest()


class Way(StrEnum):
    """Way: says how values are exchanged, the one that costs the server least first."""

    IFEQ = "ifeq"
    TRANSACTION = "transaction"
    SCRIPT = "script"


class Replacement(NamedTuple):
    """
    Replacement: puts *new* in the place of *old* if that, as a whole, is still there.

    *key* is the one that *old* is under, for the tally.
    """

    name: bytes
    old: bytes
    new: bytes
    key: Key | None = None


def cut(indices: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """Cut *indices* of names that take *sizes* bytes so that no call holds the server for long."""
    batches: list[list[int]] = []
    size = 0
    for index in indices:
        size += sizes[index]
        if not batches or len(batches[-1]) >= NAMES_A_CALL or size > _BYTES_A_CALL:
            batches.append([])
            size = sizes[index]
        batches[-1].append(index)
    return batches


def call(batch: Sequence[Replacement]) -> tuple[Any, ...]:
    """Return the command for *batch*."""
    names, olds, news, _ = zip(*batch, strict=True)
    return ("EVALSHA", SCRIPT_SHA, len(batch), *names, *olds, *news)


def set_if_equal(name: bytes, old: bytes, new: bytes) -> bytes:
    """Return `SET name new IFEQ old KEEPTTL`, packed; it is needed a hundred thousand times."""
    return _IFEQ % (len(name), name, len(new), new, len(old), old)
