"""What the providers behind a network have in common: care with secrets, and finite patience."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import ClassVar, NoReturn, Protocol, TypeVar

from rotator.errors import SecretError, SourceError
from rotator.tls import add_trusted, client_context, reason_of, show_certificate, unreachable

TIMEOUT = 10  # seconds for each connection and each answer
TRIES = 4
FIRST_PAUSE = 0.25  # seconds; doubles with each try
LONGEST_PAUSE = 15.0  # seconds; who asks for more patience is given up
_BUSY = frozenset({412, 429, 502, 503, 504})


class Answer(Protocol):
    """What every HTTP library gives back."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The HTTP headers."""
        ...


A = TypeVar("A", bound=Answer)


class Remote:
    """
    A provider at *place* (host and port).

    It is shown by its place alone, and refuses to be pickled.
    """

    title: ClassVar[str]
    trust: ClassVar[str]  # the hint for a certificate that is not trusted
    plain: ClassVar[str] = ""  # the hint for a server that speaks no TLS

    def __init__(self, place: str) -> None:
        self.place = place

    @property
    def source(self) -> str:
        """How messages call it."""
        return f"{self.title} at {self.place}"

    def unreachable(self, error: BaseException) -> SourceError:
        """The error for a request that failed on the way."""
        return unreachable(self.source, error, trust=self.trust, plain=self.plain)

    def unexpected(self, status: int, code: str | None = None) -> SourceError:
        """The error for an answer that no rule speaks of; *code* is the provider's own."""
        known = f" ({code})" if code else ""
        if status in _BUSY:
            return SourceError(
                f"{self.source} is too busy: status {status}{known} at every try",
                hint="try again later; its own log says what it is waiting for",
            )
        return SourceError(
            f"{self.source} answered with status {status}{known}",
            hint="is the address that of the secret provider? its own log says more",
        )

    def garbled(self) -> SourceError:
        """The error for an answer that is not what the provider's documentation promises."""
        return SourceError(
            f"{self.source} gave an answer that is not understood",
            hint="is the address that of the secret provider, and not of a proxy or a login page?",
        )

    def unknown(self, name: str, hint: str) -> SecretError:
        """The error for a name that the provider does not know."""
        return SecretError(f"<{name}>: {self.source} has no such secret", hint=hint)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.place})"

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret provider must not be pickled")


def patiently(ask: Callable[[], A], *, final: Callable[[A], bool] = lambda _: False) -> A:
    """
    The answer of *ask*; a busy server is asked again, a few times, when it wants to be.

    *final* says that a busy answer will stay. The last answer is given back, busy or not.
    """
    for attempt in range(TRIES):
        answer = ask()
        if answer.status_code not in _BUSY or final(answer):
            break
        pause = _pause(attempt, answer.headers.get("Retry-After"))
        if pause > LONGEST_PAUSE or attempt == TRIES - 1:
            break
        time.sleep(pause)
    return answer


def hush(*libraries: str) -> None:
    """
    Keep the loggers of *libraries* quiet, whatever the level of the program's own log.

    At DEBUG they write URLs, headers and whole answers, secrets included; at WARNING some still
    write the text of a refusal. What matters of it is in the errors raised here.
    """
    for library in libraries:
        logging.getLogger(library).setLevel(logging.CRITICAL)


def _pause(attempt: int, retry_after: str | None) -> float:
    """Seconds until the next try: what the server asks for (RFC 9110, 10.2.3), else doubling."""
    usual: float = FIRST_PAUSE * 2**attempt
    if retry_after is None:
        return usual
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return usual
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def trusting(
    *,
    ca_file: str | None = None,
    ca_text: str | None = None,
    cert_file: str | None = None,
    key_file: str | None = None,
) -> ssl.SSLContext:
    """
    Return a TLS context with more CAs and a client certificate, as a provider's URL names them.

    Without *key_file* the private key is expected beside the certificate.

    Raises:
        SecretError: A file cannot be read, or is not what it should be.
    """
    context = client_context()
    try:
        if ca_file:
            context.load_verify_locations(ca_file)
        if ca_text:
            add_trusted(context, ca_text)
    except OSError as error:  # ssl.SSLError is one
        raise _unusable(f"CA certificates {ca_file or ''}".rstrip(), error) from None
    try:
        if cert_file:
            show_certificate(context, cert_file, key_file)
    except OSError as error:
        files = " and ".join(filter(None, (cert_file, key_file)))
        raise _unusable(f"client certificate {files}", error) from None
    except ValueError:
        raise SecretError(
            f"the secret provider's key {key_file or cert_file} is encrypted",
            hint="rotator cannot ask for its passphrase: give a key without one",
        ) from None
    return context


def _unusable(what: str, error: OSError) -> SecretError:
    """Return the error for a file that cannot be used."""
    reason = reason_of(error, "not PEM" if isinstance(error, ssl.SSLError) else "unknown reason")
    return SecretError(
        f"the secret provider's {what} cannot be used: {reason}",
        hint="check the path, the rights of the file, and that it is PEM",
    )
