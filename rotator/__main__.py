"""`python -m rotator`, and the console script."""

from __future__ import annotations

import os
import sys

from rotator.cli import run


def main() -> None:
    """Run the command line and leave with its exit code."""
    _open_closed_streams()
    sys.exit(run(sys.argv[1:]))


def _open_closed_streams() -> None:
    """Started with `2>&-`, Python has no stderr, and a file opened later would get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            lowest = os.open(os.devnull, os.O_RDWR)  # just the number that is missing
            setattr(sys, name, os.fdopen(lowest, mode))


if __name__ == "__main__":
    main()
