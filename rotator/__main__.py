"""`python -m rotator`, and the console script; a worker process begins here too."""

from __future__ import annotations

import os
import sys

from rotator import interruption

if "--multiprocessing-fork" in sys.orig_argv:  # the mark that multiprocessing puts on its own
    interruption.leave_to_parent()


def main() -> None:
    """Run the command line and leave with its exit code."""
    interruption.begin()
    try:
        with interruption.ends_at_once():
            _open_closed_streams()
            from rotator.cli.app import run  # noqa: PLC0415 - takes a while, and Ctrl-C may come

        code = run(sys.argv[1:])
        interruption.over(code)
    except KeyboardInterrupt:  # just before the work began, or a second time while it ended
        code = interruption.INTERRUPTED
        interruption.over(code)
    sys.exit(code)


def _open_closed_streams() -> None:
    """Started with `2>&-`, Python has no stderr, and a file opened later would get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            lowest = os.open(os.devnull, os.O_RDWR)  # just the number that is missing
            setattr(sys, name, os.fdopen(lowest, mode))


if __name__ == "__main__":
    main()
