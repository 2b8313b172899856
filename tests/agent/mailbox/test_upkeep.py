"""Orphaned canaries are removed; nobody else's mail is."""

import asyncio
import imaplib
import time
from datetime import UTC, datetime

from agent.mailbox.arrivals import HEADER_FIELDS
from agent.mailbox.upkeep import orphans, sweep
from lab.estate import Estate
from probes.contract.config.models import ImapTls
from probes.contract.message import Addresses, build_message
from probes.contract.names import Path
from probes.contract.secret import Secret
from probes.contract.token import Key, KeyRing, Token
from probes.imap import FolderSession, ImapTarget, Message

DAY_S = 86400.0
NOW_NS = 1_790_000_000_000_000_000
KEY = Key("k1", Secret("k" * 32, "key"))
STRANGER = Key("k1", Secret("s" * 32, "key"))
RING = KeyRing(KEY)


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


def fetched(uid: int, content: bytes) -> Message:
    return Message(uid, None, content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")


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
            assert await sweep(session, RING, now_ns=now_ns, remember_s=6 * DAY_S) == 1
            uids = range(first, first + len(mails))
            left = [uid for uid in uids if await session.fetch_whole(uid, 100) is not None]
            assert left == [first + 1, first + 2, first + 3]
            assert await sweep(session, RING, now_ns=now_ns, remember_s=6 * DAY_S) == 0
        finally:
            await session.close()
