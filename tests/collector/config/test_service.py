"""The configuration in force: all or nothing, told to the log first, kept over restarts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from collector.config.files import signature
from collector.config.service import AGAIN_S
from collector.control.store import ControlStore
from probes.contract.errors import ConfigError
from probes.contract.names import Path as CanaryPath
from tests.collector.config.services import (
    Site,
    customer,
    main_document,
    opened,
    site,
    site_files,
    write_yaml,
)
from tests.collector.control.stores import HandClock

ACME = CanaryPath("sfo", "relay-1", "acme/in")


async def watch_until_changed(found: Site) -> None:
    """Return when the watch has put something else in force."""
    changed = asyncio.Event()
    found.config.on_change = lambda _new: changed.set()
    watching = asyncio.create_task(found.config.watch())
    try:
        async with asyncio.timeout(10):
            await changed.wait()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@asynccontextmanager
async def read_only(store: ControlStore) -> AsyncIterator[None]:
    """Meanwhile SQLite refuses to write the control file, as where its disk may not be written."""
    await store.read(lambda connection: connection.execute("PRAGMA query_only=ON"))
    yield
    await store.read(lambda connection: connection.execute("PRAGMA query_only=OFF"))


async def test_what_the_files_say_comes_into_force_and_into_the_log(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        names = [one.name for one in found.config.in_force.config.customers]
        assert names == ["acme", "globex"]
        assert await found.told() == [found.config.in_force.revision]
        assert found.config.assigned.allows(ACME)
        assert found.config.board.knows("sfo")


async def test_a_reload_without_a_change_tells_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        assert await found.config.reload()
        assert len(await found.told()) == 1


async def test_a_changed_file_comes_into_force(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        before = found.config.in_force
        etags = {agent: (await found.config.board.get(agent)).etag for agent in ("lon", "sfo")}
        write_yaml(found.directory / "acme.yaml", customer("acme", labels={"tier": "gold"}))
        assert await found.config.reload()
        assert found.config.in_force.revision != before.revision
        assert await found.told() == [before.revision, found.config.in_force.revision]
        assert (await found.config.board.get("sfo")).etag != etags["sfo"]
        assert (await found.config.board.get("lon")).etag == etags["lon"]


async def test_a_bad_file_leaves_what_is_in_force_and_is_told_as_check_tells_it(
    tmp_path: Path,
) -> None:
    async with site(tmp_path) as found:
        before = found.config.in_force
        write_yaml(found.directory / "acme.yaml", customer("acme", tiger=1))
        write_yaml(found.directory / "new.yaml", customer("new"))
        assert not await found.config.reload()
        assert found.config.in_force == before
        [problem] = found.config.problems
        assert str(problem).startswith(f"{found.directory}/acme.yaml:")
        assert "tiger" in str(problem)
        assert found.config.reloads_failed == 1
        write_yaml(found.directory / "acme.yaml", customer("acme"))
        assert await found.config.reload()
        assert found.config.problems == []
        assert "new" in found.customers.names()


async def test_a_restart_with_a_bad_file_takes_up_what_was_in_force(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        revision, config = found.config.in_force.revision, found.config.in_force.config
    found.main.write_text("version: [")
    async with opened(found.main, found.state, HandClock()) as again:
        await again.config.start()
        assert again.config.in_force.revision == revision
        assert again.config.in_force.config == config
        assert again.config.problems


async def test_a_first_start_with_a_bad_file_is_an_error_with_all_problems(tmp_path: Path) -> None:
    main = site_files(tmp_path)
    write_yaml(main, main_document(tiger=1, lion=2))
    async with opened(main, tmp_path / "state", HandClock()) as found:
        with pytest.raises(ConfigError) as caught:
            await found.config.start()
        assert len(caught.value.problems) == 2


async def test_what_an_agent_was_given_is_remembered_over_restarts(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        pass
    (found.directory / "acme.yaml").unlink()
    clock = HandClock()
    for days, allowed in ((1, True), (58, True), (62, False)):
        clock.ns = HandClock().ns + days * 86_400_000_000_000
        async with opened(found.main, found.state, clock) as again:
            await again.config.start()
            assert "acme" not in again.customers.names()
            assert again.config.assigned.allows(ACME) is allowed


async def test_a_restart_numbers_its_events_on(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        pass
    async with opened(found.main, found.state, HandClock()) as again:
        await again.config.start()
        entries = await again.log.read(0, 10)
        assert [(entry.source, entry.seq) for entry in entries] == [
            ("collector", 1),
            ("collector", 2),
        ]


async def test_the_watch_sees_a_new_file_by_itself(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        watching = asyncio.create_task(found.config.watch())
        try:
            etag = (await found.config.board.get("sfo")).etag
            waiting = asyncio.create_task(found.config.board.wait("sfo", etag, 30.0))
            # Written only when the watch has had its first look.
            while not watching.done() and found.config.reloads == 0:
                write_yaml(found.directory / "new.yaml", customer("new"))
                await asyncio.sleep(0.05)
            posted = await waiting
            assert posted is not None
            assert b'"new"' in posted.body
        finally:
            watching.cancel()


async def test_the_watch_sees_what_changed_before_it_began(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        write_yaml(found.directory / "late.yaml", customer("late"))
        await watch_until_changed(found)
        assert "late" in found.customers.names()


async def test_a_change_that_a_fault_kept_out_is_read_by_the_next_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path) as found:
        read_files = found.config.read_files

        async def fault() -> None:
            monkeypatch.setattr(found.config, "read_files", read_files)
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(found.config, "read_files", fault)
        write_yaml(found.directory / "late.yaml", customer("late"))
        async with asyncio.timeout(10):
            with pytest.raises(RuntimeError):
                await found.config.watch()
        await watch_until_changed(found)
        assert "late" in found.customers.names()


async def test_a_control_file_that_takes_nothing_does_not_fill_the_log(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        before = found.config.in_force.revision
        write_yaml(found.directory / "acme.yaml", customer("acme", labels={"tier": "gold"}))
        async with read_only(found.store):
            for _ in range(3):
                assert not await found.config.reload()
            assert len(await found.told()) == 2
        assert await found.config.reload()
        assert await found.told() == [before, found.config.in_force.revision]


async def test_the_logs_last_word_is_of_what_is_in_force(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        before = found.config.in_force.revision
        file = found.directory / "acme.yaml"
        was = file.read_text()
        async with read_only(found.store):
            write_yaml(file, customer("acme", labels={"tier": "gold"}))
            assert not await found.config.reload()
            assert (await found.told())[-1] != before
            file.write_text(was)
            assert await found.config.reload()
        assert found.config.trouble is None
        assert (await found.told())[-1] == before
        assert await found.config.reload()
        assert len(await found.told()) == 3


async def test_the_log_is_told_again_of_what_is_long_in_force(tmp_path: Path) -> None:
    async with site(tmp_path) as found:
        watching = asyncio.create_task(found.config.watch())
        try:
            found.clock.advance(AGAIN_S)
            await found.log.wait_past(1)
        finally:
            watching.cancel()
        assert set(await found.told()) == {found.config.in_force.revision}


def test_the_signature_moves_with_every_change(tmp_path: Path) -> None:
    main = site_files(tmp_path)
    seen = {signature(main)}
    write_yaml(main.parent / "customers.d" / "third.yaml", customer("third"))
    seen.add(signature(main))
    (main.parent / "customers.d" / "third.yaml").rename(main.parent / "customers.d" / "3.yaml")
    seen.add(signature(main))
    (main.parent / "customers.d" / "3.yaml").unlink()
    main.unlink()
    seen.add(signature(main))
    assert len(seen) == 4
