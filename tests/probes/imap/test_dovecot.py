"""A folder session on Dovecot."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import Message

import pytest

from probes.contract.stages import Reason, Stage
from probes.imap import FolderSession, ImapFailure, ImapStage
from probes.imap.check import BATCH
from tests.probes.imap.dovecot import Dovecot, anywhere

pytestmark = pytest.mark.servers
FIELDS = ("X-Mailcanary", "Received")


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with anywhere() as started:
        yield started


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture
def dovecot(server: Dovecot, numbers: Iterator[int]) -> Dovecot:
    """The server with a mailbox that no other test has used."""
    return replace(server, user=f"user{next(numbers)}")


@pytest.fixture
async def session(dovecot: Dovecot) -> AsyncIterator[FolderSession]:
    opened = await FolderSession.open(dovecot.target(), "INBOX", header_fields=FIELDS)
    yield opened
    await opened.close()


async def test_one_check_finds_what_was_delivered_before(
    dovecot: Dovecot, session: FolderSession
) -> None:
    uid = session.state.uidnext
    assert (await session.fetch_from(uid)).messages == ()
    for number in range(5):
        await asyncio.to_thread(dovecot.deliver, f"X-Mailcanary: {number}")
        batch = await session.fetch_from(uid)
        (message,) = batch.messages
        assert batch.complete
        assert f"X-Mailcanary: {number}".encode() in message.header
        assert b"Received: from " in message.header
        assert message.internaldate_ns is not None
        age = datetime.now(UTC) - datetime.fromtimestamp(message.internaldate_ns / 1e9, UTC)
        assert timedelta(seconds=-2) < age < timedelta(minutes=5)
        uid = batch.next_uid


async def test_one_check_finds_what_another_program_delivered(
    dovecot: Dovecot, session: FolderSession
) -> None:
    message = Message()
    message["X-Mailcanary"] = "dropped"
    dovecot.deliver("Subject: so that the Maildir exists")
    uid = (await session.fetch_from(1)).next_uid
    for number in range(5):
        dovecot.drop(f"{number}.mail", message)
        batch = await session.fetch_from(uid)
        assert [found.header for found in batch.messages] == [b"X-Mailcanary: dropped\r\n\r\n"]
        uid = batch.next_uid


async def test_the_last_message_is_not_given_again(
    dovecot: Dovecot, session: FolderSession
) -> None:
    dovecot.deliver("X-Mailcanary: 1")
    batch = await session.fetch_from(1)
    assert len(batch.messages) == 1
    # Another cursor than the last one, so that a FETCH is really sent.
    again = await session.fetch_from(batch.next_uid + 5)
    assert (again.messages, again.next_uid) == ((), batch.next_uid + 5)


async def test_idle(dovecot: Dovecot, session: FolderSession) -> None:
    uid = (await session.fetch_from(1)).next_uid
    wake = asyncio.Event()
    waiting = asyncio.create_task(session.idle(60, wake))
    await asyncio.to_thread(dovecot.deliver, "X-Mailcanary: 1")
    assert await waiting
    assert len((await session.fetch_from(uid)).messages) == 1
    waiting = asyncio.create_task(session.idle(60, wake))
    wake.set()
    assert not await waiting
    assert not await session.idle(0.01, asyncio.Event())


async def test_catching_up_delete_and_quota(dovecot: Dovecot, session: FolderSession) -> None:
    dovecot.deliver("X-Mailcanary: 1", count=BATCH + 30)
    first = await session.fetch_from(1)
    assert (len(first.messages), first.next_uid, first.complete) == (BATCH, BATCH + 1, False)
    rest = []
    batch = first
    while not batch.complete:
        batch = await session.fetch_from(batch.next_uid)
        rest += [message.uid for message in batch.messages]
    assert rest == list(range(BATCH + 1, BATCH + 31))
    used = await session.quota()
    assert used is not None
    assert 0 < used < 1
    assert await session.delete(range(1, BATCH + 30))
    assert session.state.exists == 1
    since = datetime.now(UTC).date() - timedelta(days=1)
    assert await session.search_header("X-Mailcanary", since) == [BATCH + 30]
    assert await session.search_header("X-Other", since) == []


async def test_fetch_whole(dovecot: Dovecot, session: FolderSession) -> None:
    dovecot.deliver("X-Mailcanary: 1")
    await session.fetch_from(1)
    whole = await session.fetch_whole(1, 100_000)
    assert whole is not None
    assert whole.endswith(b"X-Mailcanary: 1\r\n\r\nbody\r\n")
    assert await session.fetch_whole(1, 7) == whole[:7]
    assert await session.fetch_whole(2, 7) is None


async def test_a_weird_foreign_message_breaks_nothing(
    dovecot: Dovecot, session: FolderSession
) -> None:
    dovecot.deliver("X-Mailcanary: " + "x" * 900)
    dovecot.deliver('X-Mailcanary: ("{5}\\', "X-Mailcanary: \u00fc* OK)")
    dovecot.deliver("X-Mailcanary:", *(f"Received: from {n} * BYE" for n in range(3000)))
    dovecot.deliver("X-Mailcanary: good")
    batch = await session.fetch_from(1)
    assert [message.uid for message in batch.messages] == [1, 2, 3, 4]
    assert b"X-Mailcanary: good" in batch.messages[3].header


async def test_flags_pushed_by_another_client_do_not_count(
    dovecot: Dovecot, session: FolderSession
) -> None:
    dovecot.deliver("X-Mailcanary: 1", count=3)
    cursor = (await session.fetch_from(1)).next_uid
    other = await FolderSession.open(dovecot.target(), "INBOX", header_fields=FIELDS)
    other._view.capabilities = frozenset()  # as without UIDPLUS: it only flags
    assert not await other.delete([1, 2, 3])
    batch = await session.fetch_from(cursor)
    assert (batch.messages, batch.next_uid, batch.complete) == ((), cursor, True)
    await other.close()


async def test_tls_and_wrong_password(dovecot: Dovecot) -> None:
    session = await FolderSession.open(dovecot.target(tls=True), "INBOX", header_fields=FIELDS)
    assert (await session.fetch_from(1)).complete
    await session.close()
    with pytest.raises(ImapFailure) as caught:
        await FolderSession.open(
            dovecot.target(tls=True, password="wrong"), "INBOX", header_fields=FIELDS
        )
    assert (caught.value.stage, caught.value.reason) == (Stage.AUTH, Reason.CREDENTIALS)


async def test_no_such_folder(dovecot: Dovecot) -> None:
    with pytest.raises(ImapFailure) as caught:
        await FolderSession.open(dovecot.target(), "Entw\u00fcrfe", header_fields=FIELDS)
    assert (caught.value.stage, caught.value.reason) == (ImapStage.SELECT, Reason.REFUSED)
