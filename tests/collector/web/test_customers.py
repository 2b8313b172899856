"""Customers and assignments over a real server: statuses, versions, waiting."""

import asyncio
import gzip
from pathlib import Path

import msgspec
import pytest

from collector.web.assignments import CONFIG
from collector.web.customers import CUSTOMERS
from probes.contract.config.models import Config
from probes.contract.plan import plan
from probes.contract.wire import AssignmentDocument
from tests.collector.config.services import customer, site, write_yaml
from tests.collector.web.servers import bearer, started

URL = "/api/v1/customers"
ANN = bearer("operator-ann")
ACME = bearer("customer-acme")


async def test_a_customer_is_created_read_replaced_and_removed(tmp_path: Path) -> None:
    async with site(tmp_path) as found, started({CUSTOMERS: found.customers}) as client:
        new = {**ANN, "If-None-Match": "*"}
        async with client.put(f"{URL}/new", json=customer("new"), headers=new) as made:
            assert made.status == 201
            etag = made.headers["ETag"]
        async with client.put(f"{URL}/new", json=customer("new"), headers=new) as again:
            assert again.status == 412
        async with client.get(f"{URL}/new", headers=ANN) as read:
            assert (read.status, read.headers["ETag"]) == (200, etag)
            assert (await read.json())["document"] == customer("new")
        document = customer("new", labels={"tier": "gold"})
        old = {**bearer("customer-new"), "If-Match": etag}
        async with client.put(f"{URL}/new", json=document, headers=old) as changed:
            assert changed.status == 200
            newer = changed.headers["ETag"]
        async with client.delete(f"{URL}/new", headers={**ANN, "If-Match": etag}) as stale:
            assert stale.status == 412
        async with client.delete(f"{URL}/new", headers={**ANN, "If-Match": newer}) as gone:
            assert gone.status == 204
        async with client.get(f"{URL}/new", headers=ANN) as read:
            assert read.status == 404


async def test_a_change_must_name_the_version(tmp_path: Path) -> None:
    async with site(tmp_path) as found, started({CUSTOMERS: found.customers}) as client:
        for headers in (
            ANN,
            {**ANN, "If-None-Match": '"x"'},
            {**ANN, "If-Match": '"x"', "If-None-Match": "*"},
        ):
            async with client.put(f"{URL}/acme", json=customer("acme"), headers=headers) as put:
                assert put.status == 428
        async with client.delete(f"{URL}/acme", headers=ANN) as removed:
            assert removed.status == 428


async def test_errors_are_the_lines_of_check(tmp_path: Path) -> None:
    async with site(tmp_path) as found, started({CUSTOMERS: found.customers}) as client:
        bad = customer("acme", tiger=1, lion=2)
        async with client.get(f"{URL}/acme", headers=ACME) as read:
            etag = read.headers["ETag"]
        async with client.put(f"{URL}/acme", json=bad, headers={**ACME, "If-Match": etag}) as put:
            assert put.status == 422
            errors = (await put.json(content_type=None))["errors"]
        assert [error.partition(":")[0] for error in errors] == ["tiger", "lion"]
        async with client.post(f"{URL}/acme/check", json=bad, headers=ACME) as checked:
            assert await checked.json() == {"valid": False, "errors": errors}
        async with client.post(f"{URL}/acme/check", json=customer("acme"), headers=ACME) as checked:
            assert await checked.json() == {"valid": True, "errors": []}


async def test_a_customer_sees_itself_only(tmp_path: Path) -> None:
    async with site(tmp_path) as found, started({CUSTOMERS: found.customers}) as client:
        async with client.get(URL, headers=ACME) as listed:
            assert await listed.json() == {"customers": ["acme"]}
        async with client.get(URL, headers=ANN) as listed:
            assert await listed.json() == {"customers": ["acme", "globex"]}
        answers = set()
        for name in ("globex", "nobody"):
            async with client.get(f"{URL}/{name}", headers=ACME) as read:
                answers.add((read.status, await read.text()))
        assert len(answers) == 1
        assert answers.pop()[0] == 403


async def test_an_assignment_gives_the_plan_and_waits_for_its_change(tmp_path: Path) -> None:
    async with site(tmp_path) as found, started({CONFIG: found.config}) as client:
        url, sfo = "/api/v1/agents/sfo/assignment", bearer("agent-sfo")
        sfo["Accept-Encoding"] = "identity"
        async with client.get(url, headers=sfo) as got:
            assert got.status == 200
            etag = got.headers["ETag"]
            document = msgspec.json.decode(await got.read(), type=AssignmentDocument)
        part = Config.model_validate(msgspec.json.decode(document.config))
        whole = found.config.in_force
        assert plan(part).for_agent("sfo") == plan(whole.config).for_agent("sfo")
        assert document.revision == whole.revision
        known = {**sfo, "If-None-Match": etag}
        async with client.get(url, headers=known, params={"wait": "0"}) as same:
            assert (same.status, same.headers["ETag"]) == (304, etag)
        waiting = asyncio.create_task(client.get(url, headers=known, params={"wait": "60"}))
        write_yaml(found.directory / "globex.yaml", customer("globex", "lon", labels={"x": "y"}))
        assert await found.config.reload()
        write_yaml(found.directory / "acme.yaml", customer("acme", labels={"tier": "gold"}))
        assert await found.config.reload()
        async with await waiting as changed:
            assert changed.status == 200
            assert changed.headers["ETag"] != etag


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("deflate, GZIP;q=0.5", "gzip"),
        ("identity", None),
        ("gzip;q=0, deflate", None),
        ("gzip ; q=0.0", None),
    ],
)
async def test_an_assignment_is_gzipped_for_those_who_take_that(
    tmp_path: Path, accepted: str, encoding: str | None
) -> None:
    async with site(tmp_path) as found, started({CONFIG: found.config}) as client:
        headers = {**bearer("agent-sfo"), "Accept-Encoding": accepted}
        async with client.get("/api/v1/agents/sfo/assignment", headers=headers) as got:
            assert got.headers.get("Content-Encoding") == encoding
            assert got.headers["Vary"] == "Accept-Encoding"
            body = await got.read()
        plain = body if encoding is None else gzip.decompress(body)
        assert plain == (await found.config.board.get("sfo")).body


async def test_an_agent_that_is_not_configured_has_no_assignment(tmp_path: Path) -> None:
    async with site(tmp_path) as found, started({CONFIG: found.config}) as client:
        async with client.get(
            "/api/v1/agents/nobody/assignment", headers=bearer("agent-nobody")
        ) as got:
            assert got.status == 404
        async with client.get("/api/v1/agents/lon/assignment", headers=bearer("agent-sfo")) as got:
            assert got.status == 403
