"""What a sweep of one node proves, and what a server may do that it proves nothing."""

import socket
from contextlib import ExitStack, contextmanager

import pytest

from cluster.local_cluster import LocalCluster, Move
from rotator.config.types import Address
from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key, Keyring
from rotator.crypto.layout import BUILTIN
from rotator.demo.local_server import LocalServer
from rotator.retirement.lineage import broken_between
from rotator.server.cluster_nodes import SLOTS, foreign_slots, myself
from rotator.server.connection import Connection, Login
from rotator.server.store import Store
from rotator.sweep.division import WHOLE, parts
from rotator.sweep.node import proof
from rotator.sweep.node.worker import Worker
from rotator.sweep.scope import Limits, Scope
from rotator.tally.tally import Mode, Outcome
from support import clusters
from support.caches import Cache, PageControl, Place, StopAfter, fill, store_of, user, wait_for
from support.clusters import tagged
from support.programs import HIDING, preferred
from support.respfront import RespFront, bulk, listed, text_in, without
from support.server_versions import hides, since

COUNT = 300
PAGE = 20


def codec_of(cache):
    """The codec of a cache: key 0 is the current one."""
    current, *old = (Key.from_text(key, "test") for key in cache.keys)
    return Codec(Keyring(current, old), list(BUILTIN.values()))


def sweep(
    port,
    cache,
    *,
    mode=Mode.VERIFY,
    login=None,
    neighbours=(),
    control=None,
    works=False,
    part=WHOLE,
    **scope,
):
    """The result of one sweep of the server at a port."""
    address, control = Address("127.0.0.1", port), control or PageControl()
    made = Worker(
        address,
        lambda address: Store(Connection(address, login or Login()).open()),
        codec=codec_of(cache),
        scope=Scope(mode, **{"page": PAGE, "limits": Limits(latency=0), **scope}),
        control=control,
        saved=control.load(str(address)),
        neighbours=neighbours,
        works=works,
        part=part,
    )
    return made.run()


@contextmanager
def behind(server, answer):
    """The port of a front before the server."""
    with RespFront(server.port, answer) as front:
        yield front.port


def to(command, reply):
    """An answer to one command, the same each time, or made of its words."""

    def answer(words, _ask):
        if words[0].upper() != command:
            return None
        return reply(words) if callable(reply) else reply

    return answer


def doubted(result, *words):
    """Whether a node was not swept to the end, for this reason, and will not be tried again."""
    assert not result.complete
    assert result.proof is None
    assert result.hopeless
    assert all(word in result.reasons[-1] for word in words), result.reasons
    return True


@pytest.fixture
def cache(server, redis):
    """A cache at the session's server, with values under the current key."""
    cache = Cache(server.address)
    for number in range(COUNT):
        cache.put(redis, f"app:{number}", key=0)
    return cache


@pytest.fixture(scope="module")
def pair():
    """Two primaries."""
    with LocalCluster(2, 0) as running:
        yield running


class TestProof:
    """Sweeps that prove something, and those that do not."""

    @pytest.mark.parametrize("mode", Mode)
    def test_what_only_read(self, server, redis, cache, mode):
        """A sweep of any kind that met nothing to rewrite is a proof, and says what it met."""
        result = sweep(server.port, cache, mode=mode)

        assert result.complete
        assert result.proof.met == dict.fromkeys(cache.ids[1:], 0)
        assert result.proof.opened == COUNT
        assert not any(result.proof.open_items.values())
        assert result.proof.begun_at < result.proof.ended_at
        assert result.proof.before.facts["run_id"] == redis.info("server")["run_id"]
        assert (result.resumed, result.unproven, result.proof.hidden) == (False, (), 0)

    @pytest.mark.parametrize("mode", [Mode.VERIFY, Mode.DRY_RUN])
    def test_what_it_met(self, server, redis, cache, mode):
        """A proof counts the values under each old key, nested ones too."""
        cache.put(redis, "old", key=2)
        cache.put(redis, "nested", cache.seal("nested", b"inside", key=2), key=0)

        assert sweep(server.port, cache, mode=mode).proof.met == {cache.ids[1]: 0, cache.ids[2]: 2}

    def test_work(self, server, redis, cache):
        """A sweep that rewrites one value is work, and proves nothing."""
        cache.put(redis, "old", key=2)
        result = sweep(server.port, cache, mode=Mode.RUN)

        assert result.complete
        assert result.proof is None
        assert sweep(server.port, cache, mode=Mode.RUN).proof is not None

    @pytest.mark.parametrize("mode", [Mode.RUN, Mode.DRY_RUN])
    def test_resumed(self, server, cache, mode):
        """A sweep that goes on where another one stopped proves nothing, whatever it meets."""
        control = PageControl(5)
        assert sweep(server.port, cache, mode=mode, control=control).stopped
        again = PageControl()
        again.saved = control.saved
        result = sweep(server.port, cache, mode=mode, control=again)

        assert (result.complete, result.resumed, result.proof) == (True, True, None)

    def test_basis(self, cache):
        """A proof is bound to the current key, the formats, the patterns and the databases."""
        scope, codec, other = Scope(Mode.VERIFY), codec_of(cache), codec_of(cache.rotated())
        bases = [
            scope.basis(codec),
            scope.basis(other),
            Scope(Mode.VERIFY, match=("a*",)).basis(codec),
            Scope(Mode.VERIFY, databases=(0,)).basis(codec),
            scope.basis(Codec(codec.keyring, codec.formats[:1])),
        ]

        assert len(set(bases)) == len(bases)
        assert Scope(Mode.RUN, page=1).basis(codec) == bases[0]


class TestShapes:
    """Replies of another shape than their command's page promises."""

    @pytest.mark.parametrize(
        ("command", "reply", "said"),
        [
            (b"SCAN", b":5\r\n", "a number instead of a list"),
            (b"SCAN", listed([bulk(b"0"), b"*0\r\n"] * 3), "6 parts instead of 2"),
            (b"SCAN", listed([b":0\r\n", b"*0\r\n"]), "the cursor is a number"),
            (b"SCAN", listed([bulk(b"0"), b"$-1\r\n"]), "nothing instead of a list"),
            (b"SCAN", listed([bulk(b"0"), listed([b"$-1\r\n"])]), "a name is nothing"),
            (b"SCAN", listed([bulk(b"0"), listed([listed([])])]), "a name is a list"),
            (b"MGET", listed([]), "0 parts instead of"),
            (b"MGET", lambda words: listed([b":7\r\n"] * (len(words) - 1)), "a value is a number"),
            (b"MGET", lambda words: listed([listed([])] * (len(words) - 1)), "a value is a list"),
        ],
    )
    def test_of_reading(self, server, cache, command, reply, said):
        """A reply to SCAN or MGET that is not understood is not used in part."""
        with behind(server, to(command, reply)) as port:
            result = sweep(port, cache)

        words = f"127.0.0.1:{port} gave an answer to {command.decode()} that is not understood"
        assert doubted(result, words, said)
        assert not result.tally.visits

    @pytest.mark.parametrize("reply", [b":7\r\n", b":-2\r\n", b"*0\r\n", b"$-1\r\n"])
    def test_of_the_script(self, server, redis, cache, reply):
        """A script that answers what it cannot is not understood, and nothing counts as done."""
        cache.put(redis, "old", key=1)
        with behind(server, lambda words, ask: self._odd(words, ask, reply)) as port:
            result = sweep(port, cache, mode=Mode.RUN)

        assert doubted(result, "EVALSHA that is not understood")
        assert not result.tally.done

    @staticmethod
    def _odd(words, ask, reply):
        if words[0] == b"EVALSHA":
            return listed([reply] * int(words[2]))
        if words[0] == b"WATCH":
            return b"-NOPERM this user has no permissions to run the 'watch' command\r\n"
        # As a server would that does not know the newer command.
        return None if words[0] != b"SET" else ask([b"SET"])

    @pytest.mark.parametrize(
        ("command", "reply"),
        [
            *((b"EXEC", reply) for reply in (b":7\r\n", b"*0\r\n", b"+OK\r\n", b"*1\r\n:1\r\n")),
            *((b"SET", reply) for reply in (b"+OK\r\n", b":1\r\n", b"$-1\r\n")),
            *((b"WATCH", reply) for reply in (b":1\r\n", b"$-1\r\n")),
            *((b"MULTI", reply) for reply in (b"+QUEUED\r\n", b"*0\r\n")),
        ],
    )
    def test_of_a_transaction(self, server, redis, cache, command, reply):
        """A transaction that is answered as none can be is not understood, and nothing is done."""
        cache.put(redis, "old", key=1)
        held = redis.get("old")

        def answer(words, ask):
            if b"IFEQ" in words:
                return b"-ERR syntax error\r\n"
            if words[0] != command or (command == b"SET" and b"NX" in words):
                return None
            if command == b"EXEC":
                ask([b"DISCARD"])
            return reply

        with behind(server, answer) as port:
            result = sweep(port, cache, mode=Mode.RUN, works=True)

        assert doubted(result, "gave an answer to")
        assert not result.tally.done
        assert redis.get("old") == held

    @pytest.mark.parametrize(
        ("reply", "said"),
        [(b"$-1\r\n", "nothing instead of a text"), (b"*0\r\n", "a list instead of a text")],
    )
    def test_of_info(self, server, cache, reply, said):
        """A reply to INFO that is no text ends the sweep of the node before it begins."""
        with behind(server, to(b"INFO", reply)) as port, pytest.raises(Exception, match=said):
            sweep(port, cache)


class TestEndless:
    """A scan that does not end."""

    def test_the_same_cursor(self, server, cache):
        """A cursor that comes back as it was sent ends the sweep."""
        asked = []

        def answer(words, _ask):
            if words[0] == b"SCAN":
                asked.append(words[1])
                return listed([bulk(b"5"), b"*0\r\n"])
            return None

        with behind(server, answer) as port:
            assert doubted(sweep(port, cache), "the scan does not end")
        assert len(asked) == 2

    def test_ever_new_cursors(self, server, cache):
        """More calls of SCAN than so many names can take end the sweep."""
        asked = []

        def answer(words, _ask):
            if words[0] == b"SCAN":
                asked.append(words[1])
                return listed([bulk(b"%d" % len(asked)), b"*0\r\n"])
            return None

        with behind(server, answer) as port:
            assert doubted(sweep(port, cache), "the scan does not end", f"{COUNT} names")
        assert 1_000 < len(asked) < 1_000 + 20 * COUNT

    def test_a_cursor_is_a_token(self, server, cache):
        """A cursor goes back as it came, be it no number at all; `00` is not the end."""

        def answer(words, ask):
            if words[0] != b"SCAN":
                return None
            token = words[1].removeprefix(b"c-") if words[1] != b"0" else b"0"
            reply = ask([b"SCAN", token, *words[2:]])
            head, size, cursor, names = reply.split(b"\r\n", 3)
            assert (head, size[:1]) == (b"*2", b"$")
            return listed([bulk(b"c-" + cursor if cursor != b"0" else b"0"), names])

        with behind(server, answer) as port:
            result = sweep(port, cache)
        assert result.complete
        assert result.proof.opened == COUNT

    def test_an_end_that_is_none(self, server, cache):
        """A cursor of two zeros is no end, and the scan goes on with it."""
        asked = []

        def answer(words, _ask):
            if words[0] == b"SCAN":
                asked.append(words[1])
                return listed([bulk(b"00" if len(asked) == 1 else b"0"), b"*0\r\n"])
            return None

        with behind(server, answer) as port:
            sweep(port, cache)
        assert asked[:2] == [b"0", b"00"]


class TestIdentity:
    """A server that does not say who it is."""

    MISSING = (
        (b"run_id", "run_id"),
        (b"master_replid:", "master_replid"),
        (b"cmdstat_", "commandstats"),
    )

    @pytest.mark.parametrize(("begin", "name"), MISSING)
    def test_incomplete(self, server, cache, begin, name):
        """Without its run id, its replication id or its counters no sweep is complete."""
        with behind(server, without(begin)) as port:
            result = sweep(port, cache)
        assert doubted(result, "does not say who it is", name)
        assert result.tally.visits == COUNT

    @pytest.mark.parametrize(("begin", "_name"), MISSING)
    def test_declared(self, server, cache, begin, _name):
        """A server that is declared to be one and the same is believed."""
        with behind(server, without(begin)) as port:
            assert sweep(port, cache, one_server=True).proof is not None

    def test_without_a_role(self, server, cache):
        """A server without a role is not swept, declared or not."""
        with (
            behind(server, without(b"role")) as port,
            pytest.raises(Exception, match=r"role|repli"),
        ):
            sweep(port, cache, one_server=True)

    def test_our_own_calls_are_not_counted(self, server, cache):
        """Counters that do not hold our own calls of SCAN tell nothing of others either."""

        def answer(words, ask):
            if words[0] != b"INFO":
                return None
            lines = text_in(ask(words)).split(b"\r\n")
            return bulk(
                b"\r\n".join(
                    b"cmdstat_scan:calls=7" if line.startswith(b"cmdstat_scan:") else line
                    for line in lines
                )
            )

        with behind(server, answer) as port:
            assert doubted(sweep(port, cache), "do not show rotator's own calls")


class TestMoved:
    """Data that is exchanged behind the sweep's back."""

    def test_reloaded(self):
        """A file that is loaded while a sweep goes on is noticed, and the sweep begins again."""
        with LocalServer() as probe, probe.client() as asked:
            option = ("--enable-debug-command", "yes") if since(asked, 7) else ()
        with LocalServer(*option) as server, server.client() as client:
            cache = Cache(server.address)
            fill(client, cache, COUNT)
            client.save()
            reload = _once(8, lambda: client.execute_command("DEBUG", "RELOAD", "NOSAVE"))
            result = sweep(server.port, cache, control=PageControl(on_page=reload))
        assert result.restarts == 1
        assert "DEBUG was called 1 time" in result.reasons

    def test_everything_without_a_command(self):
        """Everything reported as written, and no counted command that did it, is a change."""
        with LocalServer() as probe, probe.client() as asked:
            option = ("--enable-debug-command", "yes") if since(asked, 7) else ()
        with LocalServer(*option) as server, server.client() as client:
            cache = Cache(server.address)
            fill(client, cache, COUNT)
            client.save()
            reload = _once(8, lambda: client.execute_command("DEBUG", "RELOAD", "NOSAVE"))
            with behind(server, without(b"cmdstat_debug")) as port:
                result = sweep(port, cache, control=PageControl(on_page=reload))
        assert result.restarts == 1
        assert any("everything was reported as written" in one for one in result.reasons)

    def test_a_right_ends_it(self, server, redis, cache):
        """Who may not be told of writes learns which right makes a rename harmless."""
        with user(redis, "~*", "+@all", "-client|tracking") as (name, password):
            control = PageControl(on_page=lambda _: redis.rename("app:1", "app:1"))
            result = sweep(server.port, cache, login=Login(name, password), control=control)
        assert not result.complete
        assert "+client|tracking" in result.reasons[-1]

    @pytest.mark.parametrize("works", [False, True])
    def test_names_that_are_not_shown(self, server, redis, cache, works):
        """Fewer names than there must be are not taken for all of them, by work either."""
        (part,) = parts(1) if works else (WHOLE,)
        how = {"mode": Mode.RUN if works else Mode.VERIFY, "works": works, "part": part}
        fill(redis, cache, 300, prefix="more")

        def answer(words, ask):
            if words[0] != b"SCAN":
                return None
            head, _, cursor, names = ask(words).split(b"\r\n", 3)
            assert head == b"*2"
            return listed([bulk(cursor), names if cursor == b"0" else b"*0\r\n"])

        with behind(server, answer) as port:
            assert doubted(sweep(port, cache, **how), "says that it has 600 names", "SCAN showed")


def _once(page, act):
    """An `on_page` that acts once, after that page."""
    done = []

    def on_page(number):
        if number == page and not done:
            done.append(number)
            act()

    return on_page


class TestOutside:
    """Names that `match` and `databases` leave out."""

    @pytest.fixture
    def divided(self, server, redis, cache):
        """The same cache, with other names, in other databases too."""
        cache.put(redis, "other:current", key=0)
        cache.put(redis, "other:old", key=1)
        redis.set("other:text", b"x" * 100)
        redis.rpush("other:list", "x")
        with server.client(db=3) as third:
            cache.put(third, "app:old", key=2)
            yield cache

    @pytest.mark.parametrize("mode", Mode)
    def test_counted(self, server, redis, divided, mode):
        """They are read and counted apart, never rewritten, and none of them is a visit."""
        result = sweep(server.port, divided, mode=mode, match=("app:*",), databases=(0,))

        assert result.tally.visits == COUNT
        outside = result.proof.outside
        assert (outside.visits, outside.not_opened, outside.denied) == (5, 2, 0)
        assert outside.under_old_keys == {divided.ids[1]: 1, divided.ids[2]: 1}
        assert divided.open("other:old", redis.get("other:old")).key.id == divided.ids[1]

    def test_nothing_is_left_out(self, server, divided):
        """Without patterns and databases everything is visited, and nothing is outside."""
        result = sweep(server.port, divided)

        assert result.tally.visits == COUNT + 5
        assert result.proof.outside.visits == 0

    def test_declared(self, server, divided):
        """What is declared to be another's is not read; how many names it has is said."""
        result = sweep(server.port, divided, match=("app:*",), databases=(0,), outside=False)

        assert (result.proof.outside.visits, result.proof.outside.names) == (None, 5)

    def test_neighbours(self, server, redis, divided):
        """What another cache of the server opens is not unknown, and a shared key counts."""
        neighbour = Cache(server.address, keys=[Cache("x").keys[0], divided.keys[1]])
        neighbour.put(redis, "other:theirs", key=0)
        neighbour.put(redis, "other:shared", key=1)
        scope = {"match": ("app:*",), "databases": (0,)}

        alone = sweep(server.port, divided, **scope).proof.outside
        known = sweep(server.port, divided, neighbours=[codec_of(neighbour)], **scope).proof.outside

        assert (alone.not_opened, known.not_opened) == (3, 2)
        assert alone.under_old_keys[divided.ids[1]] == known.under_old_keys[divided.ids[1]] == 2

    def test_denied(self, server, redis, divided):
        """Those that the user may not read are counted, and cost nothing but themselves."""
        with user(redis, "~app:*", "~other:c*", "+@all") as (name, password):
            login = Login(name, password)
            result = sweep(server.port, divided, login=login, match=("app:*",), databases=(0,))

        assert result.tally.visits == COUNT
        assert result.tally.outcomes[Outcome.DENIED] == 0
        assert (result.proof.outside.visits, result.proof.outside.denied) == (5, 3)

    @pytest.mark.parametrize("match", ["app:*", "*:[0-9]*"])
    def test_moved_behind_the_scan(self, server, redis, cache, match):
        """A value that is renamed to a name that was passed already is met nevertheless."""
        for number in range(COUNT):
            redis.set(f"foreign:x{number}", cache.seal("", b"x", key=0))
        shown = list(redis.scan_iter(match="foreign:*", count=COUNT))
        cache.put(redis, shown[-1], key=1)
        move = _once(12, lambda: redis.rename(shown[-1], shown[0]))
        result = sweep(server.port, cache, match=(match,), control=PageControl(on_page=move))

        assert result.complete
        assert result.proof.outside.under_old_keys[cache.ids[1]] >= 1

    def test_connection_lost(self, server, redis, divided):
        """What was counted before the connection broke is not forgotten."""
        lost = _once(10, lambda: redis.client_kill_filter(_type="normal", skipme=True))
        result = sweep(
            server.port,
            divided,
            match=("app:*",),
            databases=(0,),
            control=PageControl(on_page=lost),
        )

        assert (result.complete, result.tracked) == (True, False)
        assert result.tally.visits == COUNT
        assert result.proof.outside.visits == 5
        assert result.proof.outside.under_old_keys == {divided.ids[1]: 1, divided.ids[2]: 1}

    @pytest.mark.parametrize(
        ("settings", "database"), [({"match": ["app:*"]}, 0), ({"databases": [0]}, 5)]
    )
    def test_exit_code(self, server, redis, tmp_path, settings, database):
        """A value under an old key that the configuration leaves out makes a run end with 3."""
        place = Place(tmp_path, Cache(server.address, settings=settings))
        place.cache.put(redis, "app:1", key=0)
        assert place.run().exit_code == 0
        with server.client(db=database) as client:
            place.cache.put(client, "other:1", key=1)
        assert [place.run().exit_code for _ in range(2)] == [3, 3]


def _own(store):
    """What a node of a cluster says of itself."""
    return myself(store.members())


def _hidden(server):
    """How many names a node of a cluster has in slots that are not its own."""
    with store_of(server) as store:
        foreign = set(foreign_slots(_own(store)))
        return store.names_outside([slot for slot in range(SLOTS) if slot not in foreign])


class TestCluster:
    """Nodes of a cluster."""

    @pytest.fixture
    def node(self, pair):
        """A primary, with values in its slots, and their cache."""
        clusters.flush(pair)
        cache = Cache(*(one.address for one in pair.primaries))
        clusters.fill(pair, cache, 60)
        return pair.primaries[0], cache

    @pytest.mark.parametrize("hidden", [True, False])
    def test_orphans(self, pair, node, monkeypatch, hidden):
        """Names in slots that are not the node's are counted, also as where they are hidden."""
        if hidden:
            monkeypatch.setattr(proof, "hides_names", lambda _: True)
        source, target = pair.primaries
        with source.client() as client:
            for name in tagged(7, 6):
                client.set(name, b"value")
        pair.move_slots(source, target, [7], Move.ABORTED)
        result = sweep(target.port, node[1])
        assert result.orphans == 3
        assert result.proof.hidden == 3

    def test_orphans_while_slots_are_imported(self):
        """Names of a move that was broken off are counted while the node imports other slots."""
        with LocalCluster(2, 0, binary=preferred(HIDING)) as cluster, ExitStack() as stack:
            source, target = cluster.primaries
            giving, taking = (stack.enter_context(one.client()) for one in (source, target))
            cache = Cache(*cluster.addresses)
            for name in (*tagged(7, 6), *tagged(9, 2000)):
                cache.put(giving, name, key=0)
            cluster.move_slots(source, target, [7], Move.ABORTED)
            before = sweep(target.port, cache)
            assert before.orphans == 3
            if hides(taking):  # and has a command that imports slots
                giving.config_set("rdb-key-save-delay", 5000)  # microseconds: it takes 10 s
                taking.execute_command("CLUSTER", "MIGRATION", "IMPORT", 9, 9)
                wait_for(lambda: taking.info("keyspace")["db0"]["keys"] > 3)
                during = sweep(target.port, cache)
                taking.execute_command("CLUSTER", "MIGRATION", "CANCEL", "ALL")
                wait_for(lambda: taking.info("keyspace")["db0"]["keys"] == 3)
                after = sweep(target.port, cache)
                assert during.orphans > 3
                assert after.orphans == 3
                assert broken_between(before.proof.after, after.proof.before)

    @pytest.mark.usefixtures("node")
    def test_told_by_numbers_alone(self, pair):
        """What a server hides is the difference between all names and those of its own slots."""
        source, target = pair.primaries
        with source.client() as client:
            for name in tagged(7, 6):
                client.set(name, b"value")
        assert _hidden(source) == 0
        pair.move_slots(source, target, [7], Move.ABORTED)
        assert _hidden(target) == 3

    def test_a_right_is_missing(self, node):
        """Who may not count what is hidden learns nothing, rather than that there is none."""
        server, _ = node
        with (
            server.client() as client,
            user(client, "~*", "+@all", "-multi") as (name, password),
            store_of(server, name, password) as store,
        ):
            assert store.names_outside([1, 2]) is None

    def test_slots_on_the_move(self, pair, node):
        """While a slot is on the move neither of its nodes proves anything."""
        _, cache = node
        pair.move_slots(*pair.primaries, [9], Move.OPEN)
        results = [sweep(one.port, cache) for one in pair.primaries]
        for one in pair.primaries:
            with one.client() as client:
                client.execute_command("CLUSTER", "SETSLOT", 9, "STABLE")
        assert [result.proof for result in results] == [None, None]

    def test_ask_to_a_stranger(self, node):
        """ASK to somebody who is no node of the cluster is not followed, and nobody connects."""
        server, cache = node
        with socket.create_server(("127.0.0.1", 0)) as stranger:
            stranger.settimeout(0.2)
            where = b"-ASK 5 127.0.0.1:%d\r\n" % stranger.getsockname()[1]

            def answer(words, ask):
                if words[0] in {b"MGET", b"GET"}:
                    return where
                if words[:2] == [b"CLUSTER", b"NODES"]:
                    mine = b":%d@" % front[0], b":%d@" % server.port
                    return bulk(text_in(ask(words)).replace(*reversed(mine)))
                return None

            front = []
            with RespFront(server.port, answer) as made:
                front.append(made.port)
                result = sweep(made.port, cache)
            with pytest.raises(TimeoutError):
                stranger.accept()
        assert not result.complete
        assert "does not list as a node of its cluster" in result.reasons[-1]


class TestRun:
    """What follows a sweep that proves nothing."""

    def test_verified_after_a_resumed_sweep(self, place, redis):
        """A run that went on where another was stopped is followed by one that only reads."""
        for number in range(COUNT):
            place.cache.put(redis, f"app:{number}", key=0)
        assert place.run(stopper=StopAfter(6), page=PAGE).exit_code == 130
        for number in range(COUNT):
            place.cache.put(redis, f"app:{number}", key=1)
        [swept] = place.run(page=PAGE).caches

        assert swept.verification is not None

    def test_a_dry_runs_position_is_dropped(self, place, redis):
        """A dry run does not go on where another one stopped before a real run."""
        fill(redis, place.cache, COUNT)
        assert place.run(dry_run=True, stopper=StopAfter(6), page=PAGE).exit_code == 130
        assert place.run(page=PAGE).exit_code == 0
        [swept] = place.run(dry_run=True, page=PAGE).caches

        assert not swept.outcomes.get("would_rotate")
        assert swept.outcomes["current"] == COUNT
