"""A mailbox's watermark and state: those of the folder that is furthest behind."""

import re
from pathlib import Path

import pytest

from agent.clock import NEVER
from agent.mailbox.watch import FolderStatus, Told
from probes.contract.events import Heartbeat, decode
from tests.agent.fakes import HandClock, InlineSpool
from tests.agent.mailbox.benches import Bench


@pytest.fixture
def bench(inline_spool: InlineSpool, clock: HandClock) -> Bench:
    """A mailbox."""
    return Bench(inline_spool, clock)


def test_without_folders_nothing_is_told(bench: Bench) -> None:
    assert bench.watch.watermark(bench.clock.now().boot_id) is None


def test_the_watermark_is_the_folder_furthest_behind(bench: Bench, clock: HandClock) -> None:
    first = clock.now()
    second = clock.advance(5)
    bench.watch.folders = {
        "INBOX": FolderStatus(checked=second),
        "Junk": FolderStatus(checked=first),
    }
    assert bench.watch.watermark(first.boot_id) == first
    bench.watch.folders["Junk"].checked = clock.advance(1)
    assert bench.watch.watermark(first.boot_id) == second


def test_a_folder_that_was_never_checked_in_this_boot_hides_the_watermark(
    bench: Bench, clock: HandClock
) -> None:
    before = clock.now()
    clock.reboot()
    now = clock.now()
    for other in (None, NEVER, before):
        bench.watch.folders = {
            "INBOX": FolderStatus(checked=now),
            "Junk": FolderStatus(checked=other),
        }
        assert bench.watch.watermark(now.boot_id) is None
        assert bench.watch.health(now.boot_id).watermark_ns is None


def test_the_wall_clock_may_be_set_and_the_order_of_checks_stays(
    bench: Bench, clock: HandClock
) -> None:
    first = clock.now()
    clock.step(-3600)
    second = clock.advance(5)
    bench.watch.folders = {
        "INBOX": FolderStatus(checked=first),
        "Junk": FolderStatus(checked=second),
    }
    assert bench.watch.watermark(first.boot_id) == first


def test_health_is_that_of_the_worst_folder(bench: Bench, clock: HandClock) -> None:
    now = clock.now()
    bench.watch.folders = {
        "INBOX": FolderStatus("ok", None, now, backlog=2, quota_used=0.25),
        "Junk": FolderStatus("ok", None, now, backlog=1, quota_used=0.75),
    }
    bench.fly(1)
    health = bench.watch.health(now.boot_id)
    assert (health.state, health.detail) == ("ok", None)
    assert (health.in_flight, health.backlog, health.quota_used) == (1, 3, 0.75)
    assert health.watermark_ns == now.wall_ns
    bench.watch.folders["INBOX"].state = "down"
    bench.watch.folders["INBOX"].detail = "auth: credentials: no"
    health = bench.watch.health(now.boot_id)
    assert (health.state, health.detail) == ("down", "INBOX: auth: credentials: no")


def test_a_folder_that_has_not_started_is_not_ok(bench: Bench) -> None:
    bench.watch.folders = {"INBOX": FolderStatus()}
    health = bench.watch.health("boot-1")
    assert (health.state, health.detail, health.quota_used) == ("starting", None, None)


def test_how_long_a_mailbox_goes_unread_is_told_by_its_inbox_alone(
    bench: Bench, clock: HandClock
) -> None:
    bench.watch.began = clock.now()
    bench.watch.folders = {"INBOX": FolderStatus(), "Junk": FolderStatus("down")}
    assert bench.watch.unread_s(clock.advance(30)) == 30.0
    bench.watch.folders["INBOX"].checked = clock.now()
    assert bench.watch.unread_s(clock.advance(7)) == 7.0
    # What was checked in another boot, or by the run before, does not count against this one.
    clock.reboot()
    bench.watch.began = clock.now()
    assert bench.watch.unread_s(clock.advance(3)) == 3.0


def test_only_the_last_canaries_are_remembered_as_told_of() -> None:
    told = Told(copies=2, canaries=2)
    places = [("acme/inbox", "INBOX", 7, uid) for uid in range(4)]
    assert [told.tell("a", place) for place in places] == [True, True, False, False]
    assert told.tell("a", places[1])
    assert told.tell("b", places[0])
    assert told.tell("c", places[0])
    assert len(told) == 2
    assert told.tell("a", places[3])


def test_the_states_of_a_folder_are_those_described() -> None:
    """And the example of a heartbeat has one of them."""
    root = Path(__file__).parents[3]
    page = (root / "docs" / "events.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if "the state of its worst folder" in line)
    described = set(re.findall(r"`([a-z]+)`", row)) - {"state"}
    written = {FolderStatus().state}
    for file in (root / "agent").glob("*.py"):
        written |= set(re.findall(r'status\.state, status\.detail = "(\w+)"', file.read_text()))
    for file in (root / "agent" / "mailbox").glob("*.py"):
        written |= set(re.findall(r'_say\("(\w+)"', file.read_text()))
    assert written == described
    golden = root / "tests" / "probes" / "contract" / "golden" / "heartbeat.json"
    beat = decode(golden.read_bytes())
    assert isinstance(beat, Heartbeat)
    assert {health.state for health in beat.mailboxes.values()} <= described
