"""The pages of one scan, each asked for before it is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rotator.server.store import Store, Value


class Page(NamedTuple):
    """Names, the cursor behind them, and their values, which were asked for already."""

    cursor: int
    names: list[bytes]
    values: Callable[[], list[Value]]


class Pages:
    """
    One scan of the database *db*, from *cursor* on, for names that match *pattern*.

    *count* tells how many names the next page is to have.
    """

    def __init__(
        self, store: Store, db: int, pattern: str | None, cursor: int, count: Callable[[], int]
    ) -> None:
        self._store = store
        self._db = db
        self._pattern = pattern
        self._count = count
        self._ready: Page | None = None
        store.select(db)
        self._scan: Callable[[], tuple[int, list[bytes]]] | None = self._ask(cursor)

    def take(self) -> Page | None:
        """
        The next page, in its database; None when the scan is over.

        While it is worked on, the server gets ready the values of the one after it.
        """
        self._store.select(self._db)  # whoever worked on the last page may have been elsewhere
        if self._ready is None:
            self._prepare()
        page = self._ready
        self._ready = None
        self._prepare()
        return page

    def _prepare(self) -> None:
        """Ask for the values of the next page, and for the names of the one after it."""
        if self._scan is None:
            return
        cursor, names = self._scan()
        self._ready = Page(cursor, names, self._store.start_read(names))
        self._scan = self._ask(cursor) if cursor else None

    def _ask(self, cursor: int) -> Callable[[], tuple[int, list[bytes]]]:
        return self._store.start_page(cursor, self._pattern, self._count())
