"""State files, reports and metrics that 1.0.0 has written: `legacy` says how they came about."""

import json
import re
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.crc import key_slot

from cluster.local_cluster import LocalCluster
from rotator.demo.local_server import LocalServer
from rotator.report import words
from rotator.state.database import VERSION
from support import legacy
from support.caches import Place, as_bytes, keys_of
from support.commandline import run
from support.legacy import FOLDER, NOW, masked, position, rows
from support.programs import program
from support.wrong_clock import Jumping

STATES = sorted(NOW)
REPORTS = sorted(path.name for path in (FOLDER / "reports").iterdir())
OF_THE_STATE = ("swept_at", "progress", "past", "encryptions", "nonce_budget_used")
"""Fields that `rotator report` takes from the rest of the state, not from the report."""
JUDGED = ("verdict", "reasons", "next_step", "ready_at", "held_until")
"""Fields of a judgement, which knows more than that of 1.0.0."""
LAST_MET = "2026-11-01T03:00:01Z"
"""When a value of `sessions` was last met under an old key."""


@pytest.fixture
def clock(monkeypatch):
    """The time of day that rotator has, to be set: `clock(at)`."""
    jumping = Jumping(monkeypatch)

    def put(at):
        jumping.by = at - datetime.now(UTC)

    return put


@pytest.fixture
def told(tmp_path):
    """A command for `--on-change`, and what it was told: the event, and the changes."""
    path = tmp_path / "told.json"
    script = tmp_path / "listener.py"
    script.write_text(
        "import json, os, pathlib, sys\n"
        "pathlib.Path(sys.argv[1]).write_text(json.dumps(dict(os.environ)))\n"
    )

    class Told:
        command = f"{sys.executable} {script} {path}"

        @property
        def event(self):
            return json.loads(path.read_text())["ROTATOR_EVENT"]

        @property
        def changes(self):
            lines = json.loads(path.read_text())["ROTATOR_CHANGES"].splitlines()
            return [json.loads(line) for line in lines]

    return Told()


REWORDED = {
    "this goes by a dry run, and": "this is the pace of a dry run, and",
    "begun now and not stopped": "started now and not stopped",
    "visits a second last": "visits a second so far",
    "Names are as stored where they are hashes, else their SHA-256, unless the": (
        "Names that are hashes are shown as stored, other names as their SHA-256, unless the"
    ),
    "The operator said of these that they are known, and that they do not stand in the way of a": (
        "The operator declared that these are known and do not block a"
    ),
    "unless the operator asked for them.": "unless the operator asked for the names.",
    "did not end well;": "had a problem;",
    "Scans begun again": "Scans restarted",
    "Databases": "Database numbers",
    "was written, so there was nothing to verify.": "was written.",
    "Nothing was rewritten, so there was nothing to verify.": "This run rewrote nothing.",
    " Nothing was left out.": "",
}
"""What 1.0.0 said in other words; the last it could not know."""
ADDED = (
    r"Every verdict takes for granted .*? (?=Cache )",
    r"Words sweep .*? (?=A key id is computed)",
)
"""Parts of a page that 1.0.0 did not have."""


def expected(name):
    """What 1.0.0 printed of a state."""
    return mended((FOLDER / "state" / name).read_text())


def mended(text):
    """
    What 1.0.0 printed, without its fault in headlines.

    It said of values that were accepted that they were not moved, though the exit code was 0. In
    these files they all were, wherever any were.
    """
    # It quoted another library's words where a server cannot be reached.
    text = re.sub(
        r"Error \d+ connecting to [\d.:]+\. Connection refused\.", "connection refused", text
    )
    headline = re.compile(r"(?<=omplete), but [12] values? not moved")
    return headline.sub("", text) if "are accepted" in text else text


def reworded(text):
    """The words of a text that 1.0.0 printed, as they are now."""
    said = " ".join(text.split())
    for before, now in REWORDED.items():
        said = said.replace(before, now)
    return said.split()


def as_told(text):
    """
    The words of what is shown, without those that 1.0.0 did not say.

    That it is of an earlier version; that a sweep was stopped, so that what remains is not known,
    where 1.0.0 said 0; and how short a time was. A page also has parts that were not there.
    """
    said = " ".join(text.split()).replace("less than 0.1 s", "0.0 s")
    for part in ADDED:
        said = re.sub(part, "", said)
    for note in (words.OUTDATED, words.STOPPED_SHORT):
        said = said.replace(f"{note[:1].upper()}{note[1:]}.", "").replace(note, "")
    return re.sub(r"([0-9,]+ [0-9,]+) not known", r"\1 0", said).split()


def with_shares(text):
    """The words of a page, with shares as they are written now; 1.0.0 called 0 small."""
    return re.sub(r"under 0\.1 ?%", "0%", re.sub(r"(?<=[0-9]) %", "%", text)).split()


def lost(before, after, at=""):
    """Where data does not have what it had before; fields may have come."""
    if isinstance(before, dict):
        known = [name for name in before if name != "schema"]
        gone = [f"{at}.{name}" for name in known if name not in after]
        here = [name for name in known if name in after]
        return gone + [one for n in here for one in lost(before[n], after[n], f"{at}.{n}")]
    if isinstance(before, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [one for n, (old, new) in pairs for one in lost(old, new, f"{at}[{n}]")]
    return [] if before == after else [at]


def go(place, *args, code=0):
    """What `rotator run` reports and logs, of the configuration that the environment names."""
    env = {"MAVERICS_CONFIG": str(place.file), "ROTATOR_STATE": str(place.state)}
    done = run(["run", "--format", "json", *args], env)
    assert done.returncode == code, done.stderr.decode()
    return json.loads(done.stdout), done.stderr.decode()


def encryptions(path, own):
    """How many encryptions under the current key of a cache a state has counted."""
    found = rows(path, "SELECT number FROM encryptions WHERE key_id = ?", own.ids[0])
    return sum(number for (number,) in found)


def replaced(server, port):
    """What has a dump speak of another server than that at *port*."""
    return {f"127.0.0.1:{port}": server.address}


class TestReport:
    """`rotator report`, on each of the states of 1.0.0."""

    @pytest.fixture(params=STATES)
    def name(self, request):
        """The name of a state."""
        return request.param

    @pytest.fixture
    def state(self, name, tmp_path, clock):
        """The state, and the time at which 1.0.0 was asked."""
        clock(NOW[name])
        return legacy.load(name, tmp_path / "state.db")

    def test_json(self, name, state):
        """The JSON has every field that it had, with the same value."""
        shown = json.loads(legacy.shown(state, "--format", "json"))
        assert lost(json.loads(expected(f"{name}.json")), shown) == []
        assert all(cache["outdated"] for cache in shown["caches"])

    def test_table(self, name, state):
        """The table says what it said, and that it is of an earlier version."""
        assert as_told(legacy.shown(state)) == expected(f"{name}.txt").split()

    def test_outlook(self, name, state):
        """What is to come by a time is foreseen from the windows that were written down."""
        by = f"{NOW[name] + timedelta(days=1):%Y-%m-%dT05:00Z}"
        assert as_told(legacy.shown(state, "--by", by)) == reworded(expected(f"{name}-by.txt"))

    def test_page(self, name, state, tmp_path):
        """The page says what it said, but for how shares are written."""
        page = legacy.page(state, tmp_path).replace("report schema 2", "report schema 1")
        page = page.replace("--max-duration, --until or tune --stop", "--max-duration or --until")
        before, after = " ".join(reworded(expected(f"{name}-page.txt"))), " ".join(as_told(page))
        assert with_shares(after) == with_shares(before)

    def test_nothing_is_lost(self, name, state):
        """
        The file keeps every table and row of 1.0.0, and a newer schema adds tables.

        They are empty, but that what was encrypted under a key may have been in any format.
        """
        legacy.shown(state)
        before, after = expected(f"{name}.sql"), legacy.dump(state)
        added = after.splitlines()
        for line in before.splitlines():
            if line != "PRAGMA user_version=2;":
                added.remove(line)
        assert f"PRAGMA user_version={VERSION};" in added
        any_format = re.compile(
            r"""INSERT INTO "formats" VALUES\('\*','\w{16}','\*','written'\);"""
        )
        rows = [line for line in added if line.startswith("INSERT")]
        assert all(map(any_format.fullmatch, rows))
        assert len(rows) == before.count('INSERT INTO "encryptions"')

    def test_versions(self, name, state):
        """`--version` tells the servers that 1.0.0 has seen, and when."""
        done = run(["--version"], {"ROTATOR_STATE": str(state)})
        caches = json.loads(expected(f"{name}.json"))["caches"]
        assert [line for line in done.stdout.decode().splitlines() if " at 127.0.0.1:" in line] == [
            f"  {cache['name']} at {node['node']}: {node['version']}"
            f" ({cache['judged_at'][:16].replace('T', ' ')} UTC)"
            for cache in caches
            for node in cache["coverage"]["nodes"]
        ]


class TestRequire:
    """`rotator report --require` on the state of 1.0.0."""

    @pytest.fixture
    def asked(self, tmp_path, clock):
        """The exit code for a key, and what is on stderr."""
        clock(NOW["weeks"])
        state = legacy.load("weeks", tmp_path / "state.db")

        def ask(key, *more):
            done = run(["report", "--state", state, "--require", f"retirable:{key}", *more])
            return done.returncode, done.stderr.decode()

        return ask

    def test_verdicts(self, asked):
        """Each verdict of 1.0.0 counts, but that a key is retirable is to be proven anew."""
        ids = [*legacy.sessions().ids, *legacy.tokens().ids[1:3], legacy.audit().ids[1]]
        found = {key: asked(key, "--max-age", "30d") for key in ids}
        assert [code for code, _ in found.values()] == [6, 6, 6, 6, 6, 6]
        earlier = "was judged by an earlier version"
        said_of = ["is the current key", "is held", earlier, "is draining", "is in-use", "is held"]
        for (_, said), word in zip(found.values(), said_of, strict=True):
            assert word in said

    def test_age(self, asked):
        """How old a sweep is counts from when 1.0.0 has made it."""
        code, said = asked(legacy.sessions().ids[2])
        assert code == 6
        assert "the last complete sweep of sessions ended 2 days ago" in said


class TestKeys:
    """What the keys of 1.0.0 are called."""

    def test_ids(self, tmp_path):
        """The same keys have the ids that stand in the state and in the reports."""
        place = Place(tmp_path, legacy.sessions(), legacy.tokens(), legacy.audit())
        done = run(["keys", "--config", place.file, "--format", "json"])
        found = {(key["cache"], key["id"], key["role"]) for key in json.loads(done.stdout)["keys"]}
        assert found == {
            (cache["name"], key["id"], key["role"])
            for cache in json.loads(expected("weeks.json"))["caches"]
            for key in cache["keys"]
        }


class TestGoingOn:
    """Runs with the state of 1.0.0, which has three caches and several weeks behind it."""

    @pytest.fixture
    def begin(self, server, redis, tmp_path):  # noqa: ARG002 - redis empties the server first
        """The state, for one of its caches on the session's server."""

        def start(own, **settings):
            place = Place(tmp_path, own(server.address, **settings))
            change = replaced(server, legacy.PORTS[place.cache.name])
            legacy.load("weeks", place.state, change)
            return place

        return start

    def test_history(self, begin, redis):
        """A sweep more that does not meet a key is one more in its history, which goes on."""
        place = begin(legacy.sessions)
        before = json.loads(expected("weeks.json"))["caches"][1]
        place.cache.put(redis, "/app/oidc:1", key=0)
        report, _ = go(place, "--dry-run")
        [after] = report["caches"]
        for old, new in zip(before["keys"][1:], after["keys"][1:], strict=True):
            assert new["verdict"] == "verifying"  # what 1.0.0 found is proven anew
            past = new["past"]
            kept = ("first_seen_at", "last_seen_at", "clean_since", "returned_at")
            assert [past[field] for field in kept] == [old["past"][field] for field in kept]
            assert past["clean_sweeps"] == old["past"]["clean_sweeps"] + 1
            number = len(old["past"]["verdicts"])
            assert past["verdicts"][:number] == old["past"]["verdicts"]
        assert [key["past"]["first_seen_at"] for key in after["keys"][1:]] == [
            LAST_MET,
            "2026-10-05T02:00:00Z",
        ]

    def test_met_again(self, begin, redis):
        """A key that was clean when 1.0.0 last looked, and is met now, was met again."""
        place = begin(legacy.sessions)
        for number in range(3):
            place.cache.put(redis, f"/app/oidc:{number}", key=2)
        report, _ = go(place, "--dry-run")
        key = report["caches"][0]["keys"][2]
        assert key["verdict"] == "in-use"
        assert key["past"]["first_seen_at"] == "2026-10-05T02:00:00Z"
        assert key["past"]["returned_at"] > NOW["weeks"].isoformat()
        assert any("clean since 2026-10-07 03:00 UTC" in reason for reason in key["reasons"])

    def test_a_drained_key(self, begin, redis):
        """A key that was draining keeps its first meeting, and what was met of it most."""
        place = begin(legacy.tokens)
        place.cache.put(redis, "/app/token:1", key=0)
        report, _ = go(place, "--dry-run")
        key = report["caches"][0]["keys"][1]
        assert (key["verdict"], key["past"]["clean_sweeps"]) == ("verifying", 1)
        assert key["past"]["first_seen_at"] == "2026-10-05T02:00:00Z"
        assert key["past"]["last_seen_at"] == "2026-11-01T03:30:00Z"
        assert key["nonce_budget_used"] == 8 / 2**32
        assert key["past"]["verdicts"][-2][1] == "draining"

    def test_encryptions(self, begin, redis):
        """Encryptions are added to those that 1.0.0 has counted, of runs, `adopt` and `set`."""
        place = begin(legacy.audit)
        for number in range(7):
            place.cache.put(redis, f"/app/audit:{number}", key=1)
        before = encryptions(place.state, place.cache)
        report, _ = go(place)
        assert before == 20 + 2 + 1
        assert report["caches"][0]["keys"][0]["encryptions"] == 30
        redis.set("plain:1", "a word")
        options = ["--config", place.file, "--state", place.state]
        run(["adopt", "--match", "plain:*", "--yes", *options])
        run(["set", "two", "--namespace", "/app", *options], input=b"two")
        assert encryptions(place.state, place.cache) == 32

    def test_other_caches(self, server, redis, tmp_path):
        """A key that two caches list is judged by what 1.0.0 found in the one, and a run now."""
        first, second = legacy.sessions(), legacy.tokens(server.address)
        place = Place(tmp_path, first, second)
        legacy.load("weeks", place.state)
        second.put(redis, "/app/token:1", key=0)
        report, _ = go(place, "--dry-run", "--cache", "tokens")
        key = next(key for key in report["caches"][0]["keys"] if key["id"] == first.ids[2])
        assert key["verdict"] in {"verifying", "unknown"}
        assert any(reason.startswith("sessions: ") for reason in key["reasons"])
        with closing(sqlite3.connect(place.state)) as state, state:
            state.execute("DELETE FROM sweeps WHERE cache = 'sessions'")
        report, _ = go(place, "--dry-run", "--cache", "tokens")
        key = next(key for key in report["caches"][0]["keys"] if key["id"] == first.ids[2])
        assert key["verdict"] == "unknown"

    def test_holds_of_another_cache(self, server, redis, tmp_path):
        """What held a key in a cache that is not swept now is to be proven anew there."""
        old = legacy.audit()
        own = legacy.cache("tokens", "tokens 3", "audit 1", address=server.address)
        place = Place(tmp_path, old, own)
        legacy.load("weeks", place.state)
        own.put(redis, "/app/token:1", key=0)
        report, _ = go(place, "--dry-run", "--cache", "tokens", "--quiet", "0s")
        [_, key] = report["caches"][0]["keys"]
        [there] = [one for one in key["places"] if one["kind"] == "caches"]
        assert (there["where"], there["status"]) == ("audit", "unknown")

    def test_change_is_told(self, begin, redis, told):
        """A verdict that is another than that of 1.0.0 is told, with what it was."""
        place = begin(legacy.audit)
        place.cache.put(redis, "/app/audit:1", key=0)
        go(place, "--cache", "audit", "--on-change", told.command)
        assert told.event == "changed"
        [change] = told.changes
        assert (change["before"], change["after"]) == ("held", "verifying")

    def test_recovery_is_told(self, begin, redis, told):
        """How the same run ended under 1.0.0 is known: a good end after a bad one is told."""
        place = begin(legacy.audit, backups={"retention": "3650d"})
        with closing(sqlite3.connect(place.state)) as state, state:
            state.execute("UPDATE verdicts SET verdict = 'verifying'")
        place.cache.put(redis, "/app/audit:1", key=0)
        go(place, "--cache", "audit", "--on-change", told.command)
        assert (told.event, told.changes) == ("recovered", [])

    @pytest.mark.parametrize("known", [True, False])
    def test_stage(self, begin, redis, known):
        """`check --stage` knows by the state of 1.0.0 that an old key is a former one."""
        place = begin(legacy.sessions)
        place.cache.put(redis, "/app/oidc:1", key=0)
        if not known:
            place.state.unlink()
        options = ["--config", place.file, "--state", place.state, "--format", "json"]
        steps = json.loads(run(["check", "--stage", *options]).stdout)["steps"]
        [said] = [step["detail"] for step in steps if step["step"] == "stage"]
        assert said.startswith("retire: " if known else "distribute: ")


class TestResumed:
    """Sweeps that 1.0.0 began and did not end."""

    NAMES = 200

    @pytest.fixture
    def private(self, tmp_path):
        """A server of its own with the names that 1.0.0 had, and the cache of the killed run."""
        with LocalServer() as server, server.client() as client:
            place = Place(tmp_path, legacy.killed(server.address))
            for number in range(self.NAMES):
                place.cache.put(client, f"app:{number:03}", key=1)
            yield server, client, place

    def test_another_process(self, private):
        """A position of another process is not used: everything is visited, and rotated."""
        server, client, place = private
        legacy.load("killed", place.state, replaced(server, legacy.PORTS["killed"]))
        report, log = go(place)
        assert "saved position not used" in log
        [cache] = report["caches"]
        assert cache["complete"]
        assert cache["outcomes"]["rotated"] >= self.NAMES
        assert keys_of(client, place.cache) == {0: self.NAMES}
        assert position(place.state) == {}

    def test_one_server(self, private):
        """A sweep that was killed goes on at its cursor, and its encryptions count once."""
        server, client, place = private
        legacy.load(
            "killed",
            place.state,
            replaced(server, legacy.PORTS["killed"]),
            lambda state: pretend(state, {server.address: client}),
        )
        [saved] = position(place.state).values()
        done, behind = saved["tally"]["outcomes"]["rotated"], []
        ahead = names_from(client, saved["cursor"])
        for number in range(self.NAMES):
            if (name := b"app:%03d" % number) not in ahead:
                place.cache.put(client, name, key=0)
                behind.append(name)
        assert behind
        assert encryptions(place.state, place.cache) == 0 < done == saved["tally"]["encryptions"]
        report, log = go(place)
        assert "saved position not used" not in log
        [cache] = report["caches"]
        assert cache["complete"]
        assert len(ahead) <= cache["visits_now"] < self.NAMES
        assert cache["visits"] == sum(saved["tally"]["outcomes"].values()) + cache["visits_now"]
        assert cache["outcomes"]["rotated"] == done + len(ahead)
        assert cache["keys"][0]["encryptions"] == done + len(ahead)
        assert cache["keys"][1]["found"] == done + len(ahead)
        assert keys_of(client, place.cache) == {0: self.NAMES}

    def test_other_keys(self, private):
        """A position is not used where the keys are others than when it was saved."""
        server, client, place = private
        more = legacy.cache("killed", "killed 3", "killed 2", "killed 1", address=server.address)
        place.configure(more)
        change = replaced(server, legacy.PORTS["killed"])
        clients = {server.address: client}
        legacy.load("killed", place.state, change, lambda state: pretend(state, clients))
        report, log = go(place)
        assert "saved position not used" in log
        assert report["caches"][0]["visits_now"] >= self.NAMES

    @pytest.mark.timeout(240)
    def test_cluster(self, tmp_path):
        """Each node of a cluster goes on where it was, and the sums are those of both runs."""
        with LocalCluster(3, 0) as cluster:
            nodes = sorted(cluster.nodes, key=lambda node: cluster.member(node).slots)
            place = Place(tmp_path, legacy.stopped(*(node.address for node in nodes)))
            clients = {node.address: node.client() for node in nodes}
            homes = {
                slot: clients[node.address]
                for node in nodes
                for first, last in cluster.member(node).slots
                for slot in range(first, last + 1)
            }
            names = [f"app:{number:06}" for number in range(300)]
            for name in names:
                place.cache.put(homes[key_slot(as_bytes(name))], name, key=1)
            ports = [f"127.0.0.1:{port}" for port in legacy.CLUSTER_PORTS]
            addresses = dict(zip(ports, clients, strict=True))
            legacy.load("stopped", place.state, addresses, lambda state: pretend(state, clients))
            saved = position(place.state)
            ahead = set()
            for address, one in saved.items():
                ahead |= names_from(clients[address], one["cursor"])
            for name in map(as_bytes, names):
                if name not in ahead:
                    place.cache.put(homes[key_slot(name)], name, key=0)
            before = encryptions(place.state, place.cache)
            done = sum(one["tally"]["outcomes"]["rotated"] for one in saved.values())
            report, log = go(place, "--workers", "1")
            assert "saved position not used" not in log
            [cache] = report["caches"]
            assert cache["complete"]
            assert 0 < len(ahead) < 300
            assert len(ahead) <= cache["visits_now"] < 300
            assert cache["outcomes"]["rotated"] == done + len(ahead)
            assert before == done  # a run that was stopped has counted them
            assert cache["keys"][0]["encryptions"] == done + len(ahead)
            for client in clients.values():
                assert set(keys_of(client, place.cache)) == {0}


def names_from(client, cursor):
    """The names that a scan lists from a cursor on."""
    found, cursor = set(), int(cursor)
    while cursor:
        cursor, names = client.scan(cursor, count=100)
        found |= set(names)
    return found


def pretend(state, clients):
    """Make the servers of these *clients*, by address, those that the saved positions are of."""
    for node, text in state.execute("SELECT node, position FROM positions").fetchall():
        info = clients[node].info("all")
        saved = json.loads(text)
        saved["identity"] |= {
            "run_id": info["run_id"],
            "replication_id": info["master_replid"],
            "calls": {},
            "commands": 0,
        }
        if place := saved["identity"]["place"]:
            own = clients[node].execute_command("CLUSTER", "MYID").decode()
            saved["identity"]["place"] = f"{own} {place.partition(' ')[2]}"
        state.execute("UPDATE positions SET position = ? WHERE node = ?", (json.dumps(saved), node))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The files of today, by name."""
    # One that has all that is asked for: what a server lacks is in the reports.
    with LocalServer(binary=program("ifeq")) as server, server.client() as client:
        place = legacy.place_of_reports(tmp_path_factory.mktemp("reports"), server)
        return dict(legacy.report_steps(place, client))


class TestReports:
    """What runs, dry runs, `purge` and `adopt` write about the same values as 1.0.0 did."""

    @pytest.mark.parametrize("name", REPORTS)
    def test_same(self, written, name):
        """Each file says the same: all fields, gauges and words, but for times and servers."""
        before = mended((FOLDER / "reports" / name).read_text())
        if not name.startswith(("again", "dry-run", "run", "stopped")):
            found = [masked(name, text) for text in (before, written[name])]
            if name.endswith(".json"):
                assert lost(*found) == []
            elif name.endswith(".prom"):
                before, now = ([one for one in text if "# HELP" not in one] for text in found)
                added = [line for line in now if line not in before]
                assert [line for line in now if line not in added] == before
                assert all("rotator_run_in_progress" in line for line in added)
            else:
                assert found[0] == found[1]
        elif name.endswith(".json"):
            missing = lost(masked(name, before), masked(name, written[name]))
            assert [one for one in missing if not any(field in one for field in JUDGED)] == []
        elif name.endswith(".txt"):  # up to the keys and their verdicts
            texts = (before, without_facts(written[name]))
            told = [as_told(text.partition("  key  ")[0]) for text in texts]
            assert [len(words_of) for words_of in told] == [len(told[0])] * 2

    @pytest.mark.parametrize("name", [name for name in REPORTS if name.endswith(".json")])
    def test_order(self, written, name):
        """The fields stand in the order in which they stood, and new ones behind them."""
        before = json.loads((FOLDER / "reports" / name).read_text())
        assert begins_with(order(json.loads(written[name])), order(before))

    @pytest.mark.parametrize("name", [name for name in REPORTS if name.endswith(".prom")])
    def test_metrics(self, written, name):
        """Every gauge has its name and its labels; others may have come."""
        before = gauges((FOLDER / "reports" / name).read_text())
        # That ending is one of counters, and promtool said so.
        if "rotator_visits_total" in before:
            before["rotator_visits"] = before.pop("rotator_visits_total")
        assert before.items() <= gauges(written[name]).items()

    def test_schema(self, written):
        """A report says that its schema is 2."""
        assert json.loads(written["run.json"])["schema"] == 2


def without_facts(text):
    """A table without the lines under the first, which tell who made it, where and how."""
    head, _, rest = text.partition("\n\n")
    return f"{head.splitlines()[0]}\n\n{rest}"


def order(data):
    """The names of the fields, in their order."""
    if isinstance(data, list):
        return [order(data[0])] if data else []
    return [(key, order(value)) for key, value in data.items()] if isinstance(data, dict) else None


def begins_with(fields, before):
    """Whether names of fields begin with those that there were, on every level."""
    if not isinstance(before, list):
        return True
    pairs = list(zip(fields, before, strict=False))
    if before and isinstance(before[0], tuple):
        same = [new[0] == old[0] and begins_with(new[1], old[1]) for new, old in pairs]
        return len(fields) >= len(before) and all(same)
    return all(begins_with(new, old) for new, old in pairs)


def gauges(text):
    """The gauges of a text for Prometheus: name, type, and the names of the labels."""
    return {
        family.name: (family.type, {tuple(sorted(sample.labels)) for sample in family.samples})
        for family in text_string_to_metric_families(text)
    }


class TestKept:
    """Reports of 1.0.0 that a state holds."""

    @pytest.mark.parametrize("name", ["dry-run", "run", "again", "stopped"])
    def test_read(self, name, tmp_path):
        """`rotator report` reads each of them, and leaves out and changes nothing."""
        text = (FOLDER / "reports" / f"{name}.json").read_text()

        def put(state):
            state.execute("DELETE FROM reports")
            values = ("shared-redis", text, json.loads(text)["finished_at"])
            state.execute("INSERT INTO reports VALUES (?, ?, ?)", values)

        state = legacy.load("killed", tmp_path / "state.db", change=put)
        found, before = json.loads(legacy.shown(state, "--format", "json")), json.loads(text)
        for report in (found, before):
            for cache in report["caches"]:
                cache.update(dict.fromkeys(OF_THE_STATE))
                for key in cache["keys"]:
                    key.update(dict.fromkeys(OF_THE_STATE))
        assert lost(before, found) == []
