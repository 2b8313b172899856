"""How many connections there may be, in all and from one address."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import cast

from collector.web.limits import block_of
from collector.web.peers import Networks, is_in

_ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Doors:
    """Lets connections in to the server's own protocol, and turns away those that are too many.

    ``proxies`` bring everybody's requests and are bounded by ``most`` alone. ``refused`` is called
    with ``all`` or ``address`` for each that is turned away. Used from one event loop.
    """

    def __init__(
        self, most: int, per_address: int, proxies: Networks, refused: Callable[[str], None]
    ) -> None:
        self._most = most
        self._per_address = per_address
        self._proxies = proxies
        self._refused = refused
        self._inside: Counter[str] = Counter()

    def enter(self, address: str) -> str | None:
        """Let one in from ``address``; gives what to :meth:`leave`; ``None``: it is too many."""
        proxy = is_in(address, self._proxies)
        block = address if proxy else block_of(address)
        why = None
        if self._inside.total() >= self._most:
            why = "all"
        elif not proxy and self._inside[block] >= self._per_address:
            why = "address"
        if why is not None:
            self._refused(why)
            return None
        self._inside[block] += 1
        return block

    def leave(self, block: str) -> None:
        """One that was let in has gone."""
        self._inside[block] -= 1
        if not self._inside[block]:
            del self._inside[block]


class Guest(asyncio.Protocol):
    """One connection: passes on to ``serve()``'s protocol whatever happens, once it is let in."""

    def __init__(self, doors: Doors, serve: Callable[[], asyncio.Protocol]) -> None:
        self._doors = doors
        self._serve = serve
        self._block: str | None = None
        self._inner = asyncio.Protocol()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look where it comes from: no sooner is that known."""
        peer = transport.get_extra_info("peername")
        self._block = self._doors.enter(str(peer[0]) if peer else "unknown")
        if self._block is not None:
            self._inner = self._serve()
            self._inner.connection_made(transport)
        else:
            # Not by its class: uvloop's transports have none of asyncio's.
            stream = cast("asyncio.Transport", transport)
            stream.write(_ANSWER)
            stream.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone, and makes room."""
        if self._block is not None:
            self._doors.leave(self._block)
            self._block = None
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes for the server."""
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """The other side has said all; what the server makes of it."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """The other side does not keep up."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The other side keeps up again."""
        self._inner.resume_writing()
