"""
Servers that speak TLS, and certificates for them.

Tests run with a terminator in front of a plain server, and with a server that can TLS by itself.

    authority = Authority(tmp_path)
    with authority.front(server, "127.0.0.1") as front:
        connect_to(front.address)
"""

import contextlib
import select
import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

from rotator.demo.local_server import LocalServer, free_port
from support.programs import program

WAYS = ("front", "server")
"""How tests get a TLS server: `front` is the terminator, `server` the server itself."""


@dataclass(frozen=True)
class Leaf:
    """A certificate and its key, as files; *both* is one file with the two of them."""

    cert: Path
    key: Path
    both: Path


class Authority:
    """A CA of one's own in a *folder*; *file* is its certificate."""

    def __init__(self, folder, name="ca", made=None):
        self.folder = folder
        self.name = name
        self._made = made or trustme.CA()
        self._count = 0
        self.file = folder / f"{name}.pem"
        self._made.cert_pem.write_to_path(self.file)

    @property
    def pem(self):
        """Its certificate as text."""
        return self.file.read_text()

    def child(self, name):
        """An intermediate CA below it."""
        return Authority(self.folder, name, self._made.create_child_ca())

    def issue(self, *names, **settings):
        """A certificate for host names, IP addresses or mail addresses."""
        made = self._made.issue_cert(*names, **settings)
        self._count += 1
        stem = f"{self.name}-{self._count}"
        leaf = Leaf(*(self.folder / f"{stem}.{kind}" for kind in ("crt", "key", "both")))
        leaf.cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(leaf.key)
        made.private_key_and_cert_chain_pem.write_to_path(leaf.both)
        return leaf

    def locked(self, path, phrase):
        """The key at *path* in PEM, under a pass phrase."""
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        return key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(phrase),
        )

    def front(self, server, *names, made=None, **demands):
        """A terminator in front of *server*, with a certificate for *names* or a context *made*."""
        return Front(server.port, made or self.context(*names, **demands))

    def context(self, *names, clients=False, versions=("1.2", "1.3"), ciphers=None):
        """
        What a server needs: a certificate for *names*, and its demands.

        *clients* asks for client certificates of this CA, *versions* are the lowest and the highest
        TLS version, *ciphers* those of TLS 1.2 by OpenSSL's names.
        """
        leaf = self.issue(*names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.cert, leaf.key)
        if clients:
            context.load_verify_locations(self.file)
            context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version, context.maximum_version = map(_version, versions)
        if ciphers:
            context.set_ciphers(ciphers)
        return context

    @contextlib.contextmanager
    def serving(self, way, server, *names, clients=False, versions=("1.2", "1.3"), ciphers=None):
        """
        A TLS server, made in one of the `WAYS`: its address, and a plain client of its data.

        The terminator stands in front of *server*.
        """
        if way == "front":
            front = self.front(server, *names, clients=clients, versions=versions, ciphers=ciphers)
            with front, server.client() as client:
                yield front.address, client
            return
        port = free_port()
        leaf = self.issue(*names)
        options = [
            *("--tls-port", str(port), "--tls-auth-clients", "yes" if clients else "no"),
            *("--tls-cert-file", str(leaf.cert), "--tls-key-file", str(leaf.key)),
            *("--tls-ca-cert-file", str(self.file)),
            *("--tls-protocols", " ".join(f"TLSv{one}" for one in dict.fromkeys(versions))),
            *(("--tls-ciphers", ciphers) if ciphers else ()),
        ]
        with LocalServer(*options, binary=program("tls")) as own, own.client() as client:
            yield f"127.0.0.1:{port}", client


def _version(text):
    """A TLS version as ssl names it."""
    return ssl.TLSVersion[f"TLSv{text.replace('.', '_')}"]


class Front:
    """A TLS terminator on a port of its own, in front of the plain server at *port*."""

    def __init__(self, port, context):
        self._target = ("127.0.0.1", port)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self.port = self._listener.getsockname()[1]

    @property
    def address(self):
        """Where it listens, as `redis.addresses` has it."""
        return f"127.0.0.1:{self.port}"

    def _accept(self):
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        """Carry bytes both ways until one side is done; a failed handshake ends it."""
        client.settimeout(20)
        with (
            contextlib.suppress(OSError),
            client,
            socket.create_connection(self._target) as plain,
            self._context.wrap_socket(client, server_side=True) as wrapped,
        ):
            while not self._over.is_set() and self._carry(wrapped, plain):
                pass

    @staticmethod
    def _carry(wrapped, plain):
        """Carry what is there; False when one side has hung up."""
        ready = [wrapped] if wrapped.pending() else select.select([wrapped, plain], [], [], 0.2)[0]
        for source, sink in ((wrapped, plain), (plain, wrapped)):
            if source not in ready:
                continue
            data = source.recv(1 << 16)
            if not data:
                return False
            sink.sendall(data)
        return True

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
