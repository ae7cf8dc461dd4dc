"""What every test may ask for: a real server, an empty database, a place for the state."""

import math
import os
import re
import signal
import time
from functools import cache, wraps
from pathlib import Path
from tempfile import gettempdir

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import UnsatisfiedAssumption
from xdist.scheduler import LoadScopeScheduling

from cluster.local_cluster import LocalCluster
from rotator.demo.local_server import LocalServer
from support import programs
from support.caches import NO_FILES, Cache, Place, held_port
from support.clusters import flush

TESTS = Path(__file__).parent
MARKED = {
    "integration": "tests with a server or a cluster that is well",
    "faults": "tests of servers and runs that break",
}
"""Folders whose tests have a marker of that name, and what it stands for."""
CHANCE_SECONDS = 5.0
"""How long a property is tried with random examples, however slow the machine is."""
CHANCE_LEAST = 10
"""How many it is tried with at least."""

# How long one example takes says nothing about a property, only about the machine.
settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("tests")
settings.register_profile("quick", settings.get_profile("tests"), max_examples=20)
# `make mutants`: the same few for each of thousands of mutants.
settings.register_profile(
    "mutants",
    settings.get_profile("quick"),
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
# `make fuzz`: so many examples of every property that does not say how many it needs.
settings.register_profile(
    "fuzz", settings.get_profile("tests"), max_examples=int(os.environ.get("EXAMPLES", "20000"))
)


# The modules that take longest, the longest first: several processes are done at about one time
# only if the last tests are short ones.
LONGEST = (
    "integration/sweep/test_dask.py",
    "faults/test_failover.py",
    "project/test_bench.py",
    "project/test_soak.py",
    "integration/secrets/test_conformance.py",
    "faults/test_enumeration.py",
    "faults/test_partitions.py",
    "integration/server/test_proxies.py",
    "integration/server/test_tls_profiles.py",
    "integration/demo/test_demo.py",
    "integration/sweep/test_engine.py",
    "integration/run/test_holds.py",
    "integration/server/test_topology.py",
    "faults/test_cluster_faults.py",
    "faults/test_signals.py",
    "faults/test_kills.py",
    "integration/sweep/test_cluster_sweep.py",
    "cli/test_exit_codes.py",
    "integration/secrets/test_provider_commands.py",
    "unit/secrets/test_vault.py",
    "unit/secrets/test_aws.py",
    "unit/secrets/test_azure.py",
    "unit/secrets/test_delinea.py",
    "unit/secrets/test_cyberark_conjur.py",
)


def pytest_addoption(parser):
    """Add what `make test-faults` and CI say."""
    parser.addoption(
        "--repeat", type=int, default=0, help="run fault tests so often, in their long version"
    )
    parser.addoption(
        "--complete", action="store_true", help="fail if there is a test that could not be run"
    )
    parser.addoption(
        "--this-server", action="store_true", help="leave out what would need another server"
    )


def pytest_collection_modifyitems(config, items):
    """Begin with the longest, and give each property its time."""
    rank = {TESTS / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))
    if config.getoption("--hypothesis-profile") != "fuzz":
        for function in {item.function for item in items if hasattr(item.function, "hypothesis")}:
            function.hypothesis.inner_test = _limited(function.hypothesis.inner_test)


def pytest_runtest_call():
    """Begin the time of the property that is to be tried, if it is one."""
    _ends[:] = [time.monotonic() + CHANCE_SECONDS]
    _tried[:] = [0]


_ends = [math.inf]
_tried = [0]


def _limited(inner):
    """A property that holds for every example as soon as its time is over, unless it has failed."""

    @wraps(inner)
    def tried(*arguments, **named):
        _tried[0] += 1
        if time.monotonic() > _ends[0] and _tried[0] > CHANCE_LEAST:
            return
        try:
            inner(*arguments, **named)
        except UnsatisfiedAssumption:
            raise
        except Exception:
            _ends[:] = [math.inf]  # the example is to be found again, and made smaller
            raise

    return tried


class Sharing(LoadScopeScheduling):
    """Side by side: tests of a module that share a fixture go to one process, others anywhere."""

    def _split_scope(self, nodeid):
        path = nodeid.partition("::")[0]
        return path if _shares(self.config.rootpath / path) else nodeid


@cache
def _shares(path):
    """Whether a module has fixtures for several of its tests."""
    return re.search(r'scope="(module|class)"', path.read_text()) is not None


def pytest_xdist_make_scheduler(config, log):
    """Have it with `--dist loadscope`; xdist's own groups do nothing with this pytest."""
    return Sharing(config, log)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """With `--complete` a test that was not run is a failure; its reason is in the summary."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    missing = reporter.stats.get("skipped") if reporter else None
    if session.config.getoption("--complete") and missing and not exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_configure(config):
    """Make the markers of the folders known, and signals what they are on a terminal."""
    # Whoever runs the tests in the background has them, and what they start, deaf to some.
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The state of whoever runs the tests is none of their business.
    os.environ["XDG_STATE_HOME"] = str(Path(gettempdir()) / f"rotator-tests-{os.getpid()}")
    programs.at_hand_only = config.getoption("--this-server")
    for marker, meaning in MARKED.items():
        config.addinivalue_line("markers", f"{marker}: {meaning}")


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makemodule(module_path):
    """Give the tests of a folder its marker."""
    module = yield
    for folder in MARKED:
        if module_path.is_relative_to(TESTS / folder):
            module.add_marker(folder)
    return module


def pytest_generate_tests(metafunc):
    """Repeat the fault tests as often as was asked for."""
    times = metafunc.config.getoption("--repeat")
    if times > 1 and metafunc.definition.get_closest_marker("faults"):
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(times))


@pytest.fixture
def kills(request):
    """How often a run is killed: a few times, and 30 times in the long version."""
    return 30 if request.config.getoption("--repeat") else 3


@pytest.fixture
def closed_port():
    """A port at which nobody listens, nor can as long as the test runs."""
    with held_port() as port:
        yield port


@pytest.fixture(scope="session")
def server():
    """One real server for the whole session; tests that break servers start their own."""
    with LocalServer() as running:
        yield running


@pytest.fixture
def redis(server):
    """A client of the session's server, with every database empty."""
    with server.client() as client:
        client.flushall()
        client.config_resetstat()
        yield client


@pytest.fixture
def place(server, redis, tmp_path):  # noqa: ARG001 - redis empties the server first
    """A configuration of one cache on the session's empty server, and a state file."""
    return Place(tmp_path, Cache(server.address, settings=NO_FILES))


@pytest.fixture
def configured(redis):
    """Sets server settings of the session's server for one test: `configured("maxmemory", 1)`."""
    before = {}

    def configure(name, value):
        before.update(redis.config_get(name))
        redis.config_set(name, value)

    yield configure
    for name, value in before.items():
        redis.config_set(name, value)


@pytest.fixture(scope="session")
def whole_cluster():
    """Three primaries with a replica each, for tests that leave them in order."""
    with LocalCluster(3, 1) as running:
        yield running


@pytest.fixture
def cluster(whole_cluster):
    """The session's cluster, empty, with every node in its place."""
    flush(whole_cluster)
    yield whole_cluster
    whole_cluster.settle()
