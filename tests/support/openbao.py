"""
OpenBao for a test: a real server that speaks HashiCorp Vault's API, in memory, with TLS of its own.

    with OpenBao(folder) as bao:
        bao.put("sys/policies/acl/reader", policy="...")
        provider_from_url(bao.url("secret/data/maverics", token=bao.root))
"""

import subprocess
from pathlib import Path
from urllib.parse import urlencode

import pytest
import requests

from rotator.demo.local_server import free_port, wait_until
from servers.openbao import OPENBAO
from support.vendor_servers import PLANTED

READER = 'path "secret/*" { capabilities = ["read"] } path "kv/*" { capabilities = ["read"] }'


class OpenBao:
    """OpenBao: a server that ends with the `with` block; *root* may do all."""

    root = f"root{PLANTED}"

    def __init__(self, folder: Path) -> None:
        if not OPENBAO.program.exists():
            pytest.skip("there is no OpenBao: try `PYTHONPATH=scripts python -m servers.openbao`")
        self._folder = folder
        self.place = f"127.0.0.1:{free_port()}"
        self.ca = folder / "vault-ca.pem"

    def __enter__(self):
        self._log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                *(OPENBAO.program, "server", "-dev", "-dev-tls", "-dev-no-store-token"),
                *(f"-dev-tls-cert-dir={self._folder}", f"-dev-listen-address={self.place}"),
                f"-dev-root-token-id={self.root}",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        wait_until(self._problem)
        return self

    def _problem(self):
        if not self.ca.exists():
            return "it has no certificate yet"
        try:
            answer = self.ask("GET", "sys/internal/ui/mounts")
        except requests.ConnectionError as error:
            return f"it does not answer: {error}"
        return None if "secret/" in answer["data"]["secret"] else "it is not ready"

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._log.close()

    def ask(self, method, path, **body):
        """What it answers to its root, as plain data; an error is raised."""
        answer = requests.request(
            method,
            f"https://{self.place}/v1/{path}",
            json=body or None,
            headers={"X-Vault-Token": self.root},
            verify=str(self.ca),
            timeout=10,
        )
        answer.raise_for_status()
        return answer.json() if answer.content else {}

    def put(self, path, **body):
        """What it answers when something is written at a path."""
        return self.ask("POST", path, **body)

    def url(self, path, *, trusting=True, **parameters):
        """The URL of a provider that reads an entry of it."""
        known = {**parameters, **({"ca_cert": str(self.ca)} if trusting else {})}
        return f"hashivault://{self.place}/{path}?{urlencode(known)}"

    def token(self, *policies, **more):
        """A token with these policies."""
        asked = {"policies": [*policies], "no_parent": True, **more}
        return self.put("auth/token/create", **asked)["auth"]["client_token"]

    def role(self, name, **more):
        """How the provider logs in to a new role that may read: its id and a secret."""
        path = f"auth/approle/role/{name}"
        self.put(path, token_policies="reader", **more)
        known, made = self.ask("GET", f"{path}/role-id"), self.put(f"{path}/secret-id")
        return {"role_id": known["data"]["role_id"], "secret_id": made["data"]["secret_id"]}
