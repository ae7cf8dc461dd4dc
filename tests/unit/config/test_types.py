"""Misspelled words."""

import pytest

from rotator.config.types import nearest

KNOWN = [
    "addresses",
    "username",
    "password",
    "tls",
    "encryption",
    "current",
    "old",
    "disablePrefix",
]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("adresses", "addresses"),
        ("address", "addresses"),
        ("encrpytion", "encryption"),
        ("encyrptoin", "encryption"),
        ("curent", "current"),
        ("passwd", "password"),
        ("tsl", "tls"),
        ("disable_prefix", "disablePrefix"),
        ("Username", "username"),
    ],
)
def test_misspelled_word(word, meant):
    """One slip is forgiven, two in a long word; case and separators do not count."""
    assert meant == nearest(word, KNOWN)


@pytest.mark.parametrize("word", ["ttl", "db", "port", "passwordFile", "user", "clientAuth", ""])
def test_another_word(word):
    """A word that means something else is not taken for a misspelling."""
    assert nearest(word, KNOWN) is None


def test_the_nearest_wins():
    """Of two candidates the one with fewer slips is meant."""
    assert nearest("usernames", ["usernamed", "username"]) == "usernamed"
    assert nearest("adresses", ["addressees", "addresses"]) == "addresses"
