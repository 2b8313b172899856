"""A service heeds its signals from the first moment on."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from collector.told import Told, heeding
from probes.contract.errors import MailcanaryError

ROOT = Path(__file__).parents[2]


class Service:
    """One in a process of its own: a signal to the tests' would end all of them if it failed."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def says(self, line: str) -> None:
        """It must say that, among what it logs."""
        assert self._process.stdout is not None
        assert f"{line}\n" in self._process.stdout

    def tell(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def let_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def ends(self) -> int:
        """Its exit code."""
        return self._process.wait()


@contextmanager
def service(*way: str) -> Iterator[Service]:
    command = [sys.executable, "-m", "tests.collector.told_service", *way]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Service(process)
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_that_is_told_to_stop_while_it_starts_closes_what_it_opened(
    number: signal.Signals,
) -> None:
    with service("never_serves") as one:
        one.says("starting")
        one.tell(number)
        one.says("closed, told to stop")
        assert one.ends() == 0


def test_one_that_serves_stops_in_its_own_way() -> None:
    with service("serves") as one:
        one.says("serving")
        one.tell(signal.SIGTERM)
        one.says("stopped")
        assert one.ends() == 0


def test_a_second_signal_ends_it_at_once() -> None:
    with service("serves_on") as one:
        one.says("serving")
        one.tell(signal.SIGTERM)
        one.says("stopped")
        one.tell(signal.SIGTERM)
        assert one.ends() == 128 + signal.SIGTERM


def test_what_it_is_told_to_read_again_while_it_starts_is_read_once_it_serves() -> None:
    with service("serves_when_let") as one:
        one.says("starting")
        one.tell(signal.SIGHUP)
        one.let_on()
        one.says("serving")
        one.says("reloaded")


def test_one_that_the_kernel_kept_is_heeded() -> None:
    with service("serves", "kept") as one:
        one.says("blocked")
        one.tell(signal.SIGHUP)
        one.let_on()
        one.says("serving")
        one.says("reloaded")


async def test_a_start_that_fails_tells_why_and_the_signals_are_as_before() -> None:
    before: list[Any] = [signal.getsignal(signal.SIGHUP), signal.getsignal(signal.SIGTERM)]

    async def work(told: Told) -> None:
        assert not told.serving.is_set()
        raise MailcanaryError("the port is taken")

    with pytest.raises(MailcanaryError, match="taken"):
        await heeding(work)
    assert [signal.getsignal(signal.SIGHUP), signal.getsignal(signal.SIGTERM)] == before
