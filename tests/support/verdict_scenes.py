"""
Verdict scenes: situations in which rotator prints what the page on verdicts shows.

Each is played with a scene's configuration and shell, and gives what `rotator run` printed last.
"""

import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from rotator.demo.local_server import LocalServer
from support.documents import Shell
from support.scene import FORMER, NAMESPACE, NEW, STRANGE
from support.server_versions import since
from support.wrong_clock import Jumping

SETTINGS = "shared-redis"


@dataclass(frozen=True)
class Shows:
    """
    The block is what rotator prints when *play* is over: numbers, times, ids and addresses aside.

    `...` stands for anything. Before 7.0 servers say less of their files, and nothing is compared.
    """

    play: Any

    def __call__(self, block, scene):
        """Play it, and compare."""
        if not since(scene.redis, 7, 0):
            return
        printed, place = shape(self.play(scene)), 0
        for part in shape(block.text).split("..."):
            place = printed.find(part.strip(), place)
            assert place >= 0, f"{block}: not in the output: {part}\n{printed}"


def shape(text):
    """*text* in one line, with the same in place of whatever differs from run to run."""
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"[\w.-]+:\d{4,5}\b", "ADDRESS", text)
    text = re.sub(r"\b[0-9a-f]{8}\b", "ID", text)
    text = re.sub(r"(\d{4}-\d\d-\d\d )?\d\d:\d\d\b", "TIME", text)
    return re.sub(r"\b\d[\d,]*\b", "N", text)


def rotate(scene, *options):
    """What a run prints; how it ends does not matter here."""
    shell: Shell = scene.shell
    return shell.call(" ".join(["rotator run", *options])).stdout


def mixed(scene, *options):
    """1,204 values under the former key, 204 of them for good."""
    scene.put(1204)
    for index in range(204):
        scene.redis.persist(f"{NAMESPACE}:session{index}")
    return rotate(scene, *options)


def in_use(scene):
    """A dry run that meets values without a TTL."""
    return mixed(scene, "--dry-run")


def draining(scene):
    """A dry run that meets only values that will expire."""
    scene.put(1204)
    return rotate(scene, "--dry-run")


def verifying(scene):
    """The first run."""
    scene.put(1204)
    return rotate(scene)


def retirable(scene):
    """The second run, after the quiet time."""
    scene.put(1204)
    scene.later()
    rotate(scene)
    return rotate(scene)


def met_again(scene):
    """An application that still has the former key writes with it."""
    retirable(scene)
    scene.put(2, FORMER, prefix="straggler")
    return rotate(scene, "--quiet", "1h")


def unseen_reset(scene):
    """Somebody has reset the counters, and the user may not call what shows it."""
    scene.put(300)
    scene.redis.execute_command("ACL", "SETUSER", "rotator", "-cluster|myid")
    scene.redis.config_resetstat()
    return rotate(scene)


def wrong_clock(scene):
    """The clock of this machine is an hour ahead of the server's."""
    scene.put(300)
    scene.redis.execute_command("ACL", "SETUSER", "rotator", "+time")
    with pytest.MonkeyPatch.context() as patch:
        Jumping(patch).by = timedelta(hours=1)
        return rotate(scene)


def shut(scene):
    """Twelve values are under a key that nobody knows."""
    scene.put(300, NEW)
    scene.put(12, STRANGE, prefix="lost")
    return rotate(scene)


def other_types(scene):
    """A list and a hash are among the values."""
    scene.put(300, NEW)
    scene.redis.rpush(f"{NAMESPACE}:list", "a")
    scene.redis.hset(f"{NAMESPACE}:hash", "data", "a")
    return rotate(scene)


def forbidden(scene):
    """The user may not read all names."""
    scene.put(300)
    scene.redis.execute_command("ACL", "SETUSER", "rotator", "resetkeys", f"~{NAMESPACE}:session1*")
    return rotate(scene)


def stopped(scene):
    """The first run was stopped before its end."""
    scene.put(2000)
    return rotate(scene, "--max-rate", "100", "--max-duration", "2s")


def settings_changed(scene):
    """Somebody has changed a setting of the server."""
    scene.put(20)
    scene.later()
    rotate(scene)
    scene.redis.config_set("maxmemory-samples", "6")
    return rotate(scene)


def kept(scene):
    """Backups are kept for 30 days."""
    declare(scene, backups={"retention": "30d"})
    return retirable(scene)


def may_save(scene):
    """The quiet time is over soon, and the user may have files written."""
    scene.put(20)
    scene.later()
    scene.redis.execute_command("ACL", "SETUSER", "rotator", "+bgsave", "+bgrewriteaof")


def declare(scene, **settings):
    """Settings of the cache under `rotator`."""
    scene.configure({"rotator": {"caches": {SETTINGS: settings}}})


@contextmanager
def pair(scene, *options):
    """A primary and its replica in place of the scene's server, with the same user."""
    before, address, redis = scene.config, scene.address, scene.redis
    rules = next(
        line.split()[2:] for line in map(str, redis.acl_list()) if line.split()[1] == "rotator"
    )
    with LocalServer(*options) as primary, LocalServer(*options, replica_of=primary) as replica:
        for server in (primary, replica):
            with server.client() as client:
                client.execute_command("ACL", "SETUSER", "rotator", *rules)
        with primary.client() as client:
            scene.redis, scene.address = client, primary.address
            scene.configure(
                {"caches": [{"name": SETTINGS, "redis": {"addresses": [primary.address]}}]}
            )
            yield primary, replica
    scene.redis, scene.address = redis, address
    scene.configure(before)


@contextmanager
def rotated_pair(scene):
    """A primary and its replica, which is listed, after the first run; gives the replica."""
    with pair(scene) as (_, replica):
        declare(scene, replicas=[replica.address])
        scene.put(1204)
        scene.later()
        rotate(scene)
        yield replica


def not_listed(scene):
    """The primary names a replica that is not in the configuration."""
    with pair(scene):
        return retirable(scene)


def away(scene):
    """A listed replica is down."""
    with rotated_pair(scene) as replica:
        replica.stop()
        return rotate(scene)


def refused(scene):
    """The replica has another password."""
    with rotated_pair(scene) as replica:
        with replica.client() as client:
            client.execute_command("ACL", "SETUSER", "rotator", "resetpass", ">another")
        return rotate(scene)


def old_file(scene):
    """The replica has a file of its full sync."""
    with pair(scene) as (_, replica):
        declare(scene, replicas=[replica.address])
        return retirable(scene)


def old_log(scene):
    """Both keep an append-only file."""
    with pair(scene, "--appendonly", "yes") as (_, replica):
        declare(scene, replicas=[replica.address])
        return retirable(scene)


def behind(scene):
    """The replica has lost its primary."""
    with rotated_pair(scene) as replica:
        with replica.client() as client:
            client.replicaof("127.0.0.1", 1)
        return rotate(scene)
