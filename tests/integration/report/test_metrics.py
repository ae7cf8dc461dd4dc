"""The Prometheus textfile of a real run."""

from rotator.report import metrics
from support.caches import fill
from support.textfile import parsed


def test_real_run(place, redis):
    """The numbers of a real run are those of its report."""
    fill(redis, place.cache, 20)

    report = place.run()

    samples = parsed(metrics.metrics_text(report))
    labels = (("cache", "shared-redis"), ("outcome", "rotated"))
    assert samples["rotator_visits", *labels] == 20
    current = (
        ("cache", "shared-redis"),
        ("key_id", place.cache.ids[0]),
        ("role", "current"),
    )
    assert samples["rotator_values_under_key", *current] == 20
    assert samples["rotator_nonce_budget_used_ratio", *current] == 40 / 2**32
