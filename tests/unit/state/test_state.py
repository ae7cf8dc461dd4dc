"""The state file: whole or not at all, never replaced in silence, one run at a time."""

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest

from rotator.errors import BusyError, LockedError, StateError
from rotator.retirement.history import KeyHistory, KeySeen, SweepRecord
from rotator.retirement.looks import Listed, Look, Outside, Proof
from rotator.retirement.places import Fence
from rotator.run.preflight import run_lock
from rotator.state.database import VERSION, default_path
from rotator.state.state import State
from rotator.tally.tally import Mode, Outcome, Tally

CACHE = "shared-redis"
KEY = "9f2c41d07be3a655"
CURRENT = "0" * 16
TABLES = {4: ["runs", "orders"]}
TABLES[3] = [*TABLES[4], "formats"]
TABLES[2] = [*TABLES[3], "looks", "proofs", "fences", "lineages"]
TABLES[1] = [*TABLES[2], "windows", "endings"]
NOW = datetime(2026, 11, 23, 10, 3, 12, 345678, tzinfo=UTC)
HOUR = timedelta(hours=1)

HOLDER = """
import sys
from pathlib import Path
from rotator.run.preflight import run_lock
from rotator.state.state import State
with State(Path(sys.argv[1])) as state, run_lock(state.path, sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""

WRITER = """
import sys
from pathlib import Path
from rotator.state.state import State
with State(Path(sys.argv[1])) as state:
    for number in range(20):
        state.add_encryptions("aa", 1)
"""

BREAKER = """
import os, signal, sys
from pathlib import Path
from rotator.state.state import State
with State(Path(sys.argv[1])) as state:
    with state._database.change() as change:
        change("INSERT INTO encryptions VALUES ('aa', 7)", ())
        change("INSERT INTO encryptions VALUES ('bb', 7)", ())
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def path(tmp_path):
    """Where a state file may be made."""
    return tmp_path / "folder" / "state.db"


@pytest.fixture
def state(path):
    """An open state file."""
    with State(path) as opened:
        yield opened


def _record(finished_at, seen=None, **more):
    """A complete sweep that saw *seen* of the key."""
    fields = {
        "cache": CACHE,
        "mode": Mode.RUN,
        "started_at": finished_at - timedelta(minutes=5),
        "finished_at": finished_at,
        "complete": True,
        "current": CURRENT,
        "keys": {KEY: seen or KeySeen()},
    }
    return SweepRecord(**(fields | more))


def _seen(at, **more):
    """What a sweep saw that met one value at *at*."""
    return KeySeen(found=1, first_seen_at=at, last_seen_at=at, **more)


def _python(script, *arguments, **more):
    """A process that runs *script*."""
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], **more)


class TestFile:
    """How the file is made, and what is refused."""

    def test_private(self, state, path):
        """The file and its folder are for their owner only, and nothing else is left there."""
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert list(path.parent.iterdir()) == [state.path]

    def test_default(self, tmp_path, monkeypatch):
        """Without --state the file is in the user's state directory."""
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        with State() as state:
            assert state.path == default_path() == tmp_path / "rotator" / "state.db"

    def test_odd_name(self, tmp_path):
        """A path may hold any characters."""
        with State(tmp_path / "a?b#c %41.db") as state:
            state.add_encryptions("aa", 1)
        assert [found.name for found in tmp_path.iterdir()] == ["a?b#c %41.db"]

    def test_reopened(self, path):
        """What was saved is there when the file is opened again."""
        with State(path) as state:
            state.add_encryptions("aa", 5)
        with State(path) as state:
            assert state.encryptions("aa") == 5

    @pytest.mark.parametrize("version", [1, 2, 3, 4])
    def test_older(self, path, version):
        """A file of an earlier schema is brought up to date once, with all that it holds."""
        with State(path) as state:
            state.add_encryptions("aa", 5)
            assert state.upgraded_from is None
        tables = TABLES[version]
        with closing(sqlite3.connect(path)) as database:
            database.executescript("".join(f"DROP TABLE {table};" for table in tables))
            database.execute(f"PRAGMA user_version = {version}")
        with State(path) as first, State(path) as second:
            assert (first.upgraded_from, second.upgraded_from) == (version, None)
            first.set_run_result("[]", 3)
            assert (second.encryptions("aa"), second.run_records("a")) == (5, [])
            assert (second.run_result("[]"), second.run_result('["a"]')) == (3, None)
            first.add_looks("a", [Look("node:1", NOW)])
            assert second.looks("a") == [Look("node:1", NOW)]
            assert second.format_fact("a", "aa", "any") == ("written" if version < 4 else None)
            assert second.format_fact("a", "bb", "any") is None
        with State(path) as state:
            assert state.upgraded_from is None
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)

    @pytest.mark.parametrize("version", [1, 2, 3, 4])
    def test_an_upgrade_makes_what_a_new_file_has(self, path, tmp_path, version):
        """A file that was upgraded has the tables and indexes of a new one."""

        def schema(file):
            with closing(sqlite3.connect(file)) as database:
                rows = database.execute("SELECT name, sql FROM sqlite_master ORDER BY name")
                return {name: " ".join((sql or "").split()) for name, sql in rows}

        State(path).close()
        new = schema(path)
        old = tmp_path / "old.db"
        State(old).close()
        tables = TABLES[version]
        with closing(sqlite3.connect(old)) as database:
            database.executescript("".join(f"DROP TABLE {table};" for table in tables))
            database.execute(f"PRAGMA user_version = {version}")
        State(old).close()
        assert schema(old) == new

    def test_newer(self, path):
        """A file with a newer schema is refused, and stays as it is."""
        State(path).close()
        with closing(sqlite3.connect(path)) as database:
            database.execute(f"PRAGMA user_version = {VERSION + 1}")
        before = path.read_bytes()
        with pytest.raises(StateError, match="has schema 6, this rotator knows 5") as refused:
            State(path)
        assert "use the version of rotator that wrote it" in refused.value.hint
        assert path.read_bytes() == before

    @pytest.mark.parametrize(
        ("content", "message"),
        [(b"", "is empty"), (b"not a database" * 99, "is damaged, or not a state file of rotator")],
    )
    def test_not_ours(self, path, content, message):
        """An empty file or one of something else is refused, and stays as it is."""
        path.parent.mkdir()
        path.write_bytes(content)
        with pytest.raises(StateError, match=message) as refused:
            State(path)
        assert "move it away" in refused.value.hint
        assert path.read_bytes() == content

    def test_other_database(self, path):
        """An SQLite file of another program is refused."""
        path.parent.mkdir()
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE positions (x)")
        with pytest.raises(StateError, match="is not a state file of rotator"):
            State(path)

    def test_damaged(self, path):
        """A file that was damaged in the middle is refused, and stays as it is."""
        with State(path) as state:
            state.save_position(CACHE, "run", "node:1", {"text": "x" * 99_999})
        content = bytearray(path.read_bytes())
        content[5_000:60_000] = b"\xff" * 55_000
        path.write_bytes(content)
        with pytest.raises(StateError, match="is damaged"):
            State(path)
        assert path.read_bytes() == content

    def test_cut_off(self, path):
        """A file of which the end is missing is refused."""
        with State(path) as state:
            state.save_position(CACHE, "run", "node:1", {"text": "x" * 99_999})
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(StateError, match="is damaged"):
            State(path)

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE histories SET history = '[]'",
            "UPDATE histories SET history = '{'",
            'UPDATE histories SET history = \'{"clean_since": "soon"}\'',
        ],
    )
    def test_not_understood(self, state, path, statement):
        """Content that makes no sense is an error, not an empty history."""
        state.record_sweep(_record(NOW))
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(statement)
        with pytest.raises(StateError, match="is damaged"):
            state.history(CACHE, KEY)

    @pytest.mark.parametrize(
        ("change", "read"),
        [
            ("reports SET at = 'soon'", State.last_reports),
            ("reports SET at = x'ff'", State.last_reports),
            ("reports SET cache = x'ff'", State.last_reports),
            ("verdicts SET at = 'soon'", lambda state: state.verdicts(KEY)),
            ("verdicts SET verdict = 'safe'", lambda state: state.verdicts(KEY)),
            ("encryptions SET number = 'many'", lambda state: state.encryptions(KEY)),
            ("seen SET number = 'many'", lambda state: state.most_seen(KEY)),
            ("lineages SET record = '{\"lost_at\": 1}'", lambda one: one.cache_record(CACHE, [])),
        ],
    )
    def test_no_sense(self, state, path, change, read):
        """Times, numbers and verdicts that make no sense are errors too."""
        state.save_report(CACHE, "{}", NOW)
        state.note_verdict(KEY, "verifying", NOW)
        state.add_encryptions(KEY, 1)
        state.note_seen(CACHE, KEY, 1)
        state.set_lineage(CACHE, CACHE, {})
        read(state)
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(f"UPDATE {change}")
        with pytest.raises(StateError, match="is damaged"):
            read(state)

    def test_folder_is_a_file(self, tmp_path):
        """A folder that cannot be made is an error with a hint."""
        (tmp_path / "file").touch()
        with pytest.raises(StateError, match="cannot be opened") as refused:
            State(tmp_path / "file" / "state.db")
        assert "--state" in refused.value.hint

    def test_is_a_folder(self, tmp_path):
        """A folder in place of the file is an error with a hint."""
        with pytest.raises(StateError, match="is not a file") as refused:
            State(tmp_path)
        assert "--state" in refused.value.hint

    def test_no_permission(self, path):
        """A file that may not be written can still be read, and refuses to be changed."""
        State(path).close()
        uri = f"file:{path}?mode=ro"
        with State(path) as state:
            state._database._connection.close()
            state._database._connection = sqlite3.connect(uri, uri=True, isolation_level=None)
            assert state.encryptions("aa") == 0
            with pytest.raises(StateError, match="cannot be written") as refused:
                state.add_encryptions("aa", 1)
        assert "writable" in refused.value.hint

    def test_moved(self, state, path):
        """A file that is taken away while it is in use is not called one without permission."""
        path.rename(path.with_name("elsewhere"))
        with pytest.raises(StateError, match="was moved or removed") as refused:
            state.add_encryptions("aa", 1)
        assert "put it back" in refused.value.hint

    def test_locked_too_long(self, state, path):
        """A file that another process keeps locked is an error after a while."""
        state._database._connection.execute("PRAGMA busy_timeout = 50")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(LockedError, match="is locked by another process"):
                state.add_encryptions("aa", 1)
        state.add_encryptions("aa", 1)

    def test_a_position_is_no_reason_to_wait(self, state, path):
        """A sweep does not stand still for a position, and what it found is waited for longer."""
        ((usual,),) = state._database.rows("PRAGMA busy_timeout")
        assert usual == 60_000
        with patch("rotator.state.state._SAVE_SECONDS", 0.05):
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                with pytest.raises(LockedError):
                    state.save_position("box", "run", "a:1", {})
            state.save_position("box", "run", "a:1", {"here": 1})
        assert state._database.rows("PRAGMA busy_timeout") == [(usual,)]
        assert state.load_position("box", "run", "a:1") == {"here": 1}

    def test_made_by_two_at_once(self, path):
        """Two that find no file at the same time use the same one."""
        with ThreadPoolExecutor(8) as pool:
            for opened in list(pool.map(lambda _: State(path), range(8))):
                opened.add_encryptions("aa", 1)
                opened.close()
        with State(path) as state:
            assert state.encryptions("aa") == 8


class TestTransactions:
    """Whole, or not at all."""

    def test_disk_full(self, state):
        """On a full disk nothing is half written, and what was there stays."""
        state.record_sweep(_record(NOW))
        history, connection = state.history(CACHE, KEY), state._database._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        many = {f"{number:016x}": _seen(NOW + HOUR) for number in range(999)} | {KEY: _seen(NOW)}
        with pytest.raises(StateError, match="the disk is full") as refused:
            state.record_sweep(_record(NOW + HOUR, keys=many))
        assert refused.value.hint == "make room, then run again"
        assert state.history(CACHE, KEY) == history
        assert state.last_sweep(CACHE).finished_at == NOW
        connection.execute("PRAGMA max_page_count = 100000")
        state.record_sweep(_record(NOW + HOUR, keys=many))

    def test_a_change_within_a_change(self, state, monkeypatch):
        """Changes within a change are a part of it: what fails takes all of them back."""
        state.add_looks(CACHE, [LOOK])
        monkeypatch.setattr(state, "add_looks", lambda *_: json.loads("{"))
        with pytest.raises(ValueError, match="Expecting"):
            state.replace_looks(CACHE, [])
        assert state.looks(CACHE) == [LOOK]

    def test_killed(self, path):
        """A process that is killed in the middle of a change leaves nothing of it."""
        with _python(BREAKER, path) as breaker:
            assert breaker.wait() == -signal.SIGKILL
        with State(path) as state:
            assert (state.encryptions("aa"), state.encryptions("bb")) == (0, 0)

    def test_processes(self, path):
        """Processes that change the file at the same time lose nothing."""
        writers = [_python(WRITER, path) for _ in range(3)]
        assert [writer.wait() for writer in writers] == [0, 0, 0]
        with State(path) as state:
            assert state.encryptions("aa") == 60

    def test_threads(self, state):
        """Threads may share an open state."""
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: state.add_encryptions("aa", 1), range(100)))
        assert state.encryptions("aa") == 100


class TestPositions:
    """How far each sweep of a node got."""

    def test_round_trip(self, state):
        """A position comes back as it was saved, with its tally; the last one counts."""
        tally = Tally()
        tally.add(Outcome.ROTATED)
        tally.count_remaining(KEY, 10, NOW, b"\xff\x00:x", None)
        state.save_position(CACHE, "run", "node:1", {"cursor": "1"})
        state.save_position(CACHE, "run", "node:1", {"cursor": "2", "tally": tally.to_dict()})
        loaded = state.load_position(CACHE, "run", "node:1")
        assert loaded["cursor"] == "2"
        assert Tally.from_dict(loaded["tally"]).to_dict() == tally.to_dict()

    @pytest.mark.parametrize(
        "other", [("other", "run", "node:1"), (CACHE, "dry-run", "node:1"), (CACHE, "run", "n:2")]
    )
    def test_apart(self, state, other):
        """Positions of other caches, phases and nodes are others."""
        state.save_position(CACHE, "run", "node:1", {"cursor": "1"})
        assert state.load_position(*other) is None

    @pytest.mark.parametrize(("phase", "left"), [(None, []), ("dry-run", ["run"])])
    def test_drop(self, state, phase, left):
        """Positions of one cache are dropped, in one phase or in all."""
        for cache in (CACHE, "other"):
            for kind in ("run", "dry-run"):
                state.save_position(cache, kind, "node:1", {"cursor": "1"})
        state.drop_positions(CACHE, phase)
        kinds = ("run", "dry-run")
        assert [kind for kind in kinds if state.load_position(CACHE, kind, "node:1")] == left
        assert all(state.load_position("other", kind, "node:1") for kind in kinds)


class TestSightings:
    """Which key was seen when, by which sweep."""

    def test_nothing_known(self, state):
        """Where nothing is known, nothing is claimed."""
        assert state.history(CACHE, KEY) == KeyHistory()
        assert state.last_sweep(CACHE) is None
        assert state.cache_record(CACHE, [KEY]).sweep is None

    def test_record(self, state):
        """A record comes back as it was, also with text from a server that is no text."""
        record = _record(
            NOW,
            _seen(NOW, prefixes=("/app/\N{SNOWMAN}",), drains_at=NOW + HOUR),
            mode=Mode.VERIFY,
            scope="abc",
            visits=3,
            verified=False,
            not_looked_at=("\udcff said no",),
            open_items={Outcome.DENIED: 2},
            accepted={Outcome.NOT_STRING: 1},
        )
        state.record_sweep(record)
        assert state.last_sweep(CACHE) == record

    def test_history(self, state):
        """Sweeps add up: met, clean, met again."""
        for record in (
            _record(NOW, _seen(NOW)),
            _record(NOW + HOUR, proven=True),
            _record(NOW + 2 * HOUR, _seen(NOW + 2 * HOUR)),
        ):
            state.record_sweep(record)
        history = state.history(CACHE, KEY)
        assert (history.first_seen_at, history.last_seen_at) == (NOW, NOW + 2 * HOUR)
        assert (history.clean_since, history.clean_before) == (None, NOW + HOUR)
        assert (history.returned, history.returned_at) == (1, NOW + 2 * HOUR)

    def test_current_key(self, state):
        """The current key is seen by every sweep."""
        state.record_sweep(_record(NOW))
        assert state.history(CACHE, CURRENT).last_seen_at == NOW

    def test_broken_off(self, state):
        """A sweep that was broken off changes the history, and the last complete one stays."""
        state.record_sweep(_record(NOW))
        state.record_sweep(_record(NOW + HOUR, _seen(NOW + HOUR), complete=False))
        assert state.last_sweep(CACHE).finished_at == NOW
        assert state.history(CACHE, KEY).last_seen_at == NOW + HOUR


LOOK = Look(
    "[2001:db8::1]:6379",
    NOW,
    facts={"run_id": "a" * 40, "role": "master", "redis_version": "7.0.15\udcff"},
    calls={"config|set": 3, "get": 0},
    own_config=2,
    settings={"save": "", "dir": "/data\udcff"},
    node_id="b" * 40,
    epoch=7,
    slots="0-5460, 5462",
    listed=(Listed("10.0.0.8:6379", "online", "replica"), Listed("10.0.0.9:0")),
    backups=-1,
    missing="timed out \udcff",
    named_by="10.0.0.7:6379",
)
PROOF = Proof(
    "node:1",
    LOOK,
    Look("node:1", NOW + HOUR),
    "basis",
    met={KEY: 0, "f" * 16: 4},
    opened=9,
    open_items={Outcome.UNDECRYPTABLE: 1, Outcome.DENIED: 0},
    outside=Outside(None, {KEY: 2}, 3, 4, 5),
    hidden=6,
    doubt="a clock was set back",
)
FENCE = Fence(NOW, CURRENT, (KEY, "f" * 16), NOW + HOUR, NOW + 2 * HOUR)


class TestLineages:
    """Looks, proofs and lineages, as they were."""

    @pytest.mark.parametrize("look", [LOOK, Look("node:1", NOW)])
    def test_look(self, state, look):
        """A look comes back as it was, also with text from a server that is no text."""
        state.add_looks(CACHE, [look])
        assert state.looks(CACHE) == [look]

    @pytest.mark.parametrize(
        "proof", [PROOF, Proof("node:1", Look("n", NOW), Look("n", NOW), "b", met={})]
    )
    def test_proof(self, state, proof):
        """A proof comes back as it was: its mappings, its times, and what is not known."""
        state.add_proofs(CACHE, [proof])
        [found] = state.proofs(CACHE)
        assert found == proof
        assert [type(outcome) for outcome in found.open_items] == [Outcome] * len(proof.open_items)
        assert (found.begun_at, found.ended_at) == (proof.begun_at, proof.ended_at)

    def test_order(self, state):
        """They come back in the order in which they were added, for each history by itself."""
        looks = [Look(f"node:{number}", NOW - number * HOUR) for number in range(4)]
        state.add_looks(CACHE, looks[:2])
        state.add_looks(f"{CACHE}#2", looks[3:])
        state.add_looks(CACHE, looks[2:3])
        assert state.looks(CACHE) == looks[:3]
        assert state.looks(f"{CACHE}#2") == looks[3:]
        assert state.looks("other") == []

    def test_replace(self, state):
        """Those of one history can be thinned out, and the others stay."""
        for history in (CACHE, "other"):
            state.add_looks(history, [LOOK, Look("node:1", NOW)])
            state.add_proofs(history, [PROOF, PROOF])
        state.replace_looks(CACHE, [LOOK])
        state.replace_proofs(CACHE, [PROOF])
        assert (state.looks(CACHE), state.proofs(CACHE)) == ([LOOK], [PROOF])
        assert (len(state.looks("other")), len(state.proofs("other"))) == (2, 2)

    def test_lineages(self, state):
        """The lineages of a cache are found by its name, each with its history's id."""
        state.set_lineage(CACHE, CACHE, {"addresses": ["a:1"], "superseded_by": None})
        state.set_lineage(f"{CACHE}#2", CACHE, {"addresses": ["a:1"]})
        state.set_lineage("other", "other", {})
        state.set_lineage(f"{CACHE}#2", CACHE, {"addresses": ["b:1"]})
        assert state.lineages(CACHE) == {
            CACHE: {"addresses": ["a:1"], "superseded_by": None},
            f"{CACHE}#2": {"addresses": ["b:1"]},
        }
        assert state.lineages("none") == {}

    def test_work(self, state):
        """Work that did not end is found by the next, and what it met is lost."""
        first, second = NOW, NOW + timedelta(hours=1)
        state.set_lineage(CACHE, CACHE, {"addresses": ["a:1"]})

        def known():
            record = state.cache_record(CACHE, [])
            return record.addresses, record.working_since, record.lost_at

        state.begin_work(CACHE, CACHE, first)
        assert known() == (("a:1",), first, None)
        state.end_work(CACHE, CACHE)
        assert known() == (("a:1",), None, None)
        state.begin_work(CACHE, CACHE, first)
        state.begin_work(CACHE, CACHE, second)
        state.end_work(CACHE, CACHE)
        assert known() == (("a:1",), None, second)
        state.end_work(CACHE, CACHE, lost_at=first)
        assert known() == (("a:1",), None, first)
        state.begin_work("none", "none", first)
        state.end_work("none", "none")
        assert state.lineages("none") == {}

    def test_drop_history(self, state):
        """A history that is dropped is gone with all that belongs to it, and no other is."""
        histories = (CACHE, f"{CACHE}#2")
        for history in histories:
            state.set_lineage(history, CACHE, {})
            state.add_looks(history, [LOOK])
            state.add_proofs(history, [PROOF])
            state.record_sweep(_record(NOW, cache=history))
            state.save_report(history, "{}", NOW)
        state.drop_history(CACHE)
        for history, number in zip(histories, (0, 1), strict=True):
            assert len(state.looks(history)) == len(state.proofs(history)) == number
            assert (state.last_sweep(history) is not None) is bool(number)
            assert (state.history(history, KEY) != KeyHistory()) is bool(number)
        assert set(state.lineages(CACHE)) == set(state.last_reports()) == {f"{CACHE}#2"}

    def test_not_understood(self, state, path):
        """A record that makes no sense is an error, not a look that was never made."""
        state.add_looks(CACHE, [LOOK])
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE looks SET record = '{}'")
        with pytest.raises(StateError, match="is damaged"):
            state.looks(CACHE)


class TestFences:
    """What an operator declared of the writers of a cache."""

    @pytest.mark.parametrize("fence", [FENCE, Fence(NOW, CURRENT, (), NOW)])
    def test_round_trip(self, state, fence):
        """A fence comes back as it was; the last one counts, and each cache has its own."""
        state.set_fence(CACHE, Fence(NOW, "1" * 16, (), NOW))
        state.set_fence(CACHE, fence)
        assert (state.fence(CACHE), state.fence("other")) == (fence, None)

    def test_drop(self, state):
        """A fence that is dropped is gone."""
        state.set_fence(CACHE, FENCE)
        state.set_fence("other", FENCE)
        state.drop_fence(CACHE)
        state.drop_fence("none")
        assert (state.fence(CACHE), state.fence("other")) == (None, FENCE)


class TestEncryptions:
    """How often a key was used to encrypt."""

    def test_sum(self, state):
        """Encryptions add up, for each key."""
        for number in (1, 2**40):
            state.add_encryptions("aa", number)
        assert (state.encryptions("aa"), state.encryptions("bb")) == (2**40 + 1, 0)


class TestCacheRecord:
    """All that is known of a cache, read at once."""

    def test_all(self, state):
        """It holds the last sweep, looks, proofs and fence, and of each key history and counts."""
        state.record_sweep(_record(NOW))
        state.add_looks(CACHE, [LOOK])
        state.add_proofs(CACHE, [PROOF])
        state.set_fence(CACHE, FENCE)
        state.add_encryptions(KEY, 3)
        state.note_seen(CACHE, KEY, 4)
        verdicts = [state.note_verdict(KEY, verdict, NOW) for verdict in ("held", "held")]
        record = state.cache_record(CACHE, [KEY])
        known = record.keys[KEY]
        assert (record.sweep, record.runs, record.fence) == (_record(NOW), (), FENCE)
        assert (record.looks, record.proofs) == ((LOOK,), (PROOF,))
        assert known.history == state.history(CACHE, KEY)
        assert (known.encryptions, known.most_seen) == (3, 4)
        assert verdicts == [[(NOW, "held")]] * 2 == [list(known.verdicts)] * 2

    def test_nothing(self, state):
        """Of what was never seen it claims nothing."""
        record = state.cache_record(CACHE, [KEY])
        assert (record.sweep, record.runs) == (None, ())
        assert record.keys[KEY].history == KeyHistory()


class TestReports:
    """The last report on each cache."""

    def test_last(self, state):
        """The last report on each cache comes back, with its time."""
        for at in (NOW, NOW + HOUR):
            state.save_report("b", json.dumps({"at": str(at)}), at)
        state.save_report("a", "{}", NOW)
        assert state.last_reports() == {
            "a": (NOW, "{}"),
            "b": (NOW + HOUR, json.dumps({"at": str(NOW + HOUR)})),
        }


class TestLock:
    """One run at a time on each cache."""

    def test_held(self, state, path):
        """Another process cannot have it meanwhile, and is told which one does."""
        with (
            _python(HOLDER, path, CACHE, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder,
        ):
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(BusyError, match=f"another run on {CACHE}") as refused:
                run_lock(state.path, CACHE).__enter__()
            assert f"process {holder.pid}" in refused.value.hint
            with run_lock(state.path, "other"):
                holder.stdin.close()
                assert holder.wait() == 0
        with run_lock(state.path, CACHE):
            pass

    def test_killed(self, state, path):
        """The kernel releases the lock of a process that is killed."""
        with _python(HOLDER, path, CACHE, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout.readline() == b"held\n"
            holder.kill()
            assert holder.wait() == -signal.SIGKILL
        with run_lock(state.path, CACHE):
            pass

    def test_same_process(self, state, path):
        """It is held against the same process, too."""
        with (
            run_lock(state.path, CACHE),
            State(path) as other,
            pytest.raises(BusyError),
            run_lock(other.path, CACHE),
        ):
            pass

    def test_private(self, state):
        """The lock file is for its owner only, and its name can be made of any cache's."""
        with run_lock(state.path, "../\N{SNOWMAN}"):
            (found,) = [one for one in state.path.parent.iterdir() if one != state.path]
        assert stat.S_IMODE(found.stat().st_mode) == 0o600

    def test_no_file(self, state):
        """A lock file that cannot be made is an error with a hint."""
        state.path = Path("/dev/null/state.db")
        with (
            pytest.raises(StateError, match="cannot be opened") as refused,
            run_lock(state.path, CACHE),
        ):
            pass
        assert "--state" in refused.value.hint


class TestFormats:
    """What is known of values of a format under a key."""

    def test_first_fact_stays(self, path):
        """Whether a value was met or written first decides, for each history, key and format."""
        with State(path) as state:
            state.note_format("a", "k1", "form", "met")
            state.note_format("a", "k1", "form", "written")
            state.note_format("a", "k2", "form", "written")
            known = [
                state.format_fact(*place)
                for place in (
                    ("a", "k1", "form"),
                    ("a", "k2", "form"),
                    ("b", "k1", "form"),
                    ("a", "k1", "other"),
                )
            ]

            assert known == ["met", "written", None, None]

    def test_history_is_dropped(self, path):
        """With a history what is known of its formats goes, too."""
        with State(path) as state:
            state.note_format("a", "k1", "form", "met")
            state.drop_history("a")

            assert state.format_fact("a", "k1", "form") is None
