"""Values are exchanged by `SET ... IFEQ`, in transactions or by script: the best that may be."""

import pytest
from redis.crc import key_slot

from cluster.expiries import expiry_of
from rotator.config.types import Address
from rotator.demo.local_server import LocalServer
from rotator.errors import RightsError, ServerError
from rotator.server import exchange as chosen
from rotator.server.cluster_nodes import Member
from rotator.server.connection import Connection, Login
from rotator.server.exchange import Exchange, way_besides, way_of_fields
from rotator.server.replies import SetResult
from rotator.server.scripts import Way
from rotator.server.store import Store
from support.caches import FAR_MS, Cache, Place, meddled, wait_for
from support.programs import exchanges, program

NAMES = [f"app:{number:04}" for number in range(600)]


def calls(client, command):
    """How often a server carried out a command; the probes of rights fail."""
    counters = client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})
    return counters["calls"] - counters.get("failed_calls", 0)


@pytest.fixture(scope="module")
def valkey():
    """A server that knows IFEQ."""
    with LocalServer("--repl-diskless-sync-delay", "0", binary=program("ifeq")) as server:
        yield server


def synchronise(client):
    """Wait until the one replica has everything."""
    wait_for(lambda: client.info("replication").get("slave0", {}).get("state") == "online")


@pytest.fixture
def held(valkey, tmp_path):
    """A cache on that server, with values under an old key, each with a TTL."""
    client = valkey.client()
    client.flushall()
    client.config_resetstat()
    place = Place(tmp_path, Cache(valkey.address))
    for name in NAMES:
        place.cache.put(client, name, name.encode(), at_ms=FAR_MS)
    return place, client


def assert_rotated(place, client):
    """Every value is under the current key, with its plaintext and its TTL."""
    for name in NAMES:
        opened = place.cache.open(name, client.get(name))
        assert (opened.plaintext, opened.key.id) == (name.encode(), place.cache.ids[0])
        assert expiry_of(client, name) == FAR_MS


def test_whatever_server_is_at_hand(place, redis):
    """A server that knows it is sent nothing else, another one transactions; the report says so."""
    redis.config_resetstat()
    for name in NAMES:
        place.cache.put(redis, name)
    report = place.run(verify=False)
    assert report.caches[0].outcomes["rotated"] == len(NAMES)
    knows = exchanges(redis)
    assert report.caches[0].coverage.nodes[0].exchange == ("ifeq" if knows else "transaction")
    assert calls(redis, "evalsha") == 0
    assert (calls(redis, "watch") < 5) is knows  # the rights are tried


def test_known(held):
    """Values and TTLs are right, and no script was needed."""
    place, client = held
    report = place.run()
    assert (report.exit_code, report.caches[0].outcomes["rotated"]) == (0, len(NAMES))
    assert calls(client, "evalsha") == 0
    assert_rotated(place, client)


def test_a_dry_run_does_not_even_try(held):
    """The probe is a writing command, so a reading sweep leaves it out."""
    place, client = held
    before = calls(client, "set")
    place.run(dry_run=True)
    assert calls(client, "set") == before


def test_others_write_meanwhile(held):
    """What changed or went away between reading and writing is not overwritten."""
    place, client = held
    newer = place.cache.seal(NAMES[0], b"newer", key=0)

    def meddle(_swaps):
        client.set(NAMES[0], newer)
        client.delete(NAMES[1])

    client.delete(*NAMES[2:])
    report = place.run(kind=meddled(before_write=meddle), verify=False)
    outcomes = {name: count for name, count in report.caches[0].outcomes.items() if count}
    assert outcomes == {"current": 1, "gone": 1}
    assert client.get(NAMES[0]) == newer
    assert calls(client, "evalsha") == 0


def test_replica_that_knows_it(held, valkey):
    """A replica says so itself when it is asked for the words of SET."""
    place, client = held
    with LocalServer("--replicaof", f"127.0.0.1 {valkey.port}", binary=program("ifeq")) as replica:
        synchronise(client)
        place.run(verify=False)
        assert calls(client, "evalsha") == 0
        client.wait(1, 5000)
        assert_rotated(place, replica.client())


def test_replica_that_does_not_say(held, valkey):
    """A replica that does not tell what it knows is taken for one that does not."""
    place, client = held
    options = ("--replicaof", f"127.0.0.1 {valkey.port}", "--rename-command", "COMMAND", "")
    with LocalServer(*options, binary=program("ifeq")) as replica:
        synchronise(client)
        report = place.run(verify=False)
        assert report.caches[0].coverage.nodes[0].exchange == "transaction"
        client.wait(1, 5000)
        assert_rotated(place, replica.client())


def test_replica_that_joins(held, valkey):
    """From then on transactions are used, and what was written just before is written again."""
    place, client = held
    with LocalServer(binary=program("ifeq")) as replica:

        def join(_phase, page):
            if page == 2:
                replica.client().replicaof("127.0.0.1", valkey.port)
                synchronise(client)

        report = place.run(on_page=join, page=100, verify=False)
        assert report.caches[0].outcomes["rotated"] == len(NAMES)
        # The first pages were written with it; transactions wrote the others, and those again.
        assert calls(client, "set") > len(NAMES)
        assert report.caches[0].coverage.nodes[0].exchange == "transaction"
        client.wait(1, 5000)
        assert_rotated(place, replica.client())


def reach(address, user=None):
    """A store at an address, as a user who has a password or as the default one."""
    login = Login(user, "secret") if user else Login()
    return Store(Connection(address, login).open())


@pytest.fixture
def store(valkey):
    """A store on the server that knows IFEQ, which is empty."""
    valkey.client().flushall()
    with reach(Address("127.0.0.1", valkey.port)) as found:
        yield found


def nobody(_address):
    """Nobody is to be asked here."""
    pytest.fail("a replica was asked")


class TestChoice:
    """Which way is taken, and when another one takes over."""

    def test_alone(self, store, valkey):
        """Without replicas it is IFEQ, until the end; to find out nothing is written."""
        one = Exchange(store, nobody, "app:*")
        assert (one.way, one.used, store.way) == (Way.IFEQ, [Way.IFEQ], Way.IFEQ)
        assert valkey.client().dbsize() == 0
        one.finish()
        assert (one.way, store.way) == (Way.TRANSACTION, Way.TRANSACTION)
        one.finish()
        assert one.used == [Way.IFEQ]

    def test_one_name(self, store):
        """A pattern that is one name is not tried: that name may be there."""
        assert Exchange(store, nobody, "app:1").way is Way.TRANSACTION

    @pytest.mark.parametrize(
        ("user", "rights", "besides"),
        [
            ("all", ["+@all"], Way.TRANSACTION),
            ("scripts", ["+@all", "-multi"], Way.SCRIPT),
            ("plain", ["+@all", "-eval", "-evalsha"], Way.TRANSACTION),
        ],
    )
    def test_rights(self, valkey, user, rights, besides):
        """What the user may not do is not done; fields need a script, if that may be."""
        valkey.client().execute_command("ACL", "SETUSER", user, "on", ">secret", "~*", *rights)
        with reach(Address("127.0.0.1", valkey.port), user) as found:
            one = Exchange(found, nobody, "app:*")
            assert (one.way, one.otherwise) == (Way.IFEQ, besides)
            fields = Way.TRANSACTION if user == "plain" else Way.SCRIPT
            assert way_of_fields(found, "app:*") is fields

    def test_no_way(self, valkey):
        """A user who may do it in no way is told what is missing."""
        rights = ("~*", "+@all", "-watch", "-multi", "-eval", "-evalsha")
        valkey.client().execute_command("ACL", "SETUSER", "nobody", "on", ">secret", *rights)
        with reach(Address("127.0.0.1", valkey.port), "nobody") as found:
            with pytest.raises(RightsError, match="the user lacks rights: ") as caught:
                Exchange(found, nobody, "app:*")
            where, _, told = str(caught.value).partition(": the user lacks rights: ")
            assert (where, {*told.split(" ")}) == (str(found.node), {"+watch", "+multi"})
            assert "+multi" in caught.value.hint

    @pytest.mark.parametrize(
        "fields",
        [
            {"port": "6379"},
            {"ip": "", "port": "6379"},
            {"ip": "127.0.0.1"},
            {"ip": "127.0.0.1", "port": "x"},
            {"ip": "127.0.0.1", "port": "0"},
            {"ip": "127.0.0.1", "port": "123456"},
        ],
    )
    def test_replica_without_an_address(self, store, monkeypatch, fields):
        """One that nobody can ask may not know it."""
        monkeypatch.setattr(store, "replicas", lambda: {"somebody": fields})
        assert Exchange(store, nobody, "app:*").way is Way.TRANSACTION

    def test_replica_that_may_not_be_asked(self, store, monkeypatch):
        """No password is sent to one that is not known."""
        told = {"a": {"ip": "127.0.0.1", "port": "65535"}}
        monkeypatch.setattr(store, "replicas", lambda: told)
        asked = []
        one = Exchange(store, nobody, "app:*", lambda address: bool(asked.append(address)))
        assert (one.way, asked) == (Way.TRANSACTION, [Address("127.0.0.1", 65535)])

    def test_replica_that_does_not_answer(self, store, monkeypatch):
        """One that cannot be reached may not know it."""
        told = {"a": {"ip": "127.0.0.1", "port": "7"}}
        monkeypatch.setattr(store, "replicas", lambda: told)

        def away(address):
            raise ServerError(f"{address} does not answer")

        assert Exchange(store, away, "app:*").way is Way.TRANSACTION

    @pytest.mark.parametrize(
        ("chain", "way"),
        [
            ([], Way.IFEQ),
            ([True], Way.IFEQ),
            ([True] * 3, Way.IFEQ),
            ([True] * 4, Way.TRANSACTION),
            ([False], Way.TRANSACTION),
            ([True, False], Way.TRANSACTION),
            ([False, True], Way.TRANSACTION),
        ],
    )
    def test_chain(self, store, valkey, monkeypatch, chain, way):
        """Each replica of a chain has to know it; what is too far away is not asked."""
        below, answers = iter(chain), iter(chain)
        fields = {"ip": "127.0.0.1", "port": str(valkey.port)}

        def has_replica():
            return {"a": fields} if next(below, None) is not None else {}

        def follower(address):
            found = reach(address)
            monkeypatch.setattr(found, "knows", lambda *_: next(answers))
            monkeypatch.setattr(found, "replicas", has_replica)
            return found

        monkeypatch.setattr(store, "replicas", has_replica)
        assert Exchange(store, follower, "app:*").way is way

    @pytest.mark.parametrize("second", ["knows", "does not"])
    def test_several(self, store, valkey, monkeypatch, second):
        """Of several replicas all have to know it."""
        port = str(valkey.port)
        told = {name: {"ip": name, "port": port} for name in ("127.0.0.1", "localhost")}
        monkeypatch.setattr(store, "replicas", lambda: told)

        def follower(address):
            found = reach(address)
            monkeypatch.setattr(found, "replicas", dict)
            knows = second == "knows" or address.host != "localhost"
            monkeypatch.setattr(found, "knows", lambda *words: knows and words == ("SET", "IFEQ"))
            return found

        way = Way.IFEQ if second == "knows" else Way.TRANSACTION
        assert Exchange(store, follower, "app:*").way is way


NODE = Address("127.0.0.1", 7000)


class TestChoiceInACluster:
    """The same where the server says that it is a node of a cluster."""

    @pytest.fixture
    def member(self, store, monkeypatch):
        """A function that has it say which slots are its own, and what is in them."""

        def say(*slots, version="8.0.0", held=(0,)):
            flags = frozenset({"myself", "master"})
            other = Member("b", NODE, frozenset({"slave"}), "a", 1, True, (), ())
            line = Member("a", None, flags, None, 1, True, slots, ())
            names = dict(enumerate(held))
            monkeypatch.setattr(store, "cluster_enabled", lambda: True)
            monkeypatch.setattr(store, "members", lambda: [other, line])
            monkeypatch.setattr(store, "databases", lambda: names)
            told = {"server": {"valkey_version": version}}
            monkeypatch.setattr(store, "info", lambda section: told.get(section, {}))

        return say

    @pytest.mark.parametrize(
        ("slots", "more", "way"),
        [
            ([(0, 99)], {"held": (2000,)}, Way.TRANSACTION),
            ([(0, 99)], {"held": (1999,)}, Way.SCRIPT),
            ([(0, 49), (100, 149)], {"held": (1500, 500)}, Way.TRANSACTION),
            ([(0, 49), (100, 149)], {"held": (1499, 500)}, Way.SCRIPT),
            ([(5, 5)], {"held": (20,)}, Way.TRANSACTION),
            ([(0, 99)], {"held": (2000,), "version": "7.2.4"}, Way.SCRIPT),
        ],
    )
    def test_full_slots(self, store, member, slots, more, way):
        """Transactions pay where slots are full, and are scanned one by one."""
        member(*slots, **more)
        assert way_besides(store, "app:*") is way

    @pytest.mark.parametrize(("slots", "way"), [([(0, 8191)], Way.IFEQ), ([], Way.TRANSACTION)])
    def test_name_that_is_tried(self, store, member, monkeypatch, slots, way):
        """A name is tried that the pattern matches, in a slot of its own, if there is one."""
        member(*slots, held=(9,))
        tried, plain = [], store.connection.pipeline
        monkeypatch.setattr(
            store.connection, "pipeline", lambda asked: tried.extend(asked) or plain(asked)
        )
        assert Exchange(store, nobody, "app:*:x").way is way
        names = [command[1] for command in tried if "IFEQ" in command]
        assert len(names) == len(slots)
        assert all(name.startswith(b"app:") and name.endswith(b":x") for name in names)
        assert not any(b"*" in name for name in names)
        assert all(key_slot(name) <= 8191 for name in names)

    def test_replica_of_the_cluster(self, store, member, monkeypatch, valkey):
        """A member of the cluster's own table may be asked, whoever else may not."""
        member((0, 16383))
        asked = []

        def follower(address):
            asked.append(address)
            found = reach(Address("127.0.0.1", valkey.port))
            monkeypatch.setattr(found, "knows", lambda *_: True)
            return found

        told = {"a": {"ip": NODE.host, "port": str(NODE.port)}}
        monkeypatch.setattr(store, "replicas", lambda: told)
        assert Exchange(store, follower, "app:*", lambda _: False).way is Way.IFEQ
        assert asked == [NODE]


class TestJoin:
    """What a replica that joins has missed is written once more."""

    @pytest.fixture
    def joined(self, store, monkeypatch):
        """A function that has a replica join, as far as the counters of the server tell."""
        counters = {"sync_full": "0", "sync_partial_ok": "0"}
        info = store.info
        monkeypatch.setattr(
            store, "info", lambda section: dict(counters) if section == "stats" else info(section)
        )
        monkeypatch.setattr(chosen, "_LOOK_SECONDS", -1)
        return lambda name="sync_full": counters.update({name: "1"})

    @pytest.mark.parametrize("how", ["sync_full", "sync_partial_ok"])
    def test_written_again(self, store, valkey, joined, monkeypatch, how):
        """Every name written since the last look is, in its database, and none from before it."""
        held = {(db, b"%d:%d" % (db, n)): b"value %d" % n for db in (0, 3) for n in range(250)}
        for db in (0, 3):
            valkey.client(db=db).mset({name: held[at, name] for at, name in held if at == db})
        written = []
        plain = store.compare_and_set

        def noted(swaps):
            written.extend((store.connection.db, *swap) for swap in swaps)
            return plain(swaps)

        monkeypatch.setattr(store, "compare_and_set", noted)
        one = Exchange(store, nobody, "*")
        one.look([b"before"])
        monkeypatch.setattr(chosen, "_LOOK_SECONDS", 3600)
        for db in (3, 0):
            store.select(db)
            one.look([*(name for at, name in held if at == db), b"gone"])
        assert (one.way, written) == (Way.IFEQ, [])
        joined(how)
        monkeypatch.setattr(chosen, "_LOOK_SECONDS", -1)
        one.look([])
        assert sorted(written) == sorted((db, name, old, old) for (db, name), old in held.items())
        assert (one.way, store.way) == (Way.TRANSACTION, Way.TRANSACTION)
        assert one.used == [Way.IFEQ, Way.TRANSACTION]
        one.look([b"later"])
        one.finish()
        assert len(written) == len(held)

    def test_at_the_end(self, store, joined, monkeypatch, valkey):
        """A replica that joins after the last page is seen at the end."""
        valkey.client().set("a", "1")
        written = []
        monkeypatch.setattr(store, "compare_and_set", lambda swaps: written.extend(swaps) or [])
        one = Exchange(store, nobody, "*")
        one.look([])
        monkeypatch.setattr(chosen, "_LOOK_SECONDS", 3600)
        one.look([b"a"])
        joined()
        one.finish()
        assert (written, one.way) == ([(b"a", b"1", b"1")], Way.TRANSACTION)

    def test_cannot_be_written(self, store, joined, monkeypatch, valkey):
        """A value that cannot be written again ends the run: the replica has another one."""
        valkey.client().mset({"a": "1", "b": "2"})
        refusal = type("Refusal", (), {"message": "OOM command not allowed"})()
        monkeypatch.setattr(store, "compare_and_set", lambda _: [SetResult.CHANGED, refusal])
        one = Exchange(store, nobody, "*")
        joined()
        with pytest.raises(ServerError, match="a replica joined, and OOM command not allowed") as e:
            one.look([b"a", b"b"])
        assert str(e.value).startswith(f"{store.node}: ")

    def test_a_new_connection(self, store, joined, valkey):
        """A new connection goes on in the way that is taken now."""
        one = Exchange(store, nobody, "*")
        joined()
        one.look([])
        with reach(Address("127.0.0.1", valkey.port)) as other:
            one.attach(other)
            assert (other.way, one.used) == (Way.TRANSACTION, [Way.IFEQ, Way.TRANSACTION])
