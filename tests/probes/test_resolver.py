"""Names that hang, names that fail, and a host that lacks the means to ask."""

import asyncio
import errno
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from probes.resolver import Endpoint, Lookups, OwnFaultError, ask_system, literal

LONG_S = 60.0
ADDRESS = Endpoint(socket.AF_INET, ("192.0.2.1", 0))


class Names:
    """A resolver for which names that begin with ``dead`` hang until they are let go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.let_go = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, host: str, family: int) -> Sequence[Endpoint]:
        assert family == socket.AF_UNSPEC
        with self._lock:
            self.asked.append(host)
        if host.startswith("dead"):
            self.let_go.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [ADDRESS]


@pytest.fixture
def names() -> Iterator[Names]:
    made = Names()
    yield made
    made.let_go.set()


async def find(lookups: Lookups, host: str) -> list[Endpoint]:
    lookup = await lookups.begin(host, socket.AF_UNSPEC, LONG_S)
    return await lookup.endpoints(25)


async def test_a_name_has_the_port_that_was_asked_for(names: Names) -> None:
    lookups = Lookups("tests", 2, names)
    assert await find(lookups, "a.test") == [Endpoint(socket.AF_INET, ("192.0.2.1", 25))]


async def test_nothing_is_remembered(names: Names) -> None:
    lookups = Lookups("tests", 2, names)
    for _ in range(3):
        await find(lookups, "a.test")
    assert names.asked == ["a.test"] * 3


async def test_a_name_is_asked_for_once_at_a_time_and_all_are_told(names: Names) -> None:
    lookups = Lookups("tests", 2, names)
    waiting = [asyncio.ensure_future(find(lookups, "dead.test")) for _ in range(20)]
    # The other thread is free, however many wait for the dead name.
    assert await find(lookups, "a.test")
    names.let_go.set()
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(each, socket.gaierror) for each in told)
    assert sorted(names.asked) == ["a.test", "dead.test"]


async def test_who_gives_up_leaves_the_others_waiting(names: Names) -> None:
    lookups = Lookups("tests", 1, names)
    first, second = (asyncio.ensure_future(find(lookups, "dead.test")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    names.let_go.set()
    with pytest.raises(socket.gaierror):
        await second


async def test_no_thread_is_this_hosts_own_fault(names: Names) -> None:
    lookups = Lookups("tests", 2, names)
    hanging = [
        await lookups.begin(f"dead{number}.test", socket.AF_UNSPEC, LONG_S) for number in range(2)
    ]
    with pytest.raises(OwnFaultError, match=r"all 2 for tests have been busy for 0\.01 s"):
        await lookups.begin("a.test", socket.AF_UNSPEC, 0.01)
    names.let_go.set()
    for each in hanging:
        with pytest.raises(socket.gaierror):
            await each.endpoints(25)
    # What nobody waits for any more is not asked for.
    assert await find(lookups, "b.test")
    assert sorted(names.asked) == ["b.test", "dead0.test", "dead1.test"]


async def test_a_lookup_that_waits_begins_when_a_thread_is_free(names: Names) -> None:
    lookups = Lookups("tests", 1, names)
    hanging = await lookups.begin("dead.test", socket.AF_UNSPEC, LONG_S)
    waiting = [
        asyncio.ensure_future(find(lookups, host)) for host in ("a.test", "b.test", "a.test")
    ]
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)
    names.let_go.set()
    assert all(await asyncio.gather(*waiting))
    assert names.asked == ["dead.test", "a.test", "b.test"]
    with pytest.raises(socket.gaierror):
        await hanging.endpoints(25)


def test_a_loop_that_has_ended_is_not_told(names: Names) -> None:
    lookups = Lookups("tests", 1, names)

    async def give_up() -> None:
        asyncio.ensure_future(find(lookups, "dead.test"))  # noqa: RUF006 - cancelled with the loop
        await asyncio.sleep(0)

    asyncio.run(give_up())
    names.let_go.set()
    assert asyncio.run(find(lookups, "a.test"))


async def test_what_no_name_can_be(names: Names) -> None:
    del names
    with pytest.raises(UnicodeError):
        await find(Lookups("tests", 1), "a..b")


def test_the_systems_resolver() -> None:
    assert Endpoint(socket.AF_INET, ("127.0.0.1", 0)) in ask_system("localhost", socket.AF_INET)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """No file descriptor is left for the length of the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError as error:
                assert error.errno == errno.EMFILE  # noqa: PT017 - the loop's way out
                break
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for each in taken:
            os.close(each)


@pytest.mark.parametrize("host", ["localhost", "relay.invalid"])
def test_no_descriptors_are_this_hosts_own_fault(host: str) -> None:
    with no_descriptors(), pytest.raises(OwnFaultError, match="too many open files"):
        ask_system(host, socket.AF_UNSPEC)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", Endpoint(socket.AF_INET, ("192.0.2.1", 25))),
        ("2001:db8::1", Endpoint(socket.AF_INET6, ("2001:db8::1", 25, 0, 0))),
        ("relay.test", None),
        ("a\0b", None),
    ],
)
def test_addresses_need_no_thread(host: str, address: Endpoint | None) -> None:
    assert literal(host, 25) == address


_ENDS = """
import asyncio, socket, threading
from probes.resolver import Lookups
async def main():
    lookups = Lookups("tests", 2, lambda host, family: threading.Event().wait())
    lookup = await lookups.begin("dead.test", socket.AF_UNSPEC, 60)
    try:
        async with asyncio.timeout(0.01):
            await lookup.endpoints(25)
    except TimeoutError:
        print("gave up")
asyncio.run(main())
"""


def test_a_name_that_hangs_for_ever_does_not_keep_the_process() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _ENDS], capture_output=True, timeout=60, check=True, text=True
    )
    assert (ended.stdout, ended.stderr) == ("gave up\n", "")
