"""What a customer, or a file in its name, may not do to the customers API."""

import asyncio
import threading
from pathlib import Path

import pytest
from aiohttp import ClientSession

from collector.config.files import Files
from collector.web.customers import CUSTOMERS
from tests.collector.config.services import customer, read_files, site
from tests.collector.web.servers import bearer, started

URL = "/api/v1/customers"
ANN = bearer("operator-ann")
ACME = bearer("customer-acme")

MULTIPLYING = "\n".join(
    [
        "name: acme",
        "l0: &l0 [" + "x, " * 10 + "]",
        *(f"l{n}: &l{n} [" + f"*l{n - 1}, " * 10 + "]" for n in range(1, 9)),
    ]
)
BROKEN = {
    "multiplying": MULTIPLYING.encode(),
    "within itself": b"name: acme\nlabels: &a [*a]\n",
    "deep": b"name: acme\nlabels: " + b"[" * 5000 + b"]" * 5000,
    "utf-16": "name: acme\n".encode("utf-16"),
    "utf-16 without a mark": "name: acme\n".encode("utf-16-le"),
    "no mapping": b"- name: acme\n",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("who", [ANN, ACME], ids=["operator", "customer"])
async def test_a_broken_file_is_told_and_can_be_replaced(
    tmp_path: Path, data: bytes, who: dict[str, str]
) -> None:
    async with site(tmp_path) as found, started({CUSTOMERS: found.customers}) as client:
        file = found.directory / "acme.yaml"
        file.write_bytes(data)
        assert not await found.config.reload()
        async with client.get(f"{URL}/acme", headers=who) as read:
            assert read.status == 422
            errors = (await read.json(content_type=None))["errors"]
            etag = read.headers["ETag"]
        if who is ANN:
            judged = [str(one) for one in found.config.problems if one.file == str(file)]
            assert errors == judged
        else:
            assert str(tmp_path) not in errors[0]
        document = customer("acme", labels={"tier": "gold"})
        changed = {**who, "If-Match": etag}
        async with client.put(f"{URL}/acme", json=document, headers=changed) as put:
            assert (put.status, (await put.json(content_type=None)).get("document")) == (
                200,
                document,
            )
        assert not found.config.problems


async def test_a_broken_file_keeps_the_quota_that_is_in_force(tmp_path: Path) -> None:
    async with site(tmp_path) as found, started({CUSTOMERS: found.customers}) as client:
        async with client.get(f"{URL}/acme", headers=ANN) as read:
            given = {**ANN, "If-Match": read.headers["ETag"]}
        document = customer("acme", quota={"paths": 7})
        async with client.put(f"{URL}/acme", json=document, headers=given) as put:
            assert put.status == 200
        (found.directory / "acme.yaml").write_bytes(BROKEN["utf-16"])
        changed = {**ACME, "If-Match": "*"}
        more = customer("acme", quota={"paths": 8})
        async with client.put(f"{URL}/acme", json=more, headers=changed) as put:
            assert put.status == 403
        async with client.put(f"{URL}/acme", json=customer("acme"), headers=changed) as put:
            assert (await put.json())["document"]["quota"] == {"paths": 7}


async def test_one_check_of_a_customer_at_a_time_and_none_holds_up_a_reader(
    tmp_path: Path,
) -> None:
    held, go_on = threading.Event(), threading.Event()
    go_on.set()

    def slowly(main: Path) -> Files:
        # As long as all the files of a thousand customers take.
        held.set()
        go_on.wait()
        return read_files(main)

    async with (
        site(tmp_path, read=slowly) as found,
        started({CUSTOMERS: found.customers}) as client,
    ):
        held.clear()
        go_on.clear()
        first = asyncio.create_task(_checked(client))
        await asyncio.to_thread(held.wait)
        others = await asyncio.gather(*(_checked(client) for _ in range(60)))
        assert {status for status, _ in others} == {429}
        assert {after for _, after in others} == {"1"}
        async with client.get(f"{URL}/acme", headers=ANN) as read:
            assert read.status == 200
        go_on.set()
        assert (await first)[0] == 200
        assert (await _checked(client))[0] == 200


async def _checked(client: ClientSession) -> tuple[int, str | None]:
    async with client.post(f"{URL}/acme/check", json=customer("acme"), headers=ACME) as answer:
        return answer.status, answer.headers.get("Retry-After")


async def test_a_customer_makes_so_many_changes_and_an_operator_any(tmp_path: Path) -> None:
    async with site(tmp_path) as found, started({CUSTOMERS: found.customers}) as client:

        async def change(number: int, who: dict[str, str]) -> tuple[int, str | None]:
            document = customer("acme", labels={"n": str(number)})
            headers = {**who, "If-Match": "*"}
            async with client.put(f"{URL}/acme", json=document, headers=headers) as put:
                return put.status, put.headers.get("Retry-After")

        mine = [await change(number, ACME) for number in range(11)]
        assert mine[:10] == [(200, None)] * 10
        assert mine[10][0] == 429
        assert 0 < int(mine[10][1] or 0) <= 60
        assert len(await found.audit.entries()) == 10
        assert (await change(11, ANN))[0] == 200
        # To be looked at is as free as ever.
        assert (await _checked(client))[0] == 200


async def test_an_address_of_another_is_not_told_to_be_one(tmp_path: Path) -> None:
    async with site(tmp_path) as found, started({CUSTOMERS: found.customers}) as client:
        document = customer("acme")
        document["mailboxes"][0]["address"] = "in@globex.example"
        async with client.post(f"{URL}/acme/check", json=document, headers=ACME) as answer:
            judged = await answer.json()
        assert judged == {
            "valid": False,
            "errors": ["mailboxes[0].address: this cannot be used here; an operator can see why"],
        }
