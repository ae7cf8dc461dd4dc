"""
Play a year of nights in minutes: `make year NIGHTS=365 SEED=n KIND=rdb|aof|cluster`.

See `play` for what is played. What must hold each night:

- every value is there, opens, is what was written and expires at the same millisecond;
- no key is called retirable too early: while a value under it is in a memory, in a file or in a
  backup (`oracle`);
- every old key is retirable by the night that follows from what happened (`bound`);
- reports add up, and other commands say the same (`oracle`);
- no key and no plaintext, in hex, as bytes or in base64, is in what rotator says and leaves behind;
- a full disk, a killed run, a lost or older state, a state of 1.0.0: the next night goes on;
- in the second half of the year the state is not larger than a bound.

Prints figures, the size of the state month by month among them, and ends with 1 if any of it does
not hold.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import time
from typing import Final

from year.play import KINDS, MONTH, Year

_SHOWN: Final = 5  # broken rules of one night


def main() -> int:
    """Play a year; the exit code."""
    parser = argparse.ArgumentParser(prog="year", description=str(__doc__).partition(":")[0])
    parser.add_argument("--nights", type=int, default=365, metavar="N")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9), metavar="N")
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0])
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers and disk go with it
    print(f"seed: {given.seed}", flush=True)
    begun = time.monotonic()
    with Year(given.seed, given.kind) as year:
        for number in range(given.nights):
            known = len(year.broken)
            year.night(number)
            for rule in year.broken[known:][:_SHOWN]:
                print(f"broken in night {number}: {rule}", flush=True)
            if year.broken[known:]:
                print(f"the month before: {', '.join(year.days[-MONTH:])}", flush=True)
            if number % MONTH == MONTH - 1:
                print(
                    f"night {number + 1}: {year.sizes[-1]} bytes, {len(year.broken)} broken, "
                    f"{len(year.waited)} retired, {time.monotonic() - begun:.0f} s",
                    flush=True,
                )
        year.finish()
        report(year)
    return 1 if year.broken else 0


def report(year: Year) -> None:
    """Print the figures of a year."""
    print(f"keys that are left: {len(year.application.ring.keys)}")
    print(f"exit codes: {dict(year.codes)}")
    print(f"happened: {dict(year.happened)}")
    print(f"retired {len(year.waited)} keys, nights after the switch: {year.waited}")
    print(f"state, bytes by month: {year.sizes}")
    print(f"broken rules: {len(year.broken)}")


if __name__ == "__main__":
    sys.exit(main())
