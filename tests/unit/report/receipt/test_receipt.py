"""Tests of receipts: what they say of a key over all caches, and that they are read again."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ed25519
from jsonschema import Draft202012Validator
from securesystemslib.signer import CryptoSigner

from rotator.console import print_result
from rotator.errors import ReceiptError
from rotator.report.fields import Facts
from rotator.report.files import json_schema
from rotator.report.model import Attempt, Cache, Coverage, Key
from rotator.report.receipt import envelope
from rotator.report.receipt.model import LIMITS, Receipt
from rotator.report.receipt.receipt import build_receipt, open_receipt, render, seal
from rotator.retirement.looks import Look, Proof
from rotator.state.state import State
from support.sample_reports import UNKNOWN, drawn_at, place, placed_key, proven_key, report_on

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD = "9f2c41d07be3a655"
SEEN = Coverage(mode="standalone")


@pytest.fixture
def state(tmp_path):
    """An empty state."""
    with State(tmp_path / "state.db") as opened:
        yield opened


def cache(name="a", *keys, **fields):
    """A cache that was swept an hour ago, in which the key is proven to be retirable."""
    usual = {"complete": True, "swept_at": NOW - timedelta(hours=1), "coverage": SEEN}
    return Cache(name=name, keys=keys or (proven_key(),), **usual | fields)


def made(state, *caches, max_age=timedelta(days=1)):
    """The receipt of the key, over these caches."""
    return build_receipt(report_on(*caches), OLD, state, now=NOW, max_age=max_age)


def assumed(**fields):
    """The key where it is assumed that no application writes with it."""
    key = proven_key()
    others = [one for one in key.places if one.kind != "writers"]
    writers = place("writers", "", "assumed", evidence="no application writes")
    return proven_key(places=(*others, writers), **fields)


class TestVerdict:
    """What it says of a key."""

    def test_proven(self, state):
        """A key of which every place is clean is deactivated, retirable and proven."""
        found = made(state, cache())
        assert (found.role, found.state, found.verdict) == ("old", "deactivated", "retirable")
        assert (found.retirable.holds, found.proven.holds) == (True, True)
        assert found.state_basis == "the writers of it was looked at"

    def test_assumed(self, state):
        """What is assumed is enough for retirable and not for proven, and is said."""
        found = made(state, cache("a", assumed()))
        assert (found.state, found.retirable.holds, found.proven.holds) == (
            "deactivated",
            True,
            False,
        )
        assert found.state_basis == "assuming that no application writes"
        assert found.proven.reasons == ("it is only assumed that no application writes",)

    @pytest.mark.parametrize(
        ("verdict", "state_word"),
        [
            ("held", "deactivated"),
            ("verifying", "active"),
            ("draining", "active"),
            ("in-use", "active"),
            ("unknown", "active"),
        ],
    )
    def test_not_retirable(self, state, verdict, state_word):
        """It is written all the same, and says why the key must stay."""
        found = made(state, cache("a", proven_key(verdict=verdict, reasons=("it is so",))))
        assert (found.verdict, found.state) == (verdict, state_word)
        assert not found.retirable.holds
        assert found.retirable.reasons == (f"{verdict}: it is so",)

    def test_the_worst_cache_counts(self, state):
        """A key is not better than the worst cache that lists it, and all are in the receipt."""
        found = made(state, cache("a"), cache("b", proven_key(verdict="held")))
        assert (found.verdict, [one.name for one in found.caches]) == ("held", ["a", "b"])

    def test_writers_of_one_cache(self, state):
        """Where nothing is known of the writers of one cache the key is active."""
        key = proven_key()
        places = tuple(one for one in key.places if one.kind != "writers")
        found = made(state, cache("a"), cache("b", proven_key(places=places)))
        assert found.state == "active"

    def test_current_elsewhere(self, state):
        """A key that is the current one of another cache is in use."""
        current = Key(id=OLD, role="current", field="caches[1].encryption.keys.current")
        found = made(state, cache("a"), cache("b", current))
        assert (found.role, found.state, found.verdict) == ("current", "active", "in-use")
        assert not found.retirable.holds

    def test_too_old(self, state):
        """A sweep that is too old to rely on is not relied on."""
        found = made(state, cache(), max_age=timedelta(minutes=1))
        assert not found.retirable.holds
        assert found.max_age_seconds == 60


class TestNotLookedAt:
    """What there is no evidence of."""

    def test_a_cache_that_could_not_be_judged(self, state):
        """A cache of which nothing is known is named, because it may list the key."""
        found = made(state, cache(), Cache(name="b", error="connection refused"))
        assert found.not_looked_at == (
            "b: not known whether it lists the key (connection refused)",
        )
        assert (found.state, found.retirable.holds) == ("active", False)

    def test_superseded(self, state):
        """What a server had that another one replaced is named and does not count."""
        gone = cache("b", proven_key(verdict="in-use"), superseded=True)
        found = made(state, cache(), gone)
        assert [one.name for one in found.caches] == ["a"]
        assert found.not_looked_at[0].startswith("b: another server answers")
        assert found.retirable.holds

    def test_of_a_cache(self, state):
        """What a sweep left out, a later run that failed, and an old judgement are said."""
        coverage = Coverage(mode="standalone", not_looked_at=("replica 10.0.0.8:6379",))
        attempt = Attempt(at=NOW, error="connection refused")
        [one] = made(state, cache(coverage=coverage, attempt=attempt, outdated=True)).caches
        assert one.not_looked_at[0] == "replica 10.0.0.8:6379"
        assert "connection refused" in one.not_looked_at[1]
        assert "an earlier version of rotator" in one.not_looked_at[2]

    def test_limits(self, state):
        """What nobody can be asked is taken for granted by every receipt, which says so."""
        found = made(state, cache())
        assert found.limits == LIMITS
        [last] = [line for line in drawn_at(1000, render(found)) if LIMITS[-1] in line]
        assert last.strip() == f"- {LIMITS[-1]}"


class TestShown:
    """What people are shown of it."""

    @pytest.mark.parametrize(
        ("complete", "remaining", "said"),
        [(True, 0, "0"), (False, 0, "not known"), (False, 1_234, "at least 1,234")],
    )
    def test_interrupted(self, state, complete, remaining, said):
        """What a sweep did not come to is not counted as none."""
        found = made(state, cache("a", proven_key(remaining=remaining), complete=complete))
        stream = io.StringIO()
        print_result(render(found), stream)
        assert f"remaining: {said} - " in " ".join(stream.getvalue().split())
        assert found.caches[0].at_least is not complete

    def test_what_it_does_not_show(self, state):
        """It never shows that a key was destroyed; of one that may go it shows what was found."""
        late, early = (
            drawn_at(1000, render(made(state, cache("a", proven_key(verdict=verdict)))))[-1]
            for verdict in ("retirable", "in-use")
        )
        assert late == (
            "This does not show that the key was destroyed, only that rotator found nothing that"
            " needs it."
        )
        assert early == "This does not show that the key was destroyed."

    def test_assumptions(self, state):
        """What is assumed is listed, each with what it rests on, and makes the condition."""
        key = assumed(
            assumptions=("no application writes", "there are no replicas (replicas.only)")
        )
        facts = Facts(options=("--quiet 5s",))
        lines = drawn_at(1000, render(made(state, cache("a", key, facts=facts))))
        said = " ".join(" ".join(lines).split())
        assert "retirable: it can be removed, if the 2 assumptions below hold" in said
        assert "assumed: - no application writes (not declared: nothing shows it)" in said
        assert "- there are no replicas (declared in the configuration: `replicas.only`)" in said
        assert "- quiet time: 5s (the default is 1h)" in said

    @pytest.mark.parametrize("columns", [80, 100, 200])
    def test_no_word_is_cut_off(self, state, columns):
        """On a narrow terminal lines are broken, in ASCII, and nothing is left out."""
        found = made(state, cache("a", placed_key()), Cache(name="b", error="away " * 30))
        lines = drawn_at(columns, render(found))
        assert max(map(len, lines)) <= columns
        assert "".join(lines).isascii()
        said = " ".join(" ".join(lines).split())
        wide = " ".join(" ".join(drawn_at(1000, render(found))).split())
        assert "away " * 30 in said.replace("away)", "away )")
        assert sorted(said.split()) == sorted(wide.split())

    def test_everything(self, state):
        """Verdict, state, each place and what is not known are shown; what is missing is not."""
        proof = Proof("10.0.0.7:1", Look("10.0.0.7:1", NOW), Look("10.0.0.7:1", NOW), "", {OLD: 3})
        state.add_proofs("a", [replace(proof, met={OLD: 4}), proof])
        key = placed_key(reasons=("it is \x1b[31m so",))
        stream = io.StringIO()
        print_result(render(made(state, cache("a", key), Cache(name="b", error="away"))), stream)
        said = " ".join(stream.getvalue().split())
        assert f"key {OLD}: old verdict unknown: keep it; not everything was looked at" in said
        assert "state active (NIST SP 800-57)" in said
        assert "retirable no: unknown: it is \\x1b[31m so; the last run could not judge b" in said
        assert f"unknown: replica: {UNKNOWN}" in said
        assert "3 under the key, 0 opened, on 10.0.0.7:1 - 1 earlier proof, which" in said
        assert "4 under the key" not in said
        assert "b: not known whether it lists the key (away)" in said
        assert "None" not in said


class TestFile:
    """The file, and what is read from it."""

    @pytest.fixture
    def signer(self, tmp_path):
        """What signs, and beside it the public key."""
        key = ed25519.Ed25519PrivateKey.generate()
        kind = pem.PublicFormat.SubjectPublicKeyInfo
        text = key.public_key().public_bytes(pem.Encoding.PEM, kind)
        (tmp_path / "pub.pem").write_bytes(text)
        return CryptoSigner(key)

    def test_round_trip(self, tmp_path, state, signer):
        """What was signed is what is read, whatever text is in it."""
        key = placed_key(reasons=("\u202e\x1b[31m \ud83d\ude00 \u00e4",))
        receipt = made(state, cache("a", key))
        path = tmp_path / "receipt.json"
        path.write_text(seal(receipt, signer))
        assert open_receipt(path, tmp_path / "pub.pem") == (receipt, signer.public_key.keyid)

    def test_later_fields(self, tmp_path, state, signer):
        """A receipt of a later version is read, without the fields that are not known."""
        data = made(state, cache()).model_dump(by_alias=True, mode="json")
        path = tmp_path / "receipt.json"
        path.write_text(envelope.seal(envelope.canonical(data | {"later": 1}), signer))
        assert open_receipt(path, tmp_path / "pub.pem")[0] == Receipt.model_validate(data)

    @pytest.mark.parametrize("change", [{"schema": 2}, {"verdict": None}])
    def test_not_understood(self, tmp_path, state, signer, change):
        """What is signed and not understood is said to be just that."""
        data = made(state, cache()).model_dump(by_alias=True, mode="json")
        path = tmp_path / "receipt.json"
        path.write_text(envelope.seal(envelope.canonical(data | change), signer))
        with pytest.raises(ReceiptError, match="signed and unchanged, but this version"):
            open_receipt(path, tmp_path / "pub.pem")

    def test_schema(self, state):
        """What is signed fits the schema that is printed."""
        written = json.loads(made(state, cache("a", placed_key())).model_dump_json(by_alias=True))
        schema = json_schema(Receipt)
        Draft202012Validator.check_schema(schema)
        assert list(Draft202012Validator(schema).iter_errors(written)) == []
