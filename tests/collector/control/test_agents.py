"""The registry: what beats and heartbeats tell, who is down, and what outlives a restart."""

from pathlib import Path

from collector.control.agents import AgentRegistry
from collector.control.standing import Standing
from collector.control.store import ControlStore, operate
from probes.contract.events import Heartbeat, MailboxHealth, SpoolHealth
from tests.collector.control.beats import beat
from tests.collector.control.stores import NOW_NS, HandClock, control_store

SPOOL = SpoolHealth(epoch="e1", last_seq=9, depth=2, bytes=4096, dropped=0)


def heartbeat(at_ns: int, mailboxes: dict[str, MailboxHealth], lag_s: float = 0.0) -> Heartbeat:
    """A heartbeat of agent ``sfo``."""
    return Heartbeat(
        agent="sfo",
        at_ns=at_ns,
        version="0.1.0",
        boot_id="b1",
        started_ns=NOW_NS,
        in_flight=0,
        lag_s=lag_s,
        spool=SPOOL,
        mailboxes=mailboxes,
        counters={},
    )


def _registry(store: ControlStore, clock: HandClock) -> AgentRegistry:
    return AgentRegistry(store, 10.0, clock.wall_ns)


async def test_an_agent_beats_and_falls_silent(tmp_path: Path) -> None:
    clock = HandClock()
    async with control_store(tmp_path) as store:
        agents = _registry(store, clock)
        agents.assign(["sfo", "fra"])
        agents.beat("sfo", beat(labels={"site": "sfo"}, clock_offset_s=1.5, round_trip_s=0.1))
        shown = {view.name: view.standing for view in agents.all()}
        assert shown == {"fra": Standing.NEVER_SEEN, "sfo": Standing.UP}
        view = agents.one("sfo")
        assert view is not None
        assert view.report is not None
        assert (view.seen_ns, view.report.lag_events) == (NOW_NS, 2)
        assert (view.report.clock_offset_s, view.report.labels) == (1.5, {"site": "sfo"})
        assert agents.changes() == []
        clock.advance(30.1)
        assert agents.changes() == [("sfo", Standing.UP, Standing.DOWN)]
        assert agents.changes() == []
        agents.beat("sfo", beat())
        assert agents.changes() == [("sfo", Standing.DOWN, Standing.UP)]


async def test_an_agent_that_nobody_knows(tmp_path: Path) -> None:
    async with control_store(tmp_path) as store:
        assert _registry(store, HandClock()).one("sfo") is None


async def test_events_that_come_in_are_a_sign_of_life_and_what_they_tell_is_not(
    tmp_path: Path,
) -> None:
    clock = HandClock()
    async with control_store(tmp_path) as store:
        agents = _registry(store, clock)
        agents.beat("sfo", beat())
        clock.advance(40)
        agents.heartbeat(heartbeat(NOW_NS, {}))
        assert agents.all()[0].standing is Standing.DOWN
        agents.heard("sfo")
        assert agents.all()[0].standing is Standing.UP


async def test_a_late_heartbeat_gives_watermarks_and_takes_back_nothing(tmp_path: Path) -> None:
    async with control_store(tmp_path) as store:
        agents = _registry(store, HandClock())
        now = MailboxHealth(state="failed", watermark_ns=None, detail="AUTHENTICATIONFAILED")
        agents.beat("sfo", beat(mailboxes={"acme/inbox": now}))
        then = MailboxHealth(state="ok", watermark_ns=NOW_NS - 10)
        agents.heartbeat(heartbeat(NOW_NS - 5, {"acme/inbox": then}, lag_s=0.5))
        agents.heartbeat(heartbeat(NOW_NS - 99, {"acme/inbox": now}, lag_s=9.0))
        report = agents.all()[0].report
        assert report is not None
        box = report.mailboxes["acme/inbox"]
        assert (box.state, box.watermark_ns, report.schedule_lag_s) == ("failed", NOW_NS - 10, 0.5)


async def test_a_mailbox_that_the_agent_has_left_is_forgotten_and_marks_stay(
    tmp_path: Path,
) -> None:
    async with control_store(tmp_path) as store:
        agents = _registry(store, HandClock())
        ok = MailboxHealth(state="ok", watermark_ns=None)
        agents.beat("sfo", beat(mailboxes={"acme/inbox": ok, "acme/old": ok}))
        marked = MailboxHealth(state="ok", watermark_ns=NOW_NS - 10)
        agents.heartbeat(heartbeat(NOW_NS - 5, {"acme/inbox": marked}))
        agents.beat("sfo", beat(mailboxes={"acme/inbox": ok}))
        report = agents.all()[0].report
        assert report is not None
        assert report.mailboxes == {"acme/inbox": marked}


async def test_the_fleet_outlives_a_restart_and_has_three_beats_of_grace(tmp_path: Path) -> None:
    clock = HandClock()
    async with control_store(tmp_path) as store:
        before = _registry(store, clock)
        before.beat("old", beat())
        clock.advance(100)
        before.beat("sfo", beat(labels={"site": "sfo"}))
        await before.flush()
    clock.advance(3600)
    async with control_store(tmp_path) as store:
        after = _registry(store, clock)
        await after.load()
        assert [(view.name, view.standing) for view in after.all()] == [
            ("old", Standing.DOWN),
            ("sfo", Standing.UP),
        ]
        clock.advance(30.1)
        assert after.one("sfo") == before.one("sfo")
        assert after.all()[1].standing is Standing.DOWN


async def test_what_cannot_be_read_costs_that_agent_only(tmp_path: Path) -> None:
    async with control_store(tmp_path) as store:
        agents = _registry(store, HandClock())
        agents.beat("sfo", beat())
        agents.beat("fra", beat())
        await agents.flush()
    operate(tmp_path, lambda it: it.execute("UPDATE agents SET body = '{' WHERE name = 'fra'"))
    async with control_store(tmp_path) as store:
        agents = _registry(store, HandClock())
        await agents.load()
        assert [view.name for view in agents.all()] == ["sfo"]


async def test_only_what_changed_is_written(tmp_path: Path) -> None:
    async with control_store(tmp_path) as store:
        agents = _registry(store, HandClock())
        agents.beat("sfo", beat())
        await agents.flush()
        await store.run(lambda it: it.execute("DELETE FROM agents"))
        await agents.flush()
        assert await store.read(lambda it: it.execute("SELECT * FROM agents").fetchall()) == []
