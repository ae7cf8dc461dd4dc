"""Stored names: namespace, hash, encoding."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.config.names import Names

SHA256 = "6ca13d52ca70c883e0f0bb101e425a89e8624de51db2d2392593af6a84118090"  # of abc123


def test_namespace_stays_readable_by_default():
    """The default is the namespace, a colon, and the SHA-256 of the key in hex."""
    assert Names().stored("/app/oidc", "abc123") == f"/app/oidc:{SHA256}".encode()


def test_hash_of_all():
    """With the scope `name` the namespace goes into the hash."""
    expected = hashlib.sha256(b"/app/oidc:abc123").hexdigest().encode()

    assert Names(scope="name").stored("/app/oidc", "abc123") == expected


@pytest.mark.parametrize("scope", ["key", "name"])
def test_no_prefix(scope):
    """Without the prefix no namespace takes part, whatever the scope."""
    assert Names(scope=scope, prefixed=False).stored("/app", "abc123") == SHA256.encode()


def test_no_hashing():
    """With hashing off the key itself is stored."""
    assert Names(hashed=False).stored("/app/oidc", "abc123") == b"/app/oidc:abc123"


def test_neither():
    """With hashing and prefix off the stored name is the key."""
    assert Names(hashed=False, prefixed=False).stored("/app/oidc", "abc123") == b"abc123"


@given(st.text(), st.sampled_from(["sha256", "sha1", "blake2b", "sha3_512", "md5"]))
def test_base64url_goes_without_padding(key, algorithm):
    """The base64url form, padded again, is the digest."""
    stored = Names(hash=algorithm, encoding="base64url", prefixed=False).stored("", key)

    padded = stored + b"=" * (-len(stored) % 4)
    digest = hashlib.new(algorithm, key.encode(), usedforsecurity=False).digest()
    assert base64.urlsafe_b64decode(padded) == digest
    assert b"=" not in stored


@given(st.text(), st.text(), st.sampled_from(["key", "name"]))
def test_hashed_names_are_deterministic(namespace, key, scope):
    """The same key has the same stored name each time."""
    names = Names(scope=scope)

    assert names.stored(namespace, key) == Names(scope=scope).stored(namespace, key)


def test_argument_that_is_not_utf8():
    """A key given as bytes that are not UTF-8 is stored as these bytes."""
    key = b"\xff\xfe".decode("utf-8", "surrogateescape")

    assert Names(hashed=False, prefixed=False).stored("", key) == b"\xff\xfe"
