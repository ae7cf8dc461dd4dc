"""Every visit has one outcome, and nothing that a sweep meets makes a tally large."""

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from rotator.crypto.layout import FieldName
from rotator.tally.key_tally import NAMES, NEVER, PREFIXES, KeyTally
from rotator.tally.tally import MET, SAMPLES, WRITTEN, BulkOutcome, Outcome, Problem, Tally

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
TIMES = st.integers(0, 10**6).map(lambda seconds: NOW + timedelta(seconds=seconds))
KEYS = st.sampled_from(["aa", "bb", "cc"])
NAMES_OF = (
    st.binary(max_size=6)
    | st.integers(0, 99).map(lambda n: b"/app/%d:x" % n)
    | st.builds(FieldName, st.binary(max_size=6), st.binary(max_size=6))
)
EXPIRIES = st.sampled_from([None, NEVER]) | st.integers(0, 2**63 - 1)

VISITS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(Outcome), st.sampled_from(["", "bad_tag"])),
    st.tuples(st.just("met"), KEYS, st.integers(0, 999), TIMES, st.booleans(), NAMES_OF),
    st.tuples(
        st.just("stays"), KEYS, st.integers(0, 999), TIMES, NAMES_OF, EXPIRIES, st.booleans()
    ),
    st.tuples(st.just("problem"), st.sampled_from(Outcome), NAMES_OF),
)


def _apply(tally, visit):
    """Replay one generated visit; the number of visits it makes."""
    kind, *rest = visit
    if kind == "add":
        tally.add(*rest)
        return 1
    if kind == "problem":
        outcome, name = rest
        tally.problem(Problem(name, "node:1", outcome, "bad_tag", "9 bytes"))
        return 0
    if kind == "met":
        key_id, size, at, rotated, name = rest
        tally.add(Outcome.ROTATED if rotated else Outcome.CURRENT)
        tally.count_moved(key_id, size, at, rotated=rotated, name=name)
    else:
        *args, too_large = rest
        tally.add(Outcome.TOO_LARGE if too_large else Outcome.WOULD_ROTATE)
        tally.count_remaining(*args, too_large=too_large)
    return 1


def _tally(visits):
    """What a sweep with these visits counts."""
    tally = Tally()
    for visit in visits:
        _apply(tally, visit)
    return tally


class TestTally:
    """The sums of a sweep."""

    def test_empty(self):
        """A fresh tally knows every outcome, in the order of the contract."""
        assert list(Tally().outcomes) == [
            "current",
            "rotated",
            "would_rotate",
            "gone",
            "contended",
            "undecryptable",
            "nested",
            "not_string",
            "too_large",
            "denied",
            "failed",
        ]

    @given(st.lists(st.lists(VISITS)))
    def test_outcomes_sum_to_visits(self, parts):
        """The outcomes sum to the visits under any sequence of adds and merges."""
        tally, visits = Tally(), 0
        for part in parts:
            other = Tally()
            visits += sum(_apply(other, visit) for visit in part)
            tally.merge(other)
        assert (tally.visits, sum(tally.outcomes.values())) == (visits, visits)

    @given(st.lists(VISITS))
    def test_round_trip(self, visits):
        """A tally comes back from JSON as it was."""
        saved = _tally(visits).to_dict()
        assert Tally.from_dict(json.loads(json.dumps(saved))).to_dict() == saved

    def test_what_was_saved_stays(self):
        """What a tally said does not change when it counts on."""
        tally = _tally([("stays", "aa", 1, NOW, b"/x:1", 0, False)])
        saved = tally.to_dict()
        before = json.dumps(saved)
        _apply(tally, ("stays", "aa", 1, LATER, b"/y:1", NEVER, False))
        assert json.dumps(saved) == before

    @given(NAMES_OF)
    def test_problems_keep_their_names(self, name):
        """The name of a problem comes back as it was, that of a field with its field."""
        problem = Problem(name, "node:1", Outcome.DENIED, "why", "9 bytes")
        assert Problem.from_dict(problem.to_dict()) == problem

    @given(st.lists(VISITS), st.lists(VISITS))
    def test_merge_leaves_the_other(self, first, second):
        """Merging changes only the tally that is merged into."""
        tally, other = _tally(first), _tally(second)
        before = other.to_dict()
        tally.merge(other)
        _apply(tally, ("stays", "aa", 1, LATER, b"/x:1", NEVER, False))
        assert other.to_dict() == before

    @given(st.lists(VISITS), st.lists(VISITS))
    def test_merge_is_a_sum(self, first, second):
        """What two nodes counted is what one would have counted that met it all."""
        tally, whole = _tally(first), _tally(first + second)
        tally.merge(_tally(second))
        assert (tally.outcomes, tally.reasons) == (whole.outcomes, whole.reasons)
        for key_id, key in whole.keys.items():
            merged = tally.keys[key_id]
            for name in (
                *("found", "rotated", "remaining", "remaining_without_ttl", "size"),
                *("too_large", "too_large_without_ttl", "drain"),
                *("first_seen_at", "last_seen_at", "last_too_large_at"),
            ):
                assert getattr(merged, name) == getattr(key, name)
            assert sum(merged.prefixes.values()) == sum(key.prefixes.values())

    def test_encryptions_and_formats(self):
        """Encryptions add up, what was met or written in any part was, and both are saved."""
        tally, other = Tally(), Tally()
        tally.encryptions, other.encryptions = 2, 3
        tally.formats, other.formats = {(MET, "a")}, {(WRITTEN, "a"), (MET, "b")}
        tally.merge(other)
        again = Tally.from_dict(json.loads(json.dumps(tally.to_dict())))
        for one in (tally, again):
            assert one.encryptions == 5
            assert one.formats == {(MET, "a"), (WRITTEN, "a"), (MET, "b")}
        rotated = tally.only_rotated()
        assert (rotated.encryptions, rotated.formats) == (5, {(WRITTEN, "a")})

    def test_nothing_said(self):
        """A visit without a reason has none, and a value that was met was not rotated."""
        tally = Tally()
        tally.add(Outcome.GONE)
        tally.count_many_moved("aa", 2, 300, NOW)
        assert (tally.encryptions, tally.reasons) == (0, {})
        assert (tally.keys["aa"].found, tally.keys["aa"].rotated) == (2, 0)

    def test_formats_of_an_earlier_version(self):
        """A tally that an earlier version saved says nothing of formats, and is read."""
        saved = Tally().to_dict()
        del saved["formats"]
        assert Tally.from_dict(saved).formats == set()

    def test_sub_reasons_are_all_counted(self):
        """Sub-reasons are counted also when their samples are full."""
        tally = Tally()
        for _ in range(2 * SAMPLES):
            tally.add(Outcome.UNDECRYPTABLE, reason="bad_tag")
        assert tally.reasons == {"bad_tag": 2 * SAMPLES}

    def test_problems_are_bounded(self):
        """Problems are samples, at most so many for each outcome, also after merging."""
        tally, other = Tally(), Tally()
        for into in (tally, other):
            for number in range(2 * SAMPLES):
                into.problem(Problem(b"%d" % number, "node:1", Outcome.DENIED))
        other.problem(Problem(b"x", "node:1", Outcome.FAILED))
        tally.merge(other)
        assert [len(tally.problems[outcome]) for outcome in tally.problems] == [SAMPLES, 1]
        assert not tally.wants_sample(Outcome.DENIED)
        assert tally.wants_sample(Outcome.FAILED)


class TestKeys:
    """What was met under each key."""

    def test_rotated(self):
        """A rotated value was found and does not remain; its prefix is known."""
        tally = Tally()
        tally.count_moved("aa", 300, NOW, rotated=True, name=b"/app/oidc:3f")
        key = tally.keys["aa"]
        assert (key.found, key.rotated, key.remaining, key.size) == (1, 1, 0, 300)
        assert key.prefixes == {"/app/oidc": 1}

    def test_met(self):
        """A value that was met and gone a moment later was found, and seen."""
        tally = Tally()
        tally.count_moved("aa", 300, NOW)
        key = tally.keys["aa"]
        assert (key.found, key.rotated, key.remaining, key.last_seen_at) == (1, 0, 0, NOW)

    def test_stays(self):
        """A value that stays is counted with its expiry, and its name is a sample."""
        tally = Tally()
        tally.count_remaining("aa", 300, NOW, b"/app/oidc:3f", int(LATER.timestamp() * 1000))
        key = tally.keys["aa"]
        assert (key.found, key.remaining, key.remaining_without_ttl) == (1, 1, 0)
        assert (key.drain.latest, key.samples) == (LATER, [b"/app/oidc:3f"])

    def test_expiry_not_known(self):
        """A value whose expiry is not known counts as one without a TTL."""
        tally = Tally()
        tally.count_remaining("aa", 300, NOW, b"x", None)
        tally.count_remaining("aa", 300, NOW, b"y", NEVER)
        assert tally.keys["aa"].remaining_without_ttl == 2

    def test_nested(self):
        """A nested value is one visit and stays under each of its keys."""
        tally = Tally()
        tally.add(Outcome.NESTED)
        for key_id in ("aa", "bb"):
            tally.count_remaining(key_id, 300, NOW, b"x", NEVER)
        assert (tally.visits, [key.remaining for key in tally.keys.values()]) == (1, [1, 1])

    def test_too_large(self):
        """A value that is too large to move does not show that something still writes."""
        tally = Tally()
        tally.count_moved("aa", 300, NOW, rotated=True)
        tally.count_remaining("aa", 300, LATER, b"x", NEVER, too_large=True)
        tally.count_remaining("aa", 200, NOW, b"y", NEVER, too_large=True)
        tally.count_remaining("bb", 200, LATER, b"y", 0, too_large=True)
        key, other = tally.keys["aa"], tally.keys["bb"]
        assert (key.last_seen_at, key.last_too_large_at) == (NOW, LATER)
        assert (key.found, key.size) == (3, 800)
        assert (key.remaining, key.too_large, key.too_large_without_ttl) == (2, 2, 2)
        assert (other.first_seen_at, other.last_seen_at, other.last_too_large_at) == (
            *(LATER, None),
            LATER,
        )
        assert (other.too_large, other.too_large_without_ttl) == (1, 0)

    def test_seen(self):
        """First and last sight are right in whatever order the visits come."""
        tally = Tally()
        for minutes in (3, 1, 2):
            tally.count_moved("aa", 1, NOW + timedelta(minutes=minutes))
        key = tally.keys["aa"]
        assert (key.first_seen_at, key.last_seen_at) == (
            NOW + timedelta(minutes=1),
            NOW + timedelta(minutes=3),
        )

    def test_prefix_is_before_the_first_colon(self):
        """What follows the first colon of a name is not shown: it may be a logical key in clear."""
        tally = Tally()
        for name in (b"/app/oidc:alice:mail", b"bob@example.org", b"\xff:x", b"a" * 99 + b":x"):
            tally.count_moved("aa", 1, NOW, rotated=True, name=name)
        assert tally.keys["aa"].prefixes == {"/app/oidc": 1, "": 1, "\ufffd": 1, "a" * 64: 1}

    def test_prefixes_of_many(self):
        """Names that are counted at once count by what is before the first colon of each."""
        tally = Tally()
        names = [b"/app:a", b"/web:bob:mail", b"/app:c:d", b"eve", b"/web:f"]
        tally.count_many_moved("aa", 5, 50, NOW, rotated=True, names=names)
        tally.count_many_moved("aa", 2, 20, NOW, rotated=True, names=[b"eve", b"/app:eve"])
        assert tally.keys["aa"].prefixes == {"/app": 3, "/web": 2, "": 2}

    def test_prefixes_that_are_too_many(self):
        """When there are as many prefixes as are told apart, others count under none."""
        tally, told = Tally(), PREFIXES - 1
        for number in (*range(told + 6), 0):
            tally.count_moved("aa", 1, NOW, rotated=True, name=b"%d:x" % number)
        named = {str(number): 1 for number in range(told)}
        assert tally.keys["aa"].prefixes == named | {"0": 2, "": 6}

    def test_prefixes_of_two_parts(self):
        """The most frequent prefixes of both are told apart, if they are too many."""
        counts, whole, halves = range(1, 2 * PREFIXES), KeyTally(), (KeyTally(), KeyTally())
        for count in counts:
            halves[count % 2].prefixes[str(count)] = count
        few = [KeyTally(prefixes={f"{at} {n}": 1 for n in range(PREFIXES // 2)}) for at in range(2)]
        for one in halves:
            whole.merge(one)
        few[0].merge(few[1])

        named = {str(count): count for count in counts[-PREFIXES + 1 :]}
        assert whole.prefixes == named | {"": sum(counts[: -PREFIXES + 1])}
        assert len(few[0].prefixes) == PREFIXES
        assert "" not in few[0].prefixes

    def test_samples_are_the_first_names(self):
        """The first names that remain are kept, each once, and no more than are allowed."""
        tally, names = Tally(), [b"%d" % number for number in range(NAMES + 1)]
        for name in (names[0], *names):
            tally.count_remaining("aa", 1, NOW, name, NEVER)
        assert tally.keys["aa"].samples == names[:NAMES]

    @given(st.lists(st.lists(NAMES_OF, min_size=20), min_size=2, max_size=4))
    def test_names_are_bounded(self, parts):
        """Prefixes and samples are bounded, and every name is counted, also after merging."""
        tally = Tally()
        for names in parts:
            other = Tally()
            for name in names:
                other.count_remaining("aa", 1, NOW, name, NEVER)
            tally.merge(other)
        key = tally.keys["aa"]
        assert len(key.prefixes) <= PREFIXES
        assert len(key.samples) <= NAMES
        assert sum(key.prefixes.values()) == sum(map(len, parts))


class TestSettled:
    """What is kept of a scan that has to start anew."""

    def test_rotated_is_kept(self):
        """What was rotated is done; everything else will be met again."""
        tally = Tally()
        for outcome in (Outcome.ROTATED, Outcome.DENIED, Outcome.CURRENT):
            tally.add(outcome)
        tally.count_many_moved("aa", 2, 400, NOW, rotated=True)
        tally.count_remaining("aa", 201, LATER, b"x", NEVER)
        tally.count_remaining("bb", 300, LATER, b"x", NEVER)
        settled = tally.only_rotated()
        key = settled.keys["aa"]
        assert (settled.visits, list(settled.keys)) == (1, ["aa"])
        assert (key.found, key.rotated, key.remaining) == (2, 2, 0)
        assert (key.first_seen_at, key.last_seen_at) == (NOW, LATER)
        assert key.size == 400  # its share of what was found

    def test_nothing_was_met(self):
        """Of keys that were never met nothing is kept, and nothing comes of merging them."""
        key = KeyTally()
        key.merge(KeyTally().settled())
        assert key == KeyTally()

    def test_left(self):
        """What is left are the visits after which a value is under another than the current key."""
        tally = Tally()
        for outcome in Outcome:
            tally.add(outcome)
        assert tally.remaining == 6


BULK = [BulkOutcome.DONE, Outcome.FAILED, Outcome.GONE, BulkOutcome.OTHER_KEY]
LISTS = st.lists(st.binary(max_size=8), max_size=60)
ENDS = st.lists(st.sampled_from(BULK), max_size=60)


def _bulk(names=(), ends=()):
    """What purge or adopt counts that selected these names, and met these ends."""
    tally = Tally()
    for name in names:
        tally.selected.stay(len(name), NOW, name, None, too_large=False)
    for end in ends:
        tally.add(end, f"{end}.why")
    return tally


class TestBulk:
    """What purge and adopt count besides."""

    @given(LISTS, LISTS, ENDS, ENDS)
    def test_merging_is_counting_on(self, names, more, ends, others):
        """Two tallies that are merged come to what one would have; visits and sizes are exact."""
        both = _bulk(names, ends)
        both.merge(_bulk(more, others))
        whole = _bulk([*names, *more], [*ends, *others])
        assert (both.outcomes, both.reasons) == (whole.outcomes, whole.reasons)
        assert both.visits == len(ends) + len(others)
        assert both.selected.size == whole.selected.size
        assert sum(both.selected.prefixes.values()) == len(names) + len(more)

    @given(st.lists(st.integers(0, 500), max_size=200))
    def test_memory_is_bounded(self, numbers):
        """However many names and prefixes there are, some are kept and the others counted."""
        tally = _bulk([b"p%d:x" % number for number in numbers])
        tally.merge(_bulk([b"q%d:x" % number for number in numbers]))
        assert len(tally.selected.prefixes) <= PREFIXES
        assert sum(tally.selected.prefixes.values()) == 2 * len(numbers)
        assert len(tally.selected.samples) == min(NAMES, 2 * len(set(numbers)))

    def test_prefixes(self):
        """Only what stands before the first colon is kept: the rest may be a logical key."""
        tally = _bulk([b"/app/oidc:secret", b"secret", b"/app/oidc:a:b"])
        assert tally.selected.prefixes == {"/app/oidc": 2, "": 1}

    def test_only_rotated(self):
        """Of a node that is visited again only what was done stays: all else is met again."""
        settled = _bulk([b"a:b"], [BulkOutcome.DONE, BulkOutcome.DONE, Outcome.GONE]).only_rotated()
        assert (settled.done, settled.visits, settled.reasons) == (2, 2, {})
        assert (settled.selected.size, settled.selected.samples) == (0, [])
        assert BulkOutcome.DONE not in Tally().only_rotated().outcomes

    def test_a_sweep_has_none_of_them(self):
        """What is stored of a sweep, and reported, names the outcomes of sweeps alone."""
        tally = Tally()
        tally.merge(Tally().only_rotated())
        assert list(tally.outcomes) == list(tally.to_dict()["outcomes"]) == list(Outcome)
