"""A listener's modes act on new connections; cut and close act on those that are open."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from lab.listener import Listener, Mode


def echo(listener: Listener) -> asyncio.BaseProtocol:
    """A protocol that sends every line back."""
    loop = asyncio.get_running_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line)
        finally:
            writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener.opened(writer.transport, loop.create_task(serve(reader, writer)))

    return asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), connected, loop=loop)


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    running = Listener("127.0.0.1", echo)
    running.start()
    yield running
    await running.close()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(listener: Listener, within: float = 5.0) -> Streams:
    async with asyncio.timeout(within):
        return await asyncio.open_connection(listener.host, listener.port)


async def echoes(streams: Streams) -> bool:
    streams[1].write(b"hello\n")
    return await streams[0].readline() == b"hello\n"


async def end(streams: Streams) -> None:
    streams[1].close()
    with contextlib.suppress(ConnectionError):
        await streams[1].wait_closed()


async def test_every_mode_and_back(listener: Listener) -> None:
    early = await connect(listener)
    assert await echoes(early)
    for mode, error in ((Mode.FILTERED, TimeoutError), (Mode.CLOSED, ConnectionRefusedError)):
        listener.set_mode(mode)
        with pytest.raises(error):
            await connect(listener, 0.2)
        assert await echoes(early), "connections made before live on"
        listener.set_mode(Mode.OPEN)
        later = await connect(listener)
        assert await echoes(later)
        await end(later)
    await end(early)


@pytest.mark.parametrize("first", list(Mode))
@pytest.mark.parametrize("second", list(Mode))
async def test_from_every_mode_to_every_other_and_open_again(
    listener: Listener, first: Mode, second: Mode
) -> None:
    listener.set_mode(first)
    listener.set_mode(second)
    assert listener.mode is second
    listener.set_mode(Mode.OPEN)
    streams = await connect(listener)
    assert await echoes(streams)
    await end(streams)


async def test_what_hangs_is_served_when_the_mode_ends(listener: Listener) -> None:
    listener.set_mode(Mode.HUNG)
    streams = await connect(listener)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await echoes(streams)
    listener.set_mode(Mode.OPEN)
    assert await streams[0].readline() == b"hello\n"
    await end(streams)


async def test_cut_ends_open_connections_and_the_listener_goes_on(listener: Listener) -> None:
    streams = await connect(listener)
    assert await echoes(streams)
    listener.cut()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await streams[0].readexactly(1)
    await end(streams)
    again = await connect(listener)
    assert await echoes(again)
    await end(again)


@pytest.mark.parametrize("mode", list(Mode))
async def test_close_ends_everything_in_every_mode(mode: Mode) -> None:
    before = asyncio.all_tasks()
    running = Listener("127.0.0.1", echo)
    running.start()
    streams = await connect(running)
    assert await echoes(streams)
    running.set_mode(mode)
    await running.close()
    await running.close()
    assert asyncio.all_tasks() == before
    with pytest.raises(ConnectionRefusedError):
        await connect(running)
    await end(streams)
