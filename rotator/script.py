"""
Compare-and-set of many names in one call: a script, and how calls of it are cut and written.

The script answers one element a name: 1 done, 0 differs, -1 gone, or the text of an error. It calls
with pcall, so that one name's error leaves the others their answer (redis-rules 2.2). There is no
shebang line: Redis 6 takes it for a syntax error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

SCRIPT: Final = b"""
local answers = {}
for i = 1, #KEYS do
  local held = redis.pcall('GET', KEYS[i])
  if type(held) == 'table' then
    answers[i] = held.err
  elseif not held then
    answers[i] = -1
  else
    local telling = ARGV[3 * i - 2]
    if #held ~= tonumber(ARGV[3 * i - 1]) or string.sub(held, 1, #telling) ~= telling then
      answers[i] = 0
    else
      local done = redis.pcall('SET', KEYS[i], ARGV[3 * i], 'XX', 'KEEPTTL')
      if type(done) == 'table' and done.err then
        answers[i] = done.err
      elseif not done then
        answers[i] = -1
      else
        answers[i] = 1
      end
    end
  end
end
return answers
"""
SCRIPT_SHA: Final = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest()

# One call holds up every other client of the server: 50 values of 1 kB take 150 to 335 us
# (redis-rules 2.2), which nobody notices.
NAMES_A_CALL: Final = 50
_BYTES_A_CALL = 1 << 19


class Swap(NamedTuple):
    """
    What is to be put in the place of a value that was read.

    The value is still the one that was read if it has *size* bytes and begins with *telling*: the
    whole of it, or as much as holds its random nonce.
    """

    name: bytes
    telling: bytes
    size: int
    new: bytes

    @classmethod
    def whole(cls, name: bytes, old: bytes, new: bytes) -> Swap:
        """Put *new* in the place of *old*, compared byte for byte."""
        return cls(name, old, len(old), new)


def cut(indices: Sequence[int], swaps: Sequence[Swap]) -> list[list[int]]:
    """Cut *indices* of *swaps* so that no call holds the server for long."""
    batches: list[list[int]] = []
    size = 0
    for index in indices:
        more = swaps[index].size + len(swaps[index].new)
        size += more
        if not batches or len(batches[-1]) >= NAMES_A_CALL or size > _BYTES_A_CALL:
            batches.append([])
            size = more
        batches[-1].append(index)
    return batches


def call(batch: Sequence[Swap]) -> tuple[Any, ...]:
    """The command that carries out *batch*."""
    names = [swap.name for swap in batch]
    values = [part for _, telling, size, new in batch for part in (telling, size, new)]
    return ("EVALSHA", SCRIPT_SHA, len(names), *names, *values)
