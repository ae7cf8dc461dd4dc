"""Tests of what several caches say of one key: what all of them assume, and what it rests on."""

import pytest

from rotator.report.agreement import Assumed, assumed_of, assumptions_of, taking
from support.sample_reports import QUIET

NOT_DECLARED = "not declared: nothing shows it"
DECLARED = "declared in the configuration"


@pytest.mark.parametrize(
    ("said", "what", "basis"),
    [
        (f"assuming that {QUIET}", QUIET, NOT_DECLARED),
        (
            "no backup outside Redis holds it (backups.retention is not declared)",
            "no backup outside Redis holds it",
            NOT_DECLARED,
        ),
        (
            "1 name outside `match` and `databases` holds no value under it: see: CMDB",
            "1 name outside `match` and `databases` holds no value under it",
            f"{DECLARED}: see: CMDB",
        ),
        (
            "2 names outside `match` and `databases` hold none: as earlier versions said it",
            "2 names outside `match` and `databases` hold none",
            f"{DECLARED}: as earlier versions said it",
        ),
        ("box is always the same server: pinned", "box is always the same server", "pinned"),
        ("redis-1:6379 is gone: sold", "redis-1:6379 is gone", "sold"),
        (
            "redis-1:6379 is gone: replicas.only does not list it",
            "redis-1:6379 is gone",
            "replicas.only does not list it",
        ),
        ("[::1]:6379 has no RDB file: a cache", "[::1]:6379 has no RDB file", "a cache"),
        ("a:1 has no append-only file: a cache", "a:1 has no append-only file", "a cache"),
        (
            "replica a:1 has what its primary says it has: no port",
            "replica a:1 has what its primary says it has",
            "no port",
        ),
        (
            "a:1 saved, and there is none where it was saved earlier: wiped",
            "a:1 saved, and there is none where it was saved earlier",
            "wiped",
        ),
        ("box never used the key: new", "box never used the key", "new"),
        (
            "there are no replicas but a:1 (replicas.only)",
            "there are no replicas but a:1",
            f"{DECLARED}: `replicas.only`",
        ),
        (
            "box has encryption off, and holds nothing under it",
            "box has encryption off, and holds nothing under it",
            f"{DECLARED}: encryption is off there",
        ),
        (
            "1 entry outside `match` or `databases` not opened, and accepted",
            "1 entry outside `match` or `databases` not opened, and accepted",
            "declared with `--accept`",
        ),
        (
            "2 too_large were accepted, last looked at 2026-11-23 10:00 UTC",
            "2 too_large were accepted",
            "declared with `--accept`",
        ),
        (
            "it is right that no value of box was ever opened",
            "it is right that no value of box was ever opened",
            "declared with `--accept`",
        ),
        ("whatever else", "whatever else", NOT_DECLARED),
    ],
)
def test_what_it_rests_on(said, what, basis):
    """Each assumption is told apart from the reason that was given for it, if there is one."""
    known = basis in {NOT_DECLARED, "declared with `--accept`"} or basis.startswith(DECLARED)
    assert assumed_of(said) == Assumed(what, basis if known else f"{DECLARED}: {basis}")


def test_each_thing_once():
    """What each of two caches says of itself, and of the other one, is one thing."""
    own, other = "no application of a has written", "no application of b has written"
    number = "2 too_large were accepted"
    found = assumptions_of(
        [
            (
                "a",
                (own, number, f"b: {other}", f"b: {number}, last looked at 2026-11-23 10:00 UTC"),
            ),
            ("b", (other, number, f"a: {own}")),
        ]
    )
    assert [one.what for one in found] == [
        f"a: {own}",
        f"a: {number}",
        f"b: {other}",
        f"b: {number}",
    ]


def test_one_cache_is_not_named():
    """What one cache assumes has no name before it, also where two servers had that name."""
    assert [one.what for one in assumptions_of([("a", ("x",)), ("a", ("x", "y"))])] == ["x", "y"]


@pytest.mark.parametrize(
    ("number", "condition"),
    [
        (0, ""),
        (1, ", if the assumption below holds"),
        (1_200, ", if the 1,200 assumptions below hold"),
    ],
)
def test_condition(number, condition):
    """The condition of a removal fits its number."""
    assert taking(number) == condition
