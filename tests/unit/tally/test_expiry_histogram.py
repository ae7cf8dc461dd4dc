"""When the values under an old key expire: a small histogram that never promises too much."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.tally.key_tally import BUCKETS, DAYS, FAR, HOURS, NEVER, ExpiryHistogram

NOW = datetime(2026, 11, 23, 10, 3, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANY_TTL = st.one_of(
    st.integers(0, 2**63 - 1),
    st.integers(0, 10 * 365 * 24 * 3_600_000).map(lambda ttl: _ms(NOW) + ttl),
    st.sampled_from([None, NEVER]),
)


def _ms(at):
    """A time in unix milliseconds."""
    return int(at.timestamp() * 1000)


def _filled(expiries):
    """A histogram of these expiries."""
    drain = ExpiryHistogram()
    for expires_at in expiries:
        drain.add(expires_at)
    return drain


def _total(drain):
    """How many values were counted."""
    return drain.without_ttl + sum(drain.buckets.values())


class TestCounting:
    """What goes in is counted, whatever it is."""

    @pytest.mark.parametrize("expires_at", [NEVER, None, -2])
    def test_without_ttl(self, expires_at):
        """A value without a TTL, or with one that is not known, never drains."""
        drain = _filled([expires_at])
        assert (drain.without_ttl, drain.latest, _total(drain)) == (1, None, 1)

    def test_any_moment_is_a_ttl(self):
        """A value that expires at the first moment of all has a TTL."""
        drain = _filled([0])
        assert (drain.without_ttl, drain.latest) == (0, datetime(1970, 1, 1, tzinfo=UTC))

    def test_one_hour_is_one_bucket(self):
        """Values that expire within one hour are told apart by nothing."""
        assert len(_filled(range(_ms(NOW), _ms(NOW) + 60_000)).buckets) == 1

    def test_latest(self):
        """The latest expiry is exact to the millisecond."""
        at = NOW + timedelta(hours=3, milliseconds=7)
        assert _filled([_ms(NOW), _ms(at), _ms(NOW + HOUR)]).latest == at

    def test_far(self):
        """An expiry that no calendar knows is the last hour of the calendar."""
        assert _filled([2**63 - 1]).latest == FAR

    @given(st.lists(st.lists(ANY_TTL), min_size=1))
    def test_merge(self, parts):
        """Merged histograms say the same as one that counted everything."""
        merged = ExpiryHistogram()
        for part in parts:
            merged.merge(_filled(part))
        assert merged == _filled(expiry for part in parts for expiry in part)

    @given(st.lists(ANY_TTL))
    def test_round_trip(self, expiries):
        """A histogram comes back from JSON as it was."""
        drain = _filled(expiries)
        assert ExpiryHistogram.from_dict(json.loads(json.dumps(drain.to_dict()))) == drain


class TestBound:
    """Memory and the curve are bounded whatever the TTLs are."""

    def test_buckets(self):
        """A million expiries all over the calendar take no more than the allowed buckets."""
        spread = range(_ms(NOW), _ms(FAR), (_ms(FAR) - _ms(NOW)) // 100_000)
        drain = ExpiryHistogram()
        for expires_at in spread:
            drain.add(expires_at)
            assert len(drain.buckets) <= BUCKETS
        assert (_total(drain), drain.without_ttl) == (len(spread), 0)

    def test_merging_keeps_the_bound(self):
        """Two full histograms merge into one that is not larger."""
        first = _filled(_ms(NOW) + hour * 3_600_000 for hour in range(BUCKETS))
        second = _filled(_ms(NOW) + hour * 3_600_000 for hour in range(BUCKETS, 2 * BUCKETS))
        first.merge(second)
        assert (len(first.buckets) <= BUCKETS, _total(first)) == (True, 2 * BUCKETS)

    def test_as_many_as_are_allowed(self):
        """So many hours as there may be are all told apart, also when they come from two parts."""
        hours = [_ms(NOW) + hour * 3_600_000 for hour in range(BUCKETS)]
        merged = _filled(hours[::2])
        merged.merge(_filled(hours[1::2]))
        assert len(_filled(hours).buckets) == len(merged.buckets) == BUCKETS

    def test_no_coarser_than_it_has_to_be(self):
        """Where days are few enough, far expiries are not rounded to months."""
        every = _filled(_ms(NOW) + 6 * hour * 3_600_000 for hour in range(BUCKETS + 1))
        far = sorted(every.buckets)[BUCKETS // 4 :]
        assert {later - hour for hour, later in itertools.pairwise(far)} == {24}

    def test_near_hours_stay_exact(self):
        """Rounding the far expiries leaves the next two days as they are."""
        drain = _filled(_ms(NOW) + hour * 3_600_000 for hour in range(10 * BUCKETS))
        assert [10 * BUCKETS - 1 - hour for hour in range(HOURS)] == [
            left for _, left in drain.curve(NOW)[:HOURS]
        ]

    @given(st.lists(ANY_TTL, max_size=50))
    def test_curve(self, expiries):
        """A curve is short, starts at the next full hour, never rises and ends where it stays."""
        drain = _filled(expiries)
        points = drain.curve(NOW)
        times, counts = zip(*points, strict=True)
        assert times[0] == datetime(2026, 11, 23, 11, tzinfo=UTC)
        assert len(points) <= HOURS + DAYS + 1
        assert sorted(times) == list(times)
        assert sorted(counts, reverse=True) == list(counts)
        assert counts[-1] == drain.without_ttl


class TestCurve:
    """How many values remain, hour by hour."""

    def test_nothing(self):
        """Where nothing remains, the curve is one point that says so."""
        assert ExpiryHistogram().curve(NOW) == [(datetime(2026, 11, 23, 11, tzinfo=UTC), 0)]

    def test_hours(self):
        """A value is counted at each full hour before it expires, not at the one when it does."""
        drain = _filled([_ms(NOW), _ms(datetime(2026, 11, 23, 12, tzinfo=UTC)), NEVER])
        assert [left for _, left in drain.curve(NOW)] == [2, 1]

    def test_moment_of_the_last_expiry(self):
        """At the very moment when the last value expires only those without a TTL are left."""
        assert _filled([_ms(NOW), NEVER]).remaining(NOW) == 1

    def test_points_are_full_hours(self):
        """A curve has full hours, whatever fraction of a second it begins at."""
        begun, far = NOW.replace(microsecond=7), NOW.replace(minute=0, second=0, microsecond=1000)
        times = [at for at, _ in _filled([_ms(far + timedelta(days=3650))]).curve(begun)]
        assert {(at.minute, at.second, at.microsecond) for at in times} == {(0, 0, 0)}
        assert times[-1] > far + timedelta(days=3650)

    def test_days(self):
        """After two days of hours come days."""
        times = [at for at, _ in _filled([_ms(NOW + timedelta(days=5))]).curve(NOW)]
        assert [later - earlier for earlier, later in itertools.pairwise(times)] == [
            *[HOUR] * (HOURS - 1),
            *[timedelta(days=1)] * 4,
        ]

    def test_the_rest(self):
        """What outlives the days of the curve is gone at its last point."""
        far = NOW + timedelta(days=3650)
        points = _filled([_ms(far)]).curve(NOW)
        assert points[-2:] == [
            (points[-2][0], 1),
            (far.replace(minute=0, second=0) + HOUR, 0),
        ]
        assert len(points) == HOURS + DAYS + 1

    @given(st.lists(ANY_TTL, max_size=20), st.integers(0, 20_000))
    def test_careful(self, expiries, hours):
        """The curve never says that fewer values remain than there will be."""
        at = (NOW + timedelta(hours=hours)).replace(minute=0, second=0)
        alive = sum(expiry in {None, NEVER} or expiry > _ms(at) for expiry in expiries)
        assert _filled(expiries).remaining(at) >= alive

    @given(st.lists(st.integers(0, 10**7), max_size=20))
    def test_exact(self, offsets):
        """At a full hour that was never rounded, the curve is exact."""
        expiries = [_ms(NOW) + offset for offset in offsets]
        at = datetime(2026, 11, 23, 12, tzinfo=UTC)
        assert _filled(expiries).remaining(at) == sum(expiry > _ms(at) for expiry in expiries)
