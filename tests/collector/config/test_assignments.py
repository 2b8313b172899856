"""An agent's assignment: its part, an ETag that only its own changes move, waiting for them."""

import asyncio
import gzip
from typing import Any

import msgspec
import pytest

from collector.config.assignments import Board, post
from collector.config.parts import Parts
from probes.contract.check_plan import check_plans
from probes.contract.config.models import Config
from probes.contract.config.prune import part_of
from probes.contract.plan import plan
from probes.contract.wire import AssignmentDocument


def _config(**intervals: str) -> Config:
    """Customer acme is for sfo, globex for lon."""
    return Config.model_validate(
        {
            "version": 1,
            "relays": [{"name": "relay-1", "host": "relay-1.example"}],
            "agents": [
                {
                    "name": name,
                    "sender": {"address": f"c@{name}.example", "helo": f"{name}.example"},
                }
                for name in ("lon", "sfo")
            ],
            "customers": [
                _customer("acme", "sfo", intervals.get("acme", "30s")),
                _customer("globex", "lon", intervals.get("globex", "30s")),
            ],
        }
    )


def _customer(name: str, agent: str, interval: str) -> dict[str, Any]:
    return {
        "name": name,
        "mailboxes": [
            {
                "name": "in",
                "address": f"in@{name}.example",
                "imap": {"host": "imap.example", "user": "in", "secret": f"{name}/in"},
            }
        ],
        "canaries": [{"agents": agent, "interval": interval}],
    }


async def _waiting(board: Board, agent: str, etag: str) -> "asyncio.Task[Any]":
    """A wait that has looked once and found nothing new."""
    task = asyncio.create_task(board.wait(agent, etag, 60.0))
    await board.get(agent)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_the_document_gives_the_agents_own_plan() -> None:
    config = _config()
    posted = await Board(config, "r1").get("sfo")
    document = msgspec.json.decode(posted.body, type=AssignmentDocument)
    assert (document.agent, document.revision) == ("sfo", "r1")
    part = Config.model_validate(msgspec.json.decode(document.config))
    assert part == part_of(config, "sfo")
    assert plan(part).for_agent("sfo") == plan(config).for_agent("sfo") != []
    assert b"globex" not in posted.body


async def test_the_etag_moves_with_the_part_and_not_with_the_revision() -> None:
    before = post(Parts(_config()), "r1", "sfo")
    assert post(Parts(_config(globex="1m")), "r2", "sfo").etag == before.etag
    assert post(Parts(_config(acme="1m")), "r3", "sfo").etag != before.etag
    assert before.etag.startswith('"')
    assert before.etag.endswith('"')


async def test_a_change_wakes_its_agent_and_nobody_else() -> None:
    board = Board(_config(), "r1")
    etags = {agent: (await board.get(agent)).etag for agent in ("lon", "sfo")}
    waiting = {agent: await _waiting(board, agent, etag) for agent, etag in etags.items()}
    board.publish(_config(acme="1m"), "r2")
    posted = await waiting["sfo"]
    assert posted.etag == (await board.get("sfo")).etag != etags["sfo"]
    await board.get("lon")
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting["lon"].done()
    board.publish(_config(acme="1m", globex="1m"), "r3")
    assert (await waiting["lon"]).etag != etags["lon"]


async def test_an_old_etag_is_answered_at_once() -> None:
    board = Board(_config(), "r1")
    posted = await board.wait("sfo", '"of another time"', 60.0)
    assert posted == await board.get("sfo")


async def test_a_wait_ends_when_its_time_is_over() -> None:
    board = Board(_config(), "r1")
    etag = (await board.get("sfo")).etag
    assert await board.wait("sfo", etag, 0.0) is None


async def test_a_board_that_is_closed_lets_nobody_wait() -> None:
    board = Board(_config(), "r1")
    etag = (await board.get("sfo")).etag
    waiting = await _waiting(board, "sfo", etag)
    board.close()
    assert await waiting is None
    assert await board.wait("sfo", etag, 60.0) is None
    assert await board.wait("sfo", '"another"', 60.0) is not None


async def test_who_hangs_up_takes_the_answer_from_nobody() -> None:
    board = Board(_config(), "r1")
    impatient = asyncio.create_task(board.get("sfo"))
    patient = asyncio.create_task(board.get("sfo"))
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).etag == post(Parts(_config()), "r1", "sfo").etag


async def test_a_revision_that_is_replaced_while_it_is_worked_out_is_not_kept() -> None:
    board = Board(_config(), "r1")
    early = asyncio.create_task(board.get("sfo"))
    await asyncio.sleep(0)
    board.publish(_config(acme="1m"), "r2")
    assert (await board.get("sfo")).etag == post(Parts(_config(acme="1m")), "r2", "sfo").etag
    assert (await early).etag == post(Parts(_config()), "r1", "sfo").etag


async def test_what_could_not_be_worked_out_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    board = Board(_config(), "r1")
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "to_thread", no_thread)
        with pytest.raises(RuntimeError):
            await board.get("sfo")
    posted = await board.get("sfo")
    with monkeypatch.context() as patch:
        patch.setattr(gzip, "compress", no_thread)
        with pytest.raises(RuntimeError):
            await posted.packed()
    assert gzip.decompress(await posted.packed()) == posted.body


def test_the_board_knows_the_agents_of_its_configuration() -> None:
    board = Board(_config(), "r1")
    assert board.knows("sfo")
    assert not board.knows("nobody")


async def test_an_assignment_is_packed_once_though_who_asked_first_has_gone() -> None:
    posted = await Board(_config(), "r1").get("sfo")
    first = asyncio.create_task(posted.packed())
    await asyncio.sleep(0)
    first.cancel()
    packed = await posted.packed()
    assert gzip.decompress(packed) == posted.body
    assert await posted.packed() is packed
    assert first.cancelled()


def _looking(destinations: dict[str, str], **intervals: str) -> Config:
    """An agent on each of two relays, neither with a sender; each relay has a check of its own."""
    config = _config()
    document = {
        "version": 1,
        "relays": [{"name": f"relay-{n}", "host": f"relay-{n}.example"} for n in (1, 2)],
        "agents": [
            {
                "name": "sfo",
                "sender": {"address": "c@sfo.example", "helo": "sfo.example"},
            },
            {"name": "on-1", "on_relay": "relay-1"},
            {"name": "on-2", "on_relay": "relay-2"},
        ],
        "destinations": [{"name": name, "domain": domain} for name, domain in destinations.items()],
        "checks": [
            {
                "probe": "egress",
                "relays": f"relay-{n}",
                "destinations": {1: "bigmail", 2: "othermail"}[n],
                "interval": intervals.get(f"on_{n}", "30s"),
            }
            for n in (1, 2)
        ],
    }
    customers = tuple(one for one in config.customers if one.name == "acme")
    return Config.model_validate(document).model_copy(update={"customers": customers})


DESTINATIONS = {"bigmail": "bigmail.example", "othermail": "othermail.example"}


async def test_an_agent_that_only_looks_is_given_its_checks() -> None:
    board = Board(_looking(DESTINATIONS), "r1")
    assert board.knows("on-1")
    document = msgspec.json.decode((await board.get("on-1")).body, type=AssignmentDocument)
    part = Config.model_validate(msgspec.json.decode(document.config))
    [look] = check_plans(part, "on-1")
    assert [look] == list(check_plans(_looking(DESTINATIONS), "on-1"))
    assert [one.name for one in look.destinations] == ["bigmail"]
    assert part.customers == ()
    assert plan(part).for_agent("on-1") == []


@pytest.mark.parametrize(
    ("edited", "concerned"),
    [
        (_looking(DESTINATIONS, on_1="1m"), {"on-1"}),
        (_looking({**DESTINATIONS, "othermail": "elsewhere.example"}), {"on-2"}),
        (_looking({**DESTINATIONS, "unused": "unused.example"}), set()),
    ],
)
async def test_a_change_of_what_is_looked_at_reaches_those_who_look(
    edited: Config, concerned: set[str]
) -> None:
    board = Board(_looking(DESTINATIONS), "r1")
    agents = ("sfo", "on-1", "on-2")
    before = {agent: (await board.get(agent)).etag for agent in agents}
    waiting = {agent: await _waiting(board, agent, before[agent]) for agent in agents}
    board.publish(edited, "r2")
    after = {agent: (await board.get(agent)).etag for agent in agents}
    assert {agent for agent in agents if after[agent] != before[agent]} == concerned
    for _ in range(5):
        await asyncio.sleep(0)
    assert {agent for agent in agents if waiting[agent].done()} == concerned
    board.close()
    for task in waiting.values():
        await task
