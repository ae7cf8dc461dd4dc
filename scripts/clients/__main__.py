"""
Let real clients read what rotator rewrote: `PYTHONPATH=scripts python -m clients [WORD...]`.

Each client writes values into a private server under an old and a new key; rotator rotates them,
once with the entry of the cookbook and once with what `rotator detect` prints; the client reads all
of them with the new key alone. Words choose clients by their names. A line says what came of each;
the code is 1 if one did not read everything, or cannot be had. Only those of PHP and Ruby may be
missing.

With `--vectors` the clients write tests/vectors/clients anew instead.
"""

from __future__ import annotations

import argparse
import sys

from clients import vectors
from clients.client import OPTIONAL, Client, chosen
from clients.runtimes import ClientError, NotHereError
from clients.trial import TrialError, tried
from rotator.demo.local_server import LocalServer


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="clients", description=str(__doc__).partition(":")[0])
    parser.add_argument("words", nargs="*", metavar="WORD", help="of names of clients")
    parser.add_argument("--vectors", action="store_true", help="write tests/vectors/clients anew")
    given = parser.parse_args()
    if not chosen(given.words):
        parser.error(f"no client has one of these in its name: {', '.join(given.words)}")
    return given


def trial(client: Client, server: LocalServer) -> bool:
    """Print the line of one client; whether all is well."""
    try:
        came, good = tried(client, server), True
    except NotHereError as error:
        came, good = f"not to be had: {error}", client.runtime in OPTIONAL
    except (ClientError, TrialError) as error:
        came, good = f"FAILED: {error}", False
    print(f"{client.name}: {came}", flush=True)
    return good


def main() -> int:
    """Do what the command line asks for; the exit code."""
    given = arguments()
    clients = chosen(given.words)
    if given.vectors:
        for client in clients:
            print(vectors.write(client))
        return 0
    with LocalServer() as server:
        good = [trial(client, server) for client in clients]
    print(f"{sum(good)} of {len(good)} clients are as they should be")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
