"""From a batch of fetched mails to the events that they give: arrivals and bounces."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agent.assignment import Terms
from agent.clock import Moment, at_boot
from agent.mailbox.arrivals import (
    Fields,
    Look,
    Place,
    arrival,
    read_fields,
    read_token,
    sent_moment,
)
from agent.mailbox.bounces import bounce, canary_id, may_be_bounce, token_of
from agent.mailbox.watch import MailboxWatch, Reader
from agent.spool.flight import Flight
from probes.contract.events import Arrival, Bounce
from probes.contract.names import Path
from probes.contract.token import Judgement, Token
from probes.headers.dsn import parse_dsn
from probes.imap import Message

Find = tuple[int, Arrival | Bounce | None]
"""A mail's UID and what it says; ``None`` for one that is only to be deleted."""
Fetch = Callable[[int], Awaitable[bytes | None]]


@dataclass(frozen=True, slots=True)
class Where:
    """The folder that a batch came from.

    ``known_only_below``: mails below that UID were in the folder before its UIDVALIDITY changed, so
    only canaries that are still awaited are news there, and those of the stream epoch
    ``uncounted``.
    """

    folder: str
    junk: bool
    uidvalidity: int
    known_only_below: int = 0
    uncounted: str = ""

    def place(self, mailbox: str, uid: int) -> tuple[str, str, int, int]:
        """One of its mails, among those of all mailboxes."""
        return mailbox, self.folder, self.uidvalidity, uid


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A verified canary of this mailbox; ``old``: by the wall clock older than is remembered."""

    message: Message
    fields: Fields
    token: Token
    old: bool


def _sort(
    watch: MailboxWatch, reader: Reader, messages: Sequence[Message], now_ns: int
) -> tuple[list[_Candidate], list[Message], Counter[str]]:
    """The genuine canaries among the messages, the possible bounces, and counts of the rest."""
    canaries: list[_Candidate] = []
    bounces: list[Message] = []
    counts: Counter[str] = Counter()
    for message in messages:
        fields = read_fields(message)
        judged = read_token(
            fields,
            reader.ring,
            agent=reader.agent,
            mailbox=watch.name,
            now_ns=now_ns,
            remember_s=reader.remember_s,
        )
        if judged is None:
            if watch.takes_bounces and may_be_bounce(fields):
                bounces.append(message)
            else:
                counts["other_mail"] += 1
            continue
        judgement, token = judged
        here = token is not None and token.path.mailbox == watch.name
        old = judgement is Judgement.REPLAYED
        if old and here and _only_looks_old(reader, token, now_ns):
            judgement, old = Judgement.GENUINE, False
        if token is not None and (judgement is Judgement.GENUINE or (old and here)):
            canaries.append(_Candidate(message, fields, token, old))
        else:
            counts[f"canaries_{judgement}"] += 1
    return canaries, bounces, counts


def _only_looks_old(reader: Reader, token: Token | None, now_ns: int) -> bool:
    """Whether a canary is older than is remembered only by what the wall clock was set."""
    if token is None:
        return False
    error_s = reader.wall.error_s(sent_moment(None, token), reader.wall_error_s)
    return (now_ns - token.sent_ns) / 1e9 - error_s <= reader.remember_s


async def _flights(
    watch: MailboxWatch, reader: Reader, canaries: Sequence[str]
) -> dict[str, Flight]:
    """The flights of those canaries: awaited ones from memory, expired ones from the spool."""
    found = {c: flight for c in canaries if (flight := watch.air.get(c)) is not None}
    missing = [c for c in canaries if c not in found]
    if missing:
        found |= await reader.spool.run(lambda store: store.find_flights(missing))
    return found


def _is_old_news(item: _Candidate, where: Where) -> bool:
    """Whether a canary that is no longer known was accounted for before, or never will be.

    A wall clock that was set makes any canary look old; one that is still known is not.
    """
    counted = item.token.stream_epoch != where.uncounted
    return item.old or (counted and item.message.uid < where.known_only_below)


def _terms(watch: MailboxWatch, reader: Reader, token: Token) -> Terms:
    """What a canary was sent under, or, when that is not known any more, would be now."""
    now = Terms(reader.relays.get(token.path.relay), reader.helo, watch.config, None)
    return watch.air.terms(token.canary) or now


def _arrivals(
    watch: MailboxWatch,
    reader: Reader,
    where: Where,
    candidates: Sequence[_Candidate],
    flights: dict[str, Flight],
    before: Moment | None,
    now: Moment,
) -> list[Find]:
    finds: list[Find] = []
    for item in candidates:
        uid = item.message.uid
        flight = flights.get(item.token.canary)
        if flight is None and _is_old_news(item, where):
            continue
        if not reader.told.tell(item.token.canary, where.place(watch.name, uid)):
            finds.append((uid, None))
            continue
        sent = sent_moment(flight, item.token)
        terms = _terms(watch, reader, item.token)
        event = arrival(
            item.token,
            item.fields,
            item.message,
            Place(where.folder, where.junk, where.uidvalidity, uid),
            Look(before, at_boot(now, item.message.there_ns)),
            flight=flight,
            dot_boot_ns=watch.air.dot_ns(item.token.canary),
            wall_error_s=reader.wall.error_s(sent, reader.wall_error_s),
            relay=terms.relay,
            agent_helo=terms.helo,
            mailbox=watch.config,
        )
        finds.append((uid, event))
    return finds


async def _known_path(reader: Reader, canary: str) -> Path | None:
    """The path of a canary that has not arrived: one that is waited for, or was called lost."""
    known = await reader.spool.run(lambda store: store.find_flights([canary]))
    flight = known.get(canary)
    return None if flight is None else flight.path


async def _may_fetch(watch: MailboxWatch, reader: Reader) -> None:
    """Wait until the mailbox's command budget allows another command."""
    wait_s = watch.budget.take(reader.clock.now().boot_ns / 1e9)
    if wait_s > 0:
        await asyncio.sleep(wait_s)


async def _bounces(
    watch: MailboxWatch,
    reader: Reader,
    where: Where,
    messages: Sequence[Message],
    fetch: Fetch,
    now: Moment,
) -> tuple[list[Find], int]:
    """Bounce events, and how many bounces were about none of this agent's canaries.

    A mail gives one event for a canary and an action, however many recipients it names: a canary
    has one.
    """
    finds: list[Find] = []
    foreign = 0
    for message in messages:
        said: dict[tuple[str, str], Bounce | None] = {}
        seen_ns = at_boot(now, message.there_ns).wall_ns
        await _may_fetch(watch, reader)
        for report in parse_dsn(await fetch(message.uid) or b""):
            token = token_of(report, reader.ring, reader.agent)
            canary = canary_id(report, token)
            if canary is None or (canary, report.action) in said:
                continue
            path = await _known_path(reader, canary) if token is None else token.path
            event = None if path is None else bounce(report, canary, path, seen_ns)
            said[canary, report.action] = event
        place = where.place(watch.name, message.uid)
        mine = [event for event in said.values() if event is not None]
        foreign += not mine
        for event in mine:
            new = reader.told.tell(f"{event.action} {event.canary}", place)
            finds.append((message.uid, event if new else None))
    return finds, foreign


async def take(
    watch: MailboxWatch,
    reader: Reader,
    where: Where,
    messages: Sequence[Message],
    before: Moment | None,
    fetch: Fetch,
) -> tuple[list[Find], Counter[str]]:
    """The events that a batch gives, by UID, and what to add to the counters once it is durable.

    ``before`` is when none of the messages was there yet, as far as that is known.

    Raises:
        SpoolError: the spool could not be asked; nothing was taken.
        ImapFailure: a bounce could not be read; nothing was taken.
    """
    now = reader.clock.now()
    candidates, suspects, counts = _sort(watch, reader, messages, now.wall_ns)
    if not candidates and not suspects:
        return [], counts
    flights = await _flights(watch, reader, [item.token.canary for item in candidates])
    old = sum(item.old and item.token.canary not in flights for item in candidates)
    counts[f"canaries_{Judgement.REPLAYED}"] += old
    finds = _arrivals(watch, reader, where, candidates, flights, before, now)
    counts["canaries_arrived"] += len(finds)
    bounced, foreign = await _bounces(watch, reader, where, suspects, fetch, now)
    counts["bounces"] += len(bounced)
    counts["copies_not_told"] += sum(event is None for _, event in (*finds, *bounced))
    counts["bounces_foreign"] += foreign
    return sorted([*finds, *bounced], key=lambda find: find[0]), counts
