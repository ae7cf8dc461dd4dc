"""Decisions about the values of a page, and what becomes of its names, as tables: no server."""

from datetime import UTC, datetime, timedelta

import pytest

from rotator.crypto.codec import Codec
from rotator.crypto.keyring import Key, Keyring, generate
from rotator.crypto.layout import BUILTIN, FieldName, Format
from rotator.run.picking import Adoption, PurgeKey, PurgeUndecryptable
from rotator.server.replies import ErrorKind, ErrorReply, NoValue, SetResult
from rotator.server.scripts import Replacement
from rotator.server.store import GONE, NEVER
from rotator.sweep.node.page import RECORDS, Page, PageDecision, PageTally, decide, look, settle
from rotator.sweep.node.selector import Deletion, Kept, Rotation
from rotator.tally.tally import MET, SAMPLES, WRITTEN, BulkOutcome, Outcome

CURRENT, OLD, OTHER, FOREIGN = (Key.from_text(generate(), f"key {n}") for n in range(4))
NOW = datetime(2026, 11, 26, 8, tzinfo=UTC)
NAME = b"app:1"
TEXT = b'{"session": "%b"}' % (b"s" * 60)
PLAIN = b"hello"  # too short for any format

BUSY = ErrorReply("LOADING Redis is loading the dataset in memory", ErrorKind.RETRY)
ASK = ErrorReply("ASK 7 10.0.0.1:6379", ErrorKind.TOPOLOGY)
MOVED = ErrorReply("MOVED 7 10.0.0.1:6379", ErrorKind.TOPOLOGY)
FULL = ErrorReply("OOM command not allowed", ErrorKind.FAILURE)


def codec(current=CURRENT, *old):
    """A codec that reads all formats, and writes each value in its own."""
    return Codec(Keyring(current, old), list(BUILTIN.values()))


READS = codec(CURRENT, OLD, OTHER)


def sealed(*keys, name=NAME, text=TEXT, form="gcm"):
    """A value under *keys*, the outermost first."""
    for key in reversed(keys):
        text = codec(key).seal(name, text, BUILTIN[form])
    return text


def decided(selector, *values, names=None, reads=READS, **page):
    """What a page with these values comes to before anything is written."""
    page = Page(names or [NAME] * len(values), values, **page)
    decision = decide(page, reads, selector)
    look(page, decision, selector)
    return decision


def acts(selector):
    """The same selector, told to act."""
    selector.writes = True
    return selector


ROTATES = Rotation(READS, writes=True)
READS_ONLY = Rotation(READS, writes=False)
SMALL = Rotation(READS, writes=True, largest=50)
SMALL_READS = Rotation(READS, writes=False, largest=50)
ONE_KEY = Rotation(READS, writes=True, only_key=OTHER.id)
PURGES = acts(PurgeKey(READS, OLD))
LOOKS = PurgeKey(READS, OLD)
CLEANS = acts(PurgeUndecryptable(READS))
ADOPTS = acts(Adoption(READS, READS.formats[0], ["app:*"]))


@pytest.mark.parametrize(
    ("selector", "value", "outcome", "keys", "listed"),
    [
        (READS_ONLY, sealed(OLD), Outcome.WOULD_ROTATE, (OLD,), False),
        (ONE_KEY, sealed(OLD), Outcome.WOULD_ROTATE, (OLD,), False),
        (ROTATES, sealed(OLD, OTHER), Outcome.NESTED, (OLD, OTHER), True),
        (ROTATES, sealed(CURRENT, OLD), Outcome.NESTED, (CURRENT, OLD), True),
        (ROTATES, sealed(OLD, OTHER, form="sealed"), Outcome.NESTED, (OLD, OTHER), True),
        (ROTATES, sealed(OLD, OTHER, form="gcm-base64"), Outcome.NESTED, (OLD, OTHER), True),
        (SMALL, sealed(OLD), Outcome.TOO_LARGE, (OLD,), True),
        (SMALL_READS, sealed(OLD), Outcome.TOO_LARGE, (OLD,), True),
        (ROTATES, sealed(FOREIGN), Outcome.UNDECRYPTABLE, (), True),
        (ROTATES, PLAIN, Outcome.UNDECRYPTABLE, (), True),
        (ROTATES, NoValue.GONE, Outcome.GONE, (), False),
        (ROTATES, NoValue.NOT_STRING, Outcome.NOT_STRING, (), True),
        (ROTATES, NoValue.DENIED, Outcome.DENIED, (), True),
        (PURGES, NoValue.GONE, Outcome.GONE, (), False),
        (PURGES, NoValue.NOT_STRING, Outcome.NOT_STRING, (), False),
        (PURGES, NoValue.DENIED, Outcome.DENIED, (), True),
        (PURGES, sealed(CURRENT), Outcome.CURRENT, (), False),
        (PURGES, sealed(OTHER), BulkOutcome.OTHER_KEY, (), False),
        (PURGES, sealed(OLD, CURRENT), Outcome.NESTED, (), True),
        (PURGES, sealed(OTHER, OLD), Outcome.NESTED, (), True),
        (PURGES, sealed(FOREIGN), Outcome.UNDECRYPTABLE, (), False),
        (LOOKS, sealed(OLD), BulkOutcome.PICKED, (), False),
        (CLEANS, sealed(OLD), BulkOutcome.OTHER_KEY, (), False),
        (CLEANS, PLAIN, Outcome.UNDECRYPTABLE, (), False),
        (ADOPTS, sealed(OLD), BulkOutcome.ENCRYPTED, (), False),
        (ADOPTS, sealed(FOREIGN), Outcome.UNDECRYPTABLE, (), True),
    ],
)
def test_what_is_kept(selector, value, outcome, keys, listed):
    """A value that is not to be written is kept, with its outcome, its keys and its place."""
    decision = decided(selector, value)
    [kept] = decision.kept
    assert (kept.name, kept.outcome, kept.keys, kept.listed) == (NAME, outcome, keys, listed)
    assert not keys or kept.size == len(value)
    assert decision.rewrites == decision.deletions == decision.refused == []
    assert decision.current == 0


@pytest.mark.parametrize("form", ["gcm", "gcm-base64", "sealed"])
def test_what_is_rewritten(form):
    """A value under an old key gets a new one under the current key, in the same format."""
    old = sealed(OLD, form=form)
    decision = decided(ROTATES, old)
    [swap] = decision.rewrites
    assert (swap.name, swap.old, swap.key) == (NAME, old, OLD)
    opened = codec().open(NAME, swap.new)
    assert (opened.plaintext, opened.format.name) == (TEXT, form)
    assert (decision.encryptions, decision.undecided, decision.kept) == (1, [], [])


def test_how_it_is_rewritten():
    """A new value is written as the old one is: without padding, if that has none."""
    old = sealed(OLD, form="gcm-base64", text=b"text" * 4)
    swaps = decided(ROTATES, old, old.rstrip(b"=")).rewrites
    assert [swap.new.endswith(b"=") for swap in swaps] == [True, False]


def test_nonces_never_come_twice():
    """Each value of a page is encrypted with a nonce of its own, whatever its format."""
    forms = list(BUILTIN) * 5
    swaps = decided(ROTATES, *(sealed(OLD, form=form) for form in forms)).rewrites
    cuts = [BUILTIN[form].cutter.cut(swap.new) for form, swap in zip(forms, swaps, strict=True)]
    assert len({cut.nonce for cut in cuts}) == len(forms)
    assert {len(cut.nonce) for cut in cuts} == {12}


@pytest.mark.parametrize("selector", [ROTATES, SMALL])
def test_what_is_current(selector):
    """Values under the current key are only counted, with their sizes, however large they are."""
    values = [sealed(CURRENT), sealed(CURRENT, form="sealed")]
    decision = decided(selector, *values)
    assert (decision.current, decision.current_size) == (2, sum(map(len, values)))
    assert decision.current_key is CURRENT
    assert (decision.encryptions, decision.kept, decision.rewrites) == (0, [], [])


def test_what_is_as_large_as_may_be():
    """A value that is just as large as the server takes is moved."""
    value = sealed(OLD)
    selector = Rotation(READS, writes=True, largest=len(value))
    assert len(decided(selector, value).rewrites) == 1


@pytest.mark.parametrize(
    ("selector", "value", "number"),
    [(SMALL, sealed(OLD), 2), (SMALL_READS, sealed(OLD), 0), (ADOPTS, PLAIN, 2), (PURGES, PLAIN, 0),
     (ROTATES, PLAIN, 0)],
)  # fmt: skip
def test_encryptions(selector, value, number):
    """Each value that was encrypted counts, also if it was too large to be stored."""
    assert decided(selector, value, value).encryptions == number


def test_one_format_for_all():
    """Where one format is written, a value in another is moved to it, under any key."""
    one = Codec(Keyring(CURRENT, [OLD]), list(BUILTIN.values()), BUILTIN["sealed"])
    values = [sealed(CURRENT), sealed(OLD), sealed(CURRENT, form="sealed")]
    decision = decided(Rotation(one, writes=True), *values, reads=one)
    opened = [one.open(NAME, swap.new) for swap in decision.rewrites]
    assert [(one.format.name, one.key) for one in opened] == [("sealed", CURRENT)] * 2
    assert (decision.current, decision.encryptions) == (1, 2)


def test_formats_with_literals():
    """It is noted in which of them the current key was met, and in which values were written."""
    mine, text = (
        Format.parse(name, encoding, layout)
        for name, encoding, layout in (
            ("mine", "raw", ["hex:01", "nonce", "ciphertext", "tag:16"]),
            ("text", "hex", "v1.{nonce}{ciphertext}{tag}"),
        )
    )
    one = Codec(Keyring(CURRENT, [OLD]), [BUILTIN["gcm"], mine, text])
    met, old = (Codec(Keyring(key), [mine]).seal(NAME, TEXT, mine) for key in (CURRENT, OLD))
    inner = Codec(Keyring(OLD), [text]).seal(NAME, TEXT, text)
    rotates = Rotation(one, writes=True)
    formats = [
        decided(rotates, *values, reads=one).formats
        for values in ([met], [old], [sealed(CURRENT), sealed(OLD)])
    ]
    assert formats == [{(MET, "mine")}, {(WRITTEN, "mine")}, set()]
    nested = decided(rotates, Codec(Keyring(CURRENT), [text]).seal(NAME, inner, text), reads=one)
    assert [kept.outcome for kept in nested.kept] == [Outcome.NESTED]


@pytest.mark.parametrize(
    ("selector", "value", "detail"),
    [
        (PURGES, NoValue.DENIED, "the user may not read it"),
        (PURGES, NoValue.NOT_STRING, ""),
        (ROTATES, NoValue.DENIED, ""),
        (ROTATES, NoValue.GONE, ""),
    ],
)
def test_what_is_said_of_it(selector, value, detail):
    """A purge says what the user may not do; a run has told so before it began."""
    assert decided(selector, value).kept[0].detail == detail


def test_page_in_parts():
    """What is decided of parts of a page adds up, and closer looks are what the last one left."""
    values = [sealed(CURRENT), sealed(OLD), PLAIN, BUSY]
    whole, part = decided(ROTATES, *values), decided(ROTATES, *values, closer_looks=7)
    whole.extend(part)
    assert (whole.closer_looks, whole.current, whole.current_size) == (6, 2, 2 * len(values[0]))
    assert [len(one) for one in (whole.rewrites, whole.kept, whole.refused)] == [2, 2, 2]
    assert whole.rewrites[1:] == part.rewrites
    purged = decided(PURGES, sealed(OLD))
    purged.extend(decided(PURGES, sealed(OLD)))
    assert len(purged.deletions) == 2


def test_as_many_values_as_names():
    """A page with more values than names, or fewer, is refused: it is not known whose they are."""
    for values in ([], [PLAIN, PLAIN]):
        with pytest.raises(ValueError, match="zip"):
            decided(ROTATES, *values, names=[NAME])


def test_what_is_deleted():
    """A purge deletes what is under its key, whatever is inside but the current key."""
    values = [sealed(OLD), sealed(OLD, OTHER)]
    decision = decided(PURGES, *values)
    assert decision.deletions == [Deletion(NAME, value) for value in values]
    noise = b"\xff" * 60
    assert decided(CLEANS, noise).deletions == [Deletion(NAME, noise, "bad_tag")]


def test_what_is_adopted():
    """Plaintext is encrypted, and no key of it is tallied."""
    decision = decided(ADOPTS, PLAIN)
    [swap] = decision.rewrites
    assert (swap.old, swap.key) == (PLAIN, None)
    assert codec().open(NAME, swap.new).plaintext == PLAIN
    assert decided(ADOPTS, PLAIN, names=[b"other"]).kept[0].outcome is BulkOutcome.OUTSIDE


def test_what_was_tried():
    """What purge would have deleted a moment ago, and is something else now, has changed."""
    decision = decided(PURGES, sealed(CURRENT), tried={NAME})
    assert [(kept.name, kept.outcome, kept.listed) for kept in decision.kept] == [
        (NAME, BulkOutcome.CHANGED, False)
    ]
    assert decided(PURGES, sealed(OLD), tried={NAME}).deletions


def test_closer_looks():
    """Only so many undecryptable values are tried under other names."""
    there = b"app:2"
    value = sealed(OLD, name=there, form="sealed")
    decision = decided(ROTATES, value, value, value, others=[there], closer_looks=2)
    assert [kept.reason for kept in decision.kept] == ["wrong_name", "wrong_name", "bad_tag"]
    assert decision.closer_looks == -1


def test_what_cannot_be_read():
    """An error of the server is kept for `settle`, which knows whether to try again."""
    assert decided(ROTATES, BUSY).refused == [(NAME, BUSY)]


SWAP = Replacement(NAME, b"old", b"new", OLD)
PLAIN_SWAP = Replacement(NAME, b"old", b"new")
DELETION = Deletion(NAME, b"old", "bad_tag")


def settled(answer, change=SWAP, moved=()):
    """What becomes of one answer: the tally of the page, and the visits that go on."""
    decision = PageDecision(CURRENT)
    (decision.deletions if isinstance(change, Deletion) else decision.rewrites).append(change)
    page = PageTally("node:1", NOW, moved=set(moved))
    return page, settle(decision, [answer], page)


@pytest.mark.parametrize(
    ("change", "answer", "outcomes"),
    [
        (SWAP, SetResult.DONE, {Outcome.ROTATED: 1}),
        (SWAP, SetResult.GONE, {Outcome.GONE: 1}),
        (PLAIN_SWAP, SetResult.DONE, {BulkOutcome.DONE: 1}),
        (PLAIN_SWAP, SetResult.DENIED, {Outcome.DENIED: 1}),
        (PLAIN_SWAP, FULL, {Outcome.FAILED: 1}),
        (DELETION, SetResult.DONE, {BulkOutcome.DONE: 1}),
        (DELETION, SetResult.GONE, {Outcome.GONE: 1}),
        (DELETION, SetResult.DENIED, {Outcome.DENIED: 1}),
        (DELETION, FULL, {Outcome.FAILED: 1}),
    ],
)
def test_what_ends_at_once(change, answer, outcomes):
    """An answer after which nothing remains under a key that is tallied ends the visit."""
    page, again = settled(answer, change)
    assert {outcome: n for outcome, n in page.tally.outcomes.items() if n} == outcomes
    assert (again, page.remaining) == ([], [])
    assert page.rewritten == ({NAME} if change in {SWAP, PLAIN_SWAP} and page.tally.done else set())
    failed = outcomes.keys() & {Outcome.DENIED, Outcome.FAILED}
    assert [(one.node, one.outcome) for one in page.tally.samples()] == [
        ("node:1", one) for one in failed
    ]
    if answer is SetResult.DENIED:
        assert [one.detail for one in page.tally.samples()] == ["the user may not write it"]


def test_keys_of_what_was_met():
    """A key was found where its value was rotated, or met and gone; without one none is."""
    rotated, _ = settled(SetResult.DONE)
    key = rotated.tally.keys[OLD.id]
    assert (key.found, key.rotated, key.last_seen_at) == (1, 1, NOW)
    assert key.prefixes == {"app": 1}
    gone, _ = settled(SetResult.GONE)
    key = gone.tally.keys[OLD.id]
    assert (key.found, key.rotated, key.last_seen_at) == (1, 0, NOW)
    assert settled(SetResult.DONE, DELETION)[0].tally.keys == {}
    assert settled(SetResult.DONE, DELETION)[0].tally.reasons == {"done.bad_tag": 1}


@pytest.mark.parametrize(
    ("answer", "moved", "otherwise"),
    [
        (SetResult.CHANGED, (), Outcome.CONTENDED),
        (BUSY, (), Outcome.FAILED),
        (ASK, (), Outcome.FAILED),
        (ASK, (NAME,), Outcome.FAILED),
        (MOVED, (), Outcome.FAILED),
    ],
)
def test_what_goes_on(answer, moved, otherwise):
    """A changed value, a busy server and a redirection have the name visited again."""
    page, [again] = settled(answer, moved=moved)
    assert again.otherwise.outcome is otherwise
    assert again.reply is (None if answer is SetResult.CHANGED else answer)
    told = again.reply.message if again.reply else "changed at each of 5 tries"
    assert again.otherwise.detail == told
    assert (again.otherwise.keys, again.otherwise.size) == ((OLD,), 3)
    assert page.tally.visits == 0
    assert page.topology_error is (answer in {ASK, MOVED})


@pytest.mark.parametrize(
    ("answer", "moved", "outcome", "detail"),
    [
        (SetResult.DENIED, (), Outcome.DENIED, ""),
        (FULL, (), Outcome.FAILED, FULL.message),
        (MOVED, (NAME,), Outcome.FAILED, MOVED.message),
    ],
)
def test_what_remains(answer, moved, outcome, detail):
    """What stays under an old key is counted once its expiry is known, and is a problem."""
    page, again = settled(answer, moved=moved)
    assert (again, page.tally.visits) == ([], 0)
    page.commit([NEVER])
    key = page.tally.keys[OLD.id]
    assert (key.remaining, key.remaining_without_ttl, page.remaining) == (1, 1, [])
    [problem] = page.tally.samples()
    assert (problem.outcome, problem.detail) == (outcome, detail)
    assert page.records == {NAME: (OLD.id,)}


def test_what_is_gone_when_its_expiry_is_asked_for():
    """A value that was met and is gone a moment later remains nowhere."""
    page, _ = settled(SetResult.DENIED)
    page.commit([GONE])
    assert page.tally.outcomes[Outcome.GONE] == page.tally.visits == 1
    assert (page.tally.keys[OLD.id].found, page.tally.keys[OLD.id].remaining) == (1, 0)
    assert page.records == {}


def test_what_remains_until_it_expires():
    """Each value is counted with its own expiry; one that is gone meanwhile ends none of them."""
    decision = PageDecision(CURRENT)
    decision.kept = [Kept(b"a:%d" % n, Outcome.NESTED, (OLD,), 9) for n in range(3)]
    decision.kept.append(Kept(b"a:3", Outcome.TOO_LARGE, (OLD,), 9))
    page = PageTally("node:1", NOW)
    settle(decision, [], page)
    for expiries in ([GONE], [GONE] * 5):
        with pytest.raises(ValueError, match="zip"):
            PageTally("node:1", NOW, remaining=list(page.remaining)).commit(expiries)
    soon, later = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    page.commit([GONE, *(int(at.timestamp()) * 1000 for at in (soon, soon, later))])
    key = page.tally.keys[OLD.id]
    assert (key.found, key.remaining, key.remaining_without_ttl, key.too_large) == (4, 3, 0, 1)
    assert (key.drain.latest, key.last_seen_at, key.last_too_large_at) == (later, NOW, NOW)


def test_what_is_picked():
    """What purge would delete is summed up; of what is kept for another reason only that counts."""
    page, value = PageTally("node:1", NOW), sealed(OLD)
    settle(decided(LOOKS, value, sealed(OTHER, text=TEXT * 2)), [], page)
    picked = page.tally.selected
    assert (picked.found, picked.size, picked.samples, picked.too_large) == (
        1,
        len(value),
        [NAME],
        0,
    )
    assert (picked.first_seen_at, picked.last_seen_at) == (NOW, NOW)
    assert picked.remaining_without_ttl == 1  # its expiry is not asked for


def test_reasons():
    """The reason for which a value does not open is counted, and shown with its name."""
    page = PageTally("node:1", NOW)
    settle(decided(ROTATES, PLAIN), [], page)
    assert page.tally.reasons == {"not_a_format": 1}
    [problem] = page.tally.samples()
    assert (problem.node, problem.reason) == ("node:1", "not_a_format")


def test_names_of_fields():
    """Of a field that was rewritten its hash is known, and nothing of one that was not."""
    swap = Replacement(FieldName(b"h", b"f"), b"old", b"new", OLD)
    assert settled(SetResult.DONE, swap)[0].rewritten == {b"h"}
    assert settled(SetResult.GONE, swap)[0].rewritten == set()


def test_several_that_cannot_be_read():
    """Each name that the server refuses is tried again, and that data moved is not forgotten."""
    page = PageTally("node:1", NOW)
    again = settle(decided(ROTATES, MOVED, BUSY, names=[b"a", b"b"]), [], page)
    assert [(one.otherwise.name, one.reply) for one in again] == [(b"a", MOVED), (b"b", BUSY)]
    assert page.topology_error
    settle(decided(ROTATES, FULL), [], page)
    assert [problem.detail for problem in page.tally.samples()] == [FULL.message]


def test_answers_belong_to_changes():
    """Rewrites and deletions are told apart by their order; too few answers are refused."""
    decision = PageDecision(CURRENT, rewrites=[SWAP, PLAIN_SWAP], deletions=[DELETION])
    page = PageTally("node:1", NOW)
    settle(decision, [SetResult.DONE, SetResult.GONE, SetResult.DONE], page)
    assert page.tally.reasons == {"done.bad_tag": 1}
    assert (page.tally.outcomes[Outcome.ROTATED], page.tally.outcomes[Outcome.GONE]) == (1, 1)
    for answers in ([SetResult.GONE], [SetResult.GONE] * 4):
        with pytest.raises(ValueError, match="zip"):
            settle(decision, answers, PageTally("node:1", NOW))


def test_records_are_bounded():
    """However many names are not current in the end, no more than are allowed are remembered."""
    page = PageTally("node:1", NOW)
    for number in range(RECORDS + 1):
        page.keep(Kept(b"%d" % number, Outcome.NOT_STRING))
    assert len(page.records) == RECORDS


def test_a_whole_page():
    """Each visit of a page is counted once, whatever its outcome, and keys are told apart."""
    decision = PageDecision(CURRENT, current=3, current_size=300)
    keys = [OLD, OTHER, OLD, OTHER]
    decision.rewrites = [
        Replacement(b"a:%d" % n, b"x" * n, b"new", key) for n, key in enumerate(keys)
    ]
    decision.kept = [
        Kept(b"list", Outcome.NOT_STRING),
        Kept(b"nested", Outcome.NESTED, (OLD, OTHER), 9),
    ]
    decision.refused = [(b"full", FULL), (b"busy", BUSY)]
    page = PageTally("node:1", NOW)
    answers = [SetResult.DONE, SetResult.DONE, SetResult.CHANGED, SetResult.DONE]
    again = settle(decision, answers, page)
    page.commit([None])
    assert [one.otherwise.name for one in again] == [b"busy", b"a:2"]
    assert {str(outcome): n for outcome, n in page.tally.outcomes.items() if n} == {
        "current": 3,
        "rotated": 3,
        "nested": 1,
        "not_string": 1,
        "failed": 1,
    }
    found = {key: page.tally.keys[key.id] for key in (CURRENT, OLD, OTHER)}
    assert [(key.found, key.rotated, key.remaining) for key in found.values()] == [
        (3, 0, 0),
        (2, 1, 1),
        (3, 2, 1),
    ]
    assert found[CURRENT].last_seen_at == NOW
    assert page.rewritten == {b"a:0", b"a:1", b"a:3"}
    assert page.records[b"list"] is Outcome.NOT_STRING


def test_samples_are_enough():
    """A page decides with as many closer looks as problems are shown, unless told otherwise."""
    assert Page([], []).closer_looks == PageDecision(CURRENT).closer_looks == SAMPLES
