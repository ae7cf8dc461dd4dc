"""The HTML page on a real run."""

import html5lib

from rotator.report import html
from support.caches import fill


def test_real_run(place, redis):
    """The page on a real run names its keys and holds none of them."""
    fill(redis, place.cache, 30)
    shown = html.render(place.run())
    assert all(key_id in shown for key_id in place.cache.ids)
    assert not any(key in shown for key in place.cache.keys)
    html5lib.HTMLParser(strict=True).parse(shown)
