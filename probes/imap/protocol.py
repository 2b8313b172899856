"""aioimaplib's protocol with a receiving half that neither hangs, nor drops, nor mangles.

aioimaplib composes, checks and sequences the commands. Its own way of reading replies calls itself
once per line until Python's limit, drops an EXISTS that comes unasked, cuts every ``* `` out of
header lines, and keeps waiting after the connection is gone; none of that is used.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import aioimaplib

from probes import transports
from probes.contract.stages import Reason, Stage
from probes.imap.framing import Framer
from probes.imap.model import ImapFailure, ImapStage, ProtocolError, Step
from probes.imap.replies import readable

MAX_RECEIVED = 256 * 1024 * 1024
MAX_KEPT = 32 * 1024 * 1024
MAX_RESPONSES = 100_000
"""What a server may send from one command to the next: bytes in all, bytes that are looked at, and
responses. Two hundred headers are within it by far; a flood is not, while idling either."""

Status = Literal["OK", "NO", "BAD"]
_STATUSES: dict[bytes, Status] = {b"OK": "OK", b"NO": "NO", b"BAD": "BAD"}


@dataclass(frozen=True, slots=True)
class Reply:
    """A command's tagged reply: OK or NO, and the text behind it. (A BAD ends the session.)"""

    status: Status
    text: bytes


class Request(aioimaplib.Command):  # type: ignore[misc]  # aioimaplib ships no types
    """A command; ``answers`` are what it replies to the server's continuation requests, in order.

    Its repr shows no argument, since one may be a secret; ``str`` is what goes out.
    """

    def __init__(
        self,
        name: str,
        tag: str,
        *arguments: str,
        prefix: str | None = None,
        answers: Sequence[bytes] = (),
    ) -> None:
        super().__init__(name, tag, *arguments, prefix=prefix)
        self.answers = list(answers)
        self.continuations: list[bytes] = []
        self.status: Status | None = None

    def __str__(self) -> str:
        return str(super().__repr__())

    def __repr__(self) -> str:
        return f"<{self.name} {self.tag}>"

    def continued(self, text: bytes) -> bytes | None:
        """What to send after the server's ``+ text``; None sends nothing.

        Raises:
            ProtocolError: when the command has nothing to continue with.
        """
        if not self.answers:
            raise ProtocolError("a continuation request that nothing asked for")
        self.continuations.append(text)
        return self.answers.pop(0)


class IdleRequest(Request):
    """IDLE (RFC 2177); ``accepted`` is set when the server has begun to watch."""

    def __init__(self, tag: str) -> None:
        super().__init__("IDLE", tag)
        self.accepted = asyncio.Event()

    def continued(self, text: bytes) -> bytes | None:  # noqa: ARG002 - any text will do
        """Nothing is sent; the idling has begun."""
        self.accepted.set()
        return None


class ImapProtocol(aioimaplib.IMAP4ClientProtocol):  # type: ignore[misc]  # as above
    """One connection. Once ``failure`` is set it is cut, and every command raises at once.

    ``untagged`` gets each untagged response but BYE; ``on_dead`` is told when the end has come;
    ``redact`` takes secrets out of a text.
    """

    pending_sync_command: Any  # aioimaplib's own bookkeeping, which execute() relies on

    def __init__(
        self,
        *,
        untagged: Callable[[Sequence[bytes]], None],
        on_dead: Callable[[], None],
        redact: Callable[[str], str],
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(loop)
        self.framer = Framer()
        self.failure: ImapFailure | None = None
        self.step: Step = Stage.BANNER
        self.greeting: asyncio.Future[bytes] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self._untagged = untagged
        self._on_dead = on_dead
        self._redact = redact
        self._request: Request | None = None
        self._received = 0
        self._kept = 0
        self._responses = 0

    # What asyncio and aioimaplib call.

    def data_received(self, data: bytes) -> None:
        """Take in a piece of the stream, of any size."""
        if self.over():
            return
        try:
            self._take_in(len(data))
            for response in self.framer.feed(data):
                self._count(response)
                self._dispatch(response)
                if self.over():
                    return
        except ProtocolError as error:
            self.die(Reason.PROTOCOL, f"the server sent {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is under way: nothing more will come."""
        inside = " in the middle of a reply" if self.framer.inside else ""
        if exc is None:
            self.die(Reason.CLOSED, f"the server closed the connection{inside}")
        else:
            self.die(Reason.RESET, f"the connection broke{inside}: {exc}")
        if not self.gone.done():
            self.gone.set_result(None)

    def send(self, line: str, scrub: str | None = None) -> None:  # noqa: ARG002 - nothing is logged
        """Write one line. Unlike the original it logs none, so no secret needs scrubbing."""
        self.transport.write(line.encode() + b"\r\n")

    # What the session calls.

    def over(self) -> bool:
        """Whether the connection has ended."""
        return self.failure is not None

    def die(self, reason: Reason, detail: str) -> None:
        """Cut the connection for good; the first reason stays."""
        if self.failure is not None:
            return
        self.failure = ImapFailure(self.step, reason, self._redact(detail))
        if self.transport is not None:
            transports.abort(self.transport)
        request = self._request
        if request is not None:
            request.close(b"", "KO")
        if not self.greeting.done():
            self.greeting.set_result(b"")
        self._on_dead()

    def check_alive(self) -> None:
        """Raise the failure that ended the connection, if it has ended."""
        if self.over():
            raise self._ended()

    def _ended(self) -> ImapFailure:
        failure = self.failure
        if failure is None:
            return ImapFailure(self.step, Reason.LOCAL, "the command ended without a reply")
        # A new exception each time, so that a traceback tells of one raise only.
        return ImapFailure(failure.stage, failure.reason, failure.detail)

    def fail(self, step: Step, reason: Reason, detail: str) -> ImapFailure:
        """A failure to raise that leaves the connection as it is."""
        return ImapFailure(step, reason, self._redact(detail))

    def said(self, text: bytes) -> str:
        """What the server said, fit for a person, without secrets."""
        return readable(self._redact(text.decode("utf-8", "replace")))

    async def run(self, step: Step, request: Request, timeout_s: float) -> Reply:
        """Send a command and wait for its tagged reply, OK or NO.

        Raises:
            ImapFailure: the connection has ended, before or because of this command: no reply in
                time, BAD, BYE, nonsense, lost, or this call was cancelled.
        """
        self.check_alive()
        self.step = step
        self._request = request
        self._received = self._kept = self._responses = 0
        late = f"no reply to {request.name} within {timeout_s:g} s"
        watchdog = self.loop.call_later(timeout_s, self.die, Reason.TIMEOUT, late)
        try:
            await self.execute(request)
        except aioimaplib.AioImapException:
            self.die(Reason.PROTOCOL, f"{request.name} is not possible now")
        finally:
            watchdog.cancel()
            # Still here as a cancellation: a reply may yet come and would be taken for another's.
            if self._request is not None:
                self.die(Reason.INTERRUPTED, f"{request.name} was given up")
                self._request = None
        if request.status is None:
            raise self._ended()
        # A reply counts, even if the connection has ended since.
        text = request.response.lines[-1]
        if request.status == "BAD":
            self.step = step
            self.die(Reason.PROTOCOL, f"the server answered BAD: {self.said(text)}")
            raise self._ended()
        return Reply(request.status, text)

    # How a response finds its place.

    def _take_in(self, size: int) -> None:
        self._received += size
        if self._received > MAX_RECEIVED:
            raise ProtocolError(f"more than {MAX_RECEIVED} bytes for one command")

    def _count(self, parts: Sequence[bytes]) -> None:
        self._responses += 1
        self._kept += sum(map(len, parts))
        if self._responses > MAX_RESPONSES:
            raise ProtocolError(f"more than {MAX_RESPONSES} responses to one command")
        if self._kept > MAX_KEPT:
            raise ProtocolError(f"more than {MAX_KEPT} bytes of responses to one command")

    def _dispatch(self, parts: Sequence[bytes]) -> None:
        line = parts[0]
        if not self.greeting.done():
            self.greeting.set_result(line)
        elif line.startswith(b"* "):
            if line[2:5].upper() == b"BYE":
                if self.step is not ImapStage.LOGOUT:
                    self.die(Reason.CLOSED, f"the server said goodbye: {self.said(line[6:])}")
            else:
                self._untagged(parts)
        elif line.startswith(b"+"):
            self._continue(line[2:])
        elif line:
            self._finish(line)

    def _continue(self, text: bytes) -> None:
        if self._request is None:
            raise ProtocolError("a continuation request between commands")
        answer = self._request.continued(text)
        if answer is not None:
            self.transport.write(answer + b"\r\n")

    def _finish(self, line: bytes) -> None:
        tag, _, rest = line.partition(b" ")
        word, _, text = rest.partition(b" ")
        status = _STATUSES.get(word.upper())
        request = self._request
        if status is None or request is None or tag != request.tag.encode():
            raise ProtocolError(f"a line that belongs to nothing: {self.said(line)}")
        if self.pending_sync_command is request:
            self.pending_sync_command = None
        else:
            self.pending_async_commands.pop(request.untagged_resp_name, None)
        self._request = None
        self.step = ImapStage.BETWEEN
        request.status = status
        request.close(text, status)
