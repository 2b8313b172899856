"""What a wire does in a shorter way than aiosmtplib has to come out the same."""

import asyncio

import pytest
from aiosmtplib import SMTPResponse, SMTPResponseException
from aiosmtplib.protocol import SMTPProtocol

from probes.smtp.wire import Wire


class Sink(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.written += bytes(data)

    def is_closing(self) -> bool:
        """Never."""
        return False


async def _told(protocol: SMTPProtocol, data: bytes) -> SMTPResponse | str:
    protocol.connection_made(Sink())
    protocol.data_received(data)
    try:
        async with asyncio.timeout(10):
            return await protocol.read_response()
    except SMTPResponseException as error:
        return str(error)


@pytest.mark.parametrize(
    "data",
    [
        b"250 2.0.0 Ok: queued as 4bXyz\r\n",
        b"250 bare line feed\n",
        b"250 \r\n",
        b"250\r\n",
        b"250  \t spaced \t\r\n",
        b"250 a\rb\r\n",
        b"250 \xff\xfe not UTF-8\r\n",
        "250 größer\r\n".encode(),
        b"354-a\r\n354 b\r\n",
        b"250-relay.test\r\n250-SIZE 1000\r\n250-\r\n250 DSN\r\n",
        b"250-\r\n250-\r\n250 a\r\n",
        b"250-a\n250 b\n",
        b"250-a\rb\r\n250 \xff\r\n",
        b"250-a\r\n550 another code\r\n",
        b"250-a\r\nabc b\r\n",
        b"250-a\r\n250 b\r\n250 more\r\n",
        b"250-" + b"x" * 2000 + b"\r\n250 b\r\n",
        b"250-a\r\n" * 61 + b"250 b\r\n",
        b"250x no space\r\n",
        b"+25 signed\r\n",
        b"2 5 gap\r\n",
        b"abc no code\r\n",
        b"250 " + b"x" * 1000 + b"\r\n",
        b"250 " + b"x" * 9000 + b"\r\n",
        b"250 one\r\n250 two\r\n",
    ],
)
async def test_a_reply_is_read_as_aiosmtplib_reads_it(data: bytes) -> None:
    loop = asyncio.get_running_loop()
    assert await _told(Wire(loop), data) == await _told(SMTPProtocol(loop), data)


async def test_a_command_is_one_line() -> None:
    sink, wire = Sink(), Wire(asyncio.get_running_loop())
    wire.connection_made(sink)
    with pytest.raises(ValueError, match="control character"):
        await wire.command(b"MAIL", b"FROM:<a@b>\r\nRCPT TO:<c@d>")
    assert sink.written == b""


async def test_replies_go_to_the_commands_in_turn() -> None:
    sink, wire = Sink(), Wire(asyncio.get_running_loop())
    wire.connection_made(sink)
    wire.data_received(b"220 hello\r\n")
    assert await wire.reply() == (220, "hello")
    for word, answer in ((b"NOOP", b"250 fine\r\n"), (b"QUIT", b"221 bye\r\n")):
        asking = asyncio.ensure_future(wire.command(word))
        await asyncio.sleep(0)
        wire.data_received(answer)
        assert (await asking).message == answer[4:-2].decode()
    assert sink.written == b"NOOP\r\nQUIT\r\n"
