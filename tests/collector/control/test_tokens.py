"""Tokens: recognised while they are good, and never to be seen."""

import asyncio
import sqlite3
from functools import partial
from pathlib import Path

import pytest

from collector.control.audit import Audit
from collector.control.principal import Kind, Principal
from collector.control.schema import FILE_NAME
from collector.control.store import ControlStore, operate
from collector.control.tokens import FRESH_S, TokenRefusedError, Tokens, create, revoke
from tests.collector.control.stores import NOW_NS, HandClock, control_store


def _execute(statement: str, connection: sqlite3.Connection) -> None:
    connection.execute(statement)


def _files(directory: Path) -> bytes:
    assert (directory / FILE_NAME).exists()
    return b"".join(file.read_bytes() for file in directory.iterdir())


def _tokens(store: ControlStore, clock: HandClock) -> Tokens:
    return Tokens(store, clock.wall_ns, clock.monotonic)


async def test_a_token_is_recognised(tmp_path: Path) -> None:
    async with control_store(tmp_path) as store:
        tokens = _tokens(store, HandClock())
        info, text = await tokens.create(Kind.AGENT, "sfo", who="test")
        assert text.reveal().startswith(f"mc1_agent_{info.id}_")
        assert await tokens.verify(text.reveal()) == Principal(Kind.AGENT, "sfo", info.id)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"),
        lambda text: text.replace("_agent_", "_operator_"),
        lambda text: text.replace("mc1_", "mc2_"),
        lambda text: text + "A",
        lambda text: text[:-1],
        lambda text: f"mc1_agent_{'0' * 12}_{text[-43:]}",
        lambda text: text + "\n",
        lambda _: "",
        lambda _: "mc1_agent_" + "\ud800" * 5,
        lambda _: "A" * 1_000_000,
    ],
)
async def test_what_is_no_token(tmp_path: Path, spoil: "object") -> None:
    assert callable(spoil)
    async with control_store(tmp_path) as store:
        tokens = _tokens(store, HandClock())
        _, text = await tokens.create(Kind.AGENT, "sfo", who="test")
        assert await tokens.verify(spoil(text.reveal())) is None


async def test_an_expired_token_is_none(tmp_path: Path) -> None:
    clock = HandClock()
    async with control_store(tmp_path) as store:
        tokens = _tokens(store, clock)
        _, text = await tokens.create(Kind.CUSTOMER, "acme", who="test", expires_ns=NOW_NS + 10**9)
        clock.advance(0.999)
        assert await tokens.verify(text.reveal()) is not None
        clock.advance(0.001)
        assert await tokens.verify(text.reveal()) is None


async def test_a_revoked_token_is_none_at_once(tmp_path: Path) -> None:
    async with control_store(tmp_path) as store:
        tokens = _tokens(store, HandClock())
        info, text = await tokens.create(Kind.AGENT, "sfo", who="test")
        assert await tokens.verify(text.reveal()) is not None
        assert (await tokens.revoke(info.id, who="test")).revoked_ns == NOW_NS
        assert await tokens.verify(text.reveal()) is None


async def test_a_token_that_another_process_revokes_is_none_a_second_later(tmp_path: Path) -> None:
    clock = HandClock()
    async with control_store(tmp_path) as store:
        tokens = _tokens(store, clock)
        info, text = await tokens.create(Kind.AGENT, "sfo", who="test")
        assert await tokens.verify(text.reveal()) is not None
        operate(tmp_path, lambda it: revoke(it, info.id, who="cli:root", now_ns=NOW_NS))
        clock.advance(FRESH_S)
        assert await tokens.verify(text.reveal()) is None


async def test_a_token_that_another_process_makes_is_good_a_second_later(tmp_path: Path) -> None:
    clock = HandClock()
    async with control_store(tmp_path) as store:
        tokens = _tokens(store, clock)
        assert await tokens.verify(f"mc1_agent_{'0' * 12}_{'A' * 43}") is None
        _, text = operate(
            tmp_path, lambda it: create(it, Kind.AGENT, "sfo", who="cli:root", now_ns=NOW_NS)
        )
        clock.advance(FRESH_S)
        assert await tokens.verify(text.reveal()) is not None


async def test_a_revocation_while_the_tokens_are_read_again_is_not_lost(tmp_path: Path) -> None:
    clock = HandClock()
    async with control_store(tmp_path) as store:
        tokens = _tokens(store, clock)
        info, text = await tokens.create(Kind.AGENT, "sfo", who="test")
        # The reading is under way, with the token in it, when the revocation is handed over.
        reading = asyncio.create_task(tokens.verify(text.reveal()))
        await asyncio.sleep(0)
        await tokens.revoke(info.id, who="test")
        await reading
        assert await tokens.verify(text.reveal()) is None


async def test_last_use_is_written_every_five_minutes(tmp_path: Path) -> None:
    clock = HandClock()
    async with control_store(tmp_path) as store:
        tokens = _tokens(store, clock)
        _, text = await tokens.create(Kind.AGENT, "sfo", who="test")
        seen = []
        for pause_s in (0, 10, 300):
            clock.advance(pause_s)
            await tokens.verify(text.reveal())
            await tokens.write_uses()
            seen.append((await tokens.listing())[0].last_used_ns)
        assert seen == [NOW_NS, NOW_NS, NOW_NS + 310 * 10**9]


async def test_making_and_revoking_are_audited(tmp_path: Path) -> None:
    clock = HandClock()
    async with control_store(tmp_path) as store:
        tokens = _tokens(store, clock)
        info, _ = await tokens.create(Kind.AGENT, "sfo", who="operator:ann/1")
        await tokens.revoke(info.id, who="operator:bob/2")
        await tokens.revoke(info.id, who="operator:bob/2")
        entries = await Audit(store, clock.wall_ns).entries()
    told = [(entry.who, entry.verb, entry.target) for entry in entries]
    target = f"token/{info.id} agent:sfo"
    assert told == [("operator:bob/2", "revoke", target), ("operator:ann/1", "create", target)]


async def test_the_secret_is_in_no_text_and_in_no_file(tmp_path: Path) -> None:
    async with control_store(tmp_path) as store:
        tokens = _tokens(store, HandClock())
        info, text = await tokens.create(Kind.OPERATOR, "ann", who="test")
        await tokens.verify(text.reveal())
        secret = text.reveal()[-43:]
        shown = f"{info} {text} {text!r} {tokens._known} {vars(tokens)}"
        assert secret not in shown
        assert secret.encode() not in _files(tmp_path)


@pytest.mark.parametrize("name", ["", "Acme", "a b", "a" * 64, "a\n"])
async def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    async with control_store(tmp_path) as store:
        with pytest.raises(TokenRefusedError, match="found the name"):
            await _tokens(store, HandClock()).create(Kind.AGENT, name, who="test")


async def test_what_cannot_be_done(tmp_path: Path) -> None:
    async with control_store(tmp_path) as store:
        tokens = _tokens(store, HandClock())
        with pytest.raises(TokenRefusedError, match="an expiry that is past"):
            await tokens.create(Kind.AGENT, "sfo", who="test", expires_ns=NOW_NS)
        with pytest.raises(TokenRefusedError, match="no token with the id 'nope'"):
            await tokens.revoke("nope", who="test")


async def test_the_audit_trail_cannot_be_changed(tmp_path: Path) -> None:
    async with control_store(tmp_path) as store:
        audit = Audit(store, HandClock().wall_ns)
        number = await audit.record("operator:ann/1", "replace", "customer/acme", "-a\n+b\n")
        for statement in ("UPDATE audit SET who = 'nobody'", "DELETE FROM audit"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                await store.run(partial(_execute, statement))
        [entry] = await audit.entries()
        assert (entry.id, entry.diff) == (number, "-a\n+b\n")
        assert await audit.entries(before=number) == []
