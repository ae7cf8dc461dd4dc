"""The one table of outcomes, and every group that is a column of it."""

import pytest

from rotator.errors import ENDINGS, Exit
from rotator.tally import tally
from rotator.tally.tally import OUTCOMES, Outcome, not_moved

TABLE = """
    current        moved  -      -       -
    rotated        moved  -      -       -
    would_rotate   moved  stays  -       -
    gone           moved  -      -       -
    contended      -      stays  -       -
    undecryptable  -      -      blocks  acceptable
    nested         -      stays  -       -
    not_string     moved  -      blocks  acceptable
    too_large      -      stays  blocks  acceptable
    denied         -      stays  blocks  -
    failed         -      stays  blocks  -
"""
ROWS = {name: set(columns) - {"-"} for name, *columns in map(str.split, TABLE.split("\n")[1:-1])}


def having(column):
    """The outcomes with this column."""
    return [name for name, columns in ROWS.items() if column in columns]


class TestTable:
    """What follows from each outcome."""

    def test_every_outcome_has_a_row(self):
        """No outcome is forgotten, and their order is that of the report."""
        assert list(OUTCOMES) == list(Outcome) == list(ROWS)

    @pytest.mark.parametrize("outcome", Outcome)
    def test_row(self, outcome):
        """Each outcome has the consequences of the specification."""
        then = OUTCOMES[outcome]
        columns = ("moved", "stays", "blocks", "acceptable")
        assert {column for column in columns if getattr(then, column)} == ROWS[outcome]

    @pytest.mark.parametrize(
        ("group", "expected"),
        [
            ("STAYING", having("stays")),
            ("BLOCKING", having("blocks")),
            ("ACCEPTABLE", having("acceptable")),
            ("NOT_MOVED", [name for name in ROWS if "moved" not in ROWS[name]]),
            ("GOOD", ["current", "rotated", "would_rotate", "gone"]),
            ("PROBLEMATIC", [*ROWS][4:]),
        ],
    )
    def test_groups(self, group, expected):
        """Every group of outcomes is a column, in the order of the table."""
        assert list(getattr(tally, group)) == expected

    def test_only_what_blocks_is_acceptable(self):
        """To accept what blocks nothing would mean nothing."""
        assert set(tally.ACCEPTABLE) <= set(tally.BLOCKING)

    def test_the_help_names_all_that_ends_with_3(self):
        """The sentence for exit code 3 names every outcome that leads to it, and no other."""
        named = ENDINGS[Exit.NOT_MOVED].long.partition("(")[2].rstrip(")").split(", ")
        assert sorted(named) == sorted(one.replace("_", " ") for one in tally.NOT_MOVED)


class TestNotMoved:
    """The number that the exit code and the headline agree on."""

    @pytest.mark.parametrize(
        ("outcomes", "accepted", "number"),
        [
            ({}, {}, 0),
            ({"current": 5, "not_string": 2, "would_rotate": 1}, {}, 0),
            ({"contended": 1}, {}, 1),
            ({"contended": 1, "denied": 2, "nested": 3}, {}, 6),
            ({"undecryptable": 3}, {"undecryptable": 3}, 0),
            ({"undecryptable": 4}, {"undecryptable": 3}, 4),
            ({"undecryptable": 3, "failed": 1}, {"undecryptable": 3}, 1),
        ],
    )
    def test_number(self, outcomes, accepted, number):
        """What was accepted does not count; what is more than was accepted counts in full."""
        assert not_moved(dict.fromkeys(Outcome, 0) | outcomes, accepted) == number
