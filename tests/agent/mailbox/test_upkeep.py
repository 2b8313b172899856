"""Orphaned canaries are removed; nobody else's mail is."""

import asyncio
import imaplib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from agent.clock import Moment
from agent.mailbox.arrivals import HEADER_FIELDS
from agent.mailbox.upkeep import ServerClock, Swept, orphans, sweep
from lab.estate import Estate
from probes.contract.config.models import ImapTls
from probes.contract.message import Addresses, build_message
from probes.contract.names import Path
from probes.contract.secret import Secret
from probes.contract.token import Key, KeyRing, Token
from probes.imap import FolderSession, ImapTarget, Message
from tests.agent.fakes import INBOX, InlineSpool, S, canary_mail, flight
from tests.agent.fakes import KEY as SIMULATED
from tests.agent.mailbox.benches import Bench, play, virtual_clock

DAY_S = 86400.0
NOW_NS = 1_790_000_000_000_000_000
KEY = Key("k1", Secret("k" * 32, "key"))
STRANGER = Key("k1", Secret("s" * 32, "key"))
RING = KeyRing(KEY)
SEEN_BOOT_NS = 7 * S


def canary(age_days: float, now_ns: int, key: Key = KEY, agent: str = "sfo") -> bytes:
    token = Token(
        canary=f"{round(age_days * 1000):032x}",
        path=Path(agent, "relay-a1", "acme/inbox"),
        stream_epoch="e1",
        path_seq=1,
        mailbox_seq=1,
        sent_ns=now_ns - round(age_days * DAY_S * 1e9),
    )
    return build_message(token, key, Addresses("canary@monitor.example", "inbox@acme.example"))


def fetched(uid: int, content: bytes, came_days: float | None = 9.0) -> Message:
    came_ns = None if came_days is None else NOW_NS - round(came_days * DAY_S * 1e9)
    return Message(uid, came_ns, content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", SEEN_BOOT_NS)


def test_only_verified_canaries_older_than_is_remembered_are_orphans() -> None:
    messages = [
        fetched(1, canary(7, NOW_NS)),
        fetched(2, canary(5, NOW_NS)),
        fetched(3, canary(7, NOW_NS, STRANGER)),
        fetched(4, canary(8, NOW_NS, agent="sfo.probe-a1b2c3")),
        fetched(5, b"Mailcanary: v=1; id=nonsense\r\nSubject: hello\r\n\r\n"),
        fetched(6, b"Subject: hello\r\n\r\n"),
    ]
    assert orphans(messages, RING, now_ns=NOW_NS, remember_s=6 * DAY_S) == [1, 4]


def test_its_server_must_have_had_it_for_so_long_too() -> None:
    messages = [
        fetched(uid, canary(7, NOW_NS), days) for uid, days in ((1, 6.1), (2, 5.9), (3, None))
    ]
    assert orphans(messages, RING, now_ns=NOW_NS, remember_s=6 * DAY_S) == [1]


def test_the_newest_mail_bounds_the_clock() -> None:
    server = ServerClock()
    assert server.at_most_ns(NOW_NS, 500) == NOW_NS
    boot_ns = SEEN_BOOT_NS
    server.note([fetched(1, b"", 3.0), fetched(2, b"", None)])
    three_days_ns = round(3 * DAY_S * S)
    assert server.at_most_ns(NOW_NS, boot_ns) == NOW_NS - three_days_ns
    assert server.at_most_ns(NOW_NS, boot_ns + 60 * S) == NOW_NS - three_days_ns + 60 * S
    server.note([fetched(3, b"", 0.0), fetched(4, b"", 1.0)])
    assert server.at_most_ns(NOW_NS + 7 * three_days_ns, boot_ns) == NOW_NS
    assert server.at_most_ns(NOW_NS - 1, boot_ns) == NOW_NS - 1


# --- in a folder, in virtual time ----------------------------------------------------------------


def old_mail(
    bench: Bench, number: int, age_days: float, key: Key = SIMULATED
) -> Callable[[int], Message]:
    """Another agent's canary that lies there since it was sent."""
    now = bench.clock.now()
    sent = Moment(now.wall_ns - round(age_days * DAY_S * S), 0, "")
    of = flight(number, sent=sent, path=Path("fra", "relay-a1", INBOX)).numbered(1, 1, "e")
    return partial(canary_mail, of, key=key, internaldate_ns=sent.wall_ns)


def test_a_watch_sweeps_once_a_day_and_not_by_a_clock_that_jumped(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        clock = virtual_clock()
        bench = Bench(inline_spool, clock)
        bench.inbox.deliver(old_mail(bench, 1, 1.0))
        async with bench.watching():
            # Sweeps are an hour after the start and then once a day.
            await asyncio.sleep(24.5 * 3600)
            bench.inbox.deliver(old_mail(bench, 2, 0.0))
            clock.step(7 * DAY_S)
            await asyncio.sleep(3600)
            assert len(bench.inbox.searches) == 2
        assert bench.inbox.deleted == [1]
        assert bench.counters["orphans_removed"] == 1

    play(story)


def test_an_agent_whose_clock_was_always_ahead_believes_the_servers_dates(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        clock = virtual_clock()
        bench = Bench(inline_spool, clock)
        async with bench.watching():
            clock.step(7 * DAY_S)
            await asyncio.sleep(24.5 * 3600)
            bench.inbox.deliver(old_mail(bench, 1, 7.0))
            await asyncio.sleep(3600)
            assert len(bench.inbox.searches) == 2
            assert bench.inbox.deleted == []
            await asyncio.sleep(24 * 3600)
        assert bench.inbox.deleted == [1]

    play(story)


def test_mails_that_nobody_can_verify_hide_no_orphan(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        for number in range(1, 1201):
            bench.inbox.deliver(old_mail(bench, number, 1.0, STRANGER))
        last = bench.inbox.deliver(old_mail(bench, 1201, 1.0))
        async with bench.watching():
            await asyncio.sleep(3 * 3600)
            assert len(bench.inbox.searches) == 3
            await asyncio.sleep(24 * 3600)
            assert len(bench.inbox.searches) == 6
        assert bench.inbox.deleted == [last]

    play(story)


def _append(host: str, port: int, user: str, password: str, content: bytes, at_s: float) -> None:
    with imaplib.IMAP4(host, port) as client:
        client.login(user, password)
        when = datetime.fromtimestamp(at_s, tz=UTC)
        client.append("INBOX", "", imaplib.Time2Internaldate(when), content)


async def test_a_sweep_deletes_the_orphans_and_leaves_everything_else() -> None:
    now_ns = time.time_ns()
    async with Estate(relays=[], mailboxes=["acme/inbox"]) as estate:
        box = estate.mailboxes["acme/inbox"]
        mails = (
            (7.5, canary(7.5, now_ns)),
            (1.0, canary(1.0, now_ns)),
            (8.0, canary(8.0, now_ns, STRANGER)),
            (8.0, b"Subject: a customer's own mail\r\n\r\nhello\r\n"),
        )
        for age_days, content in mails:
            at_s = now_ns / 1e9 - age_days * DAY_S
            await asyncio.to_thread(
                _append, box.host, box.port, box.user, box.password, content, at_s
            )
        target = ImapTarget(
            box.host, box.port, ImapTls.NONE, box.user, Secret(box.password, "acme/imap")
        )
        session = await FolderSession.open(target, "INBOX", header_fields=HEADER_FIELDS)
        try:
            first = session.state.uidnext - len(mails)
            swept = await sweep(session, RING, now_ns=now_ns, remember_s=6 * DAY_S)
            assert swept == Swept(removed=1, after=0)
            uids = range(first, first + len(mails))
            left = [uid for uid in uids if await session.fetch_whole(uid, 100) is not None]
            assert left == [first + 1, first + 2, first + 3]
            again = await sweep(session, RING, now_ns=now_ns, remember_s=6 * DAY_S)
            assert again.removed == 0
        finally:
            await session.close()
