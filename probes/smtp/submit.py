"""One canary, one connection, one attempt."""

import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec

from probes.contract.config.models import RelayTls
from probes.contract.events import Attempt, Reply
from probes.contract.stages import Reason, Result, Stage
from probes.smtp import dial, tls
from probes.smtp.conversation import Conversation
from probes.smtp.credentials import Credentials
from probes.smtp.model import Mail, SendReport, SmtpTarget, SubmissionError
from probes.smtp.phases import Phases
from probes.smtp.queue_id import queue_id
from probes.smtp.wire import Wire
from probes.stalls import LATE_S

QUIT_LIMIT = 2.0
"""Seconds that the reply to QUIT is waited for at most; all is known by then."""

_OUT_OF_STEP = frozenset(
    {
        Reason.TIMEOUT,
        Reason.RESET,
        Reason.CLOSED,
        Reason.PROTOCOL,
        Reason.TLS_HANDSHAKE,
        Reason.CERTIFICATE,
        Reason.LOCAL,
    }
)
"""After these there is nobody left to say goodbye to, or no telling what would be understood."""

_HANGS_UP = frozenset({Reason.RESET, Reason.CLOSED})
"""What a relay does, sooner or later, to a connection whose other end stands still."""


@dataclass(slots=True)
class _Known:
    """What is known of the submission so far."""

    attempts: list[Attempt] = field(default_factory=list)
    peer: str | None = None
    source: str | None = None
    wire: Wire | None = None
    conversation: Conversation | None = None
    outcome: Reply | SubmissionError | None = None


async def send(
    target: SmtpTarget,
    mail: Mail,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    wall_ns: Callable[[], int] = time.time_ns,
    on_data_sent: Callable[[], None] | None = None,
    resolve: dial.Resolve = dial.resolve,
) -> SendReport:
    """Hand ``mail`` to the relay over a fresh connection, once (RFC 5321).

    ``monotonic`` gives seconds and times the phases; ``wall_ns`` gives nanoseconds since the epoch
    and judges certificates. ``on_data_sent`` is called just before the content and its final dot
    are written in one piece: from then on, and not sooner, the mail can arrive. Nothing that the
    network or the relay does raises: it is in the report. Cancelling closes the connection.
    """
    report, _ = await attempt(
        target,
        lambda talk: talk.submit(mail, on_data_sent),
        monotonic=monotonic,
        wall_ns=wall_ns,
        resolve=resolve,
    )
    return report


async def attempt(
    target: SmtpTarget,
    say: Callable[[Conversation], Awaitable[Reply]],
    *,
    monotonic: Callable[[], float],
    wall_ns: Callable[[], int],
    resolve: dial.Resolve,
) -> tuple[SendReport, Conversation | None]:
    """Connect, ``say`` what there is to say, and QUIT; the conversation if there was one.

    The report's ``reply`` is what ``say`` gave, if nothing went wrong. Raises nothing, as
    :func:`send`.
    """
    prepared = _prepare(target)
    if isinstance(prepared, SendReport):
        return prepared, None
    context, credentials = prepared
    known = _Known()
    phases = Phases(monotonic)
    cleanly = False
    try:
        async with phases:
            try:
                wire = await _connect(target, known, phases, monotonic, resolve)
                talk = Conversation(wire, target, phases, context, credentials, wall_ns)
                known.conversation = talk
                known.outcome = await say(talk)
            except SubmissionError as failure:
                phases.end()
                known.outcome = _whose(failure, phases)
            if known.conversation is not None and _in_step(known.outcome):
                phases.limit_to(min(QUIT_LIMIT, target.timeouts.command))
                await known.conversation.quit()
                cleanly = True
    except TimeoutError:
        if known.outcome is None:
            phases.end()
            text = f"timed out after {phases.limit or 0:g} s"
            timed_out = SubmissionError(Result.FAILED, Reason.TIMEOUT, text)
            known.outcome = _whose(timed_out, phases)
    finally:
        if known.wire is not None:
            known.wire.hang_up(cleanly=cleanly)
    return _report(known, phases), known.conversation


def _prepare(target: SmtpTarget) -> tuple[ssl.SSLContext | None, Credentials | None] | SendReport:
    """What must be at hand before anything is sent, or a report that it is not."""
    context = None
    try:
        if target.tls is not RelayTls.NONE:
            context = tls.context(target.ca_file, strict=tls.must_verify(target))
        return context, Credentials.of(target)
    except OSError as error:  # ssl.SSLError is one
        stage, reason = Stage.TLS, Reason.LOCAL
        text = f"CA file {target.ca_file}: {error.strerror or error}"
    except SubmissionError as error:
        stage, reason, text = Stage.AUTH, error.reason, error.text
    return SendReport(result=Result.UNSENT, stage=stage, reason=reason, detail=f"{stage}: {text}")


async def _connect(
    target: SmtpTarget,
    known: _Known,
    phases: Phases,
    monotonic: Callable[[], float],
    resolve: dial.Resolve,
) -> Wire:
    """Resolve and connect, each timed."""
    limit = target.timeouts.connect
    phases.begin(Stage.RESOLVE, limit)
    endpoints = await dial.find(target.host, target.port, target.source_address, resolve)
    phases.end()

    bare = target.tls is RelayTls.IMPLICIT
    phases.begin(Stage.CONNECT, None)  # the limit is per address
    try:
        wire = known.wire = await dial.connect(
            endpoints,
            lambda endpoint: Wire.dial(endpoint, target.source_address, bare=bare),
            limit,
            monotonic,
            known.attempts,
        )
    except SubmissionError as failure:
        ours = _own_up(known.attempts, limit, phases.standing_s())
        if ours and failure.result is Result.UNREACHABLE:
            raise _stood_still(limit) from failure
        raise
    _own_up(known.attempts, limit, phases.standing_s())
    phases.end()

    known.source = wire.source
    known.peer = wire.peer or endpoints[len(known.attempts)].sockaddr[0]
    return wire


def _stood_still(limit: float) -> SubmissionError:
    text = f"this agent stood still for longer than the limit of {limit:g} s"
    return SubmissionError(Result.UNSENT, Reason.LOCAL, text)


def _whose(failure: SubmissionError, phases: Phases) -> SubmissionError:
    """The failure, or this host's own when nobody else can have held the stage up so long."""
    closing = failure.reply is not None and failure.reply.code == 421
    hung_up = failure.reason in _HANGS_UP or closing
    if phases.limit is None or not (hung_up or failure.reason is Reason.TIMEOUT):
        return failure
    if hung_up and phases.stood_s > LATE_S:
        text = f"this agent stood still for {phases.stood_s:.1f} s: {failure.text}"
        return SubmissionError(Result.UNSENT, Reason.LOCAL, text)
    return _stood_still(phases.limit) if phases.overran() else failure


def _own_up(attempts: list[Attempt], limit: float, stood_s: float) -> bool:
    """Take back the blame for addresses whose attempt outlasted ``limit``; whether one did.

    Up to ``stood_s`` seconds the limit was longer, for stalls that were seen.
    """
    detail = _stood_still(limit).text
    told = [
        msgspec.structs.replace(attempt, reason=Reason.LOCAL, detail=detail)
        if attempt.elapsed_s > limit + stood_s + LATE_S
        else attempt
        for attempt in attempts
    ]
    changed = told != attempts
    attempts[:] = told
    return changed


def _in_step(outcome: Reply | SubmissionError) -> bool:
    if isinstance(outcome, Reply):
        return True
    closing = outcome.reply is not None and outcome.reply.code == 421
    return outcome.reason not in _OUT_OF_STEP and not closing


def _report(known: _Known, phases: Phases) -> SendReport:
    outcome, talk = known.outcome, known.conversation
    failure = outcome if isinstance(outcome, SubmissionError) else None
    reply = outcome if isinstance(outcome, Reply) else failure.reply if failure else None
    stage = phases.stage
    if failure is None:
        result = Result.ACCEPTED
    elif stage is Stage.ACCEPT and failure.result in (Result.FAILED, Result.UNSENT):
        # The final dot is on its way, or may be: without a reply nobody can tell.
        result = Result.UNKNOWN
    elif stage is Stage.RESOLVE and failure.result is Result.FAILED:
        result = Result.UNREACHABLE
    else:
        result = failure.result
    return SendReport(
        result=result,
        stage=stage if failure else None,
        reason=failure.reason if failure else None,
        detail=f"{stage}: {failure.text}" if failure else None,
        reply=reply,
        phases=phases.seconds,
        attempts=known.attempts,
        peer=known.peer,
        source=known.source,
        tls=talk.tls if talk else None,
        queue_id=queue_id(reply.text) if reply and not failure else None,
        dsn=talk.dsn if talk else False,
    )
