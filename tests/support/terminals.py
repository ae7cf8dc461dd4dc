"""Pseudo-terminals: what is asked for the width of a terminal, and what one was sent."""

import fcntl
import io
import os
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress

from support.documents import README
from support.processes import clean


def set_width(terminal, columns, rows=24):
    """Make a *terminal*, a descriptor or what has one, so many columns wide."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def all_of(leader):
    """All that was sent to a terminal which nobody has open any more; it is closed."""
    sent = b""
    with suppress(OSError):  # EIO: there is no more
        while part := os.read(leader, 65536):
            sent += part
    os.close(leader)
    return sent


def on_terminal(*args, columns=80, rows=24, env=None):
    """What `rotator *args*` sends to a terminal, without what is no letter."""
    leader, follower = os.openpty()
    set_width(follower, columns, rows)
    command = [sys.executable, "-m", "rotator", *map(str, args)]
    # Some who run tests say how large their own terminal is.
    env = {name: value for name, value in clean(env).items() if name not in {"LINES", "COLUMNS"}}
    with subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, env=env, cwd=README.parent
    ):
        os.close(follower)
        sent = all_of(leader).decode()
    return re.sub(r"\x1b\[[0-9;]*m", "", sent).replace("\r\n", "\n")


class TerminalText(io.StringIO):
    """A text stream that is a terminal to who asks; its width is that of a pseudo-terminal."""

    def __init__(self, columns):
        super().__init__()
        self._leader, self._follower = os.openpty()
        self.resize(columns)

    def resize(self, columns):
        """Make it so many columns wide."""
        set_width(self._follower, columns, rows=50)

    def fileno(self):
        """What is asked for the width."""
        return self._follower

    def isatty(self):
        """It is one."""
        return True

    def close(self):
        """Close the pseudo-terminal, too."""
        os.close(self._leader)
        os.close(self._follower)
        super().close()
