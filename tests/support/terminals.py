"""Pseudo-terminals: what is asked for the width of a terminal, and what one was sent."""

import fcntl
import io
import os
import struct
import termios
from contextlib import suppress


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
