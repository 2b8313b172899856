"""A packet filter that needs no privilege: connects time out as if a firewall dropped their SYNs.

Linux drops a SYN for a listening socket whose accept queue is full. A socket with backlog 0 has
room for one connection, so one filler that is never accepted fills it. The client's kernel repeats
its SYN after 1, 3, 7 … seconds, so a connect that is still waiting when the filter is lifted goes
through, just as it does behind a real one; connections made earlier live on.
"""

import select
import socket
from contextlib import suppress

OPEN_BACKLOG = 128
_MAX_FILLERS = 8  # one is enough on Linux; a client's SYN may win the race for a place


class AcceptFilter:
    """Filters new connections to one listening socket, which nobody accepts from meanwhile."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._fillers: list[socket.socket] = []

    def close_gate(self) -> None:
        """From now on new connections time out. The accept queue should be empty before.

        Raises:
            OSError: when the queue could not be filled (not Linux).
        """
        self._listening.listen(0)
        for _ in range(_MAX_FILLERS):
            filler = socket.socket(self._listening.family, socket.SOCK_STREAM)
            filler.setblocking(False)
            self._fillers.append(filler)
            filler.connect_ex(self._listening.getsockname())
            # On loopback the handshake is over when connect returns, if there was room.
            if not select.select([], [filler], [], 0)[1]:
                return
        self._drop_fillers()
        raise OSError("the accept queue cannot be filled: the unprivileged filter needs Linux")

    def open_gate(self) -> list[socket.socket]:
        """Lift the filter; returns the accepted sockets of clients that slipped in between."""
        own = set()
        for filler in self._fillers:
            with suppress(OSError):
                own.add(filler.getsockname())
        self._drop_fillers()
        self._listening.listen(OPEN_BACKLOG)
        strangers: list[socket.socket] = []
        while True:
            try:
                accepted, peer = self._listening.accept()
            except OSError:  # BlockingIOError: the queue is empty
                return strangers
            if peer in own:
                accepted.close()
            else:
                strangers.append(accepted)

    def _drop_fillers(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()


def bind_listening(host: str, port: int = 0) -> socket.socket:
    """A non-blocking TCP socket bound to ``host`` that listens; ``port`` 0 takes a free one.

    The port is bound by number, so that the socket keeps it while it does not listen (see
    ``stop_listening``).
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with socket.socket(family, socket.SOCK_STREAM) as scout:
            # The scout keeps the port that it was given until the other socket has it by number.
            scout.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            scout.bind((host, port))
            listening.bind(scout.getsockname())
        listening.setblocking(False)
        listening.listen(OPEN_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def stop_listening(listening: socket.socket) -> None:
    """Refuse further connections (RST) but keep the port; ``listen`` makes it listen again."""
    listening.shutdown(socket.SHUT_RD)


class Blackhole:
    """A host and port to which connects time out: ``with Blackhole() as (host, port): ...``."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self._listening: socket.socket | None = None
        self._filter: AcceptFilter | None = None

    def __enter__(self) -> tuple[str, int]:
        self._listening = bind_listening(self._host)
        self._filter = AcceptFilter(self._listening)
        self._filter.close_gate()
        address = self._listening.getsockname()
        return str(address[0]), int(address[1])

    def __exit__(self, *_exc_info: object) -> None:
        if self._filter is not None and self._listening is not None:
            for stranger in self._filter.open_gate():
                stranger.close()
            self._listening.close()
