"""A delivery attempt says how it ended in the words that a mail log would use."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lab.blackhole import Blackhole, bind_listening
from lab.outbound import Attempted, End, Route, deliver

CONTENT = b"Subject: x\r\n\r\nhello\r\n.dot\r\n"


def route(host: str, port: int, **changes: object) -> Route:
    fields: dict[str, object] = {
        "host": host,
        "port": port,
        "name": "mx.example",
        "source": "127.21.0.9",
        "helo": "relay.example",
        "connect_timeout": 0.2,
        "reply_timeout": 5.0,
    }
    return Route(**(fields | changes))  # type: ignore[arg-type]  # the fields are built by name


@asynccontextmanager
async def server(replies: list[bytes]) -> AsyncIterator[tuple[str, int, list[bytes]]]:
    """Gives ``replies`` one by one, the first as banner; an empty one hangs up."""
    heard: list[bytes] = []
    peers: list[bytes] = []
    tasks: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("peername")[0].encode())
        tasks.append(asyncio.current_task())  # type: ignore[arg-type]  # it runs in a task
        for reply in replies:
            if not reply:
                break
            writer.write(reply + b"\r\n")
            line = await reader.readline()
            while reply.startswith(b"354") and line not in (b".\r\n", b""):
                heard.append(line)
                line = await reader.readline()
            heard.append(line)
        writer.close()

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with running:
        yield (*running.sockets[0].getsockname(), heard)
    await asyncio.wait(tasks)
    assert set(peers) == {b"127.21.0.9"}, "connections come from the relay's egress address"


async def test_delivered_with_transparency() -> None:
    replies = [b"220 hi", b"250 mx", b"250 ok", b"250 ok", b"354 go", b"250 2.0.0 queued", b"221 x"]
    async with server(replies) as (host, port, heard):
        ended = await deliver(route(host, port), "", "rcpt@acme.example", CONTENT)
    assert ended == Attempted(
        End.DELIVERED, "2.0.0", "250 2.0.0 queued", "mx.example[127.0.0.1]", "250 2.0.0 queued"
    )
    assert b"EHLO relay.example\r\n" in heard
    assert b"MAIL FROM:<>\r\n" in heard
    assert b"..dot\r\n" in heard


@pytest.mark.parametrize(
    ("replies", "end", "status", "text"),
    [
        (
            [b"220 hi", b"250 mx", b"250 ok", b"550 5.1.1 no"],
            End.FAILED,
            "5.1.1",
            "host mx.example[127.0.0.1] said: 550 5.1.1 no (in reply to RCPT TO command)",
        ),
        (
            [b"220 hi", b"250 mx", b"450-4.2.0 no\r\n450 4.2.0 x"],
            End.DEFERRED,
            "4.2.0",
            "host mx.example[127.0.0.1] said: 450 4.2.0 no 4.2.0 x (in reply to MAIL FROM command)",
        ),
        (
            [b"220 hi", b"250 mx", b"250 ok", b"250 ok", b"354 go", b"554 no"],
            End.FAILED,
            "5.0.0",
            "host mx.example[127.0.0.1] said: 554 no (in reply to end of DATA command)",
        ),
        (
            [b"421 busy"],
            End.DEFERRED,
            "4.0.0",
            "host mx.example[127.0.0.1] said: 421 busy (in reply to initial server greeting)",
        ),
        (
            [b""],
            End.DEFERRED,
            "4.4.2",
            "lost connection with mx.example[127.0.0.1] in initial server greeting",
        ),
        (
            [b"220 hi", b"250 mx", b""],
            End.DEFERRED,
            "4.4.2",
            "lost connection with mx.example[127.0.0.1] in MAIL FROM command",
        ),
    ],
)
async def test_refusals_and_lost_connections(
    replies: list[bytes], end: End, status: str, text: str
) -> None:
    async with server(replies) as (host, port, _heard):
        ended = await deliver(route(host, port), "a@b.example", "rcpt@acme.example", CONTENT)
    assert (ended.end, ended.status, ended.text) == (end, status, text)


async def test_no_greeting_in_time() -> None:
    with bind_listening("127.0.0.1") as listening:
        host, port = listening.getsockname()
        ended = await deliver(route(host, port, reply_timeout=0.1), "a@b", "c@d", CONTENT)
    assert ended.end is End.DEFERRED
    assert ended.status == "4.4.2"
    assert ended.text == "timeout in the initial server greeting with mx.example[127.0.0.1]"


async def test_no_connection() -> None:
    with Blackhole() as (host, port):
        filtered = await deliver(route(host, port), "a@b", "c@d", CONTENT)
    refused = await deliver(route(host, port), "a@b", "c@d", CONTENT)
    for ended in (filtered, refused):
        assert (ended.end, ended.status, ended.diagnostic) == (End.DEFERRED, "4.4.1", None)
    assert filtered.text == f"connect to mx.example[127.0.0.1]:{port}: Connection timed out"
    assert refused.text == f"connect to mx.example[127.0.0.1]:{port}: Connection refused"
