"""From a mail's header to an arrival event: pure, so that every odd mail can be a test."""

from dataclasses import dataclass

from agent.clock import Moment, elapsed
from agent.spool.flight import Flight
from probes.contract.config.models import Mailbox, Relay
from probes.contract.events import Arrival, Carrier, Hop, Interval
from probes.contract.token import HEADER, Judgement, KeyRing, Token, judge
from probes.headers.authres import authentication_results
from probes.headers.block import parse_header_block, values
from probes.headers.carrier import carrier
from probes.headers.received import parse_received
from probes.imap import Message

HEADER_FIELDS = (
    HEADER,
    "Received",
    "Authentication-Results",
    "Content-Type",
    "Auto-Submitted",
    "X-Failed-Recipients",
    "Return-Path",
)
"""The header fields that are fetched of every mail: those of a canary, and those of a bounce."""

_LONGEST_COMMIT_NS = 10_000_000_000

Fields = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Look:
    """When a folder was looked into: what showed that the mail is there, and the check before it.

    ``before`` is the start of the last complete check that did not show it, if there was one;
    ``seen`` is when the server had announced it.
    """

    before: Moment | None
    seen: Moment


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mail lies."""

    folder: str
    junk: bool
    uidvalidity: int
    uid: int


def read_fields(message: Message) -> Fields:
    """The fetched header fields, unfolded, names in lower case."""
    return parse_header_block(message.header)


def read_token(
    fields: Fields, ring: KeyRing, *, agent: str, mailbox: str, now_ns: int, remember_s: float
) -> tuple[Judgement, Token | None] | None:
    """What the mail's canary field is; ``None`` for a mail without one."""
    found = values(fields, HEADER.lower())
    if not found:
        return None
    return judge(found[0], ring, agent=agent, mailbox=mailbox, now_ns=now_ns, remember_s=remember_s)


def sent_moment(flight: Flight | None, token: Token) -> Moment:
    """When the canary was sent, on the best clock there is.

    A flight that was interrupted knows only its intent's moment, a commit before the send time that
    the token carries; the wall clock bridges those milliseconds. Without a flight (the state was
    lost, or it is a second copy) there is only the token's wall clock.
    """
    if flight is None:
        return Moment(token.sent_ns, 0, "")
    shift = token.sent_ns - flight.sent.wall_ns
    return Moment(token.sent_ns, flight.sent.boot_ns + shift, flight.sent.boot_id)


def measure(
    sent: Moment, look: Look, dot_boot_ns: int | None, wall_error_s: float
) -> tuple[Interval, str]:
    """The delay's interval in seconds, and the clock that measured it (RFC 7679 section 3.7).

    It was not there when the last complete check began, nor before the final dot was sent; it was
    there when it had been announced.
    """
    high = elapsed(sent, look.seen, wall_error_s=wall_error_s)
    low = 0.0
    if look.before is not None:
        before = elapsed(sent, look.before, wall_error_s=wall_error_s)
        low = before.seconds - before.error_s
    if dot_boot_ns is not None and sent.boot_id == look.seen.boot_id:
        low = max(low, (dot_boot_ns - sent.boot_ns) / 1e9)
    upper = max(0.0, high.seconds + high.error_s)
    return Interval(min(max(0.0, low), upper), upper), high.clock


def _delay(
    flight: Flight | None, token: Token, look: Look, dot_boot_ns: int | None, wall_error_s: float
) -> tuple[Interval, str]:
    """The delay's interval; wider where it is not known when exactly the canary was sent.

    An interrupted flight was sent after its intent, a commit later by the wall clock, which may
    have been set meanwhile: then only the intent's moment is to be relied on.
    """
    delay, clock = measure(sent_moment(flight, token), look, dot_boot_ns, wall_error_s)
    if flight is None or flight.sent.wall_ns == token.sent_ns:
        return delay, clock
    longest = measure(flight.sent, Look(None, look.seen), None, wall_error_s)[0].hi
    plausible = 0 <= token.sent_ns - flight.sent.wall_ns <= _LONGEST_COMMIT_NS
    return Interval(min(delay.lo, longest) if plausible else 0.0, longest), clock


def _carrier(hops: list[Hop], relay: Relay, agent_helo: str) -> Carrier | None:
    return carrier(
        hops,
        relay=(relay.host, *relay.received_as),
        egress=[str(address) for address in relay.egress],
        agent=(agent_helo,),
    )


def arrival(
    token: Token,
    fields: Fields,
    message: Message,
    place: Place,
    look: Look,
    *,
    flight: Flight | None,
    dot_boot_ns: int | None,
    wall_error_s: float,
    relay: Relay | None,
    agent_helo: str,
    mailbox: Mailbox,
) -> Arrival:
    """The arrival event of a genuine canary; ``flight`` is ``None`` if it is no longer known."""
    delay, clock = _delay(flight, token, look, dot_boot_ns, wall_error_s)
    hops = parse_received(values(fields, "received"))
    return Arrival(
        canary=token.canary,
        path=token.path,
        path_seq=token.path_seq,
        mailbox_seq=token.mailbox_seq,
        stream_epoch=token.stream_epoch,
        sent_ns=token.sent_ns,
        seen_ns=look.seen.wall_ns,
        delay=delay,
        clock=clock,
        folder=place.folder,
        junk=place.junk,
        uidvalidity=place.uidvalidity,
        uid=place.uid,
        internaldate_ns=message.internaldate_ns,
        hops=hops,
        carrier=None if relay is None else _carrier(hops, relay, agent_helo),
        auth=authentication_results(values(fields, "authentication-results"), mailbox.authserv_id),
    )
