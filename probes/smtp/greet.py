"""As far as the login and no further: what a relay offers, and whether it lets this agent in."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from probes.contract.events import Attempt, Reply, TlsInfo
from probes.contract.stages import Reason, Stage
from probes.smtp import dial
from probes.smtp.model import SmtpTarget
from probes.smtp.submit import attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What was seen up to the failure, or in all if ``stage`` is ``None``.

    The fields are those of ``SendReport`` of the same names. ``extensions`` are the EHLO keywords
    in lower case with their parameters, after TLS if there was TLS; ``auth_methods`` likewise.
    """

    stage: Stage | None = None
    reason: Reason | None = None
    detail: str | None = None
    reply: Reply | None = None
    phases: dict[str, float] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    peer: str | None = None
    source: str | None = None
    tls: TlsInfo | None = None
    banner: Reply | None = None
    extensions: dict[str, str] = field(default_factory=dict)
    auth_methods: tuple[str, ...] = ()


async def greet(
    target: SmtpTarget,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    wall_ns: Callable[[], int] = time.time_ns,
    resolve: dial.Resolve = dial.resolve,
) -> Greeting:
    """Connect, EHLO, TLS and AUTH as the target wants them, QUIT. No mail is sent.

    Nothing that the network or the relay does raises: it is in the greeting.
    """
    report, talk = await attempt(
        target,
        lambda talk: talk.introduce(),
        monotonic=monotonic,
        wall_ns=wall_ns,
        resolve=resolve,
    )
    return Greeting(
        stage=report.stage,
        reason=report.reason,
        detail=report.detail,
        reply=report.reply,
        phases=report.phases,
        attempts=report.attempts,
        peer=report.peer,
        source=report.source,
        tls=report.tls,
        banner=talk.banner if talk else None,
        extensions=talk.extensions if talk else {},
        auth_methods=tuple(talk.auth_methods) if talk else (),
    )
