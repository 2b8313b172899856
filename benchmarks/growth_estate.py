"""Relays that refuse every mail, and mailboxes that stay empty: servers that cost hardly anything.

``python -m benchmarks.growth_estate RELAYS``; prints the two ports, serves until its input ends.
"""

import asyncio
import contextlib
import resource
import sys
from collections.abc import Callable
from functools import partial
from typing import cast

import msgspec

from agent.app import loop_factory

HOST = "127.0.0.1"
BACKLOG = 4096


def relay_host(number: int) -> str:
    """The address of a relay: no two share one and the port."""
    return f"127.0.1.{number + 1}"


class Ports(msgspec.Struct, frozen=True):
    """Where the servers listen: that of all relays, and that of the mailboxes on ``HOST``."""

    smtp: int
    imap: int


def refuse(line: bytes) -> bytes:
    """The relay's reply to a command: nobody lives here (RFC 5321 section 4.2)."""
    verb = line[:4].upper()
    if verb == b"EHLO":
        return b"250 refuses.example\r\n"
    if verb == b"RCPT":
        return b"550 5.1.1 no such user\r\n"
    return b"221 2.0.0 bye\r\n" if verb == b"QUIT" else b"250 2.0.0 ok\r\n"


def stay_empty(line: bytes) -> bytes:
    """The mailboxes' reply to a command (RFC 9051): everything works, and there is nothing."""
    tag, _, command = line.strip().partition(b" ")
    verb = command.split(b" ")[0].upper()
    untagged = {
        b"CAPABILITY": b"* CAPABILITY IMAP4rev1 IDLE UIDPLUS\r\n",
        b"SELECT": b"* FLAGS ()\r\n* 0 EXISTS\r\n* OK [UIDVALIDITY 1] v\r\n* OK [UIDNEXT 1] n\r\n",
        b"UID": b"* SEARCH\r\n" if b"SEARCH" in command.upper() else b"",
        b"LOGOUT": b"* BYE\r\n",
    }.get(verb, b"")
    return untagged + tag + b" OK done\r\n"


class Conversation(asyncio.Protocol):
    """One connection: a line in, a reply out, without a task of its own."""

    def __init__(self, greeting: bytes, reply: Callable[[bytes], bytes]) -> None:
        self._greeting = greeting
        self._reply = reply
        self._idle = b""
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        # Not by its class: uvloop's transports have none of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._greeting)

    def data_received(self, data: bytes) -> None:
        """Answer every whole line."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._answer(line)

    def _answer(self, line: bytes) -> None:
        if self._transport is None:
            return
        tag, _, verb = line.strip().partition(b" ")
        if verb.upper() == b"IDLE":
            self._idle = tag
            self._transport.write(b"+ idling\r\n")
            return
        done = tag.upper() == b"DONE"
        self._transport.write(self._idle + b" OK done\r\n" if done else self._reply(line))
        if tag.upper() == b"QUIT" or verb.upper() == b"LOGOUT":
            self._transport.close()


async def serve(relays: int) -> None:
    """Listen until standard input ends."""
    smtp = 0
    for number in range(relays):
        smtp = await _listen(relay_host(number), smtp, b"220 refuses.example ESMTP\r\n", refuse)
    imap = await _listen(HOST, 0, b"* OK empty\r\n", stay_empty)
    sys.stdout.buffer.write(msgspec.json.encode(Ports(smtp, imap)) + b"\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


async def _listen(host: str, port: int, greeting: bytes, reply: Callable[[bytes], bytes]) -> int:
    make = partial(Conversation, greeting, reply)
    server = await asyncio.get_running_loop().create_server(make, host, port, backlog=BACKLOG)
    found: int = server.sockets[0].getsockname()[1]
    return found


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=loop_factory()) as run:
        run.run(serve(int(sys.argv[1])))
