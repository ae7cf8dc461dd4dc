"""A whole sweep of a cache: which of its nodes are done."""

import pytest

from rotator.progress import Progress
from rotator.server.topology import Topology, discover
from rotator.sweep.control import ProgressControl, Stop
from rotator.sweep.engine import InlineEngine
from rotator.sweep.scope import Limits, Scope
from rotator.sweep.sweep import sweep_cache
from rotator.tally.tally import Mode
from support.caches import fill


class Ended(Progress):
    """Progress that keeps which nodes are done."""

    def __init__(self):
        self.nodes = []

    def end_node(self, node):
        """One more is done."""
        self.nodes.append(node)


def test_a_node_that_was_not_swept_to_the_end_is_not_done(place, redis):
    """Only of a node that was swept to its end progress says that it is done."""
    fill(redis, place.cache, 300)
    access, bar = place.access(), Ended()
    scope = Scope(Mode.RUN, page=100, limits=Limits(latency=None))

    def sweep(stop):
        control = ProgressControl(stop, bar)
        addresses = access.cache.redis.addresses
        engine = InlineEngine(access)
        return sweep_cache(lambda: discover(addresses, access.connect), engine, scope, control)

    assert not sweep(lambda: Stop.INTERRUPTED).complete
    assert bar.nodes == []
    done = sweep(lambda: None)
    assert done.complete
    assert bar.nodes == [node.node for node in done.nodes]


@pytest.mark.parametrize(
    ("problems", "reasons"),
    [((), ("it owns no data any more",)), (("the primary of slots 0-5 does not answer",), ())],
)
def test_a_node_that_is_gone_in_the_end(place, redis, problems, reasons):
    """That a node owns no data is said of a cluster that is whole, not where a primary is down."""
    fill(redis, place.cache, 10)
    access = place.access()
    seen = [
        Topology("cluster", {}, problems=problems),
        discover(access.cache.redis.addresses, access.connect),
    ]
    scope = Scope(Mode.RUN, limits=Limits(latency=None))
    done = sweep_cache(
        seen.pop, InlineEngine(access), scope, ProgressControl(lambda: None, Progress())
    )
    assert done.nodes[0].reasons == reasons
