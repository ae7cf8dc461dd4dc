"""Tests of the histogram of latencies, and of what a node had to bear."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.tally.load import LatencyHistogram, NodeLoad

SECONDS = st.lists(st.floats(0.0001, 100), min_size=1, max_size=50)


def counted(durations):
    """A histogram of some durations."""
    histogram = LatencyHistogram()
    for seconds in durations:
        histogram.add(seconds)
    return histogram


class TestLatencyHistogram:
    """Quantiles of durations."""

    def test_empty(self):
        """Nothing measured has no summary: it is not a latency of zero."""
        assert LatencyHistogram().summary() is None

    def test_summary(self):
        """Median and 99th percentile are right to 9 %, count and longest are exact."""
        found = counted([0.001] * 98 + [0.050, 0.200]).summary()

        assert (found.count, found.max_ms) == (100, 200.0)
        assert found.p50_ms == pytest.approx(1.0, rel=0.09)
        assert found.p99_ms == pytest.approx(50.0, rel=0.09)

    def test_thousandths(self):
        """A summary is in thousandths of a millisecond."""
        assert counted([0.0012344]).summary().max_ms == 1.234

    @given(durations=SECONDS, share=st.floats(0.01, 1))
    def test_a_quantile_is_never_less_than_it_is(self, durations, share):
        """At least that share of all durations is not longer, and none is said to be so by 10 %."""
        found = counted(durations).quantile(share)

        exact = sorted(durations)[max(-(-int(share * len(durations) * 1e9) // 10**9) - 1, 0)]
        assert exact * 0.999 <= found <= max(durations)
        assert sum(one <= found * 1.001 for one in durations) >= share * len(durations) - 1e-6

    @given(first=SECONDS, second=SECONDS)
    def test_merge(self, first, second):
        """Two histograms merged are that of all durations, in any order."""
        one, other = counted(first), counted(second)
        one.merge(counted(second))
        other.merge(counted(first))

        assert one == other == counted([*first, *second])


class TestNodeLoad:
    """What a node had to bear."""

    @pytest.mark.parametrize(
        ("pages", "told"),
        [
            ([], None),
            ([0, 0], None),
            ([10, 100, 100, 120, 500], (10, 100, 500)),
            ([10, 10, 10, 100, 500], (10, 10, 500)),
            ([10, 10, 100, 100, 100], (10, 100, 100)),
            ([500, 10], (10, 10, 500)),
        ],
    )
    def test_page_sizes(self, pages, told):
        """The fewest names, the median and the most are told of pages that had any."""
        load = NodeLoad()
        for names in pages:
            load.add_page(names)

        assert load.page_sizes() == told
        assert load.pages.total() == len(list(filter(None, pages)))

    def test_parts_come_one_after_the_other(self):
        """If nothing else is said, the time above the goal adds up."""
        load = NodeLoad(above=2.0)
        load.merge(NodeLoad(above=3.0))
        assert load.above == 5.0

    @pytest.mark.parametrize(("beside", "above"), [(True, 3.0), (False, 5.0)])
    def test_merge(self, beside, above):
        """Counts add up; time above the goal does only where one part came after the other."""
        first, second = NodeLoad(above=2.0), NodeLoad(above=3.0)
        first.exchanged["script"], second.exchanged["script"] = 3, 4
        second.add_page(7)
        second.during.add(0.1)
        first.merge(second, beside=beside)

        first_before = LatencyHistogram()
        first_before.add(0.001)
        loaded, other = NodeLoad(before=first_before), NodeLoad(before=counted([0.5]))
        loaded.merge(other, beside=beside)

        assert loaded.before.summary().count == (1 if beside else 2)
        assert first.above == above
        assert first.exchanged == {"script": 7}
        assert first.page_sizes() == (7, 7, 7)
        assert first.during.summary().count == 1
