"""Tests of the last resort against secrets in texts."""

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.text import redact

MASKED = {
    "A key in hex is taken out.": (f"key {'ab' * 32}.", "key ***."),
    "A longer run of hex is taken out whole.": ("0F" * 40, "***"),
    "User and password are taken out of a URL.": (
        "connecting to rediss://rotator:s3cret@redis-0:6379/0 failed",
        "connecting to rediss://***@redis-0:6379/0 failed",
    ),
    "A password alone is taken out of a URL.": ("redis://:s3cret@h:1", "redis://***@h:1"),
    "A password that holds an @ is taken out whole.": ("redis://u:p@ss@h:1", "redis://***@h:1"),
    "A token is taken out of a URL.": (
        "hashivault://vault:8200/secret/data/maverics?token=hvs.abc",
        "hashivault://vault:8200/secret/data/maverics?token=***",
    ),
    "Only the secret parameters of a URL are taken out.": (
        "azurekeyvault://v?clientID=a&clientSecret=b&tenantID=c",
        "azurekeyvault://v?clientID=a&clientSecret=***&tenantID=c",
    ),
    "A parameter is recognised in any case.": (
        "delinea://h?username=a&Password=b c",
        "delinea://h?username=a&Password=*** c",
    ),
    "A key as Python shows bytes is taken out.": (f"bad {b'k' * 32!r}", "bad b'***'"),
}
KEPT = {
    "A key id stays.": "key 9f2c41d07be3a655 is old",
    "A run id stays.": "run id " + "a1" * 20,
    "An address stays.": "redis-0.internal:6379: connection refused",
    "A URL without credentials stays.": "see https://redis.io/commands/set#options",
    "A mail address stays.": "ask ops@example.org",
    "Short bytes stay.": "expected b'OK'",
}


@pytest.mark.parametrize(("text", "expected"), MASKED.values(), ids=MASKED.keys())
def test_masked(text, expected):
    """What looks like a secret is replaced, and nothing around it."""
    assert expected == redact(text)


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT.keys())
def test_kept(text):
    """What is needed to find a fault stays readable."""
    assert text == redact(text)


def test_bytes_of_any_key_are_taken_out():
    """The repr of random key material is masked whatever quotes and escapes it needs."""
    for _ in range(500):
        material = secrets.token_bytes(32)

        assert redact(f"{material.hex()} {material!r}") == "*** b'***'"


@given(st.text("ab0://@?&=token'\\ \n"))
def test_masking_twice_changes_nothing(text):
    """A masked text is left alone."""
    assert redact(redact(text)) == redact(text)
