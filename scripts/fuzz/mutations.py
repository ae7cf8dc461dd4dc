"""
Mutations: change a reply of a server in type, size, order or encoding, or have it echo.

A reply is read into a tree of pairs, its kind and what it holds, changed at one place, and written
again; lines of INFO are changed one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BufferedIOBase
from random import Random
from typing import Any, Final

Tree = tuple[bytes, Any]
"""A kind, the first byte of a reply, and a text, a line, or the parts of a list; None for nil."""

_TEXTS: Final = b"$="
_LISTS: Final = b"*~>%"
CODES: Final = (
    *("ASK", "BUSY", "CLUSTERDOWN", "CROSSSLOT", "DENIED", "ERR", "EXECABORT", "LOADING"),
    *("MASTERDOWN", "MISCONF", "MOVED", "NOAUTH", "NOPERM", "NOREPLICAS", "NOSCRIPT", "OOM"),
    *("READONLY", "TRYAGAIN", "UNBLOCKED", "UNKILLABLE", "WRONGPASS", "WRONGTYPE", ""),
)
_NUMBERS: Final = (b"-1", b"0", b"1", b"2", b"-2", b"99999999999999999999", b"x", b"", b"1e5")
_BYTES: Final = (b"", b"\xff\xfe", b"0", b"a" * 300, b"\r\n", b"\x1b[31m", b"-5x", b"None")


def read_tree(stream: BufferedIOBase) -> Tree:
    """Read a reply as it was sent."""
    head = stream.readline()
    if not head:
        raise ConnectionError("the server has gone")
    kind, rest = head[:1], head[1:-2]
    if rest == b"-1" and kind in b"$*":
        return kind, None
    if kind in _TEXTS:
        return kind, stream.read(int(rest) + 2)[:-2]
    if kind not in _LISTS:
        return kind, rest
    size = int(rest) * (2 if kind == b"%" else 1)
    return kind, [read_tree(stream) for _ in range(size)]


def written(tree: Tree) -> bytes:
    """Return a reply as it is sent."""
    kind, held = tree
    if held is None:
        return kind + b"-1\r\n"
    if kind in _TEXTS:
        return b"%b%d\r\n%b\r\n" % (kind, len(held), held)
    if kind in _LISTS:
        size = len(held) // 2 if kind == b"%" else len(held)
        return b"%b%d\r\n" % (kind, size) + b"".join(map(written, held))
    return b"%b%b\r\n" % (kind, held)


class Mutator:
    """Mutator: changes replies as *random* says; *words* are what was sent."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.words: list[bytes] = []

    def mutate(self, command: Sequence[bytes], tree: Tree) -> bytes:
        """Return another reply to *command* than *tree*, as it is sent."""
        ways: list[Callable[[Sequence[bytes], Tree], bytes]]
        ways = [self._elsewhere, self._elsewhere, self._spoilt, self._refused, self._echo]
        if command[0].upper() == b"INFO":
            ways += [self._info] * 6
        if command[:2] == [b"CLUSTER", b"NODES"]:
            ways += [self._info] * 3
        return self._random.choice(ways)(command, tree)

    def _elsewhere(self, _command: Sequence[bytes], tree: Tree) -> bytes:
        """Change the tree at one place."""
        return written(self._changed(tree))

    def _changed(self, tree: Tree) -> Tree:
        kind, held = tree
        if isinstance(held, list) and held and self._random.random() < 0.6:
            at = self._random.randrange(len(held))
            return kind, [*held[:at], self._changed(held[at]), *held[at + 1 :]]
        if isinstance(held, list) and self._random.random() < 0.6:
            return kind, self._resized(held)
        if kind in _TEXTS and held and self._random.random() < 0.5:
            return kind, self._text(held)
        return self._other()

    def _resized(self, parts: list[Tree]) -> list[Tree]:
        """Leave parts out, repeat or shuffle them, or add another."""
        way = self._random.randrange(5)
        if way == 0:
            return parts[: self._random.randrange(len(parts) + 1)]
        if way == 1:
            return parts + parts
        if way == 2:
            return self._random.sample(parts, len(parts))
        if way == 3:
            return [*parts, self._other()]
        return []

    def _text(self, text: bytes) -> bytes:
        """Cut a text, repeat it, or change a byte or a number."""
        at = self._random.randrange(len(text))
        return self._random.choice(
            (
                text[:at],
                text + text,
                text[:at] + self._random.randbytes(1) + text[at + 1 :],
                self._random.choice(_BYTES),
                self._random.choice(_NUMBERS),
                text[::-1],
            )
        )

    def _other(self) -> Tree:
        """Return something of another type."""
        number, text = self._random.choice(_NUMBERS), self._random.choice(_BYTES)
        return self._random.choice(
            (
                (b"$", None),
                (b"*", None),
                (b":", number),
                (b"+", text[:20].replace(b"\r\n", b"")),
                (b"$", text),
                (b"*", []),
                (b"*", [(b":", number), (b"$", text), (b"*", [(b"$", None)])]),
                (b"%", [(b"$", text), (b":", b"3")]),
                (b"%", [(b"*", []), (b":", b"3")]),
                (b"~", [(b"*", [])]),
                (b">", [(b"$", b"invalidate"), (b":", number)]),
                (b"_", b""),
                (b"#", b"t"),
                (b",", b"1.5"),
                (b"(", b"123456789012345678901234567890"),
                (b"-", b"ERR " + text[:20].replace(b"\r\n", b"")),
            )
        )

    def _spoilt(self, _command: Sequence[bytes], tree: Tree) -> bytes:
        """Change bytes of the reply as it is sent: what is left may have no end."""
        raw = written(tree)
        at = self._random.randrange(len(raw))
        return self._random.choice(
            (
                raw[:at],
                raw[:at] + self._random.randbytes(1) + raw[at + 1 :],
                raw[:at] + self._random.randbytes(3) + raw[at:],
                b"*999999\r\n" + raw,
                b"*1\r\n" * 2000 + raw,
                b"$99999999999\r\n" + raw,
                raw[1:],
                raw.replace(b"\r\n", b"\n"),
            )
        )

    def _refused(self, command: Sequence[bytes], _tree: Tree) -> bytes:
        """Refuse it, with any code, a long text, or the arguments."""
        code, said = self._random.choice(CODES), b" ".join(command)
        text = self._random.choice(
            (
                b"because",
                said,
                b"unknown command '%b', with args beginning with: %b" % (command[0], said),
                b"a" * 5000,
                b"1 127.0.0.1:1",
                b"1 x",
                b"\xff\xfe",
            )
        )
        line = f"-{code} ".encode() + text.replace(b"\r", b"?").replace(b"\n", b"?")
        return line + b"\r\n"

    def _echo(self, _command: Sequence[bytes], tree: Tree) -> bytes:
        """Repeat what was sent, whenever it was, in the place of texts."""
        return written(self._echoed(tree))

    def _echoed(self, tree: Tree) -> Tree:
        kind, held = tree
        if isinstance(held, list):
            return kind, [self._echoed(part) for part in held]
        word = self._random.choice(self.words)
        return (b"$", word) if kind in b"$+" else tree

    def _info(self, _command: Sequence[bytes], tree: Tree) -> bytes:
        """Change a line of INFO, or of another text with lines."""
        kind, held = tree
        if kind not in _TEXTS or not held:
            return self._spoilt(_command, tree)
        begin = 4 if kind == b"=" else 0
        lines = held[begin:].split(b"\r\n" if b"\r\n" in held else b"\n")
        at = self._random.randrange(len(lines))
        name, colon, value = lines[at].partition(b":")
        way = self._random.randrange(6)
        if way == 0:
            del lines[at]
        elif way == 1:
            lines.insert(self._random.randrange(len(lines)), lines[at])
        elif way == 2:
            lines[at] = name + colon + self._random.choice(_NUMBERS)
        elif way == 3:
            lines[at] = name + colon + self._random.choice((*_BYTES, *self.words))
        elif way == 4:
            lines[at] = name + colon + (self._text(value) if value else b"=,=,")
        else:
            self._random.shuffle(lines)
        return written((kind, held[:begin] + b"\r\n".join(lines)))
