"""What holds canaries back, and what must not: one sick part never silences the others."""

import asyncio
from collections import Counter

import pytest

from agent.caps import Caps, Home, Load, for_relays, held_back
from probes.contract.names import Path
from probes.contract.stages import Reason, Result
from tests.agent.fakes import INBOX, PATH, FakeSmtp, HandClock, InlineSpool
from tests.agent.senders import Bench, Hanging, settle

OTHER_RELAY = Path("sfo", "relay-a2", INBOX)
OTHER_MAILBOX = Path("sfo", "relay-a1", "monitor/bounces")


@pytest.fixture
def bench(inline_spool: InlineSpool, clock: HandClock) -> Bench:
    """A bench."""
    return Bench(inline_spool, clock)


async def test_a_relay_that_hangs_holds_back_only_its_own(bench: Bench) -> None:
    hanging = Hanging()
    sender = bench.sender(hanging.smtp, Caps(per_relay=2))
    flying = [asyncio.create_task(sender.fly(bench.slot())) for _ in range(3)]
    flying += [asyncio.create_task(sender.fly(bench.slot(OTHER_RELAY))) for _ in range(2)]
    await settle()
    assert sender.sending == 4
    [held] = bench.submissions()
    assert (held.result, held.reason) == (Result.UNSENT, Reason.RELAY_CAP)
    assert held.detail == "2 canaries are on their way to relay-a1"
    hanging.let.set()
    await asyncio.gather(*flying)
    assert sender.sending == 0
    assert bench.counters == {"submissions_accepted": 4, "submissions_unsent": 1}
    await sender.fly(bench.slot())
    assert bench.counters["submissions_accepted"] == 5


async def test_all_that_is_under_way_is_bounded(bench: Bench) -> None:
    hanging = Hanging()
    sender = bench.sender(hanging.smtp, Caps(sending=1))
    flying = [asyncio.create_task(sender.fly(bench.slot(p))) for p in (PATH, OTHER_RELAY)]
    await settle()
    [held] = bench.submissions()
    assert (held.path, held.reason) == (OTHER_RELAY, Reason.AGENT_CAP)
    hanging.let.set()
    await asyncio.gather(*flying)


async def test_all_that_is_in_the_air_is_bounded(bench: Bench) -> None:
    sender = bench.sender(FakeSmtp(), Caps(in_air=1))
    await sender.fly(bench.slot())
    await sender.fly(bench.slot())
    assert [one.reason for one in bench.submissions()] == [None, Reason.AGENT_CAP]
    assert bench.submissions()[1].detail == "1 canaries are in the air"


async def test_a_mailbox_that_is_full_of_canaries_holds_back_only_its_own(bench: Bench) -> None:
    sender = bench.sender(FakeSmtp(), Caps(per_mailbox=1))
    for path in (PATH, OTHER_RELAY, OTHER_MAILBOX):
        await sender.fly(bench.slot(path))
    held = bench.submissions()[1]
    assert (held.result, held.reason) == (Result.UNSENT, Reason.MAILBOX_CAP)
    assert held.detail == "1 canaries are awaited in the mailbox"
    assert bench.counters == {"submissions_accepted": 2, "submissions_unsent": 1}


async def test_nothing_is_sent_to_a_mailbox_that_nobody_reads(
    bench: Bench, clock: HandClock
) -> None:
    sender = bench.sender(FakeSmtp())
    clock.advance(600)
    await sender.fly(bench.slot())
    clock.advance(1)
    await sender.fly(bench.slot())
    await sender.fly(bench.slot(OTHER_MAILBOX))
    bench.watch.folders["INBOX"].checked = clock.now()
    await sender.fly(bench.slot())
    reasons = [one.reason for one in bench.submissions()]
    assert reasons == [None, Reason.MAILBOX_CAP, None, None]
    assert bench.submissions()[1].detail == "the mailbox has not been read for 601 s"


@pytest.mark.parametrize(
    ("load", "home", "reason"),
    [
        (Load(), Home(), None),
        (Load(2, Counter(a=2)), Home(), Reason.RELAY_CAP),
        (Load(3, Counter(a=1)), Home(), None),
        (Load(4, Counter(b=2)), Home(), None),
        (Load(4, Counter(a=1)), Home(), Reason.AGENT_CAP),
        (Load(8, Counter(b=2)), Home(), Reason.AGENT_CAP),
        (Load(), Home(in_air=8, in_mailbox=4, unread_s=60.0), None),
        (Load(), Home(in_air=9), Reason.AGENT_CAP),
        (Load(), Home(in_air=5, in_mailbox=5), Reason.MAILBOX_CAP),
        (Load(), Home(unread_s=60.5), Reason.MAILBOX_CAP),
        # What is nearest to the cause is named.
        (Load(8, Counter(a=2)), Home(9, 9, 99.0), Reason.RELAY_CAP),
        (Load(8), Home(9, 9, 99.0), Reason.MAILBOX_CAP),
    ],
)
def test_which_cap_holds_back(load: Load, home: Home, reason: Reason | None) -> None:
    caps = Caps(per_relay=2, few=1, sending=8, per_mailbox=5, in_air=9, unread_s=60.0)
    held = held_back(caps, load, home, "a")
    assert (held and held[0]) == reason


def hang(relays: int, caps: Caps) -> Load:
    """All of so many relays hang: what is on its way when each was tried 30 times."""
    load = Load()
    for _ in range(30):
        for number in range(relays):
            relay = f"hung{number}"
            if held_back(caps, load, Home(), relay) is None:
                load.sending += 1
                load.per_relay[relay] += 1
    return load


@pytest.mark.parametrize("relays", [1, 2, 25, 83, 84, 125, 166, 167, 250, 251, 1_000, 3_000])
def test_relays_that_hang_leave_room_for_the_healthy_however_many_they_are(relays: int) -> None:
    caps = for_relays(relays)
    load = hang(relays - 1, caps)
    assert max(load.per_relay.values(), default=0) <= caps.per_relay
    for _ in range(caps.few):
        assert held_back(caps, load, Home(), "healthy") is None
        load.sending += 1
        load.per_relay["healthy"] += 1


def test_the_caps_follow_from_the_relays_unless_they_are_given() -> None:
    sizes = {relays: for_relays(relays) for relays in (0, 1, 83, 84, 125, 1_000)}
    assert {n: (caps.sending, caps.few) for n, caps in sizes.items()} == {
        0: (500, 3), 1: (500, 3), 83: (500, 3), 84: (500, 2), 125: (500, 2), 1_000: (4_000, 2),
    }  # fmt: skip
    mine = for_relays(1_000, Caps(per_relay=7, in_air=9), sending=100)
    assert (mine.per_relay, mine.in_air, mine.sending, mine.few) == (7, 9, 100, 1)
