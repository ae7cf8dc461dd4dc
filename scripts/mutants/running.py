"""
Running: gives each mutant a process of its own, in which the tests run that reach it.

The tests are collected once, in a process that runs none of them; it forks for each mutant. The
first test that fails ends that process, and is tried first on the next mutant of the function.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state

KILLED: Final = "killed"
SURVIVED: Final = "survived"
TIMEOUT: Final = "timeout"
NO_TEST: Final = "no test"
_NONE_FAILED: Final = 0xFFFF
_FACTOR, _LEAST_SECONDS = 10, 5  # of what a test takes; a machine may be busy
_MEMORY: Final = 4 << 30
_IDLE: Final = 10  # so many times the processor's time may pass on the clock


class Mutation:
    """Mutation: a plugin that runs tests on mutants, instead of once."""

    def __init__(
        self, mutants: Sequence[str], results: Path, processes: int, most_seconds: float
    ) -> None:
        self._mutants = mutants
        self._results = results
        self._processes = processes
        self._most_seconds = most_seconds
        self._reached: dict[str, list[int]] = {}
        self._seconds: dict[int, float] = {}
        self._killers: defaultdict[str, list[int]] = defaultdict(list)
        self._found: dict[str, tuple[str, str]] = {}
        self._took = 0.0
        self._busy: dict[int, tuple[str, int, list[int]]] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Record which tests reach which function, then try all mutants."""
        self._items = session.items
        self._caches = [
            one
            for one in gc.get_objects()
            if isinstance(one, functools._lru_cache_wrapper)  # noqa: SLF001 - it has no other name
        ]
        gc.freeze()  # a process that is forked need not copy what it does not change
        for functions, test, seconds in self._recorded():
            self._seconds[test] = seconds
            for function in functions:
                self._reached.setdefault(function, []).append(test)
        for number, mutant in enumerate(self._mutants):
            self._begin(mutant)
            if number % 50 == 0:
                self._tell(number)
        while self._busy:
            self._end()
        self._tell(len(self._mutants))
        return True

    def _tell(self, number: int) -> None:
        """Write what is known so far."""
        survived = sum(result == SURVIVED for result, _ in self._found.values())
        print(
            f"{number}/{len(self._mutants)}, {survived} survived, {self._took:.1f} s",
            file=sys.__stderr__,
            flush=True,
        )
        self._results.write_text(json.dumps(self._found, indent=0))

    def _recorded(self) -> Iterator[tuple[list[str], int, float]]:
        """What each test reaches, and how long it takes; they run once without a mutant."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            with os.fdopen(writing, "w") as pipe:
                _record(self._items, self._caches, pipe.write)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            for number, line in enumerate(pipe):
                names, passed, seconds = json.loads(line)
                if passed:
                    yield names, number, seconds
                else:
                    print(
                        f"left out, fails as it is: {self._items[number].nodeid}",
                        file=sys.__stderr__,
                    )
        os.waitpid(child, 0)

    def _begin(self, mutant: str) -> None:
        """Try one mutant as soon as a process is free."""
        while len(self._busy) >= self._processes:
            self._end()
        function = mutant.rpartition("__mutmut_")[0]
        tests = sorted(self._reached.get(function, []), key=lambda one: self._seconds[one])
        if not tests:
            self._found[mutant] = (NO_TEST, "")
            return
        tests = list(dict.fromkeys([*self._killers[function], *tests]))
        taken = accumulate(self._seconds[one] for one in tests)
        tests = [one for one, all_ in zip(tests, taken, strict=True) if all_ <= self._most_seconds]
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            _forget(self._caches)
            set_mutant_under_test(mutant)
            failed = next((one for one in tests if not self._passes(one)), None)
            os.write(writing, (_NONE_FAILED if failed is None else failed).to_bytes(2))
            os._exit(0)
        os.close(writing)
        self._busy[child] = (mutant, reading, tests)

    def _passes(self, test: int) -> bool:
        """Whether a test passes; the process ends if that takes far longer than it should."""
        _limit(_LEAST_SECONDS + _FACTOR * self._seconds[test])
        return _passes(self._items[test])

    def _end(self) -> None:
        """Note the result of the process that ends next."""
        child, status, used = os.wait3(0)
        self._took += used.ru_utime + used.ru_stime
        mutant, reading, tests = self._busy.pop(child)
        said = os.read(reading, 2)
        os.close(reading)
        if not said:
            # Only a timer's signal is a timeout; whoever ends otherwise has shown nothing.
            late = os.waitstatus_to_exitcode(status) in {-signal.SIGPROF, -signal.SIGALRM}
            self._found[mutant] = (TIMEOUT, "") if late else (SURVIVED, f"ended with {status}")
        elif (failed := int.from_bytes(said)) == _NONE_FAILED:
            self._found[mutant] = (SURVIVED, str(len(tests)))
        else:
            self._found[mutant] = (KILLED, self._items[failed].nodeid)
            killers = self._killers[mutant.rpartition("__mutmut_")[0]]
            if failed in killers:
                killers.remove(failed)
            killers.insert(0, failed)


def _record(
    items: Sequence[pytest.Item], caches: Sequence[Any], write: Callable[[str], Any]
) -> None:
    """Run each test, and write a line of what it reached."""
    set_mutant_under_test("stats")
    for item in items:
        _forget(caches)
        state()._stats.clear()  # noqa: SLF001 - where mutmut has it
        begun = time.process_time()
        passed = _passes(item)
        took = time.process_time() - begun
        write(json.dumps((sorted(state()._stats), passed, took)) + "\n")  # noqa: SLF001


def _passes(item: pytest.Item) -> bool:
    """Whether one test passes, with all fixtures begun and ended for it. Nothing is reported."""
    hook = item.ihook
    steps: dict[Literal["setup", "call", "teardown"], Callable[[], Any]] = {
        "setup": lambda: hook.pytest_runtest_setup(item=item),
        "call": lambda: hook.pytest_runtest_call(item=item),
        "teardown": lambda: hook.pytest_runtest_teardown(item=item, nextitem=None),
    }
    passed = True
    for when, step in steps.items():
        call = pytest.CallInfo.from_call(step, when)
        if call.excinfo is None:
            hook.pytest_runtest_makereport(item=item, call=call)  # `tmp_path` goes by it
        passed = passed and call.excinfo is None
    return passed


def _forget(caches: Iterable[Any]) -> None:
    """Empty the caches of functions: they hold what was made without the mutant."""
    for one in caches:
        one.cache_clear()


def _limit(seconds: float) -> None:
    """Have the process end when it works for longer, or waits for far longer."""
    for clock, alarm, allowed in (
        (signal.ITIMER_PROF, signal.SIGPROF, seconds),
        (signal.ITIMER_REAL, signal.SIGALRM, seconds * _IDLE),
    ):
        signal.signal(alarm, signal.SIG_DFL)
        signal.setitimer(clock, allowed)


def main() -> int:
    """Run as it is told on standard input: see `mutants.__main__`."""
    told = json.loads(sys.stdin.read())
    results = Path(told["results"])
    plugin = Mutation(told["mutants"], results, told["processes"], told["most_seconds"])
    return pytest.main(
        [*told["tests"], "-q", "-o", "timeout=0", "--hypothesis-profile", "mutants"], [plugin]
    )


if __name__ == "__main__":
    raise SystemExit(main())
