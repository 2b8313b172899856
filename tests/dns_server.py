"""A small DNS server on loopback, over UDP and TCP, that answers as badly as a test wants.

>>> async with DnsServer({("acme.example", "MX"): Answer("10 mx1.acme.example.")}) as server:
...     resolver = server.resolver()
"""

import asyncio
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

HOST = "127.0.0.1"


class Answer:
    """What is answered to one question: records in the form of zone files, or an error.

    ``silent``: nothing at all. ``truncated``: over UDP only that there is more (RFC 2181 section
    9); the whole comes over TCP. ``raw``: these octets after the query's id, whatever they are.
    """

    def __init__(
        self,
        *records: str,
        rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
        silent: bool = False,
        truncated: bool = False,
        raw: bytes | None = None,
    ) -> None:
        self.records = records
        self.rcode = rcode
        self.silent = silent
        self.truncated = truncated
        self.raw = raw


Zone = Mapping[tuple[str, str], Answer]
"""From a name without final dot, in lower case, and a type to what is answered."""


@dataclass
class DnsServer:
    """Serves a zone, which may be exchanged at any time; what is not in it does not exist.

    ``asked`` has each question as (name, type, "udp" or "tcp").
    """

    zone: Zone = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    port: int = field(default=0, init=False)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        # A port of UDP that is free for TCP, too: most are.
        for _ in range(20):
            self._udp, _ = await loop.create_datagram_endpoint(
                lambda: _Udp(self), local_addr=(HOST, 0)
            )
            self.port = self._udp.get_extra_info("sockname")[1]
            try:
                self._tcp = await asyncio.start_server(self._serve, HOST, self.port)
            except OSError:
                self._udp.close()
                continue
            return self
        raise OSError("no port is free for both UDP and TCP")

    async def __aexit__(self, *_: object) -> None:
        self._udp.close()
        self._tcp.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def resolver(self) -> dns.asyncresolver.Resolver:
        """A resolver that asks nobody else."""
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = [HOST]
        resolver.port = self.port
        return resolver

    def reply(self, query: bytes, transport: str) -> bytes | None:
        """The octets that answer ``query``; ``None`` for silence."""
        message = dns.message.from_wire(query)
        question = message.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = question.rdtype.name
        self.asked.append((name, kind, transport))
        known = self.zone.get((name, kind))
        if known is None:
            there = any(other == name for other, _ in self.zone)
            known = Answer(rcode=dns.rcode.NOERROR if there else dns.rcode.NXDOMAIN)
        if known.silent:
            return None
        if known.raw is not None:
            return query[:2] + known.raw
        response = dns.message.make_response(message)
        response.set_rcode(known.rcode)
        if known.truncated and transport == "udp":
            response.flags |= dns.flags.TC
        elif known.records:
            response.answer.append(
                dns.rrset.from_text(question.name, 60, "IN", kind, *known.records)
            )
        return response.to_wire(max_size=65535)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                answer = self.reply(await reader.readexactly(length), "tcp")
                if answer is not None:
                    writer.write(struct.pack("!H", len(answer)) + answer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            self._tasks.discard(task)
            writer.transport.abort()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # what endpoints of datagrams give
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._server.reply(data, "udp")
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)
