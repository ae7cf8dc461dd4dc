"""TLS contexts, and why a server could not be reached."""

import errno
import http.client
import socket
import ssl
from pathlib import Path

import pytest

from rotator.errors import SourceError
from rotator.tls import client_context, pem_file, unreachable

SECRET = "pLantEd"


def tls(reason):
    """An error of OpenSSL's."""
    error = ssl.SSLError(1, f"[SSL: {reason}] {SECRET}")
    error.reason = reason
    return error


def untrusted():
    """A certificate that could not be verified."""
    error = ssl.SSLCertVerificationError(1, SECRET)
    error.verify_message = "Hostname mismatch, certificate is not valid for 'a'."
    return error


class LibraryError(Exception):
    """What a library makes of the real error."""


def wrapped(error, way):
    """The error inside another one, in one of the ways that libraries have."""
    outer = LibraryError(f"GET https://h/?token={SECRET}")
    if way == "cause":
        outer.__cause__ = error
    elif way == "context":
        outer.__context__ = error
    elif way == "args":
        outer = LibraryError(error)
    else:
        setattr(outer, way, error)
    return LibraryError(outer)


@pytest.mark.parametrize("way", ["cause", "context", "args", "reason", "inner_exception"])
@pytest.mark.parametrize(
    ("error", "words", "hint"),
    [
        (untrusted(), "not trusted: hostname mismatch, certificate is not valid for 'a'", "CA"),
        (tls("WRONG_VERSION_NUMBER"), "the box does not speak TLS", "plain"),
        (tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "refused the client certificate", "key"),
        (tls("TLSV1_ALERT_UNKNOWN_CA"), "refused the client certificate", "key"),
        (
            tls("SSLV3_ALERT_HANDSHAKE_FAILURE"),
            "the TLS handshake with the box failed: sslv3 alert",
            "client",
        ),
        (tls(None), "unknown reason", "client"),
        (ConnectionRefusedError(errno.ECONNREFUSED, SECRET), "refused the connection", "port"),
        (socket.gaierror(-2, SECRET), "the name of the box does not resolve", "host"),
        (TimeoutError(SECRET), "did not answer in time", "proxy"),
        (ConnectionResetError(errno.ECONNRESET, SECRET), "closed the connection", "proxy"),
        (http.client.BadStatusLine(SECRET), "not understood", "address"),
    ],
)
def test_causes(error, words, hint, way):
    """The real reason is found inside what a library makes of it, and nothing else is said."""
    made = unreachable("the box", wrapped(error, way), trust="give its CA", plain="say plain")
    assert type(made) is SourceError
    assert words in str(made)
    assert hint in made.hint
    assert SECRET not in str(made) + made.hint


def test_circle():
    """Errors that point at each other are looked at once."""
    first, second = LibraryError(), LibraryError()
    first.__context__ = second
    second.__cause__ = first
    assert "LibraryError" in str(unreachable("the box", first, trust="x"))


def test_no_hint_for_plain():
    """A server that should speak TLS, and does not, may be asked at the wrong port."""
    assert "port" in unreachable("the box", tls("HTTP_REQUEST"), trust="x").hint


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_verification(version):
    """The same chains are trusted on every Python, and the host name is checked."""
    context = client_context(version)
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_pem_has_no_name(tmp_path, monkeypatch):
    """What OpenSSL is to read has a path, and is in no folder where a kill would leave it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pem_file(f"# cl\u00e9\n{SECRET}\n" * 10_000) as path:
        for _ in range(2):
            assert Path(path).read_text() == f"# cl\n{SECRET}\n" * 10_000
        assert list(tmp_path.iterdir()) == []
    assert not Path(path).exists()
