"""
Servers that are cut off from one another while rotator works, and what must hold afterwards.

    with Network() as network, Cluster(network, 3, 1, SHORT) as cluster:
        Scene(cluster, tmp_path).play(Partition("rotator from all", "rotating", "soon"))

The oracle knows what an application wrote, what a replica confirmed of it, and when. It does not
ask rotator: it reads the memory of every server, and starts servers from copies of their files.
"""

import threading
import time
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import NamedTuple
from unittest import mock

from redis.exceptions import RedisError, ResponseError

from cluster.local_cluster import ask
from cluster.network import CLIENTS, Loss, PartedCluster, State
from rotator.cli import purge
from rotator.crypto.codec import Opened
from rotator.demo.local_server import free_port, wait_until
from rotator.errors import Exit, RotatorError
from rotator.run import surroundings
from rotator.run.bulk import BulkOptions
from rotator.server.cluster_nodes import SLOTS
from rotator.server.connection import Connection
from soak.disks import Snapshot, values
from soak.model import Found, Held, Model
from support.caches import Cache, Place, wait_for
from support.clusters import calls, codec_of, made, names_in, owners, plain, read, store
from support.processes import run_here
from support.server_versions import since

NAMES = 240
WRITTEN = 60
"""Names of the primary in question that the application overwrites; the others it leaves alone."""
PLAIN = 12
"""Names in plaintext, for `adopt`."""
PAGE = 20
SOON_SECONDS, LATE_SECONDS = 0.3, 2.5
"""When a partition ends that nobody is promoted in: before it is noticed, and after it is."""
ANSWER_SECONDS = 0.4
"""How long rotator waits for an answer here."""
QUICK = {"workers": 1, "page": PAGE, "patience": 1.0}
_TRIES = 4
OPERATIONS = ("purge", "adopt")


class Partition(NamedTuple):
    """
    One partition: who is cut off, when it begins and ends, and what rotator is doing meanwhile.

    *begins* "before" it, while it is "rotating", "verifying" or "looking", or "after" it. *ends*
    "soon": before anybody is promoted; "late": after that; "unseen": after that, and rotator stands
    still until then; "over": when rotator has ended. *where*: a "cluster", one that is "readable"
    when it is down, or a "pair" without one.
    """

    situation: str
    begins: str
    ends: str
    doing: str = "run"
    where: str = "cluster"

    def __str__(self):
        """What pytest calls it."""
        return "-".join(self).replace(" ", "_")


class Situation(NamedTuple):
    """
    What is cut: *cut* does so to a scene.

    *promotes*: the replica of the primary in question takes its place if that lasts.
    """

    cut: object
    promotes: bool = False


def _between(some, others, loss=Loss.HELD):
    """A cut in both directions between parties that a scene has by these names."""
    return lambda scene: scene.network.part(scene.parties(some), scene.parties(others), loss)


def _from(some, others, *, delay=0.0):
    """A cut in one direction only, or a delay of so many seconds."""
    state = State(delay=delay) if delay else State(Loss.HELD)
    return lambda scene: scene.network.change(scene.parties(some), scene.parties(others), state)


def _slow(some, others, seconds):
    """A delay in both directions."""

    def cut(scene):
        for one, other in ((some, others), (others, some)):
            _from(one, other, delay=seconds)(scene)

    return cut


def _taken_over(cut):
    """The same, and an operator has the replica take over without asking anybody."""

    def act(scene):
        cut(scene)
        scene.promote()

    return act


SITUATIONS = {
    "rotator from a primary": Situation(_between("rotator", "primary")),
    "rotator to a primary": Situation(_from("rotator", "primary")),
    "a primary to rotator": Situation(_from("primary", "rotator")),
    "rotator from a primary, swallowed": Situation(_between("rotator", "primary", Loss.SWALLOWED)),
    "rotator from a primary, broken": Situation(_between("rotator", "primary", Loss.BROKEN)),
    "rotator from a primary, slow": Situation(_slow("rotator", "primary", 0.08)),
    "rotator from a replica": Situation(_between("rotator", "replica")),
    "rotator from a primary and its replica": Situation(_between("rotator", "shard")),
    "rotator from all": Situation(_between("rotator", "all", Loss.SWALLOWED)),
    "a primary from its replica": Situation(_between("primary", "replica")),
    "a primary to its replica": Situation(_from("primary", "replica")),
    "a replica to its primary": Situation(_from("replica", "primary")),
    "a primary from its replica, swallowed": Situation(
        _between("primary", "replica", Loss.SWALLOWED)
    ),
    "a primary from its replica, slow": Situation(_slow("primary", "replica", 0.4)),
    "a replica from all": Situation(_between("replica", "others of the replica")),
    "a primary and its replica from their cluster": Situation(_between("shard", "other shards")),
    "all from all, slow": Situation(_slow("all", "all", 0.2)),
    "a primary from its cluster": Situation(_between("primary", "others"), promotes=True),
    "a primary from its cluster, swallowed": Situation(
        _between("primary", "others", Loss.SWALLOWED), promotes=True
    ),
    "a primary to its cluster": Situation(_from("primary", "others"), promotes=True),
    "a cluster to a primary": Situation(_from("others", "primary"), promotes=True),
    "a primary from the majority, not its replica": Situation(
        _between("primary", "other shards"), promotes=True
    ),
    "a primary from its cluster, taken over": Situation(
        _taken_over(_between("primary", "others")), promotes=True
    ),
    "a primary from its replica, taken over": Situation(
        _taken_over(_between("primary", "replica")), promotes=True
    ),
}
"""By their names; `parties` says who they are."""


class Cluster(PartedCluster):
    """A cluster for a scene: what one has to know of it and of a pair."""

    @property
    def configured(self):
        """The addresses that rotator is told."""
        return [node.address for node in self.primaries]

    def take_over(self, replica):
        """Have a replica take the place of its primary, without asking anybody."""
        ask(replica, "CLUSTER", "FAILOVER", "TAKEOVER")


class Pair:
    """
    A primary and a replica without a cluster, as a `Cluster` with one owner of all slots.

    rotator knows them by an address that leads to the one that is taken for the primary; an
    operator has it lead to another when all is well again.
    """

    def __init__(self, network):
        self.network = network
        self._port = free_port()
        options = ("--repl-ping-replica-period", "1", "--repl-timeout", "4")
        self.nodes = [network.server(*options) for _ in range(2)]
        self._head = self.nodes[0]
        network.listen(self._port, lambda: self._head)

    @property
    def configured(self):
        """The address that rotator is told."""
        return [f"127.0.0.1:{self._port}"]

    @property
    def running(self):
        """Both."""
        return self.nodes

    @property
    def primaries(self):
        """Those that take writes: for a while, both may."""
        return [node for node in self.nodes if _replication(node)["role"] == "master"]

    @property
    def replicas(self):
        """Those that do not."""
        return [node for node in self.nodes if _replication(node)["role"] != "master"]

    def member(self, node):
        """What CLUSTER NODES would say of one of them."""
        is_primary = _replication(node)["role"] == "master"
        other = next(one for one in self.nodes if one is not node)
        slots = ((0, SLOTS - 1),) if is_primary else ()
        return Seen(node.address, is_primary, None if is_primary else other.address, slots)

    def take_over(self, replica):
        """Have a replica be a primary; the other does not know of it yet."""
        with replica.client() as client:
            client.replicaof("NO", "ONE")

    def settle(self):
        """Have one of two primaries, the one that rotator was led to, follow the other."""
        if len(self.primaries) == 2:
            old, self._head = self._head, next(n for n in self.nodes if n is not self._head)
            with old.client() as client:
                client.replicaof("127.0.0.1", self._head.announced)
        wait_for(lambda: all(_replication(n)["master_link_status"] == "up" for n in self.replicas))

    def __enter__(self):
        for node in self.nodes:
            node.start()
        with self.nodes[1].client() as client:
            client.replicaof("127.0.0.1", self.nodes[0].announced)
        self.settle()
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            node.remove()


class Seen(NamedTuple):
    """A server of a pair, in the words of CLUSTER NODES."""

    id: str
    is_primary: bool
    primary_id: str | None
    slots: tuple


def _replication(node):
    with node.client() as client:
        return client.info("replication")


class Application:
    """
    An application that goes on writing to one server, whoever else reaches it.

    It writes under the current key and an old one, and notes in a model what may be there. *old*
    says of each value under the old key when it was written (by `time.monotonic`).
    """

    def __init__(self, server, cache, names, model, seed=1):
        self.writes = 0
        self.confirmed = 0
        self.old = {}
        self._client = plain(server)
        self._cache, self._names, self._model = cache, names, model
        self._random = Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._over.wait(0.01):
            name = self._random.choice(self._names)
            plaintext = self._random.randbytes(20)
            key = self._random.randrange(2)
            value = self._cache.seal(name, plaintext, key=key)
            self._write(name, value, Held(plaintext, -1), old=key == 1)

    def _write(self, name, value, state, *, old):
        pipe = self._client.pipeline(transaction=False)
        pipe.set(name, value)
        pipe.execute_command("WAIT", 1, 50)
        if old:  # whatever becomes of it
            self.old[value] = time.monotonic()
        try:
            reply, confirmed = pipe.execute(raise_on_error=False)
        except (RedisError, OSError):
            self._model.tried(name, state)
            return
        if isinstance(reply, ResponseError):  # refused: it was not done
            return
        if isinstance(reply, Exception):
            self._model.tried(name, state)
            return
        self.writes += 1
        if isinstance(confirmed, int) and confirmed > 0:
            self.confirmed += 1
            self._model.wrote(name, state)
        else:
            self._model.tried(name, state)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        self._client.close()


class Told(NamedTuple):
    """What rotator has said of keys: since *begun* (by `time.monotonic`) these are retirable."""

    where: str
    begun: float
    retirable: frozenset


class Scene:
    """A cluster with values under old keys; *primary* and *replica* are those in question."""

    def __init__(self, cluster, folder):
        self.cluster = cluster
        self.network = cluster.network
        self.nodes = cluster.nodes
        self.primary, *_ = cluster.primaries
        self.replica = self._replica_of(self.primary)
        # Named, as `adopt` may look before the application has written anything.
        self.place = Place(folder, Cache(*cluster.configured, settings={"write": "gcm"}))
        self.cache = self.place.cache
        self.model = Model()
        self.told = []
        self.reports = []
        homes = owners(cluster)
        mine = {slot for slot, node in homes.items() if node is self.primary}
        self.written = names_in(mine, WRITTEN, prefix="busy")
        kept = [b"kept:%06d" % index for index in range(NAMES)]
        self._plain = dict.fromkeys(names_in(mine, PLAIN, prefix="plain"), b"in plain words")
        entries = made(self.cache, [*kept, *self.written])
        for name, (plaintext, at_ms) in store(cluster, entries).items():
            self.model.wrote(name, Held(plaintext, at_ms))
        self._sealed = {name: value for name, (_, value, _) in entries.items()}

    def _replica_of(self, primary):
        wanted = self.cluster.member(primary).id
        return next(n for n in self.cluster.replicas if self.cluster.member(n).primary_id == wanted)

    def parties(self, name):
        """Who a name of a situation stands for."""
        shard = [self.primary, self.replica]
        return {
            "rotator": [CLIENTS],
            "primary": [self.primary],
            "replica": [self.replica],
            "shard": shard,
            "all": self.nodes,
            "others": [node for node in self.nodes if node is not self.primary],
            "others of the replica": [node for node in self.nodes if node is not self.replica],
            "other shards": [node for node in self.nodes if node not in shard],
        }[name]

    def promote(self):
        """Have the replica take over, without asking anybody."""
        self.cluster.take_over(self.replica)

    def is_promoted(self):
        """Whether the replica has taken over."""
        return self.cluster.member(self.replica).is_primary

    def settle(self):
        """Wait until all is well, and each replica has what its primary has."""
        self.cluster.settle()
        for node in self.cluster.primaries:
            with node.client() as client:
                goal = client.info("replication")["master_repl_offset"]
            wait_for(lambda node=node, goal=goal: _has_passed_on(node, goal))

    def play(self, partition):
        """Play one, see that nothing is broken, and return how often a key was called retirable."""
        self.settle()
        situation = SITUATIONS[partition.situation]
        cut = Cut(self, situation, partition.ends)
        with Application(self.primary, self.cache, self.written, self.model) as application:
            self._work(partition, cut)
        cut.end()
        self.network.expire()
        self.settle()
        self.tell()
        self.check(application)
        told = sum(len(one.retirable) for one in self.told)
        self.finish(application, partition)
        return told

    def _work(self, partition, cut):
        if partition.begins == "before":
            cut.begin()
        if partition.doing in OPERATIONS:
            self._operate(partition, cut)
        elif partition.begins in {"before", "after"}:
            self.run(dry_run=partition.doing == "dry run")
        else:
            on_page = _at(partition.begins, cut.begin)
            for _ in range(_TRIES):  # a machine that is busy loses a connection, and a phase
                if not cut.begun:
                    self.run(on_page=on_page, dry_run=partition.doing == "dry run")
        if partition.begins == "after":
            cut.begin()
            time.sleep(SOON_SECONDS)
            self.run(dry_run=partition.doing == "dry run")

    def run(self, *, in_peace=False, **settings):
        """A run that has everything it takes to call a key retirable, if it may."""
        begun, fence = time.monotonic(), None
        if not settings.get("dry_run"):
            settings["refresh_files"] = True
            # Whole seconds, as the option has them. What is written later voids it.
            fence = datetime.now(UTC).replace(microsecond=0)
        try:
            with nullcontext() if in_peace else hasty():
                report = self.place.run(**{**QUICK, "fence_at": fence, **settings})
        except RotatorError as error:
            if in_peace or error.exit_code != Exit.FAILED:
                raise
            return None
        self.reports.append(report)
        keys = {key.id for key in report.caches[0].keys if key.verdict == "retirable"}
        self.told.append(Told("a run", begun, frozenset(keys)))
        return report

    def tell(self):
        """Note what the state alone says when all is well again."""
        begun = self.told[-1].begun if self.told else time.monotonic()
        keys = {
            key
            for key in self.cache.ids[1:]
            if run_here(
                ["report", "--require", f"retirable:{key}", "--state", self.place.state]
            ).returncode
            == 0
        }
        self.told.append(Told("the state", begun, frozenset(keys)))

    def _operate(self, partition, cut):
        """A purge of the values under the second old key, or an adoption of all plaintext."""
        if partition.doing == "adopt":
            store(self.cluster, {n: (p, p, -1) for n, p in self._plain.items()})
            for name, words in self._plain.items():
                self.model.wrote(name, Held(words, -1))
        for name, value in self._sealed.items() if partition.doing == "purge" else ():
            if self.cache.open(name, value).key.id == self.cache.ids[2]:
                self.model.tried(name, None)
        begin = threading.Thread(target=self._cut_when_busy, args=(cut,))
        if partition.begins != "before":
            begin.start()
        self.operate(partition.doing)
        if partition.begins != "before":
            begin.join(60)

    def _cut_when_busy(self, cut):
        """Begin when the primary in question has been asked for names."""
        before = calls(self.primary, "scan")
        wait_for(lambda: calls(self.primary, "scan") > before)
        cut.begin()

    def operate(self, doing):
        """Carry out one such command; what it ended with."""
        what = {"purge": ["--key", self.cache.ids[2]], "adopt": ["--match", "plain:*"]}[doing]
        files = ["--config", self.place.file, "--state", self.place.state, "--yes", "--page", PAGE]
        with hasty():
            done = run_here([doing, *files, *what])
        assert done.returncode in {Exit.OK, Exit.FAILED}, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def _must_be_declared(self, reason):
        """
        Whether only an operator can end a reason.

        An address now leads to a server with another folder, or a server before Redis 7.0 cannot
        show that it never had an RDB file.
        """
        if isinstance(self.cluster, Pair) and "had another dir" in reason:
            return True
        with self.primary.client() as client:
            return reason.endswith("declare assume.rdb if there is none") and not since(client, 7)

    def check(self, application):
        """Compare all there is with what must be there, and what was said of keys with all that."""
        begun = int(time.time() * 1000)
        names = [name for node in self.cluster.primaries for name in values(node)]
        found = {
            name: self._found(name, value, at_ms)
            for name, (value, at_ms) in read(self.cluster, names).items()
        }
        assert self.model.broken(found, begun, int(time.time() * 1000)) == []
        self._check_told(application)
        return found

    def _found(self, name, value, at_ms):
        if self._plain.get(name) == value:
            return Found(value, "", at_ms)
        opened = codec_of(self.cache).open(name, value)
        if isinstance(opened, Opened):
            return Found(opened.plaintext, opened.key.id, at_ms)
        return Found(None, "", at_ms)

    def _check_told(self, application):
        """No key that was called retirable has a value anywhere, but for what came later."""
        told = [one for one in self.told if one.retirable]
        if not told:
            return
        for where, name, value, key_id in self._everything():
            at = application.old.get(value)
            for one in told:
                late = at is not None and at >= one.begun
                assert key_id not in one.retirable or late, (
                    f"{one.where} called {key_id} retirable, and {name!r} in {where} is under it"
                )

    def _everything(self):
        """Every value in the memory of every server and in every file."""
        codec = codec_of(self.cache)
        memory = {f"the memory of {node}": values(node).items() for node in self.cluster.primaries}
        with Snapshot(self.cluster) as snapshot:
            for where, found in (*memory.items(), *snapshot.read()):
                for name, value in found:
                    opened = codec.open(name, value)
                    yield where, name, value, opened.key.id if isinstance(opened, Opened) else ""

    def finish(self, application, partition):
        """In peace rotator gets to the end: all is under the current key, the others retirable."""
        self.told.clear()
        if partition.doing in OPERATIONS:
            done = self.operate(partition.doing)
            assert done.returncode == Exit.OK, done.stderr
            found = self.check(application).values()
            # Now: a run moves what a purge has left.
            purged = self.cache.ids[2] if partition.doing == "purge" else None
            assert purged not in {one.key_id for one in found}
        for _ in range(3):
            report = self.run(in_peace=True, patience=20.0)
            old = [key for key in report.caches[0].keys if key.role == "old"]
            hindrances = {
                (key.verdict, reason)
                for key in old
                for reason in key.reasons
                if key.verdict != "retirable" and not self._must_be_declared(reason)
            }
            if not hindrances:
                break
            time.sleep(1.1)  # a fence has whole seconds
        assert report.exit_code == Exit.OK
        assert report.caches[0].complete
        assert not hindrances, hindrances
        found = self.check(application).values()
        assert {one.key_id for one in found} == {self.cache.ids[0]}


@contextmanager
def hasty():
    """Have rotator give up sooner on a server that does not answer; a run takes minutes without."""
    defaults = Connection.__init__.__kwdefaults__
    with (
        mock.patch.dict(defaults, timeout=ANSWER_SECONDS),
        mock.patch.object(surroundings, "_CATCH_UP_SECONDS", 0.5),
        mock.patch.object(purge, "BulkOptions", partial(BulkOptions, patience=QUICK["patience"])),
    ):
        yield


class Cut:
    """One cut of a scene, and when it ends."""

    def __init__(self, scene, situation, ends):
        self._scene, self._situation, self._ends = scene, situation, ends
        self._healer = None
        self._affected = 0
        self.begun = False

    def begin(self):
        """Cut; to end later, or to have ended already."""
        assert not self.begun
        self.begun = True
        self._affected = self._scene.network.affected
        self._situation.cut(self._scene)
        if self._ends == "unseen":
            self._heal()
        elif self._ends != "over":
            self._healer = threading.Thread(target=self._heal, daemon=True)
            self._healer.start()

    def _heal(self):
        if self._ends == "soon":
            time.sleep(SOON_SECONDS)
        else:
            self._until_noticed()
        self._scene.network.heal()

    def _until_noticed(self):
        if not self._situation.promotes:
            time.sleep(LATE_SECONDS)
            return
        wait_until(lambda: None if self._scene.is_promoted() else "nobody is promoted", 30)

    def end(self):
        """See that it has ended."""
        assert self.begun, "it was over before the partition began"
        if self._ends == "over":
            self._heal()
        elif self._healer is not None:
            self._healer.join(60)
            assert not self._healer.is_alive()
        assert self._scene.network.affected > self._affected, "nothing was cut"


def _at(phase, act):
    """An `on_page` that acts once, after the third page of a phase."""
    done = []

    def on_page(now, page):
        if now == phase and page >= 3 and not done:
            done.append(page)
            act()

    return on_page


def _has_passed_on(node, goal):
    """Whether every replica of a node has what it had written at an offset."""
    info = _replication(node)
    offsets = [int(one["offset"]) for one in info.values() if isinstance(one, dict)]
    return bool(offsets) and min(offsets) >= goal
