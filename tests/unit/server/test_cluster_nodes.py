"""What nodes say of each other: reading it, and finding where it does not fit together."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.config.types import Address
from rotator.server.cluster_nodes import (
    SLOTS,
    Member,
    contested,
    disputes,
    foreign_slots,
    gaps,
    moves,
    myself,
    parse_nodes,
    ranges,
    redirected,
    silences,
    uncovered,
)

ASKED = Address("127.0.0.1", 7000)
OTHER = Address("10.0.0.2", 6379)

LINES = {
    "an IP address": ("10.0.0.2:6379@16379 master - 0 0 3 connected 0-5", OTHER),
    "an announced host name goes first": (
        "10.0.0.2:6379@16379,redis-1.internal master - 0 0 3 connected 0-5",
        Address("redis-1.internal", 6379),
    ),
    "an empty host name is none": (
        "10.0.0.2:6379@16379,,shard-id=aa master - 0 0 3 connected 0-5",
        OTHER,
    ),
    "a host name with more behind it": (
        "10.0.0.2:6379@16379,redis-1,shard-id=aa master - 0 0 3 connected 0-5",
        Address("redis-1", 6379),
    ),
    "other fields are no host name": (
        "10.0.0.2:6379@16379,shard-id=aa master - 0 0 3 connected 0-5",
        OTHER,
    ),
    "an IPv6 address": (
        "2001:db8::1:6379@16379 master - 0 0 3 connected 0-5",
        Address("2001:db8::1", 6379),
    ),
    "no address yet": (":0@0 master,noaddr - 0 0 3 disconnected 0-5", None),
    "an endpoint that is not told": ("?:6379@16379 master - 0 0 3 connected 0-5", None),
    "only a TLS port that is not told": ("10.0.0.2:0@16379 master - 0 0 3 connected 0-5", None),
    "before Redis 4.0, without the bus": ("10.0.0.2:6379 master - 0 0 3 connected 0-5", OTHER),
}


def one(line, asked=ASKED):
    """The only node of a reply."""
    mine = "" if "myself" in line else "zz h:1@2 myself,slave - 0 0 1 connected\n"
    return parse_nodes(f"aa {line}\n{mine}".encode(), asked)[0]


def member(node_id="aa", flags="master", slots=(), moving=(), address=OTHER):
    """A line, already read."""
    return Member(node_id, address, frozenset(flags.split(",")), None, 1, True, slots, moving)


class TestReading:
    """One line of CLUSTER NODES."""

    @pytest.mark.parametrize(("line", "address"), LINES.values(), ids=LINES)
    def test_address(self, line, address):
        """Where a node is reached is read from every way to write it."""
        assert one(line).address == address

    def test_own_line_without_address(self):
        """A node that does not know its own address is where it was asked."""
        assert one(":0@0 myself,master - 0 0 3 connected").address == ASKED

    def test_everything_else(self):
        """Role, epoch, link, slots and open moves are read."""
        line = "h:1@2 myself,master - 0 0 7 connected 0-5 9 [93->-bb] [94-<-cc]"
        read = one(line)
        assert read.is_primary
        assert (read.epoch, read.connected, read.slots) == (7, True, ((0, 5), (9, 9)))
        assert read.moving == ("[93->-bb]", "[94-<-cc]")
        assert read.place == "aa primary 7 0-5, 9 [93->-bb] [94-<-cc]"
        assert myself([member(), read]) is read

    def test_replica(self):
        """A replica names its primary, and owns nothing."""
        read = one("h:1@2 slave bb 0 0 7 disconnected")
        assert not read.is_primary
        assert (read.primary_id, read.connected, read.slots) == ("bb", False, ())
        assert read.place == "aa replica of bb 7 no slots"

    @pytest.mark.parametrize("flag", ["fail", "fail?", "handshake", "noaddr"])
    def test_failing(self, flag):
        """Each flag that says a node cannot be counted on is heard."""
        assert one(f"h:1@2 master,{flag} - 0 0 7 connected").failing
        assert not one("h:1@2 master - 0 0 7 connected").failing


NODES = b"""
aa 127.0.0.1:7000@17000 myself,master - 0 0 7 connected 0-92 93 [93->-bb] [94-<-cc]
bb 10.0.0.2:6379@16379,redis-1.internal master - 0 0 8 connected 94-100
cc [2001:db8::1]:6379@16379 master - 0 0 9 connected 101-200
"""
NAMED = Address("redis-1.internal", 6379)
REDIRECTIONS = {
    "ASK 93 10.0.0.2:6379": NAMED,
    "ASK 93 redis-1.internal:6379": NAMED,
    "ASK 93 ?:6379": NAMED,
    "ASK 93 :6379": NAMED,
    "ASK 95 10.0.0.2:6379": None,
    "ASK 94 2001:db8::1:6379": None,
    "ASK 93 10.0.0.3:6379": None,
    "ASK 93 10.0.0.2:6380": None,
    "MOVED 95 10.0.0.2:6379": NAMED,
    "MOVED 150 2001:db8::1:6379": Address("2001:db8::1", 6379),
    "MOVED 150 [2001:db8::1]:6379": Address("2001:db8::1", 6379),
    "MOVED 150 10.9.9.9:6379": None,
    "MOVED 150 10.0.0.2": None,
    "CLUSTERDOWN The cluster is down": None,
    "READONLY": None,
}


@pytest.mark.parametrize(("message", "address"), REDIRECTIONS.items(), ids=REDIRECTIONS)
def test_redirection(message, address):
    """Only a node of the cluster is turned to, and for ASK only the one the slot moves to."""
    assert redirected(parse_nodes(NODES, ASKED), message) == address


spans = st.tuples(st.integers(0, SLOTS - 1), st.integers(0, 400)).map(
    lambda pair: (pair[0], min(SLOTS - 1, pair[0] + pair[1]))
)


def apart(claims):
    """The spans of one owner, joined: a node never claims a slot twice."""
    return tuple(sorted(spread(sorted({slot for a, b in claims for slot in range(a, b + 1)}))))


def spread(slots):
    """Slots, in order, as ranges."""
    found = []
    for slot in slots:
        if found and found[-1][1] == slot - 1:
            found[-1] = (found[-1][0], slot)
        else:
            found.append((slot, slot))
    return found


def flat(claims):
    """Ranges as a list of slots."""
    return [slot for first, last in claims for slot in range(first, last + 1)]


class TestCoverage:
    """Who claims what, compared with counting slot by slot."""

    @given(st.lists(st.lists(spans, max_size=6).map(apart), max_size=5))
    def test_uncovered(self, claims):
        """The slots that nobody claims are those that are in no claim."""
        owners = [member(slots=slots) for slots in claims]
        claimed = {slot for slots in claims for slot in flat(slots)}
        assert flat(uncovered(owners)) == [slot for slot in range(SLOTS) if slot not in claimed]

    @given(st.lists(st.lists(spans, max_size=6).map(apart), max_size=5))
    def test_contested(self, claims):
        """The slots that several claim are those that are in more than one claim."""
        owners = [member(slots=slots) for slots in claims]
        times = [0] * SLOTS
        for slots in claims:
            for slot in flat(slots):
                times[slot] += 1
        assert set(flat(contested(owners))) == {s for s in range(SLOTS) if times[s] > 1}

    @given(st.lists(spans, max_size=6).map(apart), st.integers(0, SLOTS - 1))
    def test_foreign(self, slots, moving):
        """Foreign are all slots but a node's own and those on the move."""
        owner = member(slots=slots, moving=(f"[{moving}-<-bb]",))
        expected = set(range(SLOTS)) - set(flat(slots)) - {moving}
        assert set(foreign_slots(owner)) == expected

    def test_whole(self):
        """Two halves make a whole."""
        halves = [member(slots=((0, 8191),)), member(slots=((8192, SLOTS - 1),))]
        assert gaps(halves, []) == []

    def test_gap_and_overlap_in_words(self):
        """Both kinds of trouble are said with their slots."""
        owners = [member(slots=((0, 100),)), member(slots=((100, 16000),))]
        assert gaps(owners, []) == [
            "nobody owns the slots 16001-16383",
            "more than one node claims the slots 100",
        ]

    def test_absent_owner(self):
        """Slots of a node that does not answer are not spoken of twice."""
        absent = member("bb", slots=((100, SLOTS - 1),))
        assert gaps([member(slots=((0, 99),))], [absent]) == []
        assert silences([absent], {"bb": "refused"}) == [
            "the primary 10.0.0.2:6379 of slots 100-16383 does not answer: refused"
        ]

    def test_ranges_in_words(self):
        """Slots are written as people write them."""
        assert ranges([(0, 5), (9, 9)]) == "0-5, 9"
        assert ranges([]) == "no slots"


class TestDisputes:
    """Two nodes and their views of each other."""

    def views(self, **seen):
        """Node a's view has node b as *seen*; node b sees itself as a primary of slots 0 to 5."""
        true_b = member("bb", "myself,master", slots=((0, 5),))
        as_seen = {"flags": "master", "slots": ((0, 5),), **seen}
        return {
            ASKED: [member("aa", "myself,master"), member("bb", **as_seen)],
            OTHER: [true_b],
        }

    def test_agreement(self):
        """What is the same on both sides is no dispute."""
        assert disputes(self.views()) == []

    @pytest.mark.parametrize("seen", [{"slots": ()}, {"flags": "slave"}])
    def test_who_owns_what(self, seen):
        """Another idea of slots or role is one."""
        assert disputes(self.views(**seen)) == [
            "127.0.0.1:7000 and 10.0.0.2:6379 disagree about who owns what"
        ]

    def test_failing(self):
        """A node that answers us, but not its neighbour, is one."""
        assert disputes(self.views(flags="master,fail?")) == [
            "127.0.0.1:7000 takes 10.0.0.2:6379 for failing"
        ]

    def test_nodes_that_were_not_asked(self):
        """Of a node that did not answer there is nothing to compare with."""
        views = self.views(flags="master,fail")
        del views[OTHER]
        assert disputes(views) == []

    def test_moves_in_words(self):
        """Open moves are said as the node has them."""
        owners = {
            OTHER: member(moving=("[93->-bb]",)),
            ASKED: SimpleNamespace(moving=()),
        }
        assert moves(owners) == ["slots are being moved at 10.0.0.2:6379: [93->-bb]"]
