"""What goes wrong between an agent and its collector, and what each kind of it means."""

import asyncio
import email.utils
import ssl
from dataclasses import dataclass
from enum import StrEnum

import aiohttp

from probes.contract.errors import MailcanaryError

MAX_RETRY_AFTER_S = 600.0
"""A longer ``Retry-After`` is a mistake of somebody between us."""


KNOCK_S = 60.0
"""How often something small is asked of a collector again that only a person can mend."""


class Fate(StrEnum):
    """What to do after a failure."""

    RETRY = "retry"
    """The same again, later: the other side, or the way to it, is in trouble."""
    SMALLER = "smaller"
    """The same in parts: this much at once does not pass. One event alone is tried again later,
    unless the failure is ``final``."""
    STOP = "stop"
    """Only a person can mend it: ask again now and then, and say so loudly."""


_BY_STATUS: dict[int, Fate] = {
    400: Fate.SMALLER,
    401: Fate.STOP,
    403: Fate.STOP,
    404: Fate.STOP,
    405: Fate.STOP,
    407: Fate.STOP,
    408: Fate.SMALLER,
    409: Fate.RETRY,
    410: Fate.STOP,
    411: Fate.STOP,
    413: Fate.SMALLER,
    415: Fate.STOP,
    421: Fate.RETRY,
    422: Fate.SMALLER,
    425: Fate.RETRY,
    426: Fate.STOP,
    429: Fate.RETRY,
    431: Fate.STOP,
    451: Fate.STOP,
}
"""The one table. What is not in it: 5xx is retried, everything else stops."""


def fate_of(status: int) -> Fate:
    """What an answer other than success means (RFC 9110 section 15)."""
    return _BY_STATUS.get(status, Fate.RETRY if status >= 500 else Fate.STOP)


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed exchange. ``kind`` is a word for counters, ``text`` for people.

    ``final``: the collector itself says that this will never pass, so that one event by itself has
    to be dropped. Whatever else fails may be somebody in between, who will be mended.
    """

    fate: Fate
    kind: str
    text: str
    retry_after_s: float = 0.0
    final: bool = False


class ShipError(MailcanaryError):
    """An exchange with the collector failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


def retry_after_s(header: str | None, now_s: float) -> float:
    """Seconds to wait, from ``Retry-After`` (RFC 9110 section 10.2.3); 0 when there is no telling.

    ``now_s`` is the wall clock, for the form that is a date.
    """
    if header is None:
        return 0.0
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        at = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(0.0, at - now_s), MAX_RETRY_AFTER_S)


def of_status(status: int, detail: str, retry_after: str | None, now_s: float) -> Failure:
    """The failure that an answer with that status is.

    ``detail`` is what the collector says of it; empty when it is not the collector that speaks.
    """
    text = f"the collector answered {status}" + (f": {detail}" if detail else "")
    final = status == 413 and bool(detail)
    return Failure(fate_of(status), str(status), text, retry_after_s(retry_after, now_s), final)


def of_error(error: Exception) -> Failure | None:
    """The failure that an exception of the client is; ``None`` for a fault of our own."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return Failure(Fate.STOP, "certificate", f"the collector's certificate: {error}")
        case aiohttp.InvalidURL():
            return Failure(Fate.STOP, "url", f"the collector's URL is none: {error}")
        case asyncio.TimeoutError():
            return Failure(Fate.RETRY, "timeout", "the collector took too long to answer")
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            return Failure(Fate.RETRY, "protocol", f"the collector's answer broke off: {error}")
        case aiohttp.ClientError() | OSError():
            return Failure(Fate.RETRY, "connection", f"the collector cannot be reached: {error}")
        case _:
            return None
