"""
Partitions: rotator, primaries and replicas are cut off from one another, and get together again.

`make partitions` plays all of them and says how many those were; `make test` plays a few.
"""

from contextlib import contextmanager

import pytest

from cluster.network import Network, PartedCluster
from support.partitions import OPERATIONS, SITUATIONS, Partition, Scene

SHORT = ["--cluster-node-timeout", "1000"]

SAMPLE = [
    Partition("a primary from its cluster", "rotating", "unseen"),
    Partition("rotator from a primary, swallowed", "verifying", "soon"),
]


PROMOTING = [
    *[("before", end, "run") for end in ("unseen", "over")],
    *[
        (when, end, "run")
        for when in ("rotating", "verifying")
        for end in ("soon", "unseen", "over")
    ],
    ("after", "late", "run"),
    ("looking", "over", "dry run"),
]
"""When a partition begins and ends, and what rotator does, where a replica takes over."""

OTHERS = [("before", "over", "run"), ("rotating", "soon", "run"), ("verifying", "over", "run")]
"""The same where none does."""

BULK = (
    "rotator from a primary, broken",
    "a primary from its replica",
    "a primary from its cluster",
    "a primary from its cluster, taken over",
)
"""What `purge` and `adopt` are tried with, too."""


def table():
    """All partitions that are played."""
    return [
        *[
            Partition(name, *trial)
            for name, situation in SITUATIONS.items()
            for trial in (PROMOTING if situation.promotes else OTHERS)
        ],
        *[Partition(name, "rotating", "over", doing) for name in BULK for doing in OPERATIONS],
        *[Partition(name, "looking", "soon", "dry run") for name in BULK],
    ]


def pytest_generate_tests(metafunc):
    """A few in `make test`, all in the long version."""
    if "partition" in metafunc.fixturenames:
        long = metafunc.config.getoption("--repeat")
        metafunc.parametrize("partition", table() if long else SAMPLE, ids=str)


@contextmanager
def parted(*options):
    """Three primaries with a replica each, quick to notice that one is gone, in a network."""
    with Network() as network, PartedCluster(network, 3, 1, [*SHORT, *options]) as running:
        yield running


@pytest.fixture(scope="module")
def shared():
    """Such servers."""
    with parted() as running:
        yield running


@pytest.fixture(scope="module")
def readable():
    """Those that let read when their cluster is down."""
    with parted("--cluster-allow-reads-when-down", "yes") as running:
        yield running


@pytest.fixture
def cluster(request, partition):
    """All of them, empty and at rest."""
    name = "readable" if SITUATIONS[partition.situation].readable else "shared"
    running = request.getfixturevalue(name)
    running.network.heal()
    running.settle()
    for node in running.primaries:
        with node.client() as client:
            client.flushall()
    running.settle()
    yield running
    running.network.heal()


def test_a_partition(cluster, tmp_path, partition):
    """Nothing is lost that a replica had, and no verdict is better than what is there then."""
    Scene(cluster, tmp_path).play(partition)
