"""
Run a private cluster until Ctrl-C: `PYTHONPATH=scripts python -m cluster --primaries 3`.

Prints the addresses and a `caches:` entry for them, which `rotator --config` accepts. Whatever
follows `--` is a server setting of every node: `python -m cluster -- --appendonly yes`.
Nothing is left behind.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Final

from cluster.local_cluster import LocalCluster
from rotator.crypto.keyring import generate
from rotator.demo.local_server import DeferredSignals
from rotator.errors import RotatorError

POLL_SECONDS: Final = 0.1


def entry(addresses: list[str]) -> str:
    """The configuration of a cache in the cluster, with fresh keys."""
    return f"""\
caches:
  - name: private-cluster
    type: redis
    encryption:
      keys:
        current: {generate()}
        old: [{generate()}]
    redis:
      addresses: [{", ".join(addresses)}]
"""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="cluster", description=str(__doc__).partition(":")[0])
    parser.add_argument("--primaries", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument(
        "--replicas", type=int, default=1, metavar="M", help="of each primary; default: 1"
    )
    parser.add_argument("options", nargs="*", help="server settings, after --")
    given = parser.parse_args()
    if given.primaries < 1 or given.replicas < 0:
        parser.error("a cluster has at least one primary, and no less than no replicas")
    return given


def main() -> int:
    """Run it; the exit code."""
    given = arguments()
    with DeferredSignals() as ending:
        try:
            with LocalCluster(given.primaries, given.replicas, given.options) as cluster:
                for role, nodes in (("primary", cluster.primaries), ("replica", cluster.replicas)):
                    for node in nodes:
                        print(f"# {role} {node.address}")
                print(entry(cluster.addresses), end="", flush=True)
                print("running; Ctrl-C ends and removes it", file=sys.stderr)
                while ending.signal is None:
                    time.sleep(POLL_SECONDS)
        except RotatorError as error:
            print(f"cluster: error: {error}", file=sys.stderr)
            return error.exit_code
    return ending.exit_code


if __name__ == "__main__":
    sys.exit(main())
