"""
What 1.0.0 has left in `written-by-1.0.0`, and how to go on from it.

The files were made once, by the code of 1.0.0 with real servers, and are never made again:

- `state/weeks.sql`: three caches from October 5 to November 2, 2026, by runs, dry runs, runs that
  were stopped, `purge`, `adopt` and `set`. The clock was set on from one to the next, and was not
  compared with those of the servers. The server of `sessions` kept an append-only
  file and had a snapshot, that of `audit` had a replica that stood still at the end.
- `state/killed.sql`: a run over one server that was killed (-9) halfway, after a dry run.
- `state/stopped.sql`: a run over a cluster of three primaries that `--max-duration` stopped.
- `state/*.json` and `*.txt`: what `rotator report` printed of these states at `NOW`.
- `reports`: what the steps of `report_steps` printed and wrote, on a server with `STOCK`.

States are dumps (`Connection.iterdump`, then two pragmas); the keys are those of `material`.
"""

import hashlib
import json
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import html5lib

from support.caches import Cache, Place, now_ms
from support.commandline import run

FOLDER = next(
    one / "written-by-1.0.0"
    for one in Path(__file__).parents
    if (one / "written-by-1.0.0").is_dir()
)
NOW = {
    "weeks": datetime(2026, 11, 3, 9, 30, 30, tzinfo=UTC),
    "killed": datetime(2026, 11, 3, 9, 30, 30, tzinfo=UTC),
    "stopped": datetime(2026, 11, 26, 9, 30, 30, tzinfo=UTC),
}
"""When `rotator report` was asked for each state."""
PORTS = {"sessions": 17001, "tokens": 17002, "audit": 17003, "killed": 17004}
"""The servers of 1.0.0, by cache; those of the cluster have `CLUSTER_PORTS`."""
CLUSTER_PORTS = (17005, 17006, 17007)
TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:Z| UTC)?)?|\d\d:\d\d UTC")
NOT_COMPARED = ("run_id", "version", "rotator", "evictions", "waited_seconds")
"""Fields of a report that differ from run to run, or from server to server."""


def material(name):
    """The key called *name*, as hex."""
    return hashlib.sha256(f"a key of the tests: {name}".encode()).hexdigest()


def cache(name, *keys, address=None, **settings):
    """A cache whose keys are called *keys*, the current one first."""
    address = address or f"127.0.0.1:{PORTS[name]}"
    addresses = [address] if isinstance(address, str) else address
    return Cache(*addresses, name=name, keys=[material(key) for key in keys], settings=settings)


def sessions(address=None, *, retention="7d"):
    """The cache `sessions` as it was at the end."""
    keys = ("sessions 3", "sessions 2", "sessions 1")
    return cache("sessions", *keys, address=address, backups={"retention": retention})


def tokens(address=None):
    """The cache `tokens`; it lists a key of `sessions` too."""
    return cache("tokens", "tokens 3", "tokens 2", "tokens 1", "sessions 1", address=address)


def audit(address=None, **settings):
    """The cache `audit`."""
    return cache("audit", "audit 2", "audit 1", address=address, **settings)


def killed(address=None):
    """The cache of the run that was killed."""
    return cache("killed", "killed 2", "killed 1", address=address)


def stopped(*addresses):
    """The cache of the run that was stopped."""
    addresses = addresses or [f"127.0.0.1:{port}" for port in CLUSTER_PORTS]
    return cache("stopped", "stopped 2", "stopped 1", address=list(addresses))


def load(name, path, replace=None, change=None):
    """
    Make a state file of a dump.

    *replace* maps texts of it to others; *change* is called with a connection to the new file.
    """
    text = (FOLDER / "state" / f"{name}.sql").read_text()
    for before, after in (replace or {}).items():
        assert before in text
        text = text.replace(before, after)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(text)
        if change:
            change(connection)
            connection.commit()
    return path


def dump(path):
    """A state file as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        lines = list(connection.iterdump())
        for pragma in ("application_id", "user_version"):
            [(value,)] = connection.execute(f"PRAGMA {pragma}").fetchall()
            lines.append(f"PRAGMA {pragma}={value};")
    return "\n".join([*lines, ""])


def rows(path, statement, *values):
    """What a statement finds in a state file."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement, values).fetchall()


def position(path):
    """The saved positions of a state file, by node."""
    return {
        node: json.loads(text) for node, text in rows(path, "SELECT node, position FROM positions")
    }


def shown(path, *more, env=None):
    """What `rotator report` prints of a state."""
    done = run(["report", "--state", path, *more], env)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def page(path, folder):
    """What one can read on the page that `rotator report --html` writes, but for its charts."""
    shown(path, "--html", folder / "page.html")
    root = html5lib.parse((folder / "page.html").read_text(), namespaceHTMLElements=False)
    for chart in list(root.iter("figure")):
        chart.clear()
    for style in list(root.iter("style")):
        style.clear()
    return "\n".join(" ".join(words) for text in root.itertext() if (words := text.split())) + "\n"


# Reports

STOCK = [(f"/app/oidc:{number:03}", 1 + number % 2, number % 3 == 0) for number in range(30)]
"""Names, the number of the key that each value is under, and whether it has a TTL."""
DAY_MS = 86_400_000
FORMS = ("gcm", "gcm-base64", "sealed")


def stock(place, client):
    """Fill a server with what the reports of 1.0.0 were about."""
    own = place.cache
    for number, (name, key, brief) in enumerate(STOCK):
        at_ms = now_ms() + 20 * DAY_MS if brief else None
        own.put(client, name, b"x" * number, key=key, form=FORMS[number % 3], at_ms=at_ms)
    for number in range(3):
        own.put(client, f"/app/saml:{number}", key=0)
    lost = Cache("127.0.0.1:1", keys=[material("lost"), material("lost too")])
    lost.put(client, "/app/lost:1", key=0, form="sealed")
    client.rpush("/app/list:1", "not a string")


def place_of_reports(folder, server):
    """The configuration that the reports of 1.0.0 were made with."""
    return Place(folder, cache("shared-redis", "new", "old", "older", address=server.address))


def report_steps(place, client):
    """Each step that was reported by 1.0.0, as the name of a file and what is in it now."""
    own = place.cache
    accepted = ("--accept", "undecryptable=1", "--accept", "not_string=1")
    stock(place, client)

    def go(name, *args, metrics=True):
        report, numbers = place.folder / f"{name}.json", place.folder / f"{name}.prom"
        more = ["--report", report, "--metrics-file", numbers] if metrics else ["--format", "json"]
        done = run([*args, "--config", place.file, "--state", place.state, *more])
        if not metrics:
            report.write_bytes(done.stdout)
        found = {f"{name}.json": report.read_text()}
        if metrics:
            found |= {f"{name}.txt": done.stdout.decode(), f"{name}.prom": numbers.read_text()}
        return found

    yield from go("dry-run", "run", "--dry-run").items()
    yield from go("run", "run", *accepted).items()
    yield from go("again", "run", *accepted, "--quiet", "0s").items()
    own.put(client, "/app/late:1", key=2)
    yield from go("purge", "purge", "--undecryptable", "--yes", metrics=False).items()
    yield from go("purge-key", "purge", "--key", own.ids[2], "--yes", metrics=False).items()
    client.set("plain:1", "a word")
    client.set("plain:2", "two words")
    yield from go("adopt", "adopt", "--match", "plain:*", "--yes", metrics=False).items()
    client.flushdb()
    for number in range(90):
        own.put(client, f"/app/more:{number}", key=1)
    limits = ("--max-rate", "15", "--page", "5", "--max-duration", "3s", "--max-latency", "0")
    yield from go("stopped", "run", *limits).items()
    own.redis["addresses"] = ["127.0.0.1:1"]
    place.configure(own)
    yield from go("failed", "run").items()


def masked(name, text):
    """What is compared of a file of a step: not what differs from run to run."""
    text = TIME.sub("TIME", re.sub(r"127\.0\.0\.1:\d{4,5}", "SERVER", text))
    if name.endswith(".json"):
        data = json.loads(text)
        return shape(data) if name.startswith("stopped") else _masked(data)
    text = re.sub(r"^rotator [^,]+,", "rotator V,", text)
    if name.startswith("stopped"):
        text = re.sub(r"[\d.,]+", "N", text)
    if name.endswith(".prom"):
        text = re.sub(r"(?m)^(\w+_(?:timestamp|duration)_seconds\b\S*) \S+$", r"\1 N", text)
        return re.sub(r'(build_info\{[^}]*version=)"[^"]*"', r'\1"V"', text).splitlines()
    text = re.sub(r"/app/\w+:\d+", "NAME", text)
    text = re.sub(r"- remaining: [\d at:;\s-]+", "", text)
    text = re.sub(r" in [\d.]+ m?s \([\d,]+ a second\)", " in N s (N a second)", text)
    return sorted(" ".join(text.split()).split()) if name.startswith("stopped") else text.split()


def _masked(data):
    if isinstance(data, list):
        found = [_masked(one) for one in data]
        return sorted(found, key=repr)
    if not isinstance(data, dict):
        return data
    return {
        key: None
        if value is None
        else len(value)
        if key == "samples"
        else [left for _, left in (value[:1] + value[-1:])]
        if key == "drain"
        else "..."
        if key in NOT_COMPARED or key.endswith("_seconds")
        else _masked(value)
        for key, value in data.items()
    }


def shape(data):
    """The fields of JSON data, with the kind of what is in each."""
    if isinstance(data, dict):
        return {key: shape(value) for key, value in data.items()}
    if isinstance(data, list):
        return [shape(data[0])] if data else []
    return type(data).__name__
