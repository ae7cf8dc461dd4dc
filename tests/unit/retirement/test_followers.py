"""Replicas that a server lists: which of them are servers that were looked at."""

import pytest

from rotator.retirement.looks import Listed
from rotator.retirement.replicas import followers, has_caught_up, offsets, stand_in, strangers
from support.looks import PRIMARY, REPLICA, away, primary, replica

INNER = "10.0.0.8:6379"
THIRD = "redis-2:6379"
ABOVE = {"master_host": "redis-0", "master_port": "6379"}


NUMERIC = {INNER, "10.0.0.7:6379", "[fd00::7]:6379"}


class Names:
    """Names: tell addresses apart as they are written; some of them have numbers, no DNS does."""

    def numeric(self, address):
        """The address, if it is a number."""
        return frozenset({address} & NUMERIC)

    def same(self, address, others):
        """Whether it is one of them as it is written."""
        return address in set(others)


NAMES = Names()


def lists(*listed, counted=None, **more):
    """A look at a primary that lists these replicas, each of them online, and counts them."""
    counted = len(listed) if counted is None else counted
    lines = tuple(one if isinstance(one, Listed) else Listed(one, "online") for one in listed)
    return primary(listed=lines, connected_slaves=counted, **more)


def by_address(*looks):
    """Looks by their addresses."""
    return {one.address: one for one in looks}


def unmet(look, *looks):
    """The addresses of the replicas that it lists and that nobody looked at."""
    return [one.address for one in strangers(look, by_address(look, *looks), NAMES)]


class TestStrangers:
    """Replicas that are none of those that were looked at."""

    def test_by_address(self):
        """One is known by the address that it is listed with."""
        assert unmet(lists(REPLICA), replica(**ABOVE)) == []
        assert unmet(lists(REPLICA)) == [REPLICA]
        assert unmet(lists()) == []

    def test_behind_translation(self):
        """As many as follow it are those that it lists under addresses nobody knows."""
        assert unmet(lists(INNER), replica(**ABOVE)) == []
        second = replica(address=THIRD, run_id="run-t", **ABOVE)
        assert unmet(lists(INNER, "x:1"), replica(**ABOVE)) == [INNER, "x:1"]
        assert unmet(lists(INNER, "x:1"), replica(**ABOVE), second) == []
        assert unmet(lists(INNER), replica(**ABOVE), second) == [INNER]

    def test_one_that_is_not_online(self):
        """That is so only if all of them are online: one in a sync may be another server."""
        waits = Listed(INNER, "wait_bgsave")
        assert unmet(lists(waits), replica(**ABOVE)) == [INNER]
        also = Listed(REPLICA, "send_bulk")
        assert unmet(lists(INNER, also), replica(**ABOVE)) == [INNER]

    def test_counted_and_not_listed(self):
        """One that is counted and not listed is a server without a port at that host."""
        assert unmet(lists(REPLICA, counted=2), replica(**ABOVE)) == ["redis-0:0"]
        assert unmet(lists(counted=1)) == ["redis-0:0"]
        assert unmet(lists(counted=1, address="[fd00::7]:6379")) == ["[fd00::7]:0"]
        assert unmet(lists(counted=1), replica(**ABOVE)) == ["redis-0:0"]
        assert unmet(primary()) == []

    def test_without_a_port(self):
        """A reader of the stream has port 0, which is the address of nobody."""
        reader = Listed("redis-9:0", "online")
        known = primary(address="redis-9:0", run_id="run-o")
        assert unmet(lists(reader), known) == ["redis-9:0"]

    def test_the_channel_of_a_sync(self):
        """The second connection of a replica in a sync is no other replica."""
        channel = Listed(INNER, "online", "rdb-channel")
        assert unmet(lists(REPLICA, channel), replica(**ABOVE)) == []


class TestFollowers:
    """Replicas that were looked at and follow a server itself."""

    @pytest.mark.parametrize(
        ("more", "follows"),
        [
            ({}, True),
            ({"role": "master"}, False),
            ({"master_link_status": "down"}, False),
            ({"master_sync_in_progress": "1"}, False),
            ({"master_replid": "id-o"}, False),
            ({"run_id": None}, False),
            ({"run_id": "run-p"}, False),  # the server itself, at another name
            ({"master_port": "6380"}, False),
            ({"master_host": "redis-9"}, False),
            ({"master_host": None}, False),
            # by an address of an inner network, which is nobody else's
            ({"master_host": "10.0.0.7"}, True),
            ({"master_host": "fd00::7"}, True),
            ({"master_host": "10.0.0.6"}, False),
        ],
    )
    def test_what_it_says(self, more, follows):
        """It names the server, is connected, and has its history; else it does not count."""
        one = replica(**{**ABOVE, **more})
        found = followers(primary(), by_address(primary(), one), NAMES)
        assert found == ([one] if follows else [])

    def test_no_history(self):
        """Two histories that are not told are not the same."""
        leads, one = primary(master_replid=None), replica(master_replid=None, **ABOVE)
        assert followers(leads, by_address(leads, one), NAMES) == []

    def test_an_inner_address_of_another(self):
        """An inner address counts only if it is that of no other server, asked or listed."""
        one = replica(master_host="10.0.0.8", master_port="6379")
        assert followers(primary(), by_address(primary(), one), NAMES) == [one]
        other = primary(address=INNER, run_id="run-o")
        assert followers(primary(), by_address(primary(), one, other), NAMES) == []
        listing = lists(INNER)
        assert followers(listing, by_address(listing, one), NAMES) == []
        itself = primary(address=INNER)
        assert followers(primary(), by_address(primary(), one, itself), NAMES) == [one]

    def test_one_process_at_two_names(self):
        """A process counts once, at the first of its names."""
        twice = [replica(address=address, **ABOVE) for address in (THIRD, REPLICA)]
        assert followers(primary(), by_address(primary(), *twice), NAMES) == twice[:1]


class TestStandIn:
    """A server that is only named is one that was looked at."""

    def test_found(self):
        """It is the replica that follows who lists it, and is looked at under that name."""
        one, leads = replica(**ABOVE), lists(INNER)
        found = stand_in(INNER, by_address(away(address=THIRD), leads, one), NAMES)
        assert (found.address, found.facts) == (INNER, one.facts)

    def test_nobody(self):
        """Nobody stands in where it is not listed, or whoever lists it has no follower."""
        assert stand_in(INNER, by_address(primary(), replica(**ABOVE)), NAMES) is None
        assert stand_in(INNER, by_address(lists(INNER), replica()), NAMES) is None


class TestCaughtUp:
    """Whether a replica has what its primary had, when somebody waits for it."""

    @pytest.mark.parametrize(
        ("more", "goals", "told", "caught_up"),
        [
            ({}, {"id-1": 100}, True, True),
            ({}, {"id-1": 101}, True, False),
            ({"slave_repl_offset": 101}, {"id-1": 100}, True, True),
            ({"slave_repl_offset": None}, {"id-1": 0}, True, False),
            ({"master_link_status": "down"}, {"id-1": 100}, True, False),
            ({"master_link_status": "down"}, {}, False, False),
            ({}, {"id-2": 0}, True, False),
            ({}, {"id-2": 0}, False, True),
            ({"master_replid": None}, {}, True, False),
            ({}, {"id-1": 101}, False, False),
        ],
    )
    def test_offsets(self, more, goals, told, caught_up):
        """It has as many bytes of its history, and a link; without a goal the link may do."""
        assert has_caught_up(replica(**more), goals, told=told) is caught_up

    def test_a_goal_has_to_be_told(self):
        """Where nobody says otherwise a history without a goal is not caught up with."""
        assert not has_caught_up(replica(), {})

    def test_how_far_primaries_are(self):
        """The length of each primary's stream counts, by its history; a replica has none."""
        looks = [primary(), primary(address=THIRD, master_replid="id-2", master_repl_offset=None)]
        nobody = primary(master_replid=None)
        assert offsets([*looks, nobody, replica(master_replid="id-3")]) == {"id-1": 100, "id-2": 0}
        assert offsets([replica()]) == {}


def test_followers_of_the_right_one():
    """Of two primaries each has its own followers."""
    second = {"address": THIRD, "run_id": "run-q", "master_replid": "id-2"}
    own = replica(**ABOVE)
    others = replica(
        address="redis-3:6379",
        run_id="run-t",
        master_replid="id-2",
        master_host="redis-2",
        master_port="6379",
    )
    looks = by_address(primary(), primary(**second), own, others)
    assert followers(looks[PRIMARY], looks, NAMES) == [own]
    assert followers(looks[THIRD], looks, NAMES) == [others]
