"""The heartbeat tells what is known, and the lag only once."""

from collections import Counter
from typing import Any

from agent.air import Air
from agent.health import Health, Lag, Table
from agent.mailbox.cadence import Budget
from agent.mailbox.watch import FolderStatus, MailboxWatch
from agent.spool.store import Depth
from probes.contract.events import MailboxHealth, decode, encode
from tests.agent.fakes import INBOX, HandClock, S, assignment, flight


def test_the_lag_is_the_worst_since_it_was_told() -> None:
    lag = Lag()
    for seconds in (0.1, 0.7, 0.2):
        lag.note(seconds)
    assert (lag.take(), lag.take()) == (0.7, 0.0)


def test_a_heartbeat_gathers_everything(clock: HandClock) -> None:
    air = Air()
    started = clock.now()
    watch = MailboxWatch(INBOX, assignment().mailboxes[INBOX], air.mailbox(INBOX), Budget(600))
    watch.folders = {
        "INBOX": FolderStatus("ok", None, clock.now(), backlog=3, quota_used=0.5),
        "Junk": FolderStatus("down", "connect: timeout", clock.now(), backlog=1),
    }
    air.expect(flight(1, sent=clock.now()), clock.now(), dot=None)
    clock.advance(60)
    health = Health(
        agent="sfo", version="1.2", labels={"site": "sfo"}, epoch="e1", clock=clock, air=air,
        watches={INBOX: watch}, counters=Counter(b=1, a=2), started=started,
        depth=Depth(rows=5, bytes=4096, last_seq=12, shipped=7, dropped=2),
    )  # fmt: skip
    health.lag.note(0.25)
    health.spool_problem = "disk full"
    beat = health.beat()
    assert health.last is beat
    assert (beat.agent, beat.version, beat.labels) == ("sfo", "1.2", {"site": "sfo"})
    assert (beat.at_ns, beat.started_ns) == (clock.now().wall_ns, started.wall_ns)
    assert (beat.in_flight, beat.lag_s) == (1, 0.25)
    assert (beat.spool.depth, beat.spool.last_seq, beat.spool.dropped) == (5, 12, 2)
    assert (beat.spool.epoch, beat.spool.problem) == ("e1", "disk full")
    assert list(beat.counters.items()) == [("a", 2), ("b", 1)]
    box = beat.mailboxes[INBOX]
    assert (box.state, box.detail) == ("down", "Junk: connect: timeout")
    assert (box.watermark_ns, box.in_flight, box.backlog) == (started.wall_ns, 1, 4)
    assert (beat.at_boot_ns, box.watermark_boot_ns) == (clock.now().boot_ns, started.boot_ns)
    assert box.quota_used == 0.5
    assert decode(encode(beat)) == beat
    assert health.beat().lag_s == 0.0


def boxes(count: int, **fields: Any) -> dict[str, MailboxHealth]:
    """So many mailboxes, each in that state."""
    health = MailboxHealth(**{"state": "ok", "watermark_ns": 1, **fields})
    return {f"acme/m{number}": health for number in range(count)}


def test_a_small_site_is_told_whole_in_every_heartbeat() -> None:
    table, whole = Table(), boxes(50)
    for beat in range(3):
        picked = table.pick(whole, beat * 10 * S)
        assert picked == whole
        table.written(picked, len(whole), beat * 10 * S)


def test_a_large_site_is_told_whole_at_the_start_and_every_five_minutes() -> None:
    table, whole = Table(), boxes(51)
    told = []
    for beat in range(61):
        picked = table.pick(whole, beat * 10 * S)
        table.written(picked, len(whole), beat * 10 * S)
        told.append(len(picked))
    assert [beat for beat, count in enumerate(told) if count] == [0, 30, 60]
    assert set(told) == {0, 51}


def test_in_between_what_changed_and_where_canaries_are_awaited_is_told() -> None:
    table, whole = Table(), boxes(60)
    table.written(table.pick(whole, 0), 60, 0)
    whole["acme/m1"] = boxes(1, state="down", detail="INBOX: no")["acme/m0"]
    whole["acme/m2"] = boxes(1, in_flight=2)["acme/m0"]
    whole["acme/m3"] = boxes(1, watermark_ns=2)["acme/m0"]
    picked = table.pick(whole, 10 * S)
    assert set(picked) == {"acme/m1", "acme/m2"}
    # Until it is durable, it is not told.
    assert table.pick(whole, 20 * S) == picked
    table.written(picked, 60, 20 * S)
    assert set(table.pick(whole, 30 * S)) == {"acme/m2"}
    # That its last canary came home is told once.
    whole["acme/m2"] = whole["acme/m0"]
    picked = table.pick(whole, 40 * S)
    assert set(picked) == {"acme/m2"}
    table.written(picked, 60, 40 * S)
    assert table.pick(whole, 50 * S) == {}


def test_what_is_written_is_brief_and_prometheus_has_it_all(clock: HandClock) -> None:
    air, config = Air(), assignment().mailboxes[INBOX]
    watches = {
        f"acme/m{number}": MailboxWatch(f"acme/m{number}", config, air.mailbox(INBOX), Budget(600))
        for number in range(60)
    }
    health = Health(
        agent="sfo", version="1.2", labels={}, epoch="e1", clock=clock, air=air,
        watches=watches, counters=Counter(), started=clock.now(),
    )  # fmt: skip
    told = []
    for _ in range(3):
        brief = health.brief(health.beat())
        health.written(brief)
        told.append(len(brief.mailboxes))
        assert health.last is not None
        assert len(health.last.mailboxes) == 60
        clock.advance(10)
    assert told == [60, 0, 0]


def test_a_mailbox_that_is_watched_again_is_news() -> None:
    table, whole = Table(), boxes(60)
    table.written(table.pick(whole, 0), 60, 0)
    left = whole.pop("acme/m1")
    assert table.pick(whole, 10 * S) == {}
    whole["acme/m1"] = left
    assert set(table.pick(whole, 20 * S)) == {"acme/m1"}


def test_who_asks_often_has_the_mailboxes_of_the_last_beat_and_the_rest_of_now(
    clock: HandClock,
) -> None:
    air, config = Air(), assignment().mailboxes[INBOX]
    watches = {INBOX: MailboxWatch(INBOX, config, air.mailbox(INBOX), Budget(600))}
    health = Health(
        agent="sfo", version="1.2", labels={}, epoch="e1", clock=clock, air=air,
        watches=watches, counters=Counter(), started=clock.now(),
    )  # fmt: skip
    assert set(health.recent().mailboxes) == {INBOX}
    beat = health.beat()
    watches.clear()
    now = clock.advance(3)
    air.expect(flight(1, sent=now), now, dot=now)
    health.depth, health.labels = Depth(5, 6, 7, 8, 9, 10), {"site": "ber"}
    recent = health.recent()
    assert (recent.at_ns, recent.in_flight, recent.labels) == (now.wall_ns, 1, {"site": "ber"})
    assert (recent.mailboxes, recent.spool.last_seq) == (beat.mailboxes, 7)
