"""The rights of a user: what the documents list is enough, and not one of them too many."""

import json
import re
import shlex
from contextlib import ExitStack

import pytest
from redis import Redis

from cluster.local_cluster import LocalCluster, ask
from rotator.config.types import Address
from rotator.demo.local_server import LocalServer
from rotator.errors import BusyError, RightsError
from rotator.run.preflight import announce_run
from rotator.server.acl import (
    CLUSTERED,
    COUNTING,
    JUDGING,
    READING,
    RUN_CHANNEL,
    SCRIPTING,
    WATCHING,
    WRITING,
    missing_for,
    missing_rights,
)
from rotator.server.connection import Connection, Login
from rotator.server.scripts import Way
from rotator.state.state import State
from rotator.sweep.control import StopSignal
from support.caches import Cache, Place, counted, fill, store_of, wait_for
from support.clusters import FAST
from support.documents import section
from support.processes import job, run_here
from support.programs import exchanges
from support.respfront import RespFront
from support.server_versions import acl, hides, since

TEXT = section("configuration", "The Redis user")
LINES = re.findall(r"^(ACL SETUSER \S+ .*)$", TEXT, re.MULTILINE)
PASSWORD = "password"


def documented(words):
    """The rules that the page gives in the line with these *words*."""
    [line] = [line for line in TEXT.splitlines() if words in line]
    return tuple(re.search(r"`([+][^`]*)`", line)[1].split())


TRACKING = documented("+client|tracking")
NO_TOUCH = documented("+client|no-touch")
PRESENCE = documented("+subscribe")
TIME = documented("+time")
CANARY = documented("+cluster|myid")
SCRIPTS = documented("in a cluster: where names")
OPTIONAL = (*TRACKING, *NO_TOUCH, *PRESENCE, *TIME, *CANARY, *SCRIPTS)
MORE = {rule.removeprefix("+") for rule in OPTIONAL}
"""What is tried without being needed."""
TRIED = MORE | {"config|get", "pexpiretime", "ping", "client|setinfo"}


def rules_of(line):
    """The commands that a line allows."""
    return tuple(word for word in line.split() if word.startswith("+"))


def granted(*nodes, line, more=(), without=()):
    """Carry out a line of the page on every node, with more rules or without some."""
    words = [word for word in (*line.split(), *more) if word not in without]
    for node in nodes:
        node.execute_command(*words)
    return {"username": words[2], "password": PASSWORD}


def clustered(node):
    """The rights that are needed besides in the cluster of a node."""
    return (*CLUSTERED, *(COUNTING if hides(node) else ()))


def raw(client, *command):
    """The reply to a command as the server gave it; redis-py would make something else of it."""
    kwargs = client.connection_pool.connection_kwargs
    address = Address("127.0.0.1", kwargs["port"])
    with Connection(address, Login()) as connection:
        return connection.call(*command)


def denials(client):
    """The commands that the server has refused to run."""
    return {
        entry[entry.index(b"object") + 1].decode()
        for entry in raw(client, "ACL", "LOG")
        if entry[entry.index(b"reason") + 1] == b"command"
    }


def tried(client):
    """The same for what is tried without being needed; before 7.0 the log names whole commands."""
    return TRIED if since(client, 7, 0) else {command.partition("|")[0] for command in TRIED}


@pytest.fixture(scope="module")
def server():
    """A server of its own: that there is a snapshot of it would be held against other tests."""
    with LocalServer() as running:
        yield running


@pytest.fixture
def entries(redis, server):
    """Values in two databases, a list, a snapshot on disk, and an empty log of denials."""
    cache = Cache(server.address)
    fill(redis, cache, 40)
    with server.client(db=3) as other:
        fill(other, cache, 10)
    redis.lpush("list", 1)
    redis.bgsave()
    wait_for(lambda: not redis.info("persistence")["rdb_bgsave_in_progress"])
    redis.execute_command("ACL", "LOG", "RESET")
    yield cache
    for line in LINES:
        redis.execute_command("ACL", "DELUSER", line.split()[2])


def place_for(folder, cache, login):
    """A configuration of *cache* for a user."""
    return Place(folder, Cache(name=cache.name, keys=cache.keys, redis={**cache.redis, **login}))


def test_what_is_documented():
    """The two lines and the lists for clusters have the rights that are checked, and no other."""
    run, dry = map(rules_of, LINES)
    assert run == (*READING, *WRITING)
    assert dry == READING
    assert documented("In a cluster") == CLUSTERED
    assert documented("this needs") == COUNTING


class TestEnough:
    """Nothing more is needed."""

    def test_a_run(self, redis, entries, tmp_path):
        """A full run with the rights of the first line; what else it tries is known."""
        place = place_for(tmp_path, entries, granted(redis, line=LINES[0]))
        report = place.run(accept={})
        assert report.exit_code == 0
        assert counted(report) == {"rotated": 50, "not_string": 1}
        assert report.caches[0].verification.method == "scan"
        assert denials(redis) <= tried(redis)

    def test_a_dry_run(self, redis, entries, tmp_path):
        """A full dry run with the rights of the second line."""
        place = place_for(tmp_path, entries, granted(redis, line=LINES[1]))
        report = place.run(dry_run=True)
        assert report.exit_code == 0
        assert counted(report) == {"would_rotate": 50, "not_string": 1}
        assert denials(redis) <= tried(redis)

    def test_a_dry_run_reads_only(self, redis, entries, tmp_path):
        """Where the server can tell, the second user may do without the right to write names."""
        if redis.info("server").get("redis_version", "") < "7":
            assert "%R~*" in TEXT
            return
        line = LINES[1].replace("~*", "%R~*")
        place = place_for(tmp_path, entries, granted(redis, line=line))
        assert counted(place.run(dry_run=True)) == {"would_rotate": 50, "not_string": 1}

    def test_check(self, redis, entries, tmp_path):
        """`rotator check` finds all in order for the first user, and says what the second lacks."""
        for line, code in zip(LINES, (0, 1), strict=True):
            place = place_for(tmp_path, entries, granted(redis, line=line))
            done = run_here(["check", "--config", place.file, "--format", "json"])
            [found] = [one for one in json.loads(done.stdout)["steps"] if one["step"] == "rights"]
            assert (done.returncode, found["result"]) == (code, "failed" if code else "ok")
        assert "may do a dry run" in found["detail"]
        assert found["remedy"].endswith(f"ACL SETUSER rotator-dry-run {' '.join(WRITING)}")

    def test_check_tries_what_a_run_sends(self, redis, entries, tmp_path):
        """Every command that a run sends, `rotator check` has tried on the same server."""
        place, sent = place_for(tmp_path, entries, {}), []
        for command in (["check", "--config", place.file], job(place)):
            redis.config_resetstat()
            run_here(command)
            sent.append(set(redis.info("commandstats")))
        assert "cmdstat_set" in sent[1]
        assert sent[1] <= sent[0]

    def test_check_of_verdicts(self, redis, entries, tmp_path):
        """What a verdict is the better for is named as advice, until the user may do it."""
        old = tuple(map(int, redis.info("server")["redis_version"].split(".")[:2])) < (7, 2)
        known = [rule for rule in JUDGING if not (old and rule == "+client|no-touch")]
        listening = [*known, "+subscribe"]
        channel = f"&{RUN_CHANNEL}*"
        lacks = [channel] if since(redis, 7, 0) else []  # before, a new user has all channels
        for more, lacking in (
            ((), ["+subscribe"]),
            (known, ["+subscribe"]),
            (listening, lacks),
            ([*listening, channel], []),
        ):
            login = granted(redis, line=LINES[0], more=acl(redis, *more) if more else [])
            place = place_for(tmp_path, entries, login)
            done = run_here(["check", "--config", place.file, "--format", "json"])
            steps = {one["step"]: one for one in json.loads(done.stdout)["steps"]}
            found = steps["rights for verdicts"]
            assert (done.returncode, found["result"]) == (0, "advice" if lacking else "ok")
            assert ("+client|tracking" in found["detail"]) is not bool(more)
            assert ("+time" in found["detail"].split()) is not bool(more)
            assert all(found["detail"].endswith(one) for one in lacking)
            assert all(one in found["remedy"] for one in lacking)

    @pytest.mark.parametrize("writes", [True, False], ids=["run", "dry run"])
    def test_in_a_cluster(self, writes, cluster, tmp_path):
        """The same holds in a cluster, with the rights that are listed for one."""
        nodes, cache = cluster
        login = granted(*nodes, line=LINES[0 if writes else 1], more=clustered(nodes[0]))
        report = place_for(tmp_path, cache, login).run(dry_run=not writes, workers=1, **FAST)
        assert report.exit_code == 0
        assert counted(report) == {"rotated" if writes else "would_rotate": 40}
        for node in nodes:
            assert denials(node) <= tried(node)


class TestMissing:
    """Without one of them nothing begins, and it is named."""

    @pytest.mark.parametrize("rule", [*READING, *WRITING])
    def test_one(self, rule, redis, entries, tmp_path):
        """A run without one right names that one and writes nothing."""
        place = place_for(tmp_path, entries, granted(redis, line=LINES[0], without=[rule]))
        before = redis.dbsize(), redis.info("persistence")["rdb_changes_since_last_save"]
        # A transaction that could not be ended is not begun to try it.
        rules = "+multi +exec" if rule == "+exec" else rule
        with pytest.raises(RightsError, match=rf"rights: {re.escape(rules)}$") as caught:
            place.run()
        assert caught.value.hint.endswith(f"ACL SETUSER rotator {rules}")
        assert before == (redis.dbsize(), redis.info("persistence")["rdb_changes_since_last_save"])

    @pytest.mark.parametrize("rule", READING)
    def test_one_of_a_dry_run(self, rule, redis, entries, tmp_path):
        """A dry run without one right names that one."""
        place = place_for(tmp_path, entries, granted(redis, line=LINES[1], without=[rule]))
        with pytest.raises(RightsError, match=rf"rights: {re.escape(rule)}$"):
            place.run(dry_run=True)

    @pytest.mark.parametrize("rule", CLUSTERED)
    def test_one_of_a_cluster(self, rule, cluster, tmp_path):
        """In a cluster the rights for it are asked for, even for finding the nodes."""
        nodes, cache = cluster
        login = granted(*nodes, line=LINES[0], more=clustered(nodes[0]), without=[rule])
        with pytest.raises(RightsError, match=rf"rights: {re.escape(rule)}$"):
            place_for(tmp_path, cache, login).run(workers=1, **FAST)

    @pytest.mark.parametrize(("rule", "missing"), [("+multi", ["+multi"]), ("+exec", COUNTING)])
    def test_one_for_counting(self, rule, missing, cluster, tmp_path):
        """Where names are hidden, a user who may not count them is told; elsewhere nobody is."""
        nodes, cache = cluster
        more = (*CLUSTERED, *COUNTING, *SCRIPTING)
        login = granted(*nodes, line=LINES[0], more=more, without=[rule])
        place = place_for(tmp_path, cache, login)
        if hides(nodes[0]):
            with pytest.raises(RightsError, match=rf"rights: {re.escape(' '.join(missing))}$"):
                place.run(workers=1, **FAST)
        else:
            assert place.run(workers=1, **FAST).exit_code == 0

    def test_one_node_of_a_cluster(self, cluster, tmp_path):
        """A right that is missing at one node is named with the node."""
        nodes, cache = cluster
        more = clustered(nodes[0])
        login = granted(*nodes, line=LINES[0], more=more)
        granted(nodes[1], line=LINES[0], more=more, without=["+set", "+pttl"])
        port = nodes[1].config_get("port")["port"]
        with pytest.raises(RightsError, match=rf"^127\.0\.0\.1:{port}: .*: \+pttl \+set$"):
            place_for(tmp_path, cache, login).run(workers=1, **FAST)

    def test_all(self, redis, entries, tmp_path):
        """A user without any right is told all of them at once."""
        login = granted(redis, line=LINES[0], without=[*READING, *WRITING])
        done = run_here(["run", "--config", place_for(tmp_path, entries, login).file])
        assert done.returncode == 1
        assert " ".join((*READING, *WRITING)) in done.stderr

    def test_how_to_grant_it(self, cluster, tmp_path):
        """The hint is a command for a shell, with the user, and says that every node needs it."""
        nodes, cache = cluster
        login = granted(*nodes, line=LINES[0], more=clustered(nodes[0]), without=["+cluster|nodes"])
        with pytest.raises(RightsError) as caught:
            place_for(tmp_path, cache, login).run(workers=1, **FAST)
        said = "ACL SETUSER rotator '+cluster|nodes'"
        assert caught.value.hint.endswith(f": {said} on each of these servers")
        assert shlex.split(said)[-1] == "+cluster|nodes"


class TestWays:
    """How values are replaced: by what the user may do."""

    @pytest.mark.parametrize("rule", WATCHING)
    def test_by_script(self, rule, redis, entries, tmp_path):
        """The rights that version 1.0.0 needed are enough, whatever of the others is missing."""
        login = granted(redis, line=LINES[0], more=SCRIPTING, without=[rule])
        report = place_for(tmp_path, entries, login).run()
        assert counted(report) == {"rotated": 50, "not_string": 1}
        known = "ifeq" if exchanges(redis) else "script"
        assert report.caches[0].coverage.nodes[0].exchange == known

    def test_in_transactions(self, redis, entries, tmp_path):
        """With the rights for both it is done in transactions."""
        login = granted(redis, line=LINES[0], more=SCRIPTING)
        report = place_for(tmp_path, entries, login).run()
        known = "ifeq" if exchanges(redis) else "transaction"
        assert report.caches[0].coverage.nodes[0].exchange == known

    def test_renamed_commands(self, tmp_path):
        """A command that the server has under another name cannot be used, like one denied."""
        with LocalServer("--rename-command", "WATCH", "") as server, server.client() as client:
            cache = Cache(server.address)
            fill(client, cache, 20)
            report = Place(tmp_path, cache).run()
            known = "ifeq" if exchanges(client) else "script"
        assert report.caches[0].coverage.nodes[0].exchange == known

    def test_a_renamed_command_that_is_needed(self, tmp_path):
        """One without a substitute is a missing right that no grant mends: that is said."""
        with LocalServer("--rename-command", "MGET", "") as server:
            place = Place(tmp_path, Cache(server.address))
            work = ["--config", place.file]
            done = run_here(["run", *work, "--state", place.state])
            checked = run_here(["check", *work, "--format", "json"])
        [found] = [one for one in json.loads(checked.stdout)["steps"] if one["step"] == "rights"]
        assert (done.returncode, checked.returncode, found["result"]) == (1, 1, "failed")
        for said in (done.stderr, f"{found['detail']}\n{found['remedy']}"):
            assert re.search(r"lacks rights: \+mget$", said, re.MULTILINE)
            assert "the server does not know MGET: see `rename-command` there" in said


class TestOtherWords:
    """What is refused in words that no server at hand has, as proxies and services do."""

    SAYS = "Command is not available"
    WORDS = {  # noqa: RUF012 - never changed
        **{rule: rule[1:].upper().encode().split(b"|") for rule in (*READING, *WRITING, *JUDGING)},
        "+subscribe": [b"SUBSCRIBE"],
    }

    @pytest.fixture
    def refusing(self, server):
        """Makes a front that refuses the command of a rule."""
        with ExitStack() as fronts:

            def make(rule, says=self.SAYS):
                words, text = TestOtherWords.WORDS[rule], f"-ERR {says}\r\n".encode()

                def answer(said, _ask):
                    begin = [word.upper() for word in said[: len(words)]]
                    return text if begin == words else None

                return fronts.enter_context(RespFront(server.port, answer))

            yield make

    def checked(self, folder, cache, front, step):
        """The exit code of `rotator check`, and a step of it."""
        place = place_for(folder, Cache(front.address, keys=cache.keys), {})
        done = run_here(["check", "--config", place.file, "--format", "json"])
        return done.returncode, {one["step"]: one for one in json.loads(done.stdout)["steps"]}[step]

    @pytest.mark.parametrize("rule", [*READING[1:], *WRITING])
    def test_a_run(self, rule, refusing):
        """Whatever is refused in any words is missing; the words are there, for no grant helps."""
        store = store_of(refusing(rule))
        with store.connection:
            if rule in WATCHING:  # scripts do in place of it
                assert missing_rights(store, WRITING) == {}
                missing = missing_for(store, Way.TRANSACTION, "*")
            else:
                missing = missing_rights(store, WRITING)
        # A transaction that could not be ended is not begun to try it.
        rules = ["+multi", "+exec"] if rule == "+exec" else [rule]
        assert missing == dict.fromkeys(rules, f"ERR {self.SAYS}")

    def test_one_that_a_run_needs(self, refusing, entries, tmp_path):
        """`rotator check` and a run say what the server says, and nobody is asked for a grant."""
        front = refusing("+mget")
        code, found = self.checked(tmp_path, entries, front, "rights")
        place = place_for(tmp_path, Cache(front.address, keys=entries.keys), {})
        done = run_here(["run", "--config", place.file, "--state", place.state])
        assert (code, done.returncode, found["result"]) == (1, 1, "failed")
        for said in (done.stderr, f"{found['detail']}\n{found['remedy']}"):
            assert re.search(r"lacks rights: \+mget$", said, re.MULTILINE)
            assert f"the server says to MGET: ERR {self.SAYS}" in said
            assert "ACL SETUSER" not in said

    @pytest.mark.parametrize("rule", [*JUDGING, "+subscribe"])
    def test_what_a_verdict_is_the_better_for(self, rule, refusing, entries, redis, tmp_path):
        """The same is advice where a run can be done without, unless it is of no use there."""
        code, found = self.checked(tmp_path, entries, refusing(rule), "rights for verdicts")
        known = since(redis, 7, 2) if rule == "+client|no-touch" else True
        known = exchanges(redis) if rule == "+command|docs" else known
        name = rule[1:].upper().replace("|", " ")
        if known:
            assert (code, found["result"]) == (0, "advice")
            assert found["detail"].endswith(f" {rule}")
            assert found["remedy"] == f"the server says to {name}: ERR {self.SAYS}"
        else:
            assert (code, found["result"]) == (0, "ok")

    @pytest.mark.parametrize(
        "says",
        ["command 'config' is disabled", "unsupported", "unknown subcommand 'GET'", "syntax error"],
    )
    def test_any_words(self, says, refusing, entries, tmp_path):
        """No words of an error to what only reads are taken for a right."""
        front = refusing("+config|get", says)
        _, found = self.checked(tmp_path, entries, front, "rights for verdicts")
        assert found["remedy"] == f"the server says to CONFIG GET: ERR {says}"

    def test_a_command_that_is_not_known(self, refusing, entries, tmp_path):
        """That a command has another name is said of what only a verdict is the better for, too."""
        front = refusing("+config|get", "unknown command 'CONFIG', with args beginning with: 'GET'")
        _, found = self.checked(tmp_path, entries, front, "rights for verdicts")
        assert found["remedy"] == "the server does not know CONFIG GET: see `rename-command` there"

    @pytest.mark.parametrize(
        ("rule", "says"),
        [("+set", "OOM no room"), ("+set", "READONLY you can't"), ("+get", "WRONGTYPE a list"),
         ("+get", "MOVED 1 a:1"), ("+mget", "CLUSTERDOWN wait"), ("+watch", "LOADING wait")],
    )  # fmt: skip
    def test_what_comes_after_rights(self, rule, says, server):
        """An error that a server makes only after it has looked at the rights shows the right."""
        command = rule[1:].upper().encode()

        def answer(words, _ask):
            return f"-{says}\r\n".encode() if words[0].upper() == command else None

        with RespFront(server.port, answer) as front:
            store = store_of(front)
            with store.connection:
                assert missing_rights(store, WRITING) == {}


class TestMore:
    """What makes a result better without being needed."""

    def test_tracking(self, redis, entries, tmp_path):
        """With the rights for it the proof covers what is renamed or copied meanwhile."""
        place = place_for(tmp_path, entries, granted(redis, line=LINES[0], more=TRACKING))
        assert place.run().caches[0].verification.method == "tracking"

    def test_half_of_tracking(self, redis, entries, tmp_path):
        """With RESP3 alone, which newer servers let everyone have, nothing is gained."""
        more = [rule for rule in TRACKING if rule != "+client|tracking"]
        place = place_for(tmp_path, entries, granted(redis, line=LINES[0], more=more))
        report = place.run()
        assert (report.exit_code, report.caches[0].verification.method) == (0, "scan")

    def test_time(self, redis, entries, tmp_path):
        """Nothing is refused to a user who may ask for the time."""
        place = place_for(tmp_path, entries, granted(redis, line=LINES[1], more=TIME))
        assert place.run(dry_run=True).exit_code == 0
        assert "time" not in denials(redis)

    def test_presence(self, redis, entries, tmp_path):
        """With the rights for it a run sees another one; without it does not, and goes on."""
        place = place_for(
            tmp_path, entries, granted(redis, line=LINES[0], more=acl(redis, *PRESENCE))
        )
        access = place.access()
        connect = lambda: access.connect(access.cache.addresses[0])  # noqa: E731 - a name for it
        with announce_run(place.cache.name, connect):
            with State(place.state) as state, pytest.raises(BusyError):
                place.job(state, stopper=StopSignal()).run()
            granted(redis, line=LINES[0])
            assert place.run().exit_code == 0

    def test_no_touch(self, redis, entries, tmp_path):
        """Where the server knows the command, the right to it ends a warning."""
        knows = raw(redis, "COMMAND", "INFO", "client|no-touch")[0] is not None
        more = NO_TOUCH if knows else ()
        place = place_for(tmp_path, entries, granted(redis, line=LINES[0], more=more))
        warned = any("NO-TOUCH" in one for one in place.run().caches[0].warnings)
        assert warned is not knows


@pytest.fixture(scope="module")
def started():
    """Two primaries."""
    with LocalCluster(primaries=2, replicas=0) as running:
        yield running


@pytest.fixture
def cluster(started):
    """Clients of the two primaries, and a cache with values on both."""
    cache = Cache(*started.addresses)
    nodes = [node.client() for node in started.nodes]
    for node in started.nodes:
        ask(node, "FLUSHALL")
        ask(node, "ACL", "LOG", "RESET")
    for index in range(40):
        with started.client_for(f"app:{index}") as client:
            cache.put(client, f"app:{index}")
    yield nodes, cache
    for node in nodes:
        node.execute_command("ACL", "DELUSER", *(line.split()[2] for line in LINES))


def test_names_out_of_reach_are_no_missing_commands(redis: Redis, entries, tmp_path):
    """A user who is kept to some names lacks no command."""
    login = granted(redis, line=LINES[0].replace("~*", "~other:*"))
    access = place_for(tmp_path, entries, login).access()
    store = access.connect(access.cache.addresses[0])
    with store.connection:
        assert missing_rights(store, WRITING) == {}


def test_nothing_is_written(redis, server):
    """Asking leaves the data as it is, even if the pattern is the name of an entry."""
    redis.set("app:1", "x")
    before = redis.execute_command("DEBUG", "DIGEST")
    store = store_of(server)
    with store.connection:
        for pattern in "*", "app:*", "app:1":
            assert missing_rights(store, WRITING, pattern=pattern) == {}
    assert redis.execute_command("DEBUG", "DIGEST") == before
