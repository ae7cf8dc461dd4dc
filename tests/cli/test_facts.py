"""What a run leaves of who made it and how it was: facts, latency, costs, and how it ends."""

import getpass
import hashlib
import json
import re
import socket
from pathlib import Path

import pytest

from rotator.demo.local_server import LocalServer
from support.caches import NO_FILES, Cache, Place, fill, user, wait_for
from support.processes import job, run_here
from support.respfront import RespFront, bulk, text_in


@pytest.fixture
def place(server, redis, tmp_path):  # noqa: ARG001 - redis empties the server first
    """A configuration of one cache on the session's empty server, which has no file."""
    return Place(tmp_path, Cache(server.address, settings=NO_FILES))


def report_of(place, *args):
    """What `rotator run --format json` reports."""
    return json.loads(run_here(job(place, "--format", "json", *args)).stdout)


class TestFacts:
    """Who made a run, where and how."""

    def test_who_and_how(self, place, redis):
        """Host, user, files with their SHA-256 and options that are not as by default are kept."""
        fill(redis, place.cache, 10)
        limits = ("--max-rate", 1_048_577, "--max-latency", 2, "--max-lag", 5_000_000)
        more = ("--quiet", "3s", "--accept", "undecryptable=3", "--page", 500, "-q", *limits)
        report = report_of(place, *more)

        facts = report["facts"]
        assert (facts["host"], facts["user"]) == (socket.gethostname(), getpass.getuser())
        digest = hashlib.sha256(place.file.read_bytes()).hexdigest()
        assert [one["sha256"] for one in facts["files"]] == [digest]
        assert {"--quiet 3s", "--accept undecryptable=3", "-q"} <= set(facts["options"])
        assert {"--max-rate 1048577", "--max-lag 5000000"} <= set(facts["options"])
        as_by_default = ("--page", "--max-latency")
        assert not any(one.startswith(as_by_default) for one in facts["options"])
        assert facts["assumptions"] == report["caches"][0]["keys"][1]["assumptions"]
        assert report["exit_meaning"] == "complete"
        assert report["caches"][0]["redis_user"] == "default"

    def test_a_page_tells_quiet_times_apart(self, place, redis, tmp_path):
        """Table and page say which quiet time was asked for, and so does `rotator report`."""
        fill(redis, place.cache, 10)
        page = tmp_path / "page.html"
        shown = run_here(job(place, "--quiet", "3s", "--html", page)).stdout
        again = run_here(["report", "--state", place.state]).stdout

        for text in (shown, again, page.read_text()):
            assert "--quiet 3s" in text

    def test_the_user_of_the_server(self, place, redis, tmp_path):
        """The user that a run logs in as stands in the report, the table and the page."""
        fill(redis, place.cache, 10)
        page = tmp_path / "page.html"
        with user(redis, "~*", "&*", "+@all") as (name, password):
            place.cache.redis |= {"username": name, "password": password}
            place.configure(place.cache)
            report = report_of(place, "--html", page)
        shown = run_here(["report", "--state", place.state]).stdout

        assert report["caches"][0]["redis_user"] == name
        assert f"as Redis user {name}" in shown
        assert f"as Redis user {name}" in page.read_text()

    def test_no_secret(self, place, redis):
        """A token in the URL of a secret provider and arguments of a command are left out."""
        fill(redis, place.cache, 10)
        hook = "true --token s3cr3t https://u:s3cr3t@x/"
        shown = run_here(
            job(place, "--format", "json", "--on-change", hook),
            {"MAVERICS_SECRET_PROVIDER": "hashivault://127.0.0.1:1/kv?token=s3cr3t"},
        ).stdout

        options = json.loads(shown)["facts"]["options"]
        assert {"--on-change 'true ***'", "--secret-provider hashivault://***"} <= set(options)
        assert "s3cr3t" not in shown


class TestLoad:
    """What nodes bore, and what a run costs."""

    def test_latency_and_pages(self, place, redis):
        """PINGs before and during the run, pages and ways to replace values are told of a node."""
        fill(redis, place.cache, 600)
        (node,) = report_of(place)["caches"][0]["coverage"]["nodes"]

        assert node["latency"]["before"]["count"] > 1
        assert node["latency"]["during"]["p50_ms"] <= node["latency"]["during"]["max_ms"]
        assert node["latency"]["goal_ms"] == 2.0
        assert node["pages"]["count"] >= 2
        assert sum(node["exchanged"].values()) == 600
        assert node["waited_seconds"] == {}

    def test_waits(self, place, redis):
        """How long a node was left alone is told by the reason, in the report and the table."""
        fill(redis, place.cache, 100)
        (cache,) = report_of(place, "--max-rate", 500, "--no-verify")["caches"]
        (node,) = cache["coverage"]["nodes"]

        assert node["waited_seconds"].keys() == cache["waited_seconds"].keys() == {"rate"}
        assert 0 < node["waited_seconds"]["rate"] <= cache["sweep_seconds"]
        assert "waited " in run_here(["report", "--state", place.state]).stdout

    def test_without_a_goal(self, place, redis):
        """Without a latency goal nothing is measured, and that is not a latency of zero."""
        fill(redis, place.cache, 10)
        (node,) = report_of(place, "--max-latency", 0)["caches"][0]["coverage"]["nodes"]

        assert node["latency"] is None

    def test_cost(self, place, redis):
        """A dry run says what a run costs, and the run measures about the same."""
        fill(redis, place.cache, 2000)
        expected = report_of(place, "--dry-run")["caches"][0]["estimate"]
        found = report_of(place)["caches"][0]["estimate"]

        assert expected["basis"] == "from 2,000 names met"
        assert found["basis"].startswith("from 2,000 names met by the dry run of ")
        first, last = ({one["what"]: one for one in given["items"]} for given in (expected, found))
        assert first["values to rewrite"]["expected"] == 2000
        assert last["values to rewrite"]["measured"] == 2000
        assert first["their size"]["expected"] == last["their size"]["measured"] > 0
        assert last["time"]["measured"] > 0

    def test_cost_of_replicas_and_file(self, tmp_path):
        """What a replica and the append-only file get is held against what the server has set."""
        buffer = ("--client-output-buffer-limit", "replica 9000000 7000000 60")
        backlog = ("--repl-backlog-size", "20kb")
        file = ("--appendonly", "yes", "--auto-aof-rewrite-min-size", "150kb")
        with LocalServer(*file, *backlog, *buffer) as primary, LocalServer(replica_of=primary):
            place = Place(tmp_path, Cache(primary.address))
            with primary.client() as client:
                wait_for(lambda: client.info("replication")["connected_slaves"])
                fill(client, place.cache, 300)
            expected = report_of(place, "--dry-run")["caches"][0]["estimate"]["items"]
            checked = run_here(["check", "-c", place.file, "--format", "json"]).stdout
            found = report_of(place)["caches"][0]["estimate"]["items"]
        (sampled,) = [one for one in json.loads(checked)["steps"] if one["step"] == "cost"]
        first, last = ({one["what"]: one for one in given} for given in (expected, found))
        traffic, file = first["traffic to each replica"], first["growth of the append-only file"]

        assert traffic["expected"] == file["expected"] > 300 * 41
        assert traffic["basis"].startswith("1 replica, ")
        assert traffic["limit"] == 20 * 1024  # less than the output buffer may have
        assert traffic["note"].startswith("more than the backlog of 20 kB: ")
        assert 0 < file["limit"] < 100 * 1024
        assert "the server rewrites it during the run" in file["note"]
        for said in (traffic["note"].partition(" for ")[0], file["note"]):
            assert said in str(sampled)
        measured = last["traffic to each replica"]["measured"]
        assert measured == pytest.approx(traffic["expected"], rel=0.1)  # of a transaction, or IFEQ

    def test_cost_of_a_part(self, place, redis):
        """A dry run that was stopped takes what it met for the rest, too, and says so."""
        fill(redis, place.cache, 2000)
        limits = ("--max-rate", 500, "--max-duration", "1s")
        found = report_of(place, "--dry-run", *limits)["caches"][0]["estimate"]

        assert found["basis"].endswith(
            " names met of about 2,000, assuming that the others are alike"
        )
        known = {one["what"]: one["expected"] for one in found["items"]}
        assert known["values to rewrite"] == 2000
        assert known["time"] >= 8.0
        assert known["traffic to each replica"] == 0


class TestEnding:
    """How a run ends, in words."""

    @pytest.mark.parametrize(
        ("values", "hint"),
        [
            ({}, "is it the right server, database and pattern?"),
            ({"a": "plain"}, "is a format or a key missing?"),
        ],
    )
    def test_empty(self, place, redis, values, hint):
        """A run that opened nothing says so in a sentence, with what to look at."""
        if values:
            redis.mset(values)
        done = run_here(job(place))

        assert done.returncode == 5
        assert "rotator: error: " in done.stderr
        assert "not one encrypted value was found" in done.stderr
        assert hint in done.stderr
        assert ": complete\n" not in done.stdout

    def test_stopped(self, place, redis):
        """A run that was stopped says of no key that nothing remains."""
        fill(redis, place.cache, 400)
        shown = run_here(job(place, "--max-rate", 50, "--max-duration", "1s")).stdout
        report = json.loads(run_here(["report", "--state", place.state, "--format", "json"]).stdout)

        assert "not known" in shown or "at least" in shown
        assert report["caches"][0]["keys"][1]["at_least"]
        assert "no complete sweep yet" in run_here(["report", "--state", place.state]).stdout


class TestUnknown:
    """A server that tells next to nothing of itself; no real one does."""

    KEPT = (b"role:", b"cluster_enabled:", b"db0:", b"#")

    def test_nothing_is_told_as_none(self, place, server, redis, tmp_path):
        """What INFO does not tell is said to be not known, or left out, in every output."""

        def answer(words, ask):
            if words[0] != b"INFO":
                return None
            lines = text_in(ask(words)).split(b"\r\n")
            return bulk(b"\r\n".join(line for line in lines if line.startswith(self.KEPT)))

        fill(redis, place.cache, 10)
        out = {one: tmp_path / f"r.{one}" for one in ("html", "prom", "dsse")}
        with RespFront(server.port, answer) as front:
            place.cache.redis["addresses"] = [front.address]
            place.configure(place.cache)
            state, files = ["--state", place.state], ["--html", out["html"]]
            done = [
                run_here(job(place, *files, "--metrics-file", out["prom"])),
                run_here(["check", "--config", place.file]),
                run_here(["status", *state]),
                run_here(["report", *state]),
                run_here(["report", *state, "--receipt", out["dsse"], "--key", place.cache.ids[1]]),
            ]
        assert [one.returncode for one in done] == [1, 0, 3, 0, 0]
        for said in (
            *(f"{one.stdout}{one.stderr}" for one in done),
            *map(Path.read_text, out.values()),
        ):
            assert not re.search(r"\bNone\b(?! of 2 old keys)|\b1970\b", said)
        assert "growth of the append-only file: not known (INFO does not say" in done[0].stdout
