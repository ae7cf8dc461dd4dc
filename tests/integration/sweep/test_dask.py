"""Several machines: what travels to the workers of a dask cluster, who dies, what is lost."""

import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from distributed.protocol import pickle as dask_pickle
from structlog.testing import capture_logs

from rotator import __version__
from rotator.config.types import Address
from rotator.errors import ConfigError, Exit, ServerError
from rotator.state.state import State
from rotator.sweep import dask_cluster, dask_engine
from rotator.sweep.control import Orders, Stop, StopSignal
from rotator.sweep.dask_cluster import run_dask_task
from rotator.sweep.engine import NodeTask, open_remote_workers
from rotator.sweep.scope import Fingerprint, Limits, Scope
from rotator.tally.tally import Mode
from support.caches import Cache, Place, counted, wait_for
from support.clusters import FAST, check, fill, remaining, verdicts
from support.daskcluster import DaskCluster, Relay
from support.processes import Running, job, run_here, waiting
from support.tlsfront import Authority

NAMES = 1500
DUMPABLE = "__import__('ctypes').CDLL(None).prctl(3, 0, 0, 0, 0)"
"""The kernel's mark of a process: 1 if its memory may be dumped (linux/prctl.h)."""
STRICT = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
"""Makes a scheduler give up a task with its first worker."""


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    """A dask cluster, the workers of which may be killed."""
    with DaskCluster(tmp_path_factory.mktemp("dask"), workers=0) as running:
        yield running


@pytest.fixture
def filled(cluster, tmp_path):
    """A place with values on three primaries; the values, as `check` expects them."""
    place = Place(tmp_path, Cache(*cluster.addresses))
    return place, fill(cluster, place.cache, NAMES)


def events(lines, event):
    """The log lines of one event."""
    return [line for line in lines if line["event"] == event]


def missing(report):
    """What a report says that was not looked at, in one text."""
    return "; ".join(report.caches[0].coverage.not_looked_at)


def at_work(machines):
    """The workers that sweep a node."""
    found = machines.cluster.client.processing().items()
    task = run_dask_task.__name__
    return [worker for worker, keys in found if any(key.startswith(task) for key in keys)]


class TestSweep:
    """Nodes that are swept by workers of a dask cluster."""

    def test_rotates_all(self, cluster, filled, dask):
        """Every value is rotated, each node reaches the bar, and no worker may dump its core."""
        place, expected = filled
        bar = Counter()

        def on_page(phase, _page):
            bar[phase] += 1

        with dask.machines(2) as machines:
            report = place.run(machines=machines, on_page=on_page, **FAST)
            dumpable = machines.cluster.client.run(eval, DUMPABLE)
        assert 0 in dumpable.values()  # one worker may have swept all
        assert report.exit_code == Exit.OK
        assert counted(report) == {"rotated": NAMES}
        check(cluster, place.cache, expected)
        nodes = report.caches[0].coverage.nodes
        assert len(nodes) == 3
        assert sum(node.visits for node in nodes) == NAMES
        assert bar["rotating"] >= 3
        assert bar["verifying"] >= 3

    def test_one_node_in_parts(self, server, redis, dask, tmp_path):
        """One node is divided among workers of other machines, too, as among processes here."""
        place = Place(tmp_path, Cache(server.address))
        for number in range(2_000):
            place.cache.put(redis, f"app:{number}")
        with dask.machines(2) as machines, capture_logs() as lines:
            report = place.run(machines=machines, workers=2, limits=Limits(latency=None))
        assert report.exit_code == Exit.OK
        assert report.caches[0].outcomes["rotated"] == 2_000
        swept = [line["lanes"] for line in lines if line["event"] == "node swept"]
        assert swept == [2, 1]
        assert report.caches[0].coverage.nodes[0].proven

    def test_rate_is_shared(self, cluster, filled, dask):
        """All workers together keep to the rate, and what they log is logged here."""
        place, _ = filled
        with dask.machines(2) as machines, capture_logs() as lines:
            begun = time.monotonic()
            report = place.run(
                machines=machines, dry_run=True, limits=Limits(rate=NAMES / 3), page=50, **FAST
            )
            seconds = time.monotonic() - begun
        assert counted(report) == {"would_rotate": NAMES}
        assert 2 <= seconds < 20
        nodes = {node.address for node in cluster.primaries}
        assert {line["node"] for line in events(lines, "waiting")} == nodes

    def test_orders_reach_every_worker(self, filled, dask):
        """A pause and a rate that are ordered are heard on other machines, while they wait."""
        place, _ = filled
        stopper = StopSignal()

        def on_page(_phase, page):
            if page == 1:
                stopper.orders = Orders(paused=True)

        def go_on(lines):
            wait_for(lambda: len({one["node"] for one in paused(lines)}) == 2)
            stopper.orders = Orders(rate=0)

        def paused(lines):
            return [one for one in events(lines, "waiting") if one["reason"] == "paused"]

        with dask.machines(2) as machines, capture_logs() as lines, ThreadPoolExecutor() as pool:
            begun = time.monotonic()
            going_on = pool.submit(go_on, lines)
            slow = Limits(rate=NAMES / 1000)
            more = {"machines": machines, "dry_run": True, "page": 20, **FAST}
            report = place.run(stopper=stopper, limits=slow, on_page=on_page, **more)
            going_on.result()
        assert counted(report) == {"would_rotate": NAMES}
        assert time.monotonic() - begun < 500

    def test_one_worker_at_most(self, filled, dask):
        """With --workers 1 no two nodes are swept at the same time."""
        place, _ = filled
        busy = []

        def on_page(_phase, _page):
            busy.append(len(at_work(machines)))

        with dask.machines(2) as machines:
            report = place.run(
                machines=machines, dry_run=True, workers=1, page=20, on_page=on_page, **FAST
            )
        assert report.exit_code == Exit.OK
        assert max(busy) == 1


class TestStop:
    """A wish to stop."""

    def test_goes_on_where_it_was(self, cluster, filled, dask):
        """Workers stop after their page, by order; the next run, here, goes on where they were."""
        place, expected = filled
        stopper = StopSignal()

        def on_page(_phase, page):
            if page == 1:
                stopper.ask(Stop.ORDERED)

        with dask.machines(2) as machines:
            report = place.run(
                machines=machines,
                stopper=stopper,
                on_page=on_page,
                limits=Limits(rate=300),
                page=5,
                **FAST,
            )
        assert report.exit_code == Exit.TIME_UP
        assert report.caches[0].stopped == Stop.ORDERED
        assert 0 < report.caches[0].visits < NAMES
        kept = positions(place, cluster)
        assert len(kept) == 2  # the third node was not begun
        assert sum(map(visits, kept.values())) == report.caches[0].visits
        report = place.run(workers=1, **FAST)
        assert report.exit_code == Exit.OK
        assert counted(report) == {"rotated": NAMES}
        check(cluster, place.cache, expected)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_signal(self, cluster, filled, dask, number):
        """A signal to the command stops the workers, and positions are kept."""
        place, _ = filled
        dask.staff(2)
        arguments = ("--engine", "dask", "--scheduler", dask.address, "--max-rate", 500)
        with Running(*job(place, *arguments, "--page", 5, "--format", "json")) as running:
            running.wait_until(lambda: len(positions(place, cluster)) == 2)
            running.signal(number)
            ended = running.end()
        assert ended.returncode == 128 + number, ended.stderr
        assert 0 < json.loads(ended.stdout)["caches"][0]["visits"] < NAMES
        assert len(positions(place, cluster)) == 2

    def test_time_is_up(self, filled, dask):
        """So does --max-duration."""
        place, _ = filled
        dask.staff(2)
        arguments = ("--engine", "dask", "--scheduler", dask.address, "--max-rate", 200)
        ended = run_here(job(place, *arguments, "--max-duration", "1s"))
        assert ended.returncode == Exit.TIME_UP, ended.stderr


def positions(place, cluster):
    """The positions of a run that are in the state file, by node."""
    nodes = [node.address for node in cluster.primaries]
    with State(place.state) as state:
        found = {node: state.load_position(place.cache.name, "run", node) for node in nodes}
    return {node: one for node, one in found.items() if one}


def visits(position):
    """How many names were visited before a position; none if there is no position."""
    return sum(position["tally"]["outcomes"].values()) if position else 0


class Held:
    """Lets no write through on any primary, so that every worker stands in mid-sweep."""

    def __init__(self, cluster):
        self._clients = [node.client() for node in cluster.primaries]

    def __enter__(self):
        for client in self._clients:
            client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        return self

    def waiting(self):
        """On how many nodes somebody waits."""
        return sum(waiting(client) for client in self._clients)

    def __exit__(self, *_):
        for client in self._clients:
            client.execute_command("CLIENT", "UNPAUSE")
            client.close()


@pytest.mark.faults
class TestDeath:
    """Workers, schedulers and coordinators that are no more."""

    def test_killed_worker(self, cluster, filled, dask):
        """The node of a worker that is killed is swept on by another one; no work is lost."""
        place, expected = filled
        left, saved = {}, {}

        def kill(_phase, _page):
            if left or len(positions(place, cluster)) < 2:
                return
            with Held(cluster) as held:
                wait_for(lambda: held.waiting() == len(at_work(machines)))
                for worker in at_work(machines)[:1]:
                    dask.kill(pids[worker])
                    saved.update(positions(place, cluster))
                    for node in cluster.primaries:
                        alone = SimpleNamespace(primaries=[node])
                        left[node.address] = remaining(alone, place.cache)

        with dask.machines(2) as machines, capture_logs() as lines:
            pids = machines.cluster.client.run(os.getpid)
            report = place.run(
                machines=machines,
                on_page=kill,
                verify=False,
                limits=Limits(rate=NAMES),
                page=5,
                **FAST,
            )
            assert len(machines.cluster.present()) == 1
        assert report.exit_code == Exit.OK
        check(cluster, place.cache, expected)
        [lost] = events(lines, "a worker is lost")
        for node in report.caches[0].coverage.nodes:
            assert node.complete
            if node.node != lost["node"]:  # what others did was not done again
                assert node.visits == cluster_size(cluster, node.node)
        # It went on at its position: what the dead worker had done until then counts as done.
        dead = lost["node"]
        begun_anew = NAMES - cluster_size(cluster, dead) + left[dead]
        assert counted(report)["rotated"] >= begun_anew + visits(saved.get(dead))

    def test_no_worker_left(self, cluster, filled, tmp_path, monkeypatch):
        """When the last worker dies the run fails; the nodes that were done are done."""
        place, expected = filled

        def kill(_phase, _page):
            if events(lines, "node swept"):
                dask.workers[0].kill()

        with (
            DaskCluster(tmp_path, workers=1, env=STRICT) as dask,
            dask.machines() as machines,
            capture_logs() as lines,
        ):
            monkeypatch.setattr(dask_engine, "PATIENCE_SECONDS", 0.5)
            report = place.run(
                machines=machines, on_page=kill, limits=Limits(rate=3000), page=5, **FAST
            )
        assert report.exit_code == Exit.FAILED
        assert "no dask worker is left" in missing(report)
        assert verdicts(report) == {"unknown"}
        done = counted(report)["rotated"]
        assert done >= min(cluster_size(cluster, node.address) for node in cluster.primaries)
        assert remaining(cluster, place.cache) <= NAMES - done
        report = place.run(workers=1, **FAST)
        assert report.exit_code == Exit.OK
        check(cluster, place.cache, expected)

    def test_late_worker(self, cluster, filled, dask):
        """When the last worker dies, one that comes soon goes on."""
        place, expected = filled

        def replace(_phase, page):
            if page == 1:
                dask.kill(dask.alive()[0].pid)
                dask.add()

        with dask.machines(1) as machines:
            report = place.run(machines=machines, on_page=replace, verify=False, page=5, **FAST)
        assert report.exit_code == Exit.OK
        check(cluster, place.cache, expected)

    def test_killed_scheduler(self, cluster, filled, tmp_path, monkeypatch):
        """Without its scheduler the run fails at once and says so; what was done is kept."""
        monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 1.0)
        place, _ = filled

        def kill(_phase, _page):
            if len(positions(place, cluster)) >= 2:
                dask.scheduler.kill()

        with DaskCluster(tmp_path) as dask, dask.machines() as machines:
            report = place.run(
                machines=machines, on_page=kill, limits=Limits(rate=NAMES), page=5, **FAST
            )
        assert report.exit_code == Exit.FAILED
        assert f"the connection to the dask scheduler {dask.address} was lost" in missing(report)
        assert len(positions(place, cluster)) >= 2

    def test_silence(self, cluster, filled, dask, monkeypatch):
        """Workers that hear nothing any more stop; what they did not do is done when it goes on."""
        monkeypatch.setattr(dask_engine, "SILENCE_SECONDS", 1.0)
        monkeypatch.setattr(dask_cluster, "BEAT_SECONDS", 0.1)
        place, expected = filled
        silent = []

        def on_page(phase, _page):
            if phase == "rotating" and not silent:
                silent.append(phase)
                wait_for(lambda: not any(machines.cluster.client.processing().values()))

        with dask.machines(2) as machines, capture_logs() as lines:
            report = place.run(
                machines=machines,
                on_page=on_page,
                verify=False,
                limits=Limits(rate=500),
                page=5,
                **FAST,
            )
        assert len(events(lines, "a worker is lost")) >= 2
        assert report.exit_code == Exit.OK
        assert counted(report) == {"rotated": NAMES}
        check(cluster, place.cache, expected)
        with State(place.state) as state:
            assert state.encryptions(place.cache.ids[0]) == NAMES


def cluster_size(cluster, address):
    """How many names a node has."""
    [node] = [node for node in cluster.primaries if node.address == address]
    with node.client() as client:
        return client.dbsize()


class TestStart:
    """What there has to be before anything is done."""

    def test_no_scheduler(self, monkeypatch, closed_port):
        """Where no scheduler answers, the command says so."""
        monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 0.3)
        address = f"tcp://127.0.0.1:{closed_port}"
        with (
            pytest.raises(ServerError, match=f"no dask scheduler answers at {address}"),
            open_remote_workers(address, lambda: None),
        ):
            pass

    def test_no_worker(self, tmp_path, monkeypatch):
        """A scheduler without workers is waited for, but not for ever."""
        monkeypatch.setattr(dask_cluster, "PATIENCE_SECONDS", 0.3)
        with (
            DaskCluster(tmp_path, workers=0) as dask,
            pytest.raises(ServerError, match="has no worker") as caught,
            dask.machines(),
        ):
            pass
        assert caught.value.hint == f"start some, on any machine: dask worker {dask.address}"

    def test_no_tls(self):
        """Without certificates tls:// is refused, with where to give them."""
        with (
            pytest.raises(ConfigError) as caught,
            open_remote_workers("tls://127.0.0.1:1", lambda: None),
        ):
            pass
        assert "distributed.comm.tls" in caught.value.hint

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--engine", "dask"], "--engine dask: the address of the scheduler is missing"),
            (["--scheduler", "tcp://a:1"], "--scheduler is for --engine dask"),
            (
                ["--engine", "dask", "--scheduler", "http://u:secret@a:1"],
                "--scheduler: is no address of a dask scheduler",
            ),
        ],
    )
    def test_usage(self, arguments, said):
        """Engine and scheduler go together."""
        ended = run_here(["run", *arguments])
        assert ended.returncode == Exit.USAGE
        assert ended.stderr.startswith(f"rotator: error: {said}\nrotator: hint: ")

    @pytest.mark.parametrize("library", ["dask", "distributed"])
    def test_extra(self, place, library):
        """Without the library the command says which extra brings it."""
        code = f"import sys; sys.modules['{library}'] = None; import rotator.__main__; "
        code += "rotator.__main__.main()"
        arguments = job(place, "--engine", "dask", "--scheduler", "tcp://127.0.0.1:1")
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == Exit.USAGE
        assert f"--engine dask needs {library}, which is not installed" in done.stderr
        assert "rotator: hint: pip install 'redis-rotator[dask]'" in done.stderr


def test_imported_on_demand():
    """The library is not imported before it is asked for."""
    code = (
        "import sys, rotator.cli; print([x for x in ('dask', 'distributed') if x in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestRefusal:
    """Workers that must not do it."""

    def test_other_machines(self, cluster, tmp_path, monkeypatch):
        """A worker with other keys, other settings or another version refuses; others do it."""
        place, expected, right = in_environment(cluster, tmp_path)
        for name, value in right.items():
            monkeypatch.setenv(name, value)
        old = tmp_path / "old"
        (old / "redis_rotator-0.9.dist-info").mkdir(parents=True)
        (old / "redis_rotator-0.9.dist-info" / "METADATA").write_text(
            "Name: redis-rotator\nVersion: 0.9\n"
        )
        wrong = [
            ({"ROT_KEY": secrets.token_hex(32)}, "its keys or formats of the cache shared-redis"),
            ({"ROT_MATCH": "x*"}, "its configuration of the cache shared-redis"),
            ({"PYTHONPATH": str(old)}, f"it has rotator 0.9, not {__version__}"),
        ]
        with DaskCluster(tmp_path, workers=0) as dask:
            for env, _ in wrong:
                dask.add(env={**right, **env})
            with dask.machines() as machines, capture_logs() as lines:
                report = place.run(machines=machines, **FAST)
                assert report.exit_code == Exit.FAILED
                assert "no dask worker can be used" in missing(report)
                reasons = {line["reason"] for line in events(lines, "a worker cannot be used")}
                assert len(reasons) == len(wrong)
                for _, reason in wrong:
                    assert any(reason in one for one in reasons), reasons
                assert remaining(cluster, place.cache) == NAMES
                dask.add(env=right)
                wait_for(lambda: len(machines.cluster.present()) == 4)
                report = place.run(machines=machines, **FAST)
        assert report.exit_code == Exit.OK
        check(cluster, place.cache, expected)

    def test_no_file(self, filled, dask, tmp_path):
        """A worker that cannot read the configuration says which file."""
        place, _ = filled
        with dask.machines(1) as machines:
            task = task_of(place, tmp_path / "elsewhere.json")
            executor = machines.cluster.client.get_executor(pure=False)
            answer = executor.submit(run_dask_task, task, "run", 30.0).result(timeout=20)
        assert str(tmp_path / "elsewhere.json") in answer


def task_of(place, file):
    """A task to sweep a node of a place's cache by a configuration in *file*."""
    fingerprint = Fingerprint.of(place.access())
    return NodeTask((file,), fingerprint, Address("127.0.0.1", 1), Scope(Mode.RUN), None)


def in_environment(cluster, folder):
    """A filled place, some of the configuration of which is in the environment; and those."""
    cache = Cache(*cluster.addresses)
    expected = fill(cluster, cache, NAMES)
    variables = {"ROT_KEY": cache.keys[0], "ROT_MATCH": "*"}
    cache.settings = {"match": ["{{ env.ROT_MATCH }}"]}
    place = Place(folder, cache)
    place.file.write_text(place.file.read_text().replace(cache.keys[0], "{{ env.ROT_KEY }}"))
    return place, expected, variables


class TestWhatTravels:
    """Between machines."""

    def test_no_secret(self, cluster, tmp_path):
        """Nothing that goes over the scheduler's sockets or into a log is a key or a password."""
        user, password = f"u{secrets.token_hex(4)}", f"pw-{secrets.token_hex(8)}"
        clients = [node.client() for node in cluster.primaries]
        for client in clients:
            client.execute_command(*f"ACL SETUSER {user} on >{password} ~* &* +@all".split())
        cache = Cache(*cluster.addresses, redis={"username": user, "password": password})
        place = Place(tmp_path, cache)
        expected = fill(cluster, cache, NAMES)
        try:
            with DaskCluster(tmp_path, workers=0) as dask, Relay(dask.address) as relay:
                dask.add(through=relay.address)
                dask.add(through=relay.address)
                with dask.machines(through=relay.address) as machines:
                    task = dask_pickle.dumps((run_dask_task, task_of(place, place.file)))
                    report = place.run(machines=machines, page=50, **FAST)
                passed = b"\n".join(relay.streams)
        finally:
            for client in clients:
                client.acl_deluser(user)
        assert report.exit_code == Exit.OK
        check(cluster, cache, expected)
        # It is what it seems to be: orders, pages, positions and results go through there.
        for known in (place.file.name.encode(), b"page_done", b'"digest"', b"NodeResult"):
            assert known in passed, known
        assert place.file.name.encode() in task
        logs = b"".join(log.read_bytes() for log in tmp_path.glob("*.log"))
        assert b"Registered to:" in logs
        for data in (passed, task, logs):
            assert password.encode() not in data
            for key in cache.keys:
                material = bytes.fromhex(key)
                assert material not in data
                assert key.encode() not in data.lower()
                assert base64.b64encode(material)[:-4] not in data

    def test_tls(self, cluster, filled, tmp_path):
        """With tls:// dask's own settings count; each worker asks its own provider for secrets."""
        place, expected = filled
        provider = refer(place)
        authority = Authority(tmp_path)
        leaf = authority.issue("127.0.0.1")
        settings = {"CA_FILE": authority.file}
        for role in ("SCHEDULER", "WORKER", "CLIENT"):
            settings |= {f"{role}__CERT": leaf.cert, f"{role}__KEY": leaf.key}
        env = {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(v) for name, v in settings.items()}
        mine = {**env, "MAVERICS_SECRET_PROVIDER": provider}
        with DaskCluster(tmp_path, env=mine, options=["--protocol", "tls"]) as dask:
            assert dask.address.startswith("tls://")
            arguments = job(place, "--engine", "dask", "--scheduler", dask.address)
            with Running(*arguments, "--secret-provider", provider, env=env) as running:
                ended = running.end()
        assert ended.returncode == Exit.OK, ended.stderr
        check(cluster, place.cache, expected)


def refer(place):
    """Move the keys of a configuration to a file of secrets; the URL of its provider."""
    text = place.file.read_text()
    keys = {f"key{number}": key for number, key in enumerate(place.cache.keys)}
    for name, key in keys.items():
        text = text.replace(key, f"<{name}>")
    place.file.write_text(text)
    secrets_file = place.folder / "secrets.yaml"
    secrets_file.write_text(json.dumps({"secrets": keys}))
    return f"secretfile://{secrets_file}"
