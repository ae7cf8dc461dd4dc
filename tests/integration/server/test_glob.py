"""Patterns mean here what they mean to the server."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.sweep.scope import matcher, prefixes

PIECES = st.text(alphabet="ab-^]*?[\\", max_size=8)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["app:*"], [b"app:"]),
        (["app:*", "app:oidc:*"], [b"app:"]),
        (["a:*", "b:*"], [b"a:", b"b:"]),
        (["*"], []),
        (["a*", "?b"], []),
        (["exact"], [b"exact"]),
        ([r"a\*b*"], [b"a"]),
    ],
)
def test_prefixes(patterns, expected):
    """The literal beginnings, none of them the beginning of another; none if one is empty."""
    assert prefixes(patterns) == expected


class TestLikeTheServer:
    """The same names match as SCAN MATCH returns."""

    @settings(max_examples=150)
    @given(pattern=PIECES, names=st.sets(st.text(alphabet="ab-^]*?[\\", min_size=1, max_size=5)))
    def test_any_pattern(self, client, pattern, names):
        """Whatever the pattern, the server and we agree on every name."""
        client.flushall()
        if names:
            client.mset(dict.fromkeys(names, "x"))
        matches = matcher([pattern]).fullmatch
        theirs = set(client.scan_iter(match=pattern, count=1000)) if pattern else None
        if theirs is not None:
            assert {name.encode() for name in names if matches(name.encode())} == theirs


@pytest.fixture(scope="module")
def client(server):
    """A client of the session's server, for the whole module."""
    with server.client() as connected:
        yield connected
        connected.flushall()
