"""
Lua scripts: compare-and-set and compare-and-delete, many names or fields of hashes a call.

- All answer one element a name: 1 done, 0 differs, -1 gone, or the text of an error. They call
  with pcall, so that one name's error leaves the others their answer (redis-rules 2.2).
- None has a shebang line: Redis 6 takes it for a syntax error.
- The whole value decides. A part of it would not do: an application whose nonces repeat may have
  written another value that begins alike and is as long.
- UNLINK leaves the freeing of memory to a thread of the server
  (https://redis.io/docs/latest/commands/unlink/); where the user may not use it, or the server has
  another name for it, DEL is tried.
- HSET takes the TTL of a field away (redis-rules 7), so it is set again. Before that it is set to
  what it is: where that is refused, nothing has been lost yet. Lua's numbers are exact to 2^53.
"""

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from rotator.crypto.keyring import Key
from rotator.crypto.layout import FieldName

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

# KEYS are the hashes, one for each field; ARGV the fields, then their old values, then the new.
_EACH_FIELD = b"""
local answers, count = {}, #KEYS
for i = 1, count do
  local name, field = KEYS[i], ARGV[i]
  local held = redis.pcall('HMGET', name, field)
  if held.err then
    answers[i] = held.err
  elseif not held[1] then
    answers[i] = -1
  elseif held[1] ~= ARGV[count + i] then
    answers[i] = 0
  else
    answers[i] = change(name, field, ARGV[2 * count + i])
  end
end
return answers
"""
_SET_FIELD = b"""
local function change(name, field, value)
  local done = redis.pcall('HSET', name, field, value)
  return type(done) == 'table' and done.err or 1
end
"""
_SET_FIELD_KEEPING_TTL = b"""
local function expire(name, field, at)
  local said = redis.pcall('HPEXPIREAT', name, string.format('%.0f', at), 'FIELDS', 1, field)
  return said.err or (said[1] == 1 and 1 or -1)
end
local function change(name, field, value)
  local said = redis.pcall('HPEXPIRETIME', name, 'FIELDS', 1, field)
  if type(said) ~= 'table' or said.err then
    return said and said.err or 'ERR HPEXPIRETIME gives no list'
  end
  local at = said[1]
  if at == -2 then
    return -1
  elseif at >= 9007199254740992 then
    return 'ERR the field expires too late for its TTL to be kept'
  end
  local kept = at < 0 and 1 or expire(name, field, at)
  if kept ~= 1 then
    return kept
  end
  local done = redis.pcall('HSET', name, field, value)
  if type(done) == 'table' then
    return done.err
  end
  return at < 0 and 1 or expire(name, field, at)
end
"""
_DELETE_FIELD = b"""
local function change(name, field)
  local done = redis.pcall('HDEL', name, field)
  return type(done) == 'table' and done.err or (done == 1 and 1 or -1)
end
"""
FIELD_SCRIPT: Final = _SET_FIELD + _EACH_FIELD
FIELD_TTL_SCRIPT: Final = _SET_FIELD_KEEPING_TTL + _EACH_FIELD
FIELD_DELETE_SCRIPT: Final = _DELETE_FIELD + _EACH_FIELD
_SHAS = {
    script: hashlib.sha1(script, usedforsecurity=False).hexdigest()
    for script in (FIELD_SCRIPT, FIELD_TTL_SCRIPT, FIELD_DELETE_SCRIPT)
}


class Way(StrEnum):
    """Way: says how values are exchanged, the one that costs the server least first."""

    IFEQ = "ifeq"
    TRANSACTION = "transaction"
    SCRIPT = "script"


FieldChange = tuple[FieldName, bytes, bytes]
"""A field with its old value and the new one, which is empty where it is deleted."""


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


def call_for_fields(script: bytes, changes: Sequence[FieldChange]) -> tuple[Any, ...]:
    """Return the command that has one of the scripts for fields do *changes*."""
    names, olds, news = zip(*changes, strict=True)
    fields = [name.field for name in names]
    return ("EVALSHA", _SHAS[script], len(names), *names, *fields, *olds, *news)


def set_if_equal(name: bytes, old: bytes, new: bytes) -> bytes:
    """Return `SET name new IFEQ old KEEPTTL`, packed; it is needed a hundred thousand times."""
    return _IFEQ % (len(name), name, len(new), new, len(old), old)
