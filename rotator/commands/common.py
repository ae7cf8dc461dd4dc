"""What several commands need: options of their own, opening a cache, writing JSON and tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import structlog
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from rotator.cache import Cache
from rotator.cli.options import option
from rotator.config.load import Config, load
from rotator.console import configure_logging, print_result
from rotator.errors import ConfigError
from rotator.secrets.provider import provider_from_url
from rotator.server.context import Access, choose
from rotator.text import escape

log = structlog.get_logger(__name__)

Namespace = Annotated[
    str | None,
    option(
        "--namespace",
        "What stands before the key, for example /app/oidc.",
        metavar="NAMESPACE",
        show_default=False,
    ),
]


def start_logging(log_format: str = "console", level: str = "info") -> None:
    """Send the log to stderr; without this it would go to stdout, among the result."""
    configure_logging(log_format, level)


def open_config(files: Sequence[Path] | None) -> Config:
    """
    The configuration of *files*, with what it warns of in the log.

    Raises:
        ConfigError: It cannot be read, or something in it is wrong.
    """
    config = load(files or ())
    if not structlog.is_configured():
        start_logging()
    for warning in config.warnings:
        log.warning(warning)
    for name in config.skipped:
        log.info("skipped, its type is cluster", cache=name)
    return config


def open_access(config: Config, cache_name: str | None, provider_url: str | None) -> Access:
    """
    What it takes to use one cache; without a name the only one.

    Raises:
        ConfigError: There is no such cache, several to choose from, or a key or format is wrong.
        SourceError: The secret provider cannot be reached.
    """
    return Access(config, choose(config, cache_name), provider_from_url(provider_url))


def open_cache(access: Access, namespace: str | None, database: int) -> Cache:
    """
    The cache client. Names with a prefix need a namespace, if need be an empty one, said aloud:
    an entry that is written without is one that no application finds.

    Raises:
        ConfigError: There is no namespace where one is needed, or one where there is none.
    """
    if namespace is None and not access.cache.disable_prefix:
        raise ConfigError(
            "names of this cache begin with a namespace, and none is given",
            hint="give it with --namespace, for example /app/oidc",
        )
    return Cache(access, namespace or "", database=database)


def print_json(data: Any) -> None:
    """Write *data* to stdout as indented JSON, ASCII only, so that nothing in it can do harm."""
    print_result(json.dumps(data, indent=2))


def table(*columns: str, rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    """A table of text; a cell that is None shows a dash, and numbers go to the right."""
    cells = [["-" if cell is None else cell for cell in row] for row in rows]
    drawn = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_header=any(columns),
    )
    for index, column in enumerate(columns):
        numbers = bool(cells) and all(isinstance(row[index], int) for row in cells)
        drawn.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(escape(str(cell))) for cell in row))
    return drawn
