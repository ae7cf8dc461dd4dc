"""Servers on the loopback that answer as the documentation of the secret providers' APIs says."""

import base64
import contextlib
import json
import logging
import socket
import ssl
import threading
import traceback
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import trustme

from rotator.errors import RotatorError

PLANTED = "pLantEd"  # part of every secret in these tests
SECRET = f"hunter2{PLANTED}"


@dataclass
class Answer:
    """
    What a server says; *wait* makes it say nothing until the server stops.

    *send* writes an answer of its own to a file that is a connection, which is closed after that.
    """

    status: int = 200
    body: object = b""
    headers: dict = field(default_factory=dict)
    wait: bool = False
    send: object = None

    @property
    def content(self):
        """The body as bytes; what is neither text nor bytes is JSON."""
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


@dataclass
class Asked:
    """One request as it came in; *peer* is the client's certificate, if it showed one."""

    method: str
    path: str  # encoded, without the query
    query: dict
    headers: dict
    body: bytes
    peer: dict | None

    @property
    def json(self):
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def form(self):
        """The body of an HTML form."""
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}

    @property
    def parts(self):
        """The decoded parts of the path."""
        return [unquote(part) for part in self.path.strip("/").split("/")]


class VendorServer:
    """
    HTTP, or HTTPS with *tls*, on a free port of 127.0.0.1.

    `asked` lists the requests; `script` holds answers that are given first, one for each request
    whose path has `script_for` in it.
    """

    host = "127.0.0.1"

    @property
    def family(self):
        """The family of its address."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def __init__(self, tls=None):
        self.asked = []
        self.script = deque()
        self.script_for = ""
        self._stopped = threading.Event()
        kind = type("Server", (ThreadingHTTPServer,), {"address_family": self.family})
        self._server = kind((self.host, 0), _handler_of(self))
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.place = f"{host}:{self.port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception):
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def paths(self, part=""):
        """The paths that were asked for and have *part* in them."""
        return [asked.path for asked in self.asked if part in asked.path]

    def reply(self, asked):
        """The scripted answer, else the vendor's."""
        self.asked.append(asked)
        scripted = self.script and self.script_for in asked.path
        answer = self.script.popleft() if scripted else self.answer(asked)
        if callable(answer):
            answer = answer(asked)
        if answer.wait:
            self._stopped.wait(30)
        return answer

    def answer(self, asked):
        """What the vendor's server says."""
        raise NotImplementedError


def _handler_of(server):
    """The handler that asks *server* for every answer."""

    class Handler(BaseHTTPRequestHandler):
        """One connection."""

        protocol_version = "HTTP/1.1"

        def handle(self):
            """Serve a connection until the client ends it, however it does."""
            with contextlib.suppress(OSError):
                super().handle()

        def _any(self):
            """Answer a request of any method."""
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            peer = None
            if isinstance(self.connection, ssl.SSLSocket):
                peer = self.connection.getpeercert() or None
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            body = self.rfile.read(length)
            answer = server.reply(
                Asked(self.command, parts.path, query, dict(self.headers), body, peer)
            )
            if answer.send is not None:
                self.close_connection = True
                answer.send(self)
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_PUT = _any  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_):
            """Say nothing."""

    return Handler


class Vault(VendorServer):
    """
    Vault's HTTP API: tokens, AppRole and cert logins, KV of both versions.

    `entries` maps an API path to what is there. `data/` paths are KV version 2.
    """

    token = f"hvs.{PLANTED}token"
    role = f"role-{PLANTED}"
    secret = f"secret-id-{PLANTED}"
    invalid = Answer(403, {"errors": ["2 errors occurred: permission denied, invalid token"]})

    def __init__(self, tls=None):
        super().__init__(tls)
        self.entries = {}
        self.denied = set()
        self.tokens = {self.token}
        self.namespace = None

    def answer(self, asked):
        """A login or a read."""
        path = "/".join(asked.parts[1:])
        if path.startswith("auth/"):
            return self._login(path, asked)
        if asked.headers.get("X-Vault-Token") not in self.tokens:
            return Answer(403, {"errors": ["permission denied", "invalid token"]})
        if asked.headers.get("X-Vault-Namespace") != self.namespace:
            return Answer(404, {"errors": []})
        if path in self.denied:
            return Answer(403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})
        if path not in self.entries:
            return Answer(404, {"errors": []})
        data = self.entries[path]
        if "data" in path.split("/"):
            data = {"data": data, "metadata": {"version": 1, "destroyed": False}}
        return Answer(200, {"request_id": "1", "lease_duration": 0, "data": data, "auth": None})

    def _login(self, path, asked):
        """A token for the right credentials or any certificate."""
        if path == "auth/approle/login":
            good = asked.json == {"role_id": self.role, "secret_id": self.secret}
        else:
            good = path == "auth/cert/login" and asked.peer is not None
        if not good:
            return Answer(400, {"errors": [f"invalid role or secret ID {asked.body}"]})
        token = f"hvs.{PLANTED}{len(self.asked)}"
        self.tokens.add(token)
        return Answer(200, {"auth": {"client_token": token, "lease_duration": 3600}, "data": None})


class Conjur(VendorServer):
    """Conjur's REST API: authenticate and retrieve a secret, for one account."""

    account = "myaccount"
    login = "host/maverics"
    api_key = f"3x{PLANTED}key"

    def __init__(self, tls=None):
        super().__init__(tls)
        self.variables = {}
        self.denied = set()
        self.tokens = set()
        self.speaks_base64 = True

    def answer(self, asked):
        """POST /authn/{account}/{login}/authenticate or GET /secrets/{account}/variable/{id}."""
        match asked.parts:
            case ["authn", self.account, self.login, "authenticate"]:
                return self._authenticate(asked)
            case ["secrets", self.account, "variable", name]:
                return self._variable(asked, name)
        return Answer(404, {"error": {"code": "not_found", "message": asked.path}})

    def _authenticate(self, asked):
        """A token for the right API key."""
        if asked.body != self.api_key.encode():
            return Answer(401, asked.body)
        token = json.dumps({"protected": f"{PLANTED}{len(self.tokens)}", "signature": "x"})
        encoded = base64.b64encode(token.encode()).decode()
        self.tokens.add(f'Token token="{encoded}"')
        return Answer(200, encoded if self.speaks_base64 else token)

    def _variable(self, asked, name):
        """The value of a variable for a good token."""
        if asked.headers.get("Authorization") not in self.tokens:
            return Answer(401, b"Authorization missing")
        if name in self.denied:
            return Answer(403, {"error": {"code": "forbidden", "message": SECRET}})
        if name not in self.variables:
            return Answer(404, {"error": {"code": "not_found", "message": "CONJ00076E"}})
        return Answer(200, self.variables[name], {"Content-Type": "application/octet-stream"})


class Delinea(VendorServer):
    """Secret Server's REST API: token, secret by path, the content of a field."""

    root = ""
    user = ("svc", f"()Pass&%{PLANTED}")

    def __init__(self, tls=None):
        super().__init__(tls)
        self.secrets = {}
        self.denied = set()
        self.files = {}
        self.tokens = set()

    def answer(self, asked):
        """POST /oauth2/token, GET /api/v1/secrets/0?secretPath= or /secrets/{id}/fields/{slug}."""
        path = asked.path.removeprefix(self.root)
        if path == "/oauth2/token":
            return self._token(asked.form)
        if asked.headers.get("Authorization") not in self.tokens:
            return Answer(401, {"message": "Authentication token is invalid"})
        if path == "/api/v1/secrets/0":
            return self._by_path(asked.query["secretPath"])
        slug = path.rpartition("/")[2]
        if path == f"/api/v1/secrets/7/fields/{slug}" and slug in self.files:
            return Answer(200, self.files[slug])
        return Answer(400, {"message": SECRET, "errorCode": "API_AccessDenied"})

    def _by_path(self, wanted):
        """A secret by its path."""
        if wanted in self.denied:
            return Answer(403, {"message": SECRET, "errorCode": "API_AccessDenied"})
        if wanted not in self.secrets:
            return Answer(404, {"message": SECRET, "errorCode": "API_SecretNotFound"})
        return Answer(200, {"id": 7, "name": wanted, "items": self.secrets[wanted]})

    def _token(self, form):
        """A token for the right credentials."""
        username, password = self.user
        wanted = {"username": username, "password": password, "grant_type": "password"}
        if form != wanted:
            return Answer(400, {"error": f"Login failed. {form}"})
        token = f"AgJ1{PLANTED}{len(self.tokens)}"
        self.tokens.add(f"Bearer {token}")
        return Answer(200, {"access_token": token, "token_type": "bearer", "expires_in": 1199})


class Ccp(VendorServer):
    """The REST interface of CyberArk's Central Credential Provider."""

    query = {"AppID": "my app", "Safe": "S&afe"}  # noqa: RUF012 - never changed

    def __init__(self, tls=None):
        super().__init__(tls)
        self.objects = {}

    def answer(self, asked):
        """GET /AIMWebService/api/Accounts?AppID=&Safe=&Folder=&Object=."""
        if asked.path != "/AIMWebService/api/Accounts":
            return Answer(404, b"<html>IIS</html>")
        wanted = dict(asked.query)
        name = wanted.pop("Object")
        if wanted.pop("AppID") != self.query["AppID"]:
            return self.error(403, "APPAP306E")
        if name not in self.objects or wanted.pop("Safe") != self.query["Safe"]:
            return self.error(404, "APPAP004E")
        return Answer(
            200,
            {
                "Content": self.objects[name],
                "UserName": "redis",
                "Folder": wanted.get("Folder", "Root"),
                "PasswordChangeInProcess": "False",
            },
        )

    @staticmethod
    def error(status, code):
        """An error as the provider words it; the text repeats what it should not."""
        return Answer(status, {"ErrorCode": code, "ErrorMsg": f"Password object {SECRET} ..."})


class Aws(VendorServer):
    """Secrets Manager's GetSecretValue, by the JSON protocol 1.1."""

    access = f"AKIA{PLANTED}"

    def __init__(self, tls=None):
        super().__init__(tls)
        self.secrets = {}
        self.expired = False

    def answer(self, asked):
        """POST / with the operation in X-Amz-Target."""
        if f"Credential={self.access}/" not in asked.headers.get("Authorization", ""):
            return self.error(403, "UnrecognizedClientException")
        if self.expired:
            return self.error(400, "ExpiredTokenException")
        name = asked.json["SecretId"]
        if name not in self.secrets:
            return self.error(400, "ResourceNotFoundException")
        return self.json(200, {"Name": name, "SecretString": self.secrets[name]})

    @classmethod
    def error(cls, status, code):
        """An error as AWS words it; the text repeats what it should not."""
        return cls.json(status, {"__type": code, "Message": f"{SECRET} ..."})

    @staticmethod
    def json(status, body):
        """An answer in JSON."""
        return Answer(status, body, {"Content-Type": "application/x-amz-json-1.1"})


class Azure(VendorServer):
    """Entra ID (discovery and client credentials) and a key vault, on one port."""

    tenant = "11111111-2222-3333-4444-555555555555"
    client = "66666666-7777-8888-9999-000000000000"
    client_secret = f"8Q~{PLANTED}secret+/"
    seconds = 3599

    def __init__(self, tls=None):
        super().__init__(tls)
        self.secrets = {}
        self.denied = set()
        self.disabled = set()
        self.tokens = set()
        # the vault must lie below the resource that it names; its tail is enough of a domain here
        self.resource = f"https://{self.place.partition('.')[2]}"

    def answer(self, asked):
        """The OpenID configuration, a token, or a secret."""
        if asked.path.endswith("/.well-known/openid-configuration"):
            base = f"https://{self.place}/{self.tenant}"
            return self._json(
                200,
                {
                    "token_endpoint": f"{base}/oauth2/v2.0/token",
                    "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                    "issuer": f"{base}/v2.0",
                },
            )
        if asked.path == f"/{self.tenant}/oauth2/v2.0/token":
            return self._token(asked.form)
        return self._secret(asked)

    def _token(self, form):
        """A token for the right credentials."""
        if form.get("client_id") != self.client or form.get("client_secret") != self.client_secret:
            said = f"AADSTS7000215: Invalid client secret provided: {form}"
            return self._json(401, {"error": "invalid_client", "error_description": said})
        token = f"eyJ{PLANTED}{len(self.tokens)}"
        self.tokens.add(f"Bearer {token}")
        return self._json(
            200, {"token_type": "Bearer", "expires_in": self.seconds, "access_token": token}
        )

    def _secret(self, asked):
        """A secret for a good token, else the challenge."""
        if asked.headers.get("Authorization") not in self.tokens:
            challenge = (
                f'Bearer authorization="https://{self.place}/{self.tenant}",'
                f' resource="{self.resource}"'
            )
            return Answer(401, b"", {"WWW-Authenticate": challenge})
        name = asked.parts[1]
        if name in self.denied:
            return self.error(403, "Forbidden", "ForbiddenByRbac")
        if name in self.disabled:
            return self.error(403, "Forbidden", "SecretDisabled")
        if name not in self.secrets:
            return self.error(404, "SecretNotFound")
        identifier = f"https://{self.place}/secrets/{name}/{'0' * 32}"
        return self._json(
            200, {"value": self.secrets[name], "id": identifier, "attributes": {"enabled": True}}
        )

    @classmethod
    def error(cls, status, code, inner=None, **headers):
        """An error as Key Vault words it; the text repeats what it should not."""
        error = {"code": code, "message": f"{SECRET} ..."}
        if inner:
            error["innererror"] = {"code": inner}
        return cls._json(status, {"error": error}, **headers)

    @staticmethod
    def _json(status, body, **headers):
        """An answer in JSON."""
        return Answer(status, body, {"Content-Type": "application/json", **headers})


def authority(folder):
    """
    A CA of one's own.

    `file` is its certificate, `server` and `strict` are contexts for servers (strict ones demand a
    client certificate), `cert` and `key` the files of a client.
    """
    made = trustme.CA()
    client = made.issue_cert("client@example.com", common_name="client")
    names = SimpleNamespace(
        file=folder / "ca.pem", cert=folder / "cert.pem", key=folder / "key.pem"
    )
    made.cert_pem.write_to_path(names.file)
    client.cert_chain_pems[0].write_to_path(names.cert)
    client.private_key_pem.write_to_path(names.key)
    for kind, mode in (("server", ssl.CERT_NONE), ("strict", ssl.CERT_REQUIRED)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.issue_cert("127.0.0.1", "::1", "localhost").configure_cert(context)
        made.configure_trust(context)
        context.verify_mode = mode
        setattr(names, kind, context)
    return names


def refused(caplog, action, *words, kind):
    """
    The error of *action*: of that kind, with every one of *words*, a hint, and no planted secret.

    None is in the message, hint, repr, traceback or in any line that any library logged at DEBUG.
    """
    caplog.set_level(logging.DEBUG)
    with pytest.raises(RotatorError) as caught:
        action()
    error = caught.value
    assert type(error) in (kind if isinstance(kind, tuple) else (kind,)), repr(error)
    for word in words:
        assert word in str(error), error
    assert error.hint
    shown = "".join(traceback.format_exception(error))
    for text in (str(error), error.hint, repr(error), shown, caplog.text):
        assert PLANTED not in text
    assert str(error) == str(error).rstrip(".")
    return error


def quiet(caplog, action):
    """What *action* gives, if no library logged a planted secret on the way, at DEBUG neither."""
    caplog.set_level(logging.DEBUG)
    given = action()
    assert PLANTED not in caplog.text
    return given
