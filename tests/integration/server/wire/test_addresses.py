"""Addresses that are those of one server are known by what their names resolve to."""

from rotator.server.wire.addresses import AddressBook


def test_a_name_is_the_same_as_its_address():
    """A host and its IP address are one server, at one port."""
    names = AddressBook()
    assert names.same("127.0.0.1:1", ["localhost:1"])
    assert not names.same("127.0.0.1:1", ["localhost:2"])


def test_what_is_no_address_is_that_of_nobody():
    """What does not resolve, or is no address, equals itself only."""
    names = AddressBook()
    for strange in ("", "x", "a..b:1", "127.0.0.1:70000", f"{'a' * 300}:1", "\x00:1"):
        assert names.numeric(strange) == frozenset()
        assert not names.alone(strange, strange)


def test_an_address_alone():
    """Two addresses are the one address of a server only if there is no other."""
    assert AddressBook().alone("127.0.0.1:1", "127.0.0.1:1")
    assert not AddressBook().alone("127.0.0.1:1", "127.0.0.2:1")
