"""A megabyte of what makes a careless expression slow; quadratic work on it takes minutes."""

import asyncio
from collections.abc import Callable

import pytest
from aiosmtplib import SMTPResponseException
from aiosmtplib.esmtp import parse_esmtp_extensions

from probes.smtp.queue_id import queue_id
from probes.smtp.replies import DETAIL_LIMIT, TEXT_LIMIT, make_reply, one_line
from probes.smtp.wire import Wire

SIZE = 1 << 20
READERS: dict[str, Callable[[str], object]] = {
    "reply": lambda text: make_reply(250, text),
    "queue id": queue_id,
    "extensions": lambda text: parse_esmtp_extensions("relay.test\n" + text),
}
TEXTS = [
    "a",
    " ",
    "\n",
    "a\n",
    "2.0.0 ",
    "OK ",
    "OK DMARC:a ",
    "a.",
    "-",
    "queued as ",
    "auth= ",
    "é",
]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("text", TEXTS)
def test_a_megabyte_takes_little(reader: str, text: str) -> None:
    READERS[reader](text * (SIZE // len(text)))


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_kept_is_short(text: str) -> None:
    reply = make_reply(550, text * (SIZE // len(text)))
    assert len(reply.text) <= TEXT_LIMIT
    assert len(one_line(reply)) <= DETAIL_LIMIT


async def test_a_reply_in_thousands_of_pieces() -> None:
    wire = Wire(asyncio.get_running_loop())
    wire.connection_made(asyncio.Transport())
    reading = asyncio.ensure_future(wire.read_response())
    await asyncio.sleep(0)
    for _ in range(6000):
        wire.data_received(b"250-\n")
    for each in (b"250", b" ", b"done", b"\r\n"):
        assert not reading.done()
        wire.data_received(each)
    assert (await reading).message.split() == ["done"]
    assert wire.unasked() == b""


async def test_a_reply_without_end() -> None:
    wire = Wire(asyncio.get_running_loop())
    wire.connection_made(asyncio.Transport())
    reading = asyncio.ensure_future(wire.read_response())
    await asyncio.sleep(0)
    pieces = 0
    while not (reading.done() or pieces > 10_000):
        wire.data_received(b"250-\n")
        pieces += 1
        await asyncio.sleep(0)
    with pytest.raises(SMTPResponseException, match="too long"):
        await reading
