"""
Lua scripts: compare-and-set and compare-and-delete, many names a call.

- Both answer one element a name: 1 done, 0 differs, -1 gone, or the text of an error. They call
  with pcall, so that one name's error leaves the others their answer (redis-rules 2.2).
- Neither has a shebang line: Redis 6 takes it for a syntax error.
- A value that Lua looks at is copied for it. With large values that costs more than two commands
  that fetch only the beginning and the size; where those are not allowed, GET decides.
- UNLINK leaves the freeing of memory to a thread of the server
  (https://redis.io/docs/latest/commands/unlink/); where the user may not use it, or the server has
  another name for it, DEL is tried.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from rotator.crypto.keyring import Key

# One call holds up every other client of the server: 50 values of 1 kB take 150 to 335 us
# (redis-rules 2.2), which nobody notices.
NAMES_A_CALL: Final = 50
_BYTES_A_CALL = 1 << 19

LARGE: Final = 512
"""Bytes; the beginning and the size of longer values are fetched in less time than all of them."""
NO_SIZE: Final = 1 << 62
"""*large* where no value is: Lua's numbers still tell it from every size."""

SCRIPT: Final = b"""
local answers, pcall, sub, type, tonumber = {}, redis.pcall, string.sub, type, tonumber
local count = #KEYS
local large = tonumber(ARGV[2 * count + 1])
local sized = #ARGV > 2 * count + 1

local function compare(name, telling, size)
  if size > large and #telling < size
    and pcall('GETRANGE', name, 0, #telling - 1) == telling and pcall('STRLEN', name) == size then
    return 1
  end
  local held = pcall('GET', name)
  if type(held) == 'table' then
    return held.err
  elseif not held then
    return -1
  end
  return #held == size and sub(held, 1, #telling) == telling and 1 or 0
end

for i = 1, count do
  local new = ARGV[count + i]
  local size = sized and tonumber(ARGV[2 * count + 1 + i]) or #new
  local found = compare(KEYS[i], ARGV[i], size)
  if found == 1 then
    local done = pcall('SET', KEYS[i], new, 'XX', 'KEEPTTL')
    if type(done) == 'table' and done.err then
      found = done.err
    elseif not done then
      found = -1
    end
  end
  answers[i] = found
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


class Replacement(NamedTuple):
    """
    Replacement: puts *new* in the place of *old* if that is still there.

    It is if the value has the same size and the same first *prefix* bytes: as many as hold its
    random nonce, or None for all of them. *key* is the one that *old* is under, for the tally.
    """

    name: bytes
    old: bytes
    new: bytes
    prefix: int | None = None
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


def call(batch: Sequence[Replacement], large: int) -> tuple[Any, ...]:
    """Return the command for *batch*; of values over *large* bytes only a prefix is fetched."""
    news = [swap.new for swap in batch]
    sizes = [len(swap.old) for swap in batch]
    return (
        *("EVALSHA", SCRIPT_SHA, len(batch)),
        *[swap.name for swap in batch],
        *[old[:prefix] for _, old, _, prefix, _ in batch],
        *news,
        large,
        # A value that keeps its format keeps its size.
        *(() if sizes == [*map(len, news)] else sizes),
    )
