"""
Database: opens, checks and upgrades one SQLite file.

- A file that exists is either good or an error. It is never taken for a new one, not even when it
  is empty: a new one is built beside it and then given its name.
- `PRAGMA application_id` tells it from any other SQLite file, `PRAGMA user_version` its schema.
"""

import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import wraps
from pathlib import Path
from tempfile import mkstemp
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote

import platformdirs

from rotator.errors import LockedError, StateError
from rotator.protection import require_own

P = ParamSpec("P")
T = TypeVar("T")
Change = Callable[[str, Sequence[Any]], object]
"""Executes a statement with its values, within a transaction."""

VERSION = 5
"""The version of the schema, kept as `PRAGMA user_version`; 1.0.0 wrote 2."""

OPENING = 10.0  # for so many seconds a lock is waited for before there is anything to lose
_APPLICATION = 0x524F5401  # "ROT", 1
_RUNS = (
    "CREATE TABLE windows (number INTEGER PRIMARY KEY, cache TEXT NOT NULL, record TEXT NOT NULL)",
    "CREATE INDEX windows_by_cache ON windows (cache, number)",
    "CREATE TABLE endings (caches TEXT PRIMARY KEY, exit_code INTEGER NOT NULL) WITHOUT ROWID",
)
_LINEAGES = (
    """CREATE TABLE looks (
        number INTEGER PRIMARY KEY, history TEXT NOT NULL, address TEXT NOT NULL,
        record TEXT NOT NULL
    )""",
    "CREATE INDEX looks_by_history ON looks (history, number)",
    """CREATE TABLE proofs (
        number INTEGER PRIMARY KEY, history TEXT NOT NULL, node TEXT NOT NULL, record TEXT NOT NULL
    )""",
    "CREATE INDEX proofs_by_history ON proofs (history, number)",
    "CREATE TABLE fences (cache TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE lineages (
        history TEXT PRIMARY KEY, cache TEXT NOT NULL, record TEXT NOT NULL
    ) WITHOUT ROWID""",
)
_FORMATS = (
    """CREATE TABLE formats (
        history TEXT, key_id TEXT, format TEXT, fact TEXT NOT NULL,
        PRIMARY KEY (history, key_id, format)
    ) WITHOUT ROWID""",
)
# What was encrypted before formats were noted may have been in any of them.
_IN_ANY = "INSERT INTO formats SELECT '*', key_id, '*', 'written' FROM encryptions"
_LIVE = (
    "CREATE TABLE runs (run TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID",
    # A number is never given twice: a run has heard all up to the last one that it read.
    """CREATE TABLE orders (
        number INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, record TEXT NOT NULL
    )""",
)
_UPGRADES = {1: _RUNS, 2: _LINEAGES, 3: (*_FORMATS, _IN_ANY), 4: _LIVE}
_SCHEMA = f"""
CREATE TABLE positions (
    cache TEXT, phase TEXT, node TEXT, position TEXT NOT NULL,
    PRIMARY KEY (cache, phase, node)
) WITHOUT ROWID;
CREATE TABLE sweeps (cache TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE histories (
    cache TEXT, key_id TEXT, history TEXT NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
CREATE TABLE holds (
    cache TEXT, key_id TEXT, holds TEXT NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
CREATE TABLE marks (
    cache TEXT, key_id TEXT, clean_since TEXT NOT NULL, marks TEXT NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
CREATE TABLE encryptions (key_id TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE seen (
    cache TEXT, key_id TEXT, number INTEGER NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
CREATE TABLE verdicts (
    number INTEGER PRIMARY KEY, key_id TEXT NOT NULL, at TEXT NOT NULL, verdict TEXT NOT NULL
);
CREATE INDEX verdicts_by_key ON verdicts (key_id, number);
CREATE TABLE reports (cache TEXT PRIMARY KEY, report TEXT NOT NULL, at TEXT NOT NULL) WITHOUT ROWID;
{";".join((*_RUNS, *_LINEAGES, *_FORMATS, *_LIVE))};
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {VERSION};
"""
_ANEW = "restore it, or move it away: a new one only means that every old key is `verifying` again"
_OTHER = "or choose another file with --state"
_MEANINGS = {
    sqlite3.SQLITE_BUSY: ("is locked by another process", "wait for that process, or stop it"),
    sqlite3.SQLITE_FULL: ("cannot grow: the disk is full", "make room, then run again"),
    sqlite3.SQLITE_CORRUPT: ("is damaged", _ANEW),
    sqlite3.SQLITE_NOTADB: ("is damaged, or not a state file of rotator", _ANEW),
    sqlite3.SQLITE_READONLY: ("cannot be written", f"make it and its folder writable, {_OTHER}"),
    sqlite3.SQLITE_READONLY_DBMOVED: ("was moved or removed", f"put it back, {_OTHER}"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", f"make it and its folder usable, {_OTHER}"),
}


class Database:
    """
    Database: an open SQLite file, which threads may share.

    Names of tables and columns are our own; what comes from elsewhere is passed as values.
    A lock is waited for *opening* seconds, and once it is open for *wait* seconds. *upgraded_from*
    is the schema that this opening has replaced, if it has.

    Raises:
        StateError: From every method, with what is wrong with the file and what to do.
    """

    def __init__(self, path: Path, *, opening: float = OPENING, wait: float = 60.0) -> None:
        self.path = path
        self.upgraded_from: int | None = None
        self._turn = threading.RLock()
        with self._explained():
            self._require_own()
            if not path.exists():
                _create(path)
            self._connection = _connect(path, opening)
        try:
            self._require_own()  # SQLite follows a link that somebody has put there meanwhile
            self._check()
        except StateError:
            self.close()
            raise
        self.rows(f"PRAGMA busy_timeout = {round(wait * 1000)}")

    @contextmanager
    def waiting_at_most(self, seconds: float) -> Iterator[None]:
        """Wait so many *seconds* for a lock of another process while the block goes on."""
        with self._turn:
            ((before,),) = self.rows("PRAGMA busy_timeout")
            self.rows(f"PRAGMA busy_timeout = {round(seconds * 1000)}")
            try:
                yield
            finally:
                self.rows(f"PRAGMA busy_timeout = {before}")

    def close(self) -> None:
        """Close the file; what was committed is on disk already."""
        self._connection.close()

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows that a statement finds."""
        with self._turn, self._explained():
            found = self._connection.execute(statement, values).fetchall()
        if any(isinstance(one, bytes) for row in found for one in row):
            raise self.damaged()  # none is ever stored
        return found

    def found(self, table: str, order: str = "", **key: str) -> list[Any]:
        """Return what the last column holds in each row of a key, in the order of a column."""
        where = " AND ".join(f"{name} = ?" for name in key)
        by = f" ORDER BY {order}" if order else ""
        statement = f"SELECT * FROM {table} WHERE {where}{by}"  # noqa: S608 - see the class
        return [row[-1] for row in self.rows(statement, tuple(key.values()))]

    def append(self, table: str, owner: str, *values: str, keep: int) -> None:
        """Add a row, and drop all but the last *keep* of the same *owner*, the first column."""
        with self.change() as change:
            put(change, table, None, *values)
            change(
                f"DELETE FROM {table} WHERE {owner} = ? AND number NOT IN"  # noqa: S608 - see above
                f" (SELECT number FROM {table} WHERE {owner} = ? ORDER BY number DESC LIMIT ?)",
                (values[0], values[0], keep),
            )

    @contextmanager
    def change(self) -> Iterator[Change]:
        """
        Begin a transaction: what is executed with the function is committed at the end, or lost.

        No other process can change the file in between. A change within a change is a part of it.
        """
        with self._turn, self._explained():
            if self._connection.in_transaction:  # of this thread: the others wait for their turn
                yield self._connection.execute
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException:
                # After some errors SQLite has rolled back by itself, and says so with an error.
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def damaged(self) -> StateError:
        """Return the error for a file that SQLite can read and we cannot."""
        return StateError(f"the state file {self.path} is damaged", hint=_ANEW)

    def _require_own(self) -> None:
        """Refuse another user's file, and the journal from which SQLite would restore one."""
        for path in (self.path, self.path.with_name(f"{self.path.name}-journal")):
            try:
                require_own(path, StateError)
            except StateError as error:
                hint = f"{error.hint} (--state)"
                raise StateError(f"the state file {error}", hint=hint) from None

    def _check(self) -> None:
        """Refuse what is damaged, of something else, or newer than we are."""
        if self.rows("PRAGMA quick_check(1)") != [("ok",)]:
            raise self.damaged()
        (owner,) = self.rows("PRAGMA application_id")[0]
        if owner != _APPLICATION:
            what = "is empty" if not self.path.stat().st_size else "is not a state file of rotator"
            raise StateError(f"the file {self.path} {what}", hint=_ANEW)
        (written_by,) = self.rows("PRAGMA user_version")[0]
        if written_by in _UPGRADES:
            written_by = self._upgrade()
        if written_by != VERSION:
            raise StateError(
                f"the state file {self.path} has schema {written_by}, this rotator knows {VERSION}",
                hint="use the version of rotator that wrote it, or another file with --state",
            )

    def _upgrade(self) -> int:
        """Bring the schema up to date, whole or not at all; return its version."""
        with self.change() as change:  # another process may have been faster
            version = before = int(self.rows("PRAGMA user_version")[0][0])
            while version in _UPGRADES:
                for statement in _UPGRADES[version]:
                    change(statement, ())
                version += 1
            change(f"PRAGMA user_version = {version}", ())
        self.upgraded_from = before if version > before else None
        return version

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what an error of SQLite or of the file system means."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0)
            code = code if code in _MEANINGS else code & 0xFF  # without the extended part
            what, hint = _MEANINGS.get(code, ("cannot be used", f"look at the disk, {_OTHER}"))
            kind = LockedError if code == sqlite3.SQLITE_BUSY else StateError
            raise kind(f"the state file {self.path} {what} ({error})", hint=hint) from error
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
            what, hint = _MEANINGS[sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_CANTOPEN]
            what = f"{what} ({error.strerror or error})"
            raise StateError(f"the state file {self.path} {what}", hint=hint) from error


def understood(method: Callable[P, T]) -> Callable[P, T]:
    """Return a method of a `State` for which the file is damaged where it makes no sense."""

    @wraps(method)
    def call(*values: P.args, **named: P.kwargs) -> T:
        try:
            return method(*values, **named)
        except (ValueError, TypeError) as error:
            state: Any = values[0]
            raise state._database.damaged() from error  # noqa: SLF001 - see above

    return call


def put(change: Change, table: str, *values: object) -> None:
    """Set a row of a table; it replaces one with the same key."""
    marks = ", ".join("?" * len(values))
    change(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", values)  # noqa: S608 - our own names


def drop(change: Change, table: str, **key: str) -> None:
    """Delete the rows of a key from a table."""
    where = " AND ".join(f"{name} = ?" for name in key)
    change(f"DELETE FROM {table} WHERE {where}", tuple(key.values()))  # noqa: S608 - our own names


def _connect(path: Path, wait: float) -> sqlite3.Connection:
    """Open a file that exists; transactions are ours alone."""
    uri = f"file:{quote(str(path.absolute()))}?mode=rw"
    return sqlite3.connect(
        uri, uri=True, timeout=wait, isolation_level=None, check_same_thread=False
    )


def _create(path: Path) -> None:
    """Build a new file under another name (mkstemp gives it mode 0600), then give it its own."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = mkstemp(prefix=f"{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        with closing(sqlite3.connect(name)) as connection:
            connection.executescript(_SCHEMA)
        # Unlike a rename, a link does not replace the file of a process that was faster.
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()


def default_path() -> Path:
    """Return where the state is without `--state`: in the user's state directory."""
    return platformdirs.user_state_path("rotator") / "state.db"
