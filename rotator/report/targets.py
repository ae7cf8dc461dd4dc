"""The files that a run leaves its report in, each in its own form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rotator.errors import RotatorError
from rotator.report import json
from rotator.report.file import check_target
from rotator.report.model import Report


@dataclass(frozen=True, slots=True)
class Targets:
    """Where to write what; None is not written."""

    report: Path | None = None
    html: Path | None = None
    metrics: Path | None = None

    def check(self) -> None:
        """
        See before the work begins that all of it can be written.

        Raises:
            ConfigError: A folder is missing or closed to us, a file cannot be replaced, or the
                library for pages is not installed.
        """
        if self.html is not None:
            from rotator.report import html  # noqa: PLC0415 - its templates take a while

            html.demand()
        for _, path in self._all():
            check_target(path)

    def write(self, report: Report) -> None:
        """
        Write all files, each whole or not at all; one that fails does not keep the others away.

        Raises:
            ConfigError: A folder is missing or closed to us, or a file cannot be replaced.
            StateError: Writing failed; the file is as it was.
        """
        failures = []
        for write, path in self._all():
            try:
                write(report, path)
            except RotatorError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _all(self) -> Iterator[tuple[Callable[[Report, Path], None], Path]]:
        """Each file with what writes it."""
        if self.report is not None:
            yield json.write, self.report
        if self.html is not None:
            from rotator.report import html  # noqa: PLC0415 - see above

            yield html.write, self.html
        if self.metrics is not None:
            from rotator.report import files  # noqa: PLC0415 - the same

            yield files.write, self.metrics
