"""Looks: what two of them tell of the time in between, and which are worth keeping."""

import pytest

from rotator.retirement.looks import (
    Look,
    as_primary,
    calls,
    config_set_between,
    counts_subcommands,
    is_valkey,
    is_writing,
    longest_write,
    number,
    reset_between,
    same_process,
    version,
)
from support.looks import REPLICA, at, primary


class TestFields:
    """What one look says."""

    @pytest.mark.parametrize(
        ("text", "value"),
        [("7", 7), ("-1", -1), ("0", 0), (None, None), ("", None), ("1.5", None), ("x", None)],
    )
    def test_number(self, text, value):
        """A field that is missing, or is no number, is none: it is never taken for 0."""
        assert number(primary(aof_base_size=text), "aof_base_size") == value

    @pytest.mark.parametrize(
        ("facts", "found"),
        [
            ({"redis_version": "7.0.15"}, (7, 0, 15)),
            ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, (9, 1, 2)),
            ({"redis_version": "7.2.rc1"}, (7, 2)),
            ({"redis_version": None}, ()),
        ],
    )
    def test_version(self, facts, found):
        """Valkey has a version of its own, beside that of the Redis it is like."""
        look = primary(**facts)
        assert version(look) == found
        assert counts_subcommands(look) is (found >= (7,))
        assert is_valkey(look) is ("valkey_version" in facts)

    def test_calls(self):
        """Calls add up; nobody knows those of a subcommand before 7.0, or without commandstats."""
        parts, whole = {"config|set": 2, "debug": 1}, {"config": 9, "debug": 1}
        assert calls(primary(calls=parts), "config|set", "debug", "save") == 3
        assert calls(primary(calls=whole), "config|set", "debug") is None
        assert calls(primary(calls=whole, version="6.2.14"), "config|set", "debug") is None
        assert calls(primary(calls=whole, version="6.2.14"), "config", "debug") == 10
        assert calls(primary(calls=False), "debug") is None

    @pytest.mark.parametrize(("one", "other", "same"), [("a", "a", True), ("a", "b", False)])
    def test_process(self, one, other, same):
        """The run id tells one process from another."""
        assert same_process(primary(run_id=one), primary(run_id=other)) is same

    def test_process_not_told(self):
        """Two that do not say who they are may be anybody."""
        assert not same_process(primary(run_id=None), primary(run_id=None))


RESET = "its counters were reset"
UNSEEN = "a reset of its counters could not be seen"


class TestReset:
    """Whether counters may have begun anew."""

    @pytest.mark.parametrize(
        ("before", "after", "why"),
        [
            ({}, {}, None),
            ({"total_commands_processed": 1000}, {"total_commands_processed": 999}, RESET),
            ({"total_commands_processed": None}, {"total_commands_processed": 0}, None),
            ({"calls": {"get": 5}}, {"calls": {"get": 4}}, RESET),
            ({"calls": {"get": 5}}, {}, RESET),
            ({"calls": {"get": 1}}, {}, RESET),
            ({"calls": {"get": 5}}, {"calls": {"get": 5}}, None),
            ({}, {"calls": {"config|resetstat": 1}}, RESET),
            ({"calls": {"config|resetstat": 1}}, {"calls": {"config|resetstat": 1}}, None),
            ({}, {"canary_found": 20}, None),
            ({}, {"canary_found": 19}, RESET),
            ({"calls": False}, {}, "INFO shows no commandstats"),
            ({}, {"calls": False}, "INFO shows no commandstats"),
            # a reset that came before could hide one: the canary has to be there
            ({"calls": {"cluster|myid": 19, "config|resetstat": 1}},
             {"calls": {"config|resetstat": 1}}, UNSEEN),
            ({"calls": {"cluster|myid": 19}}, {}, None),
            ({"version": "6.2.14", "calls": {"cluster": 19}}, {"version": "6.2.14"}, None),
            ({"version": "6.2.14", "calls": {"cluster": 19}},
             {"version": "6.2.14", "calls": {"config": 1}}, UNSEEN),
        ],
    )  # fmt: skip
    def test_between(self, before, after, why):
        """What shrinks was reset; what could not be seen is said."""
        assert reset_between(primary(**before), primary(1, **after)) == why


class TestBetween:
    """What may have been called between two looks."""

    @pytest.mark.parametrize(
        ("calls", "own", "later", "is_set"),
        [
            ({"config": 2}, 3, {"config": 5}, False),
            ({"config": 2}, 3, {"config": 6}, True),
            ({}, 0, {}, False),
            ({}, 0, {"config": 1}, True),
            (False, 0, {"config": 1}, True),
            ({"config": 1}, 0, False, True),
        ],
    )
    def test_config_before_7(self, calls, own, later, is_set):
        """All calls of CONFIG count, less our own; where they are not told there may be one."""
        before = primary(0, version="6.2.14", calls=calls, own_config=own)
        assert config_set_between(before, primary(1, version="6.2.14", calls=later)) is is_set

    @pytest.mark.parametrize("name", ["config", "cluster"])
    def test_subcommands(self, name):
        """A server of 7.0 that counts a command as a whole does not tell its subcommands."""
        assert not counts_subcommands(Look(REPLICA, at(0), {"redis_version": "7.4.1"}, {name: 1}))


def test_by_another_name():
    """A primary's process that was seen at other names only is that primary, with all its looks."""
    looks = (primary(0, "a:1"), primary(1, "b:1"))
    assert as_primary(looks, {"c:1": primary(2, "c:1")}) == ("c:1", looks)
    assert as_primary(looks, {"a:1": primary(2, "a:1")}) == ("a:1", looks[:1])
    assert as_primary(looks, {"c:1": primary(2, "c:1", run_id="q"), "d:1": None}) == (None, looks)


class TestWriting:
    """Files that are being written."""

    @pytest.mark.parametrize(
        ("fact", "value", "writes"),
        [
            ("rdb_bgsave_in_progress", "1", True),
            ("aof_rewrite_in_progress", "1", True),
            ("aof_rewrite_scheduled", "1", True),
            ("rdb_bgsave_in_progress", None, False),
            ("rdb_bgsave_in_progress", "0", False),
            ("loading", "1", False),
        ],
    )
    def test_is_writing(self, fact, value, writes):
        """A save or a rewrite is under way, or is to come."""
        assert is_writing(primary(**{fact: value})) is writes

    @pytest.mark.parametrize(
        ("last", "saving", "seconds"),
        [
            (0, "1", 2), (1, "1", 2), (7, "1", 14), (30, "1", 60), (31, "1", 60),
            (None, "1", 60), (-1, "1", 60), (7, "0", 60), (7, None, 60),
        ],
    )  # fmt: skip
    def test_longest_write(self, last, saving, seconds):
        """A save is waited for twice as long as the last one took, and at most a minute."""
        look = primary(rdb_last_bgsave_time_sec=last, rdb_bgsave_in_progress=saving)
        assert longest_write(look) == seconds
