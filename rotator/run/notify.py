"""
Watches over a run, and at its end tells whoever is to be told: the hook of `--on-change`.

What was known before the run is compared with what is known after it, by the state. How runs end is
written down there with or without a hook, so that one that is added later tells only what is new.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from rotator.console import escape
from rotator.crypto.keyring import Keyring
from rotator.errors import Exit, RotatorError, StateError
from rotator.hook import Hook
from rotator.masking import mask
from rotator.occasion import STOPPED, Change, Event, occasion, summary
from rotator.report.model import Report
from rotator.report.words import ENDINGS
from rotator.state.state import State, default_path

log = structlog.get_logger(__name__)


class Alarm:
    """
    Watches over the block of one run.

    *asked* is what tells runs apart that share a state: the configuration and caches that were
    asked for. *report* is where the report is written. Without a *hook* nobody is told.
    """

    def __init__(
        self,
        hook: Hook | None,
        *,
        asked: Iterable[Iterable[object]],
        state: Path | None,
        report: Path | None,
    ) -> None:
        self._hook = hook
        self._asked = json.dumps([sorted(map(str, one)) for one in asked])
        self._path = state or default_path()
        self._report = report
        self._caches: tuple[str, ...] = ()
        self._listed: list[tuple[str, str, str]] = []
        self._before: dict[str, str | None] = {}
        self._result: Report | None = None

    def watch(
        self, caches: Iterable[str], keyrings: Mapping[str, Keyring | None], state: State
    ) -> None:
        """Take note of what is known before the run over *caches*; *keyrings* are of all caches."""
        self._caches = tuple(caches)
        self._listed = [
            (name, key.id, key.field)
            for name, ring in keyrings.items()
            for key in (ring.old if ring else ())
        ]
        self._before = {key_id: _verdict(state, key_id) for _, key_id, _ in self._listed}

    def ended(self, result: Report) -> None:
        """Take note of how the run ended."""
        self._result = result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: object, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        code, why = self._ending(error)
        before, changes = self._compare(code)
        event = occasion(code, before, changes)
        if event is None or self._hook is None:
            return
        if self._hook.call(self._facts(event, code, why, changes)):
            log.info("told of it", what=str(event))

    def _ending(self, error: BaseException | None) -> tuple[int, str | None]:
        """The exit code that the run will have, and what went wrong."""
        if error is None and self._result is not None:
            return self._result.exit_code, _missing(self._result)
        if error is None:
            return int(Exit.OK), None
        if isinstance(error, RotatorError):
            return int(error.exit_code), str(error)
        if isinstance(error, KeyboardInterrupt):
            return int(Exit.INTERRUPTED), None
        # What it says may be a secret.
        return int(Exit.FAILED), f"internal error: {type(error).__name__}"

    def _compare(self, code: int) -> tuple[int | None, list[Change]]:
        """How the run before ended, and the verdicts that are others now."""
        if not self._path.exists():
            return None, []
        try:
            with State(self._path) as state:
                before = state.last_ending(self._asked)
                if code not in STOPPED:
                    state.note_ending(self._asked, code)
                after = {key_id: _verdict(state, key_id) for key_id in self._before}
        except StateError as error:
            log.warning("what changed is not known", error=str(error))
            return None, []
        return before, [
            Change(cache, key_id, field, self._before[key_id], verdict)
            for cache, key_id, field in self._listed
            if (verdict := after[key_id]) and verdict != self._before[key_id]
        ]

    def _facts(
        self, event: Event, code: int, why: str | None, changes: list[Change]
    ) -> dict[str, str]:
        """What the hook is told, as variables; nothing in it is secret."""
        said = summary(code, why, ENDINGS.get(code, "ended"), changes)
        report = "" if self._report is None else str(self._report.absolute())
        return {
            "ROTATOR_EVENT": str(event),
            "ROTATOR_EXIT_CODE": str(code),
            "ROTATOR_CACHES": "\n".join(map(escape, self._caches)),
            "ROTATOR_CHANGES": "\n".join(json.dumps(asdict(change)) for change in changes),
            "ROTATOR_SUMMARY": mask(escape(" ".join(said.split()))),
            "ROTATOR_REPORT": report,
        }


def _missing(result: Report) -> str | None:
    """What of a run that came to its end failed all the same: the first of it."""
    if result.exit_code != Exit.FAILED:
        return None
    for cache in result.caches:
        unseen = cache.coverage.not_looked_at if cache.coverage else ()
        if cache.error or unseen:
            return f"{cache.name}: {cache.error or unseen[0]}"
    return None


def _verdict(state: State, key_id: str) -> str | None:
    """The last verdict on a key."""
    past = state.verdicts(key_id)
    return past[-1][1] if past else None
