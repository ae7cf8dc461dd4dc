"""What a server can do is known by its version, as far as it says one."""

import pytest

from rotator.server.wire.versions import hides_names, numbers_of, scans_by_slot, survives_no_touch


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
