"""
Partitions: rotator, primaries and replicas are cut off from one another, and get together again.

`make partitions` plays all of them and says how many those were; `make test` plays a few.
"""

from contextlib import ExitStack
from functools import cache

import pytest

from cluster.network import Network
from support.partitions import OPERATIONS, SITUATIONS, Cluster, Pair, Partition, Scene

SHORT = ["--cluster-node-timeout", "1000"]

SAMPLE = [
    Partition("a primary from its cluster", "rotating", "unseen"),
    Partition("a primary from its replica, taken over", "rotating", "over", where="pair"),
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


PAIR = (
    "rotator to a primary",
    "rotator from a primary, broken",
    "a primary from its replica",
    "a primary to its replica",
    "a primary from its replica, slow",
    "a primary from its replica, taken over",
)
"""What is tried with two servers without a cluster, too."""


def table():
    """All partitions that are played."""
    alone = "a primary from its cluster"
    return [
        *[
            Partition(name, *trial)
            for name, situation in SITUATIONS.items()
            for trial in (PROMOTING if situation.promotes else OTHERS)
        ],
        *[Partition(alone, *trial, where="readable") for trial in PROMOTING],
        *[Partition(name, "rotating", "over", doing) for name in BULK for doing in OPERATIONS],
        *[Partition(name, "looking", "soon", "dry run") for name in BULK],
        *[Partition(name, *trial, where="pair") for name in PAIR for trial in OTHERS],
        *[Partition(PAIR[-1], when, "over", where="pair") for when in ("rotating", "after")],
    ]


def pytest_generate_tests(metafunc):
    """A few in `make test`, all in the long version."""
    if "partition" in metafunc.fixturenames:
        long = metafunc.config.getoption("--repeat")
        metafunc.parametrize("partition", table() if long else SAMPLE, ids=str)


@pytest.fixture(scope="session")
def servers():
    """
    Such servers as a partition wants, quick to notice that one is gone, started once.

    For the session: the tests of a module that has something in common go to one process.
    """
    with ExitStack() as running:

        @cache
        def found(where):
            network = running.enter_context(Network())
            if where == "pair":
                return running.enter_context(Pair(network))
            options = ["--cluster-allow-reads-when-down", "yes"] if where == "readable" else []
            return running.enter_context(Cluster(network, 3, 1, [*SHORT, *options]))

        yield found


@pytest.fixture
def cluster(servers, partition):
    """All of them, empty and at rest."""
    running = servers(partition.where)
    running.network.heal()
    running.settle()
    for node in running.primaries:
        with node.client() as client:
            client.flushall()
    running.settle()
    yield running
    running.network.heal()


def test_a_partition(cluster, tmp_path, partition, record_property):
    """Nothing is lost that a replica had, and no verdict is better than what is there then."""
    record_property("retirable", Scene(cluster, tmp_path).play(partition))
