"""Vectors that the clients made: values under both keys, for a test that needs no client."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any, Final

from clients.client import CLIENTS, Client
from clients.trial import texts

FOLDER: Final = Path(__file__).parents[2] / "tests" / "vectors" / "clients"


def document(client: Client) -> dict[str, Any]:
    """
    All there is to say about the values of one client.

    Raises:
        ClientError: It cannot be had.
    """
    described, written = client.described, texts(3, 2)
    values = client.write(written)
    return {
        "comment": "made by the client itself; all bytes are hex; these keys are for tests",
        "client": client.name,
        "version": described.version,
        "made_by": f"{client.runtime.name}, scripts/clients/programs, on {platform.system()}",
        "keys": [
            {"name": name, "key": secret, "label": described.labels.get(name)}
            for name, secret in described.derived.items()
        ],
        "wraps": described.wraps,
        "vectors": [
            {
                "key": one.key,
                "name": one.name,
                "text": one.text,
                "value": value.hex(),
            }
            for one, value in zip(written, values, strict=True)
        ],
    }


def write(client: Client) -> Path:
    """Write the file of one client."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    short = "-".join("".join(one if one.isalnum() else " " for one in client.name.lower()).split())
    path = FOLDER / f"{CLIENTS.index(client):02}-{short[:40].strip('-')}.json"
    path.write_text(json.dumps(document(client), indent=1, ensure_ascii=True) + "\n")
    return path
