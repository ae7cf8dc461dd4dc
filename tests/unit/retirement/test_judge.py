"""Verdicts: one test for each, one for each reason, and what must never be called retirable."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.retirement.history import KeyHistory, KeySeen, SweepRecord, fold
from rotator.retirement.judge import judge
from rotator.retirement.places import Evidence, Hold, Verdict
from rotator.tally.tally import BLOCKING, Mode, Outcome, Tally

KEY = "9f2c41d07be3a655"
FIELD = "caches[0].encryption.keys.old[0]"
NOW = datetime(2026, 11, 23, 10, 3, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
CLEAN = KeySeen()


def _at(*, hours=0, minutes=0):
    """A time that long before now."""
    return NOW - timedelta(hours=hours, minutes=minutes)


def _seen(at, found=1, **more):
    """What a sweep saw that met the key at *at*."""
    more.setdefault("first_seen_at", at)
    return KeySeen(found=found, last_seen_at=at, **more)


def _left(at, number=3, drains_at=None, prefixes=()):
    """What a sweep saw that left values under the key; without *drains_at* they have no TTL."""
    without = 0 if drains_at else number
    return _seen(
        at,
        number,
        remaining=number,
        remaining_without_ttl=without,
        drains_at=drains_at,
        prefixes=prefixes,
    )


def _sweep(finished_at, seen=CLEAN, mode=Mode.RUN, **more):
    """A sweep of five minutes that saw *seen* of the key."""
    record = SweepRecord(
        cache="shared-redis",
        mode=mode,
        started_at=finished_at - 5 * MINUTE,
        finished_at=finished_at,
        complete=True,
        current="0" * 16,
        keys={KEY: seen},
    )
    return replace(record, **more)


def _case(*sweeps, holds=(), field=FIELD):
    """The evidence after these sweeps, all folded into the history."""
    history = KeyHistory()
    for sweep in sweeps:
        history = fold(history, sweep, KEY)
    last = sweeps[-1:]
    if len(sweeps) > 1 and sweeps[-1].mode is Mode.VERIFY:
        last = sweeps[-2:]
    cache = sweeps[-1].cache if sweeps else "other-redis"
    sweep, verification = (*last, None, None)[:2]
    return Evidence(KEY, cache, field, sweep, verification, history, tuple(holds))


def _judge(*cases, now=NOW, quiet=HOUR, **more):
    """The judgement on these cases."""
    return judge(KEY, cases, now=now, quiet=quiet, **more)


GONE = (
    _sweep(_at(hours=3), _seen(_at(hours=3, minutes=1))),
    _sweep(_at(hours=2), mode=Mode.VERIFY),
    _sweep(NOW),
)
"""Moved three hours ago, verified, and not met by a sweep just now."""


class TestRetirable:
    """When a key can go."""

    def test_gone(self):
        """A key that was moved, verified and quiet is retirable, and its field is named."""
        judgement = _judge(_case(*GONE))
        assert judgement.verdict is Verdict.RETIRABLE
        assert judgement.next_step == "remove caches[0].encryption.keys.old[0]"
        assert judgement.reasons == (
            "last met 2026-11-23 07:02 UTC; 2 complete sweeps since then did not meet it",
        )

    def test_never_met(self):
        """A key that was never met is retirable after a second sweep, an hour after the first."""
        judgement = _judge(_case(_sweep(_at(hours=2)), _sweep(NOW)))
        assert judgement.verdict is Verdict.RETIRABLE
        assert judgement.reasons == ("2 complete sweeps did not meet it, and none ever did",)

    def test_in_all_caches(self):
        """A key that is retirable in two caches is removed from both."""
        other = _case(*GONE, field="caches[1].encryption.keys.old[1]")
        judgement = _judge(_case(*GONE), replace(other, cache="other-redis"))
        assert judgement.verdict is Verdict.RETIRABLE
        assert judgement.next_step == f"remove {FIELD} and caches[1].encryption.keys.old[1]"
        assert [reason.partition(":")[0] for reason in judgement.reasons] == [
            "shared-redis",
            "other-redis",
        ]

    def test_drained(self):
        """A key whose last values expired is retirable once it was not met for an hour."""
        left = _left(_at(hours=3), drains_at=_at(hours=2))
        judgement = _judge(_case(_sweep(_at(hours=3), left), _sweep(NOW)))
        assert judgement.verdict is Verdict.RETIRABLE

    @pytest.mark.parametrize(
        "outcome", [Outcome.UNDECRYPTABLE, Outcome.NOT_STRING, Outcome.TOO_LARGE]
    )
    def test_accepted(self, outcome):
        """Open items that were accepted no longer block, and that they were is recorded."""
        known = {"open_items": {outcome: 5}, "accepted": {outcome: 5}}
        judgement = _judge(_case(*(replace(sweep, **known) for sweep in GONE)))
        assert judgement.verdict is Verdict.RETIRABLE
        assert judgement.reasons[-1] == f"5 {outcome} were accepted"

    def test_accepted_too_large(self):
        """A value under the key that is too large, and accepted, is not in the way."""
        known = {"open_items": {Outcome.TOO_LARGE: 1}, "accepted": {Outcome.TOO_LARGE: 1}}
        large = KeySeen(found=1, remaining=1, remaining_without_ttl=1,
                        too_large=1, too_large_without_ttl=1)  # fmt: skip
        sweeps = [_sweep(_at(hours=hours), large, **known) for hours in (3, 2, 0)]
        assert _judge(_case(*sweeps)).verdict is Verdict.RETIRABLE


class TestUnknown:
    """What was not looked at."""

    def _judge_last(self, **more):
        """The judgement when only the last sweep is different from a good one."""
        judgement = _judge(_case(*GONE[:-1], _sweep(NOW, **more)))
        assert judgement.verdict is Verdict.UNKNOWN
        return judgement

    def test_never_swept(self):
        """Never swept to the end."""
        judgement = _judge(_case())
        assert judgement.verdict is Verdict.UNKNOWN
        assert judgement.reasons == ("never swept to the end",)
        assert judgement.next_step == "run for other-redis"

    def test_no_cache(self):
        """No cache that lists it was swept."""
        judgement = _judge()
        assert (judgement.verdict, judgement.reasons) == (
            Verdict.UNKNOWN,
            ("no cache that lists it was swept",),
        )

    def test_incomplete(self):
        """No complete sweep."""
        judgement = self._judge_last(complete=False)
        assert judgement.reasons == ("no complete sweep",)
        assert judgement.next_step == "run again until one is complete"

    def test_not_looked_at(self):
        """What was not looked at is said as the sweep said it."""
        sentence = "redis-1.internal:6379 could not be reached"
        judgement = self._judge_last(complete=False, not_looked_at=(sentence,))
        assert judgement.reasons == (sentence,)
        assert judgement.next_step == "see to what was not looked at, then run again"

    @pytest.mark.parametrize(
        ("outcome", "number", "reason", "step"),
        [
            (
                Outcome.UNDECRYPTABLE,
                5,
                "5 values open under no known key and format, and may be under this one",
                (
                    "see what they are with `rotator detect`, "
                    "or accept them with --accept undecryptable=5"
                ),
            ),
            (
                Outcome.UNDECRYPTABLE,
                1,
                "1 value opens under no known key and format, and may be under this one",
                (
                    "see what they are with `rotator detect`, "
                    "or accept them with --accept undecryptable=1"
                ),
            ),
            (
                Outcome.NOT_STRING,
                2,
                "2 entries are of another Redis type and were not looked into",
                (
                    "see what they are in the report's problems, "
                    "or accept them with --accept not_string=2"
                ),
            ),
            (
                Outcome.TOO_LARGE,
                1,
                "1 value would be too large for the server once it is re-encrypted",
                "have them written anew or deleted, or accept them with --accept too_large=1",
            ),
            (
                Outcome.DENIED,
                7,
                "7 entries could not be read or written: the ACL forbids it",
                "give the user the rights that `rotator check` names, then run again",
            ),
            (
                Outcome.FAILED,
                1,
                "1 entry could not be read or written: the server answered with an error",
                "see the errors in the report's problems, then run again",
            ),
        ],
    )
    def test_open_items(self, outcome, number, reason, step):
        """Each kind of open item gives its number, and says what to look at."""
        judgement = self._judge_last(open_items={outcome: number})
        assert (judgement.reasons, judgement.next_step) == ((reason,), step)

    @pytest.mark.parametrize("outcome", BLOCKING)
    def test_more_than_accepted(self, outcome):
        """One more open item than was accepted blocks again, with all of them."""
        judgement = self._judge_last(open_items={outcome: 6}, accepted={outcome: 5})
        assert judgement.reasons[0].startswith("6 ")

    @pytest.mark.parametrize("outcome", [Outcome.DENIED, Outcome.FAILED])
    def test_not_acceptable(self, outcome):
        """What the server refused cannot be accepted."""
        self._judge_last(open_items={outcome: 1}, accepted={outcome: 1})

    def test_too_large_shows_when_writing(self):
        """A value that proved too large blocks although the verifying sweep could read it."""
        sweeps = (_sweep(_at(minutes=6), open_items={Outcome.TOO_LARGE: 1}),
                  _sweep(NOW, mode=Mode.VERIFY))  # fmt: skip
        assert _judge(_case(*GONE, *sweeps)).verdict is Verdict.UNKNOWN

    def test_one_cache_of_two(self):
        """A key is not better than in the cache that knows least, and its reasons name that one."""
        judgement = _judge(_case(*GONE), _case())
        assert judgement.verdict is Verdict.UNKNOWN
        assert judgement.reasons == ("other-redis: never swept to the end",)


class TestInUse:
    """Something stays under the key, or something writes with it."""

    def test_without_ttl(self):
        """Values without a TTL remain under it, with when and where they were met."""
        left = _left(NOW, prefixes=("/app/oidc", "/app/saml"))
        judgement = _judge(_case(_sweep(NOW, left, mode=Mode.DRY_RUN)))
        assert judgement.verdict is Verdict.IN_USE
        assert judgement.reasons == (
            (
                "3 values without a TTL remain under it, first seen 2026-11-23 10:03 UTC"
                " (names begin with /app/oidc, /app/saml)"
            ),
        )
        assert judgement.next_step == "run without --dry-run to move what remains"

    def test_many_are_grouped(self):
        """A large number is written as in the rest of the report, but in an option as it is."""
        left = _left(NOW, 16_631)
        (first,) = _judge(_case(_sweep(NOW, left, open_items={}))).reasons
        assert first.startswith("16,631 values without a TTL remain")
        blocked = _judge(_case(_sweep(NOW, open_items={Outcome.TOO_LARGE: 1_204})))
        assert blocked.reasons[0].startswith("1,204 values would be too large")
        assert blocked.next_step.endswith("--accept too_large=1204")

    def test_one_without_ttl(self):
        """One value is enough, and is spoken of as one."""
        judgement = _judge(_case(_sweep(NOW, _left(NOW, 1))))
        assert judgement.reasons == (
            "1 value without a TTL remains under it, first seen 2026-11-23 10:03 UTC",
        )
        assert judgement.next_step == "run again to move what remains"

    def test_verifying_sweep_met_it(self):
        """The verifying sweep still met values: something still encrypts with it."""
        met = _left(NOW, 3, NOW + HOUR, prefixes=("/app/oidc",))
        judgement = _judge(_case(_sweep(_at(minutes=6)), _sweep(NOW, met, mode=Mode.VERIFY)))
        assert judgement.verdict is Verdict.IN_USE
        assert judgement.reasons[0].startswith(
            "the verifying sweep still met 3 values under it: "
            "something still encrypts with it (names begin with /app/oidc)"
        )
        assert judgement.next_step == (
            "find what still encrypts with it, give that the current key, then run again"
        )

    def test_verifying_sweep_met_what_was_left(self):
        """What the sweep before had to leave and has a TTL drains: nothing was encrypted anew."""
        left = _left(_at(minutes=6), 3, NOW + HOUR)
        again = replace(left, last_seen_at=NOW)
        judgement = _judge(
            _case(_sweep(_at(minutes=6), left), _sweep(NOW, again, mode=Mode.VERIFY))
        )
        assert judgement.verdict is Verdict.DRAINING

    def test_too_large_hides_nothing(self):
        """A value that was left because it is too large does not explain another one."""
        known = {"open_items": {Outcome.TOO_LARGE: 1}, "accepted": {Outcome.TOO_LARGE: 1}}
        large = KeySeen(found=1, remaining=1, too_large=1)
        again = replace(large, found=2, remaining=2, last_seen_at=NOW, drains_at=NOW + HOUR)
        sweeps = (
            _sweep(_at(minutes=6), large, **known),
            _sweep(NOW, again, mode=Mode.VERIFY, **known),
        )
        assert _judge(_case(*sweeps)).reasons[0].startswith("the verifying sweep still met 1 value")

    def test_met_by_a_broken_off_verification(self):
        """A verifying sweep that met it counts also when it was not complete."""
        met = _sweep(NOW, _left(NOW, 1, NOW + HOUR), mode=Mode.VERIFY, complete=False)
        assert _judge(_case(*GONE[:-1], _sweep(_at(minutes=6)), met)).verdict is Verdict.IN_USE

    def test_returned(self):
        """Values were encrypted with it after it had been clean: something still writes with it."""
        clean_at = datetime(2026, 11, 20, 10, tzinfo=UTC)
        judgement = _judge(
            _case(
                _sweep(clean_at),
                _sweep(_at(minutes=6), _seen(_at(minutes=7), 3, prefixes=("/app/oidc",))),
                _sweep(NOW, mode=Mode.VERIFY),
            )
        )
        assert judgement.verdict is Verdict.IN_USE
        assert judgement.reasons == (
            (
                "3 values were encrypted with it after it had been clean since 2026-11-20 10:00"
                " UTC: something still writes with it (names begin with /app/oidc)"
            ),
            "last met 7 minutes ago; 1h of quiet is asked for",
        )

    def test_returned_long_ago(self):
        """A key that came back, and was clean and quiet again, is retirable in the end."""
        sweeps = (_sweep(_at(hours=9)), _sweep(_at(hours=5), _seen(_at(hours=5))), _sweep(NOW))
        assert _judge(_case(*sweeps)).verdict is Verdict.RETIRABLE

    def test_current_elsewhere(self):
        """A key that is current in another cache is in use."""
        judgement = _judge(_case(*GONE), current_in=["caches[1].encryption.keys.current"])
        assert judgement.verdict is Verdict.IN_USE
        assert judgement.reasons == ("it is the current key at caches[1].encryption.keys.current",)
        assert judgement.next_step == "give caches[1].encryption.keys.current another key"


class TestDraining:
    """All that remains has a TTL."""

    def test_draining(self):
        """Values with a TTL remain, and when the last one expires is known."""
        until = datetime(2026, 11, 25, 10, tzinfo=UTC)
        judgement = _judge(_case(_sweep(NOW, _left(NOW, 3, until))))
        assert (judgement.verdict, judgement.drains_at) == (Verdict.DRAINING, until)
        assert judgement.reasons == (
            "3 values with a TTL remain under it; the last expires at 2026-11-25 10:00 UTC",
        )
        assert judgement.next_step == (
            "run again to move what remains, or wait until 2026-11-25 10:00 UTC and run again"
        )

    def test_dry_run(self):
        """After a dry run the next step is to run."""
        left = _left(NOW, 1, datetime(2026, 11, 25, 10, tzinfo=UTC))
        judgement = _judge(_case(_sweep(NOW, left, mode=Mode.DRY_RUN)))
        assert judgement.reasons == (
            "1 value with a TTL remains under it; it expires at 2026-11-25 10:00 UTC",
        )
        assert judgement.next_step.startswith("run without --dry-run to move what remains, or ")

    def test_latest_of_two_caches(self):
        """It drains when it has drained in the last of the caches."""
        ends = [NOW + HOUR, NOW + 2 * HOUR]
        cases = [_case(_sweep(NOW, _left(NOW, 3, end))) for end in ends]
        assert _judge(*cases).drains_at == ends[1]

    def test_not_if_one_stays(self):
        """It does not drain if in one of the caches a value has no TTL."""
        cases = [_case(_sweep(NOW, _left(NOW, 3, end))) for end in (NOW + HOUR, None)]
        judgement = _judge(*cases)
        assert (judgement.verdict, judgement.drains_at) == (Verdict.IN_USE, None)
        assert len(judgement.reasons) == 2


class TestVerifying:
    """None left, but that is not certain yet."""

    def test_last_met(self):
        """Last met a minute ago; 1h of quiet is asked for; ready when that is over."""
        seen_at = datetime(2026, 11, 23, 10, 2, 1, tzinfo=UTC)
        judgement = _judge(
            _case(
                _sweep(NOW - timedelta(seconds=40), _seen(seen_at, 812203)),
                _sweep(NOW, mode=Mode.VERIFY),
            )
        )
        assert judgement.verdict is Verdict.VERIFYING
        assert judgement.reasons == ("last met 1 minute ago; 1h of quiet is asked for",)
        assert judgement.next_step == "run again after 11:02 UTC"
        assert judgement.ready_at == seen_at + HOUR

    def test_another_day(self):
        """A time that is not today is given with its date."""
        judgement = _judge(_case(*GONE), quiet=timedelta(days=1))
        assert judgement.reasons == ("last met 3 hours ago; 1d of quiet is asked for",)
        assert judgement.next_step == "run again after 2026-11-24 07:02 UTC"

    def test_first_looked_for(self):
        """A key that was never met must be quiet from the first look on."""
        judgement = _judge(_case(_sweep(_at(minutes=20)), _sweep(NOW)))
        assert judgement.verdict is Verdict.VERIFYING
        assert judgement.reasons == ("first looked for 25 minutes ago; 1h of quiet is asked for",)
        assert judgement.ready_at == _at(minutes=25) + HOUR

    def test_not_confirmed(self):
        """Not yet confirmed by a later complete sweep."""
        judgement = _judge(_case(_sweep(_at(hours=2), _seen(_at(hours=2)))))
        assert judgement.verdict is Verdict.VERIFYING
        assert judgement.reasons == (
            "not yet confirmed by a later complete sweep",
            "last swept at 08:03 UTC, when 1h of quiet was not over",
        )
        assert (judgement.next_step, judgement.ready_at) == ("run again", NOW)

    def test_broken_off_verification(self):
        """A verification that was broken off confirms nothing."""
        sweeps = (_sweep(_at(minutes=6), _seen(_at(hours=2))),
                  _sweep(NOW, mode=Mode.VERIFY, complete=False))  # fmt: skip
        judgement = _judge(_case(*sweeps))
        assert judgement.verdict is Verdict.VERIFYING
        assert judgement.reasons[0] == "not yet confirmed by a later complete sweep"

    def test_first_sweep_was_long(self):
        """One sweep that took longer than the quiet time is still only a first look."""
        judgement = _judge(_case(_sweep(NOW, started_at=_at(hours=3))))
        assert judgement.verdict is Verdict.VERIFYING
        assert judgement.reasons == ("not yet confirmed by a later complete sweep",)

    def test_history_from_before(self):
        """A history that does not know this sweep yet does not hide that it met the key."""
        case = _case(*GONE)
        met = replace(case, sweep=_sweep(NOW, _seen(_at(hours=2))))
        assert _judge(met).verdict is Verdict.VERIFYING

    def test_no_history(self):
        """Without history a key that one sweep did not meet is only looked for since then."""
        judgement = _judge(Evidence(KEY, "shared-redis", FIELD, _sweep(NOW)))
        assert judgement.verdict is Verdict.VERIFYING
        assert judgement.ready_at == _at(minutes=5) + HOUR

    def test_not_verified(self):
        """The sweep was not verified, and then no key gets better, however quiet it was."""
        judgement = _judge(_case(*GONE[:-1], _sweep(NOW, verified=False)))
        assert judgement.verdict is Verdict.VERIFYING
        assert judgement.reasons == ("the sweep was not verified (--no-verify)",)
        assert judgement.next_step == "run again without --no-verify"

    def test_swept_too_early(self):
        """A cache swept before the quiet time was over has not shown that it was quiet."""
        judgement = _judge(
            _case(_sweep(_at(hours=3), _seen(_at(hours=3))), _sweep(_at(minutes=150)))
        )
        assert judgement.verdict is Verdict.VERIFYING
        assert judgement.reasons == ("last swept at 07:33 UTC, when 1h of quiet was not over",)

    def test_clock_went_back(self):
        """A sighting in the future says that a clock is wrong, and is believed."""
        judgement = _judge(_case(*GONE), now=_at(hours=4), quiet=timedelta(0))
        assert judgement.verdict is Verdict.VERIFYING
        assert judgement.reasons == (
            "last looked at 2026-11-23 10:03 UTC, which is later than now: a clock is wrong",
        )
        assert judgement.next_step.startswith("set the clock right, then run again")

    def test_in_words(self):
        """A few seconds ago is less than a minute ago."""
        judgement = _judge(_case(_sweep(NOW, _seen(NOW)), _sweep(NOW)), quiet=90 * MINUTE / 60)
        assert judgement.reasons == ("last met less than a minute ago; 90s of quiet is asked for",)


class TestNextStep:
    """What to do first, of several things."""

    def test_what_says_most(self):
        """A clock that is wrong comes before --no-verify, and that before another run."""
        unverified = replace(GONE[2], verified=False)
        judgement = _judge(_case(*GONE[:2], unverified), quiet=timedelta(hours=4))
        assert judgement.next_step.startswith("run again without --no-verify after")
        doubtful = replace(unverified, doubt="a clock was set")
        judgement = _judge(_case(*GONE[:2], doubtful), quiet=timedelta(hours=4))
        assert judgement.next_step.startswith("set the clocks right (NTP), then run again after")


class TestHeld:
    """Old copies could come back."""

    CLEAN_SINCE = _at(hours=2)

    def _judge_held(self, *holds):
        """The judgement on a key that only holds keep from being retirable."""
        judgement = _judge(_case(*GONE, holds=holds))
        assert judgement.verdict is Verdict.HELD
        return judgement

    def test_replica(self):
        """A replica that has not caught up could be promoted with old values."""
        judgement = self._judge_held(Hold.replica("redis-2:6379", "is 4096 bytes behind"))
        assert judgement.reasons == ("replica redis-2:6379 is 4096 bytes behind",)
        assert judgement.next_step == "run again when replica redis-2:6379 has caught up"
        assert judgement.held_until is None

    def test_failover(self):
        """A node that failed over or restarted after it was found clean must be swept again."""
        judgement = self._judge_held(Hold.failover("redis-0:6379"))
        assert judgement.reasons == (
            "redis-0:6379 failed over or restarted after it was found clean",
        )
        assert judgement.next_step == "run again now"

    def test_snapshot(self):
        """An RDB file from before the key was gone would bring it back; BGSAVE ends that."""
        hold = Hold.snapshot("redis-0:6379", _at(hours=9), self.CLEAN_SINCE)
        judgement = self._judge_held(hold)
        assert judgement.reasons == (
            (
                "the RDB file of redis-0:6379 is from 2026-11-23 01:03 UTC, "
                "when the key was not yet known to be gone"
            ),
        )
        assert judgement.next_step == "BGSAVE on redis-0:6379, then run again"

    def test_snapshot_of_unknown_age(self):
        """An RDB file of unknown age holds."""
        hold = Hold.snapshot("redis-0:6379", None, self.CLEAN_SINCE)
        assert "of unknown age" in self._judge_held(hold).reasons[0]

    def test_append_only(self):
        """An append-only file that was not rewritten since still holds old values."""
        hold = Hold.append_only("redis-0:6379")
        judgement = self._judge_held(hold)
        assert judgement.reasons == (
            "the append-only file of redis-0:6379 was not rewritten since the key is gone",
        )
        assert judgement.next_step == "BGREWRITEAOF on redis-0:6379, then run again"

    def test_backups(self):
        """Backups hold for as long as they are kept, counted from when the key was gone."""
        judgement = self._judge_held(Hold.backups(self.CLEAN_SINCE, timedelta(days=30)))
        assert judgement.held_until == datetime(2026, 12, 23, 8, 3, 12, tzinfo=UTC)
        assert judgement.reasons == (
            "backups are kept for 30d and may hold it until 2026-12-23 08:03 UTC",
        )
        assert judgement.next_step == "wait until 2026-12-23 08:03 UTC, then run again"

    def test_backups_are_gone(self):
        """A retention that is over holds nothing."""
        hold = Hold.backups(self.CLEAN_SINCE, HOUR)
        assert _judge(_case(*GONE, holds=[hold])).verdict is Verdict.RETIRABLE

    def test_file_from_after(self):
        """A file that was begun after the key was gone holds nothing."""
        begun_at = self.CLEAN_SINCE + MINUTE
        assert Hold.snapshot("redis-0:6379", begun_at, self.CLEAN_SINCE) is None

    def test_several(self):
        """Every hold is a reason, the latest end counts, and the next step names all."""
        judgement = self._judge_held(
            Hold.backups(self.CLEAN_SINCE, timedelta(days=1)),
            Hold.backups(self.CLEAN_SINCE, timedelta(days=30)),
            Hold.failover("redis-0:6379"),
        )
        assert len(judgement.reasons) == 3
        assert judgement.held_until == self.CLEAN_SINCE + timedelta(days=30)
        assert judgement.next_step.count(";") == 2

    def test_without_end(self):
        """A retention longer than the calendar ends with it."""
        assert Hold.backups(NOW, timedelta.max).until.year == 9999


class TestHistory:
    """What sweeps add up to."""

    def test_clean_since(self):
        """A key is clean since the end of the first complete sweep that no longer met it."""
        assert _case(*GONE).history.clean_since == GONE[1].finished_at

    @pytest.mark.parametrize(
        "more",
        [{"complete": False}, {"not_looked_at": ("x",)}, {"open_items": {Outcome.DENIED: 1}}],
    )
    def test_not_clean(self, more):
        """A sweep that did not look everywhere makes nothing clean."""
        assert _case(_sweep(NOW, **more)).history.clean_since is None

    def test_another_scope(self):
        """A key that another scope shows had not been clean: it was not looked at."""
        sweeps = (*GONE, _sweep(NOW, _seen(NOW), scope="wider"))
        history = _case(*sweeps).history
        assert (history.returned_at, history.last_seen_at, history.first_looked_at) == (
            None,
            NOW,
            NOW - 5 * MINUTE,
        )

    def test_clock_set_back(self):
        """A sighting by a clock that was set back does not make the last one older."""
        history = _case(_sweep(NOW, _seen(NOW)), _sweep(NOW, _seen(_at(hours=2)))).history
        assert history.last_seen_at == NOW

    def test_current_again(self):
        """A key that was current in between begins anew, seen until the end of that sweep."""
        history = _case(*GONE, _sweep(NOW, current=KEY, keys={})).history
        assert (history.clean_since, history.last_seen_at) == (None, NOW)

    def test_not_listed(self):
        """A sweep that did not know the key says nothing about it."""
        assert _case(*GONE, _sweep(NOW, keys={})).history == _case(*GONE).history

    def test_record_of_a_tally(self):
        """A record holds every old key, what was met of it, and the open items."""
        tally = Tally()
        for outcome in (Outcome.WOULD_ROTATE, Outcome.DENIED):
            tally.add(outcome)
        for name in (b"/b:1", b"/a:1", b"/b:2", b"none"):
            tally.count_remaining(KEY, 10, NOW, name, int(NOW.timestamp() * 1000))
        record = SweepRecord.of(
            tally,
            cache="shared-redis",
            mode=Mode.RUN,
            started_at=NOW,
            finished_at=NOW,
            complete=True,
            current="0" * 16,
            old=[KEY, "f" * 16],
        )
        assert (record.visits, record.open_items[Outcome.DENIED]) == (2, 1)
        assert record.keys["f" * 16] == KeySeen()
        assert (record.keys[KEY].remaining, record.keys[KEY].prefixes) == (4, ("/b", "/a"))
        assert record.keys[KEY].drains_at == NOW.replace(microsecond=0)


TIMES = st.integers(-600, 600).map(lambda minutes: NOW + timedelta(minutes=minutes))
COUNTS = st.integers(0, 2)


@st.composite
def _records(draw):
    """A sweep of any kind, at any time: clocks may jump in both directions."""
    finished_at = draw(TIMES)
    found = draw(COUNTS)
    remaining = draw(st.integers(0, found))
    without = draw(st.integers(0, remaining))
    large = draw(st.integers(0, remaining)) if draw(st.booleans()) else 0
    seen_at = draw(TIMES)
    seen = KeySeen(
        found=found,
        remaining=remaining,
        remaining_without_ttl=without,
        too_large=large,
        too_large_without_ttl=min(large, without),
        drains_at=draw(TIMES) if remaining > without else None,
        first_seen_at=seen_at if found else None,
        last_seen_at=seen_at if found > large else None,
    )
    counts = st.dictionaries(st.sampled_from(BLOCKING), COUNTS, max_size=2)
    return _sweep(
        finished_at,
        seen if draw(st.booleans()) else CLEAN,
        mode=draw(st.sampled_from(Mode)),
        started_at=finished_at - timedelta(minutes=draw(st.integers(0, 120))),
        complete=draw(st.booleans()),
        verified=draw(st.booleans()),
        scope=draw(st.sampled_from(["", "wider"])),
        not_looked_at=draw(st.sampled_from([(), ("a node was down",)])),
        open_items=draw(counts),
        accepted=draw(counts),
        keys={KEY: seen} if draw(st.booleans()) else {KEY: CLEAN},
    )


HOLDS = st.lists(st.builds(Hold, st.just("a"), st.none() | TIMES, st.just("b")), max_size=1)
CASES = st.builds(
    lambda sweeps, clean, holds: _case(*sweeps, *clean, holds=holds),
    st.lists(_records(), max_size=3),
    # Without a happy end hardly any history would come near to being retirable.
    st.lists(TIMES, max_size=3).map(lambda times: [_sweep(at) for at in sorted(times)]),
    HOLDS,
)


class TestNeverTooEarly:
    """What holds for every history, however strange."""

    @given(st.lists(CASES, min_size=1, max_size=2), TIMES, st.integers(0, 120))
    def test_retirable(self, cases, now, minutes):
        """A retirable key was looked for everywhere, not met for long enough, and not held."""
        quiet = timedelta(minutes=minutes)
        judgement = _judge(*cases, now=now, quiet=quiet)
        if judgement.verdict is not Verdict.RETIRABLE:
            return
        for case in cases:
            last = case.verification or case.sweep
            complete = last if last.complete else case.sweep
            assert complete.complete
            assert complete.verified
            assert complete.seen(KEY).met == 0
            assert not complete.not_looked_at
            for outcome, number in complete.open_items.items():
                assert number <= (
                    0 if outcome in BLOCKING[3:] else complete.accepted.get(outcome, 0)
                )
            seen = case.history.last_seen_at or case.history.first_looked_at
            assert seen + quiet <= complete.finished_at <= now
            assert case.history.clean_since is not None
            assert all(hold.until and hold.until <= now for hold in case.holds)

    @given(st.lists(CASES, max_size=2), TIMES)
    def test_says_something(self, cases, now):
        """Every judgement gives a reason and a next step, and every time it should give."""
        judgement = _judge(*cases, now=now)
        assert judgement.reasons
        assert judgement.next_step
        assert (judgement.ready_at is not None) == (judgement.verdict is Verdict.VERIFYING)
        assert judgement.drains_at or judgement.verdict is not Verdict.DRAINING

    @given(st.lists(_records(), min_size=1, max_size=4), TIMES)
    def test_one_more_cache_never_helps(self, records, now):
        """A verdict over two caches is the worse of the two."""
        order = list(Verdict)
        first, second = _case(*GONE), _case(*records)
        both = _judge(first, second, now=now).verdict
        alone = [_judge(case, now=now).verdict for case in (first, second)]
        assert order.index(both) == min(map(order.index, alone))

    @given(st.lists(_records(), min_size=1, max_size=4), TIMES)
    def test_losing_the_history_never_helps(self, records, now):
        """Without its history a key is never retirable."""
        case = replace(_case(*records), history=KeyHistory())
        assert _judge(case, now=now).verdict is not Verdict.RETIRABLE
