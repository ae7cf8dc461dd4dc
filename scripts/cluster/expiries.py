"""Values with an expiry, stored and read back to the millisecond on any server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redis.exceptions import ResponseError

# PEXPIRETIME is as old as Redis 7.0. Before, the same comes of a clock that stood still meanwhile.
_ENTRY = """
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'table' then held = 'no string' end
local at = redis.pcall('PEXPIRETIME', KEYS[1])
if type(at) == 'number' then return {held, at} end
while true do
  local before = redis.call('TIME')
  local left = redis.call('PTTL', KEYS[1])
  local after = redis.call('TIME')
  local now = math.floor(before[2] / 1000)
  if left < 0 then return {held, left} end
  if before[1] == after[1] and now == math.floor(after[2] / 1000) then
    return {held, before[1] * 1000 + now + left}
  end
end
"""


def put(client: Any, name: str | bytes, value: bytes | str, at_ms: int | None = None) -> None:
    """Store a value until *at_ms*, for good if that is None or -1 (SET knows PXAT since 6.2)."""
    client.set(name, value)
    if at_ms not in {None, -1}:
        client.pexpireat(name, at_ms)


def entries_of(client: Any, names: Iterable[str | bytes]) -> list[tuple[bytes | None, int]]:
    """The value of each name with its expiry: Unix milliseconds, -1 for none, -2 for no entry."""
    names = list(names)
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.eval_ro(_ENTRY, 1, name)  # CLIENT PAUSE WRITE lets it through
    replies = pipe.execute(raise_on_error=False)
    if any(isinstance(reply, ResponseError) for reply in replies):  # that is 7.0, too
        for name in names:
            pipe.eval(_ENTRY, 1, name)
        replies = pipe.execute()
    return [(value, at_ms) for value, at_ms in replies]


def expiry_of(client: Any, name: str | bytes) -> int:
    """When one name expires, as `entries_of` has it."""
    return entries_of(client, [name])[0][1]
