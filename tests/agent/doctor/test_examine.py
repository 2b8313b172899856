"""Bounds: how many at once, how long each, and the order of what comes out."""

import asyncio
import socket

import pytest

from agent.doctor.examine import STEPS, Task, examine
from agent.doctor.model import Diagnosis, Findings, Item, Status
from agent.doctor.names import NoAddressError, look_up


async def test_no_more_at_once_than_allowed_and_all_in_order() -> None:
    running = 0
    most = 0
    full = asyncio.Event()

    def task(number: int) -> Task:
        async def run() -> list[Item]:
            nonlocal running, most
            running += 1
            most = max(most, running)
            if running == 3:
                full.set()
            await full.wait()
            running -= 1
            return [Item(f"g{number}", "x", Status.OK, "")]

        return Task(f"g{number}", run)

    items = await examine([task(number) for number in range(10)], 60.0, concurrency=3)
    assert most == 3
    assert [item.group for item in items] == [f"g{number}" for number in range(10)]


async def test_what_takes_too_long_is_given_up() -> None:
    async def hang() -> list[Item]:
        await asyncio.Event().wait()
        return []

    async def quick() -> list[Item]:
        return [Item("b", "x", Status.OK, "")]

    items = await examine([Task("a", hang), Task("b", quick)], 0.01)
    assert [(item.group, item.status) for item in items] == [
        ("a", Status.FAIL),
        ("b", Status.OK),
    ]
    assert items[0].seen == f"given up after {0.01 * STEPS:g} s"


def test_exit_codes() -> None:
    found = Findings("g")
    found.ok("a", "")
    found.warn("b", "", "")
    found.skip(["c"], "")
    assert Diagnosis(tuple(found.items)).exit_code == 0
    found.fail("d", "", "")
    assert Diagnosis(tuple(found.items)).exit_code == 1
    assert Diagnosis(tuple(found.items), usable=False).exit_code == 2
    assert Diagnosis(()).exit_code == 0


async def test_addresses_need_no_resolver() -> None:
    [endpoint] = await look_up("127.0.0.1", 25, 10.0)
    assert (endpoint.family, endpoint.sockaddr) == (socket.AF_INET, ("127.0.0.1", 25))


@pytest.mark.parametrize("name", ["no-such-host.invalid", "a" * 64 + ".example", "x..y"])
async def test_names_without_address(name: str) -> None:
    with pytest.raises(NoAddressError):
        await look_up(name, 25, 10.0)


async def test_a_resolver_that_takes_its_time() -> None:
    with pytest.raises(NoAddressError, match="no answer within 0 s"):
        await look_up("localhost", 25, 0.0)
