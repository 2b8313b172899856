"""The proxy passes bytes in order, and makes a path slow, stalled, cut or refused to order."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from tests.servers.namespaces import Endpoint
from tests.servers.proxy import Direction, TcpProxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def echo() -> AsyncIterator[Endpoint]:
    """A server that sends back what it reads, and ends when its client ends."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionResetError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield Endpoint(*server.sockets[0].getsockname()[:2])


@pytest.fixture
async def proxy(echo: Endpoint) -> AsyncIterator[TcpProxy]:
    with TcpProxy(echo) as running:
        yield running


@pytest.fixture
async def streams(proxy: TcpProxy) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection(*proxy.endpoint)
    yield reader, writer
    writer.close()


async def test_bytes_and_their_end_pass_in_order(streams: Streams) -> None:
    reader, writer = streams
    sent = bytes(range(256)) * 8192
    writer.write(sent)
    writer.write_eof()
    assert await reader.read(-1) == sent


async def test_latency_is_per_direction(proxy: TcpProxy, streams: Streams) -> None:
    reader, writer = streams
    proxy.slow(to_target=Direction(latency=0.1), to_client=Direction(latency=0.05))
    begin = time.monotonic()
    writer.write(b"ping")
    assert await reader.readexactly(4) == b"ping"
    # Only a lower bound: a busy machine may take longer, but never less.
    assert time.monotonic() - begin >= 0.15


async def test_bandwidth_puts_bytes_in_a_row(proxy: TcpProxy, streams: Streams) -> None:
    reader, writer = streams
    proxy.slow(to_target=Direction(bandwidth=100_000))
    begin = time.monotonic()
    writer.write(b"x" * 20_000)
    await reader.readexactly(20_000)
    assert time.monotonic() - begin >= 0.2


async def test_order_survives_a_falling_latency(proxy: TcpProxy, streams: Streams) -> None:
    reader, writer = streams
    proxy.slow(to_target=Direction(latency=0.2))
    writer.write(b"first")
    await writer.drain()
    # A second connection's answer shows that the proxy has not stood still meanwhile.
    other_reader, other_writer = await asyncio.open_connection(*proxy.endpoint)
    other_writer.write(b"o")
    await other_reader.readexactly(1)
    other_writer.close()
    proxy.slow()
    writer.write(b"second")
    assert await reader.readexactly(11) == b"firstsecond"


async def test_a_stall_holds_what_is_sent_until_it_ends(proxy: TcpProxy, streams: Streams) -> None:
    reader, writer = streams
    proxy.stall()
    writer.write(b"held")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readexactly(4), 0.2)
    proxy.resume()
    assert await reader.readexactly(4) == b"held"


async def test_a_cut_resets_open_connections_only(proxy: TcpProxy, streams: Streams) -> None:
    reader, writer = streams
    writer.write(b"open")
    await reader.readexactly(4)
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    again, other = await asyncio.open_connection(*proxy.endpoint)
    other.write(b"new")
    assert await again.readexactly(3) == b"new"
    other.close()


async def test_refusing_lasts_until_it_accepts_on_the_same_port(proxy: TcpProxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*proxy.endpoint)
    proxy.accept()
    reader, writer = await asyncio.open_connection(*proxy.endpoint)
    writer.write(b"back")
    assert await reader.readexactly(4) == b"back"
    writer.close()


async def connect_and_read(client: socket.socket, endpoint: Endpoint) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, endpoint)
    return await loop.sock_recv(client, 1)


async def test_a_target_that_refuses_resets_the_client() -> None:
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    endpoint = Endpoint(*server.sockets[0].getsockname()[:2])
    server.close()
    await server.wait_closed()
    with TcpProxy(endpoint) as proxy, socket.socket() as client:
        client.setblocking(False)
        # The reset may come before this side has seen its own connection open.
        with pytest.raises(ConnectionResetError):
            await connect_and_read(client, proxy.endpoint)
