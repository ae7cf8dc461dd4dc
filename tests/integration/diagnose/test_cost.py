"""What `rotator check` says that a run would cost, by a sample."""

import json
import re
from types import SimpleNamespace

import pytest

from rotator.diagnose.cost import cost as estimated
from support.caches import NO_FILES, Cache, Place, fill, user
from support.commandline import run
from support.respfront import RespFront, bulk, text_in


@pytest.fixture
def place(server, redis, tmp_path):  # noqa: ARG001 - redis empties the server first
    """A configuration of one cache on the session's empty server, which has no file."""
    return Place(tmp_path, Cache(server.address, settings=NO_FILES))


def cost(place):
    """The step of `rotator check` that tells of costs."""
    steps = json.loads(run(["check", "-c", place.file, "--format", "json"]).stdout)["steps"]
    (found,) = [one for one in steps if one["step"] == "cost"]
    return found


def test_by_lot(place, redis):
    """Names are drawn by lot, so that what a stopped run has done already does not count."""
    fill(redis, place.cache, 300)
    found = cost(place)

    assert found["result"] == "ok"
    assert found["detail"].startswith("values to rewrite 300, their size ")
    assert "traffic to each replica 0 B" in found["detail"]
    assert " sampled of about 300 names); time" in found["detail"]
    assert found["detail"].endswith(": a dry run tells")


def test_without_the_right(place, redis):
    """Without the right to draw names the first of a scan are taken, and that is said."""
    fill(redis, place.cache, 300)
    with user(redis, "~*", "&*", "+@all", "-randomkey") as (name, password):
        place.cache.redis |= {"username": name, "password": password}
        place.configure(place.cache)

        assert "sampled of about 300 names, the first of a scan" in cost(place)["detail"]


def test_nothing(place):
    """Where nothing is stored nothing is to be rewritten."""
    assert cost(place)["detail"].startswith("values to rewrite 0, their size 0 B")


def test_a_database_of_no_names(place, server, redis):
    """Where a server says of a database that it has no names there is nothing to estimate by."""
    fill(redis, place.cache, 20)

    def answer(words, ask):
        if words[0].upper() != b"INFO":
            return None
        return bulk(re.sub(rb"keys=\d+", b"keys=0", text_in(ask(words))))

    with RespFront(server.port, answer) as front:
        place.cache.redis["addresses"] = [front.address]
        place.configure(place.cache)
        found = estimated(SimpleNamespace(access=place.access()))
    assert found.startswith("values to rewrite 0, ")
