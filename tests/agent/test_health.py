"""The heartbeat tells what is known, and the lag only once."""

from collections import Counter

from agent.air import Air
from agent.health import Health, Lag
from agent.mailbox.cadence import Budget
from agent.mailbox.watch import FolderStatus, MailboxWatch
from agent.spool.store import Depth
from probes.contract.events import decode, encode
from tests.agent.fakes import INBOX, HandClock, assignment, flight


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
    assert box.quota_used == 0.5
    assert decode(encode(beat)) == beat
    assert health.beat().lag_s == 0.0
