"""
Files: write a rendering whole or not at all, and a report as JSON, and describe its fields.

A reader finds the old file or the new one, whatever happens meanwhile. A writer is a pair: what
renders a report, and the path it goes to. The libraries of a rendering are imported with it.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from glob import escape
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from rotator.config.load import locate
from rotator.console import print_result
from rotator.errors import RotatorError, StateError
from rotator.protection import STATE, check_target, check_targets, is_there, path_of_secrets
from rotator.report.fields import Part
from rotator.report.metrics import metrics_text
from rotator.report.model import Report
from rotator.state.database import default_path
from rotator.text import ascii_json

STDOUT = Path("-")
"""What `--report` calls stdout."""

_MODE = 0o644  # less what the umask takes away


def files_of_state(state: Path | None) -> list[tuple[str, Path | None]]:
    """Return the state file and those beside it, each with what it is; outputs must be others."""
    place = state or default_path()
    locks = place.parent.glob(f"{escape(place.name)}.*.lock")
    beside = (place.with_name(f"{place.name}-journal"), *locks)
    return [(STATE, place), *(("a file of the state,", path) for path in beside)]


def existing_state(state: Path | None, hint: str) -> Path:
    """Return the path of the state if there is one: to look must not leave an empty one behind."""
    place = state or default_path()
    if not is_there(place):
        raise StateError(f"there is no state file {place}", hint=hint)
    return place


@dataclass(frozen=True, slots=True)
class Targets:
    """Targets: say where to write which rendering, None for nowhere, and `-` for stdout."""

    report: Path | None = None
    html: Path | None = None
    metrics: Path | None = None

    @property
    def printed(self) -> bool:
        """True if stdout is where the report is to be written."""
        return self.report == STDOUT

    def check(
        self,
        files: Sequence[Path],
        state: Path | None,
        provider: str | None = None,
        pause_file: Path | None = None,
    ) -> None:
        """
        Raise unless all of it can be written; asked before the work begins.

        *files* are those of the configuration that are named, *state* the state file, *provider*
        the URL of the secret provider, *pause_file* pauses runs as long as it exists.

        Raises:
            ConfigError: A folder is missing or closed to us, a file cannot be replaced or is in use
                as another one, or the library for pages is not installed.
        """
        if self.html is not None:
            from rotator.report import chart  # noqa: PLC0415 - see the module's docstring

            chart.require_library()
        wanted = {
            "report": None if self.printed else self.report,
            "page": self.html,
            "metrics": self.metrics,
        }
        kept = [
            *(("the configuration", path) for path in locate(files)),
            *files_of_state(state),
            ("the secret file", path_of_secrets(provider or "")),
            ("the file that pauses runs,", pause_file),
        ]
        check_targets(wanted, kept)

    def write(self, report: Report, now: datetime | None = None) -> None:
        """
        Write all files, each whole or not at all; one that fails does not keep the others away.

        Those after it say that the run failed: the metrics, which come last, are to raise an alarm.
        With *now* the page is one of the past, and says how old it is.

        Raises:
            ConfigError: A folder is missing or closed to us, or a file cannot be replaced.
            StateError: Writing failed; the file is as it was.
        """
        writers: tuple[tuple[Callable[[Report], str], Path | None], ...] = (
            (json_text, self.report),
            (partial(page_text, now=now), self.html),
            (metrics_text, self.metrics),
        )
        failures = []
        for render, path in writers:
            try:
                if path is self.report and self.printed:
                    print_result(render(report))
                elif path is not None:
                    write_whole(path, render(report))
            except RotatorError as error:
                failures.append(error)
                report = report.model_copy(update={"exit_code": int(failures[0].exit_code)})
        if failures:
            raise failures[0]

    def show(self, report: Report, *, as_json: bool) -> None:
        """Print what a person or a program waits for, on stderr where stdout has the report."""
        from rotator.report import table  # noqa: PLC0415 - see the module's docstring

        if not as_json:
            print_result(table.render(report), sys.stderr if self.printed else None)
        elif not self.printed:
            print_result(json_text(report))


def write_whole(path: Path, text: str) -> None:
    """
    Replace *path* by a file that holds *text*, so that a reader finds the old one or the new one.

    Raises:
        ConfigError: The folder is missing or closed to us, or *path* cannot be replaced.
        StateError: Writing failed; *path* is as it was.
    """
    check_target(path)
    target = Path(os.path.realpath(path.parent), path.name)
    draft = target.with_name(f".{target.name[:64]}.{secrets.token_hex(8)}.tmp")
    try:
        _write_out(draft, text)
        draft.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise StateError(
            f"{path}: cannot be written: {os.strerror(error.errno or 0).lower()}",
            hint="what was there before is unchanged; make room or choose another folder",
        ) from error


def _write_out(draft: Path, text: str) -> None:
    """Write a new file, down to the disk."""
    # O_EXCL: a name that somebody else put there is not followed.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(draft, flags, _MODE), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the new name last, where the folder and its file system allow it; the file is there."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def json_text(report: Part) -> str:
    """Return a report in ASCII, its fields always in the same order, and a newline."""
    return ascii_json(f"{report.model_dump_json(by_alias=True, indent=2)}\n")


def json_schema(kind: type[Part]) -> dict[str, Any]:
    """Return the JSON Schema of what `json_text` writes of a *kind* of report."""
    schema = kind.model_json_schema(by_alias=True, mode="serialization")
    described(schema, "rotator.report")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def reference(package: str) -> dict[str, dict[str, Any]]:
    """
    Return what `reference.yaml` of a package says of each field, by the names of class and field.

    It is a sentence, or a mapping with a `description` and an `example`.
    """
    text = (resources.files(package) / "reference.yaml").read_text("utf-8")
    known: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return known


def described(schema: dict[str, Any], package: str) -> None:
    """Add to the fields of a JSON Schema what `reference.yaml` of a package says of them."""
    known = reference(package)
    for part in (schema, *schema.get("$defs", {}).values()):
        kind = part.get("title", "").partition("[")[0]  # without what a generic class is made of
        for name, said in known.get(kind, {}).items():
            more = said if isinstance(said, dict) else {"description": said}
            field = part["properties"][name]
            field["description"] = more["description"]
            if "example" in more:
                field["examples"] = [more["example"]]


def page_text(report: Report, now: datetime | None = None) -> str:
    """
    Return the HTML page; with *now* it is one of the past.

    Raises:
        ConfigError: The library for it is not installed.
    """
    from rotator.report import html  # noqa: PLC0415 - see the module's docstring

    return html.render(report, now)
