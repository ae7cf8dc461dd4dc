"""What real runs leave behind for later reports."""

from datetime import UTC, datetime, timedelta

from rotator.report.archive import load_reports
from rotator.state.state import State
from support.caches import Cache, Place, StopAfter, fill, meddled, now_ms, old_key

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


class TestRuns:
    """What real runs leave behind."""

    def test_history_of_a_rotation(self, place, redis):
        """After a run the old key's past and the current key's encryptions are in the report."""
        fill(redis, place.cache, 30)

        report = place.run()

        current, first, second = report.caches[0].keys
        assert current.encryptions == 30
        assert current.nonce_budget_used == 60 / 2**32  # met again by the verifying sweep
        assert {len(first.past.verdicts), len(second.past.verdicts)} == {1}
        assert first.past.last_seen_at == first.last_seen_at
        [cache] = report.caches
        assert cache.swept_at <= cache.judged_at <= report.finished_at

    def test_retries_are_encryptions(self, place, redis):
        """A value that changed under the run was encrypted in vain: that used up a nonce too."""
        place.cache.put(redis, "app:1", b"one")
        rivals = iter([b"two", b"three"])

        def beaten(_swaps):
            rival = next(rivals, None)
            if rival is not None:
                place.cache.put(redis, "app:1", rival)

        report = place.run(kind=meddled(before_write=beaten))

        assert (report.caches[0].outcomes["rotated"], report.caches[0].keys[0].encryptions) == (
            1,
            3,
        )

    def test_stopped_and_resumed(self, place, redis):
        """A run that was stopped and one that went on from there count each encryption once."""
        fill(redis, place.cache, 60)

        stopped = place.run(stopper=StopAfter(4), page=10)
        resumed = place.run(page=10)

        assert stopped.caches[0].stopped == "interrupted"
        assert 0 < stopped.caches[0].keys[0].encryptions < 60
        assert resumed.caches[0].keys[0].encryptions == 60

    def test_a_dry_run_encrypts_nothing(self, place, redis):
        """A dry run uses up no nonce, and still counts what it met."""
        fill(redis, place.cache, 12)

        report = place.run(dry_run=True)

        assert [one.encryptions for one in report.caches[0].keys] == [0, 0, 0]
        assert sum(one.nonce_budget_used for one in report.caches[0].keys) == 12 / 2**32

    def test_shared_key(self, server, redis, tmp_path):
        """A key that a run met in one cache is in use in both: the other has it outside."""
        keys = Cache(server.address, keys=2).keys
        first = Cache(server.address, name="a", keys=keys, settings={"match": ["a:*"]})
        second = Cache(server.address, name="b", keys=keys, settings={"match": ["b:*"]})
        place = Place(tmp_path, first, second)
        first.put(redis, "a:1", key=0)
        second.put(redis, "b:1", key=1, at_ms=now_ms() + 3_600_000)

        place.run(dry_run=True, quiet=timedelta(0))
        place.run("a", dry_run=True, quiet=timedelta(0))

        with State(place.state) as state:
            report = load_reports(state, NOW)
        assert {old_key(report, first.ids[1], name).verdict for name in "ab"} == {"in-use"}
        (outside,) = [one for one in report.caches[0].keys[1].places if one.kind == "outside"]
        assert (outside.status, outside.verdict) == ("holding", "in-use")
        assert report.caches[0].outside.under_old_keys == {first.ids[1]: 1}
