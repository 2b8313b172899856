"""Host names looked up in threads of our own: one that hangs holds up nothing but itself.

The loop's own ``getaddrinfo`` has a handful of threads for everything, so a few names whose servers
do not answer hold up every other name, and whatever else runs in those threads; and asyncio waits
for them at the end. Here each kind of host has its own threads, a name is looked up by one of them
at a time, and the process may end while they wait.
"""

import asyncio
import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple


class Endpoint(NamedTuple):
    """An address to connect to: ``AF_INET`` or ``AF_INET6``, and what ``socket.connect`` takes."""

    family: int
    sockaddr: tuple[Any, ...]


def literal(host: str, port: int) -> Endpoint | None:
    """The endpoint of an IP address, which needs no resolver and no thread."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return Endpoint(family, (host, port) if family == socket.AF_INET else (host, port, 0, 0))
    return None


class OwnFaultError(Exception):
    """A name could not be looked up for want of this host's own means: it says nothing of the name.

    No file descriptor, no memory, no free thread.
    """


Ask = Callable[[str, int], Sequence[Endpoint]]
"""From host and family (``AF_UNSPEC`` for any) to endpoints, whatever their port; may block.

Raises OSError or UnicodeError when the name has none, and OwnFaultError.
"""


def ask_system(host: str, family: int) -> list[Endpoint]:
    """What the system's resolver says, in its order (RFC 6724), each address once.

    Raises:
        OSError: when there is none (``socket.gaierror``).
        UnicodeError: when ``host`` cannot be a domain name.
        OwnFaultError: when this host lacks what it takes to ask.
    """
    try:
        found = socket.getaddrinfo(host, None, family=family, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        # Without a file descriptor glibc says "try again", or that the name does not exist.
        missing = _missing()
        if missing is None and error.errno == socket.EAI_MEMORY:
            missing = error
        if missing is not None:
            raise OwnFaultError((missing.strerror or str(missing)).lower()) from error
        raise
    except OSError as error:  # EAI_SYSTEM, by its errno
        raise OwnFaultError((error.strerror or str(error)).lower()) from error
    return list(dict.fromkeys(Endpoint(item[0], item[4]) for item in found))


def _missing() -> OSError | None:
    """What is in the way of opening a socket, if anything is."""
    try:
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).close()
    except OSError as error:
        return error
    return None


class _Signal:
    """Happens once, by any thread; is waited for on any loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._happened = False
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def happened(self) -> bool:
        return self._happened

    def happen(self) -> None:
        with self._lock:
            self._happened = True
            waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            with contextlib.suppress(RuntimeError):  # its loop has ended
                waiter.get_loop().call_soon_threadsafe(_wake, waiter)

    async def wait(self) -> None:
        with self._lock:
            if self._happened:
                return
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
        try:
            await waiter
        finally:
            with self._lock:
                self._waiters.discard(waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Lookup:
    """One lookup, shared by all who want the name while it is under way."""

    def __init__(self, host: str, family: int) -> None:
        self.host = host
        self.family = family
        self.begun = _Signal()
        self.waited_for = 0
        self._ended = _Signal()
        self._found: Sequence[Endpoint] = ()
        self._error: Exception | None = None

    def run(self, ask: Ask) -> None:
        """Ask, in a thread, and keep what is said; :meth:`end` makes it known."""
        try:
            self._found = ask(self.host, self.family)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who wait
            self._error = error

    def end(self) -> None:
        """Tell those who wait."""
        self._ended.happen()

    async def endpoints(self, port: int) -> list[Endpoint]:
        """What was found, with this port.

        Raises:
            OSError, UnicodeError: when the name has no address.
            OwnFaultError: when this host could not look it up.
        """
        await self._ended.wait()
        if self._error is not None:
            raise self._error.with_traceback(None)
        return [
            Endpoint(each.family, (each.sockaddr[0], port, *each.sockaddr[2:]))
            for each in self._found
        ]


class Lookups:
    """Looks names up in at most ``threads`` threads, which start when they are needed.

    Nothing is remembered: a name is asked for anew unless a lookup of it is under way.
    """

    def __init__(self, purpose: str, threads: int, ask: Ask = ask_system) -> None:
        self._purpose = purpose
        self._most = threads
        self._ask = ask
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._given: SimpleQueue[Lookup] = SimpleQueue()
        self._queued: deque[Lookup] = deque()
        self._under_way: dict[tuple[str, int], Lookup] = {}

    async def begin(self, host: str, family: int, patience_s: float) -> Lookup:
        """A lookup of ``host`` that has begun; waits until there is a thread for it.

        Raises:
            OwnFaultError: when there was none for ``patience_s`` seconds.
        """
        lookup = self._join(host, family)
        try:
            if not lookup.begun.happened:
                async with asyncio.timeout(patience_s):
                    await lookup.begun.wait()
        except TimeoutError:
            text = (
                f"no thread to look up {host}: all {self._most} for {self._purpose} have been busy "
                f"for {patience_s:g} s"
            )
            raise OwnFaultError(text) from None
        finally:
            with self._lock:
                lookup.waited_for -= 1
        return lookup

    def _join(self, host: str, family: int) -> Lookup:
        key = (host, family)
        with self._lock:
            lookup = self._under_way.get(key)
            if lookup is None:
                lookup = Lookup(host, family)
                self._start(lookup)
                self._under_way[key] = lookup
            lookup.waited_for += 1
            return lookup

    def _start(self, lookup: Lookup) -> None:
        """Give it to a thread, or let it wait for one."""
        if self._idle:
            self._idle -= 1
            lookup.begun.happen()
            self._given.put(lookup)
        elif self._threads < self._most:
            name = f"look up {self._purpose} {self._threads}"
            # A daemon: the process must be able to end while a name hangs.
            thread = threading.Thread(target=self._work, args=(lookup,), name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise OwnFaultError(f"cannot start a thread: {error}") from error
            self._threads += 1
            lookup.begun.happen()
        else:
            self._queued.append(lookup)

    def _work(self, lookup: Lookup) -> None:
        while True:
            lookup.run(self._ask)
            following = self._finish(lookup)
            lookup.end()
            if following is None:
                following = self._given.get()
            else:
                following.begun.happen()
            lookup = following

    def _finish(self, lookup: Lookup) -> Lookup | None:
        """The lookup that is next; ``None`` when there is none, and this thread is free."""
        with self._lock:
            del self._under_way[lookup.host, lookup.family]
            while self._queued:
                following = self._queued.popleft()
                if following.waited_for:
                    return following
                del self._under_way[following.host, following.family]
            self._idle += 1
            return None
