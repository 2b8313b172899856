"""As far as the login and no further: what a relay offers, and whether it lets this agent in."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from probes.contract.events import Reply
from probes.smtp import dial
from probes.smtp.model import Seen, SmtpTarget
from probes.smtp.submit import attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting(Seen):
    """What was seen up to the failure, or in all if ``stage`` is ``None``.

    ``extensions`` are the EHLO keywords in lower case with their parameters, after TLS if there
    was TLS; ``auth_methods`` likewise.
    """

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
        **report.seen(),
        banner=talk.banner if talk else None,
        extensions=talk.extensions if talk else {},
        auth_methods=tuple(talk.auth_methods) if talk else (),
    )
