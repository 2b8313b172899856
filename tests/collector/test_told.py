"""A service heeds its signals from the first moment on."""

import asyncio
import os
import signal
import threading
from typing import Any

import pytest

from collector.told import Told, heeding
from probes.contract.errors import MailcanaryError


def _tell(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_one_that_is_told_to_stop_while_it_starts_closes_what_it_opened(
    number: signal.Signals,
) -> None:
    closed = []

    async def work(told: Told) -> None:
        try:
            _tell(number)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            closed.append(told.stop.is_set())

    await heeding(work)
    assert closed == [True]


async def test_one_that_serves_stops_in_its_own_way() -> None:
    async def reload() -> None:
        raise AssertionError

    stopped = []

    async def work(told: Told) -> None:
        told.serves(reload)
        _tell(signal.SIGTERM)
        await told.stop.wait()
        await asyncio.sleep(0)
        stopped.append(True)

    await heeding(work)
    assert stopped == [True]


async def test_what_it_is_told_to_read_again_while_it_starts_is_read_once_it_serves() -> None:
    serving, reloaded = False, asyncio.Event()

    async def reload() -> None:
        assert serving
        reloaded.set()

    async def work(told: Told) -> None:
        nonlocal serving
        _tell(signal.SIGHUP)
        # A loop hears of a signal in its next round.
        await asyncio.sleep(0.05)
        serving = True
        told.serves(reload)
        await reloaded.wait()

    await heeding(work)


async def test_one_that_the_kernel_kept_is_heeded() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    # To this thread: another one, left by another test, would not keep it and end the process.
    signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
    reloaded = asyncio.Event()

    async def reload() -> None:
        reloaded.set()

    async def work(told: Told) -> None:
        told.serves(reload)
        await reloaded.wait()

    await heeding(work)


async def test_a_start_that_fails_tells_why_and_the_signals_are_as_before() -> None:
    before: list[Any] = [signal.getsignal(signal.SIGHUP), signal.getsignal(signal.SIGTERM)]

    async def work(told: Told) -> None:
        assert not told.serving.is_set()
        raise MailcanaryError("the port is taken")

    with pytest.raises(MailcanaryError, match="taken"):
        await heeding(work)
    assert [signal.getsignal(signal.SIGHUP), signal.getsignal(signal.SIGTERM)] == before
