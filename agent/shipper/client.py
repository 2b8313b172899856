"""The collector as an agent sees it: one exchange at a time, each tried once."""

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import msgspec

from agent.shipper.failures import Failure, Fate, ShipError, of_error, of_status
from probes.contract.errors import SecretError
from probes.contract.secret import Secret
from probes.contract.wire import (
    BATCH_TYPE,
    AssignmentDocument,
    Beat,
    BeatReply,
    Ingested,
    ProblemDetails,
)

T = TypeVar("T")

_MAX_ANSWER = 4 << 20
_MAX_ASSIGNMENT = 256 << 20
_CONNECT_S = 10.0
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the collector is, and with what one asks it.

    ``token`` is asked for with every request, so that a new one needs no restart. ``tls`` is
    ``None`` for the system's trust; certificates are always verified.
    """

    url: str
    agent: str
    token: Callable[[], Secret]
    tls: ssl.SSLContext | None = None
    user_agent: str = "mailcanary"


class CollectorClient:
    """A client of one collector. Opened in the loop that uses it; redirects are not followed."""

    def __init__(self, endpoint: Endpoint, *, answer_s: float = 60.0) -> None:
        self._endpoint = endpoint
        self._answer_s = answer_s
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def post_events(self, body: bytes) -> Ingested:
        """Hand over a batch, gzipped (``docs/wire.md``).

        Raises:
            ShipError: it was not taken, or it is not known whether it was.
        """
        headers = {"Content-Type": BATCH_TYPE, "Content-Encoding": "gzip"}
        _, answer = await self._ask("POST", "/api/v1/events", headers, body)
        return _decode(answer, Ingested)

    async def beat(self, beat: Beat) -> BeatReply:
        """Say that this agent lives.

        Raises:
            ShipError: it was not heard, or it is not known whether it was.
        """
        path = f"/api/v1/agents/{self._endpoint.agent}/beat"
        headers = {"Content-Type": _JSON}
        _, answer = await self._ask("POST", path, headers, msgspec.json.encode(beat))
        return _decode(answer, BeatReply)

    async def assignment(
        self, etag: str | None, wait_s: float
    ) -> tuple[str, AssignmentDocument] | None:
        """The assignment with its ETag, once it differs from ``etag``; ``None`` when it does not.

        Raises:
            ShipError: there was no usable answer.
        """
        path = f"/api/v1/agents/{self._endpoint.agent}/assignment?wait={wait_s:g}"
        headers = {} if etag is None else {"If-None-Match": etag}
        answer_s = wait_s + self._answer_s
        response, answer = await self._ask(
            "GET", path, headers, None, answer_s=answer_s, limit=_MAX_ASSIGNMENT
        )
        if response.status == 304:
            return None
        return response.headers.get("ETag", ""), _decode(answer, AssignmentDocument)

    async def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        answer_s: float | None = None,
        limit: int = _MAX_ANSWER,
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        try:
            token = self._endpoint.token()
        except SecretError as error:
            raise ShipError(Failure(Fate.STOP, "token", str(error))) from None
        sent = {**headers, "Authorization": f"Bearer {token.reveal()}"}
        timeout = aiohttp.ClientTimeout(
            total=self._answer_s if answer_s is None else answer_s, sock_connect=_CONNECT_S
        )
        url = self._endpoint.url.rstrip("/") + path
        try:
            async with self._open().request(
                method, url, data=body, headers=sent, timeout=timeout, allow_redirects=False
            ) as response:
                answer = await _bounded(response, limit)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            failure = of_error(error)
            if failure is None:
                raise
            raise ShipError(failure) from None
        _must_be_good(response.status, response.headers.get("Retry-After"), answer, time.time())
        return response, answer

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            tls: Any = True if self._endpoint.tls is None else self._endpoint.tls
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls, limit=8),
                headers={"User-Agent": self._endpoint.user_agent},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def read_ingested(status: int, retry_after: str | None, answer: bytes, now_s: float) -> Ingested:
    """What an answer to a batch says, of whomever it is. ``now_s`` is the wall clock.

    Raises:
        ShipError: it does not say that the batch was taken.
    """
    _must_be_good(status, retry_after, answer, now_s)
    return _decode(answer, Ingested)


def _must_be_good(status: int, retry_after: str | None, answer: bytes, now_s: float) -> None:
    if status not in (200, 304):
        raise ShipError(of_status(status, _detail(answer), retry_after, now_s))


async def _bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, of which no more than ``limit`` bytes are believed."""
    parts = bytearray()
    async for chunk in response.content.iter_any():
        parts += chunk
        if len(parts) > limit:
            response.close()
            raise ShipError(
                Failure(Fate.RETRY, "protocol", f"the collector's answer is above {limit} bytes")
            )
    return bytes(parts)


def _decode(answer: bytes, form: type[T]) -> T:
    try:
        return msgspec.json.decode(answer, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = f"the collector's answer is none: {error}"
        raise ShipError(Failure(Fate.RETRY, "protocol", text)) from None


def _detail(answer: bytes) -> str:
    """What the collector says of an error, if it is the collector that speaks (RFC 9457)."""
    try:
        problem = msgspec.json.decode(answer, type=ProblemDetails)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return " ".join(" ".join((problem.detail or problem.title, *problem.errors[:3])).split())[:500]
