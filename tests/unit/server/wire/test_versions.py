"""What a server can do is known by its version, as far as it says one."""

import pytest

from rotator.server.wire.versions import (
    hides_names,
    knows_ifeq,
    numbers_of,
    scans_by_slot,
    survives_no_touch,
)


@pytest.mark.parametrize(
    ("said", "numbers"),
    [
        ("7.0.15", (7, 0, 15)),
        ("8", (8,)),
        ("", ()),
        (None, ()),
        ("7.x", ()),
        ("9" * 5000, ()),
        ("7..1", ()),
    ],
)
def test_a_version_is_numbers_or_none(said, numbers):
    """What is no version has no numbers, however long it is."""
    assert numbers_of(said) == numbers


def test_a_server_without_a_version_hides_names_and_can_do_nothing_else():
    """Of what is not told the worse is taken for true."""
    assert hides_names({})
    assert not scans_by_slot({})
    assert not survives_no_touch({})
    assert not knows_ifeq({})


@pytest.mark.parametrize(
    ("info", "known"),
    [
        ({"redis_version": "8.2.3"}, False),
        ({"redis_version": "8.4.0"}, True),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, False),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.1"}, True),
        ({"redis_version": "8.4.0", "valkey_version": ""}, False),
    ],
)
def test_set_has_ifeq(info, known):
    """SET has IFEQ from Redis 8.4 and Valkey 8.1 on; Valkey's own version counts, where it is."""
    assert knows_ifeq(info) == known
