"""A receipt of a real rotation: from the first run to the signed evidence."""

from datetime import UTC, datetime, timedelta

from rotator.report.archive import load_reports
from rotator.report.receipt.receipt import build_receipt
from rotator.state.state import State
from support.caches import fill

DAY = timedelta(days=1)


def receipt_of(place, key):
    """The receipt of one key, by the state as it is."""
    now = datetime.now(UTC)
    with State(place.state) as state:
        return build_receipt(load_reports(state, now), key, state, now=now, max_age=DAY)


def test_from_rotation_to_retirement(place, redis):
    """A receipt says of a key that is in the way why it is, and in the end that it is not."""
    fill(redis, place.cache, 30)
    key = place.cache.ids[1]
    place.run()
    early = receipt_of(place, key)
    place.run(quiet=timedelta(0))
    late = receipt_of(place, key)

    assert (early.state, early.verdict, early.retirable.holds) == ("active", "verifying", False)
    assert (late.state, late.verdict, late.retirable.holds) == ("deactivated", "retirable", True)
    assert "no application of shared-redis has written with it" in late.state_basis
    assert (late.proven.holds, late.not_looked_at) == (False, ())
    [cache] = late.caches
    assert cache.past.clean_since
    assert {place.status for place in cache.places} <= {"clean", "assumed"}
    assert [(run.mode, run.rotated, run.complete) for run in cache.runs] == [
        ("run", 30, True),
        ("run", 0, True),
    ]
    run_id = redis.info("server")["run_id"]
    assert {(one.run_id, one.under_key, one.opened) for one in cache.sweeps} == {(run_id, 0, 30)}


def test_a_key_that_is_met_again(place, redis):
    """What a later run met counts, whatever an earlier one proved."""
    fill(redis, place.cache, 3)
    for _ in range(2):
        place.run(quiet=timedelta(0))
    place.cache.put(redis, "app:again", key=1)
    place.run(dry_run=True, quiet=timedelta(0))

    found = receipt_of(place, place.cache.ids[1])

    assert (found.state, found.verdict) == ("active", "in-use")
    assert any("in-use" in reason for reason in found.retirable.reasons)
    assert found.caches[0].sweeps[-1].under_key == 1
