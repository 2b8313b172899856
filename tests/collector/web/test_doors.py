"""Who is let in: so many in all, so many of an address, and proxies as they come."""

import asyncio
from collections.abc import Callable
from ipaddress import ip_network

import pytest
import uvloop

from collector.web.doors import Doors, Guest


def test_so_many_of_an_address_and_so_many_in_all() -> None:
    refused: list[str] = []
    doors = Doors(4, 2, (), refused.append)
    first = doors.enter("192.0.2.1")
    assert first is not None
    assert doors.enter("192.0.2.1") is not None
    assert doors.enter("192.0.2.1") is None
    assert doors.enter("::ffff:192.0.2.1") is None
    assert doors.enter("2001:db8::1") is not None
    assert doors.enter("2001:db8::ffff:1") is not None
    assert refused == ["address"] * 2
    assert doors.enter("192.0.2.9") is None
    assert refused[2:] == ["all"]
    doors.leave(first)
    assert doors.enter("2001:db8::2") is None
    assert doors.enter("192.0.2.1") is not None


def test_a_proxy_brings_everybody() -> None:
    refused: list[str] = []
    doors = Doors(3, 1, (ip_network("192.0.2.0/24"),), refused.append)
    assert [doors.enter("192.0.2.7") for _ in range(4)] == ["192.0.2.7"] * 3 + [None]
    assert refused == ["all"]


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_one_too_many_is_told_so_and_let_go_in_either_loop(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def knock() -> bytes:
        doors = Doors(0, 0, (), lambda _why: None)
        running = asyncio.get_running_loop()
        server = await running.create_server(lambda: Guest(doors, asyncio.Protocol), "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()[:2]
            reader, writer = await asyncio.open_connection(host, port)
            answer = await reader.read()
            writer.close()
            return answer

    with asyncio.Runner(loop_factory=loop) as runner:
        answer = runner.run(asyncio.wait_for(knock(), 30))
    assert answer.startswith(b"HTTP/1.1 503 ")
