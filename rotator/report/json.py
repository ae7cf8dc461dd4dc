"""The report as JSON, field for field as the design shows it."""

from __future__ import annotations

from pathlib import Path

from rotator.report.file import write_whole
from rotator.report.model import Report


def dump(report: Report) -> str:
    """The report as text, its fields always in the same order, with a newline at the end."""
    return f"{report.model_dump_json(by_alias=True, indent=2)}\n"


def load(text: str) -> Report:
    """
    The report that `dump` wrote down, by this version or another one.

    Raises:
        pydantic.ValidationError: It is no report; a `ValueError`.
    """
    return Report.model_validate_json(text)


def write(report: Report, path: Path) -> None:
    """
    Write the report to *path*, whole or not at all.

    Raises:
        ConfigError: The folder is missing or closed to us, or *path* cannot be replaced.
        StateError: Writing failed; *path* is as it was.
    """
    write_whole(path, dump(report))
