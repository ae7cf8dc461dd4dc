"""Samples: what texts have in common, by texts whose differences stand where they are put."""

import pytest

from rotator.crypto.encoding import Encoding
from rotator.crypto.samples import DEPTH, Samples

HEX = Encoding.HEX


class TestEnds:
    """What a text shares with the one most like it."""

    @pytest.mark.parametrize(
        ("text", "shared"), [(b"aab1", 3), (b"aab2", 3), (b"ax", 1), (b"b", 0), (b"unknown", 0)]
    )
    def test_beginning(self, text, shared):
        """The longest beginning counts that any other text has; who is alone shares nothing."""
        assert Samples([b"b", b"aab2", b"ax", b"aab1"]).prefix(text) == shared

    @pytest.mark.parametrize(
        ("text", "shared"), [(b"1baa", 3), (b"2baa", 3), (b"xa", 1), (b"b", 0), (b"unknown", 0)]
    )
    def test_end(self, text, shared):
        """The longest end counts that any other text has."""
        assert Samples([b"b", b"2baa", b"xa", b"1baa"]).suffix(text) == shared

    def test_a_text_within_another(self):
        """A text that another one begins with shares all of it."""
        samples = Samples([b"abc", b"abcdef"])
        assert (samples.prefix(b"abc"), samples.prefix(b"abcdef")) == (3, 3)

    def test_the_same_text_twice(self):
        """A text is not compared with itself, however often it comes."""
        samples = Samples([b"same", b"same", b"same"])
        assert (samples.prefix(b"same"), samples.suffix(b"same")) == (0, 0)


class TestRuns:
    """What a run of an alphabet shares with runs of other texts."""

    def test_by_their_number(self):
        """A run is compared with those that stand at its place in other texts."""
        samples = Samples([b"abc1:ff00", b"abc2:dd00", b"ffff"])
        assert samples.run_prefix(HEX, 0, b"abc1") == 3
        assert samples.run_prefix(HEX, 0, b"ffff") == 0
        assert samples.run_prefix(HEX, 1, b"ff00") == 0
        assert samples.run_prefix(HEX, 2, b"ff00") == 0

    @pytest.mark.parametrize(("times", "shared"), [(1, 0), (2, 0), (3, 4), (4, 4)])
    def test_repeated(self, times, shared):
        """What two texts have may be chance; a run that three have is no random one."""
        samples = Samples([b"cafe"] * times + [b"1234"])
        assert samples.run_prefix(HEX, 0, b"cafe") == shared

    def test_each_alphabet(self):
        """Each alphabet has runs of its own."""
        samples = Samples([b"0f-zz_1", b"0f-zz_2"])
        assert samples.run_prefix(Encoding.BASE64URL, 0, b"0f-zz_1") == 6
        assert samples.run_prefix(Encoding.BASE64, 0, b"0f") == 0
        assert samples.run_prefix(Encoding.BASE64, 2, b"1") == 0


def rows(layout, number=4, grow=0):
    """Texts of a *layout*, each with its own byte for stars, of which the second *grow*s."""
    second = layout.index("*", 1)
    return [
        b"".join(
            bytes([at]) * (1 + grow * at * (place == second)) if mark == "*" else mark.encode()
            for place, mark in enumerate(layout)
        )
        for at in range(number)
    ]


class TestConstants:
    """Bytes that all texts have in their midst."""

    def test_within(self):
        """Each stretch of bytes that are the same is said, from its first to behind its last."""
        assert Samples(rows("*aa**b*")).constants == (range(1, 3), range(5, 6))

    @pytest.mark.parametrize(("number", "found"), [(3, ()), (4, (range(1, 2),))])
    def test_enough(self, number, found):
        """Of three texts a byte may be the same by chance, of four it hardly is."""
        assert Samples(rows("*a*", number)).constants == found

    @pytest.mark.parametrize("layout", ["aa**bb", "a*b", "*bb", "aa*"])
    @pytest.mark.parametrize("grow", [0, 1])
    def test_not_at_the_ends(self, layout, grow):
        """What all begin or end with is no mark within."""
        assert Samples(rows(layout.replace("*", "**"), grow=grow)).constants == ()

    @pytest.mark.parametrize("number", [4, 5])
    def test_from_the_end(self, number):
        """Where sizes differ, what stands behind the part that differs is counted from the end."""
        texts = rows("*aa***bb*", number, grow=1)
        assert Samples(texts).constants == (range(-3, -1), range(1, 3))

    def test_two_sizes(self):
        """Two sizes are enough to count from the end."""
        texts = [bytes([at]) * (9 + at // 2) + b"b" + bytes([at]) for at in range(4)]
        assert Samples(texts).constants == (range(-2, -1),)

    def test_the_shortest_text(self):
        """No farther is looked than the shortest text goes."""
        texts = [*rows("*" + "a" * 9 + "*"), b"\x07a\x07"]
        assert Samples(texts).constants == (range(-2, -1), range(1, 2))

    def test_depth(self):
        """Only so many bytes at either end are looked at."""
        near, far = "*" * (DEPTH - 1) + "b", "*" * DEPTH + "b"
        assert Samples(rows(near + "**")).constants == (range(DEPTH - 1, DEPTH),)
        assert Samples(rows(far + "**")).constants == ()
        texts = [text + bytes([at]) * (2 + at) for at, text in enumerate(rows(far))]
        assert Samples([text[::-1] for text in texts]).constants == ()
