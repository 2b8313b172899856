"""A whole agent against mail that gets lost, doubled or returned, and mailboxes that fail."""

from pathlib import Path
from typing import Any

from lab.estate import Estate
from lab.faults import Bounce, Duplicate, Hold, ImapDown, ImapHung, Junk, Lose, Refuse
from probes.contract import events as ev
from probes.contract.events import Arrival, Expiry, Intent, Submission
from probes.contract.message import message_id
from probes.contract.outcome import Outcome
from probes.contract.stages import Result
from tests.agent.labs import Seen, flying, quick_relay

A1, BOX = "relay-a1", "acme/inbox"


def estate() -> Estate:
    """A relay and a mailbox."""
    return Estate([quick_relay(A1)], [BOX])


async def test_a_second_copy_is_a_duplicate(tmp_path: Path) -> None:
    seen = Seen()
    async with estate() as lab:
        await lab.order(Duplicate())
        async with flying(lab, tmp_path, seen, interval="300ms"):
            await seen.until(lambda: len(seen.of(Arrival)) >= 6)
    first = seen.verdicts()[seen.of(Intent)[0].canary]
    assert (first.outcome, first.duplicates) == (Outcome.DELIVERED, 1)
    places = [(event.folder, event.uidvalidity, event.uid) for event in seen.of(Arrival)]
    assert len(places) == len(set(places))


async def test_junk_is_found_and_said(tmp_path: Path) -> None:
    seen = Seen()
    async with estate() as lab:
        await lab.order(Junk())
        async with flying(lab, tmp_path, seen, interval="300ms"):
            await seen.until(lambda: seen.count(Outcome.DELIVERED) >= 3)
    assert {(event.folder, event.junk) for event in seen.of(Arrival)} == {("Junk", True)}


async def test_a_returned_canary_is_bounced_with_its_status(tmp_path: Path) -> None:
    seen = Seen()
    async with estate() as lab:
        await lab.order(Bounce())
        async with flying(lab, tmp_path, seen, interval="400ms"):
            await seen.until(lambda: seen.count(Outcome.BOUNCED) >= 2)
    bounce = seen.of(ev.Bounce)[0]
    assert (bounce.action, bounce.status) == ("failed", "5.1.1")
    assert "User unknown" in (bounce.diagnostic or "")
    assert bounce.path.mailbox == BOX
    assert seen.of(Arrival) == []


async def test_a_canary_that_is_accepted_and_lost_is_lost_only_after_a_complete_check(
    tmp_path: Path,
) -> None:
    seen = Seen()
    async with estate() as lab:
        await lab.order(Lose())
        async with flying(lab, tmp_path, seen, interval="500ms", deadline="500ms", loss_after="1s"):
            await seen.until(lambda: seen.count(Outcome.LOST) >= 2)
    sent = {one.canary: one.sent_ns for one in seen.of(Submission)}
    for expiry in seen.of(Expiry):
        assert expiry.lost
        assert expiry.watermark_ns is not None
        assert (expiry.watermark_ns - sent[expiry.canary]) / 1e9 >= 1.0
        assert expiry.at_ns >= expiry.watermark_ns


async def test_a_lost_canary_that_turns_up_is_late(tmp_path: Path) -> None:
    seen = Seen()
    async with estate() as lab:
        held = await lab.order(Hold())
        async with flying(lab, tmp_path, seen, interval="1s", deadline="500ms", loss_after="1s"):
            await seen.until(lambda: seen.count(Outcome.LOST) >= 1)
            lost = next(c for c, v in seen.verdicts().items() if v.outcome is Outcome.LOST)
            await held.clear()
            await seen.until(lambda: seen.verdicts()[lost].outcome is Outcome.LATE)
    [arrival] = [event for event in seen.of(Arrival) if event.canary == lost]
    assert arrival.clock == "boottime"
    assert arrival.delay.hi > 1.0


def slower_than(lab: Estate, seen: Seen, seconds: float) -> set[str]:
    """The canaries that truly took longer, or nearly, as on a machine that is too busy."""
    came = {delivery.message_id: delivery.delivered_ns for delivery in lab.truth.deliveries}
    domain = lab.mailboxes["monitor/lab-bounces"].address.rpartition("@")[2]
    return {
        one.canary
        for one in seen.of(Submission)
        if came.get(message_id(one.canary, domain), 0) - one.sent_ns > (seconds - 0.1) * 1e9
    }


async def outage(tmp_path: Path, fault: ImapDown | ImapHung) -> Seen:
    """Canaries fly while the mailbox cannot be read for twice their deadline."""
    seen = Seen()
    async with estate() as lab:
        words: dict[str, Any] = {"interval": "200ms", "deadline": "1s", "loss_after": "1500ms"}
        async with flying(lab, tmp_path, seen, **words):
            await seen.until(lambda: seen.count(Outcome.DELIVERED) >= 3)
            broken = await lab.order(fault, mailboxes=[BOX])
            delivered = len(lab.truth.deliveries)
            # Ten canaries are in the mailbox before anybody can see one.
            await lab.until(lambda: len(lab.truth.deliveries) >= delivered + 10)
            await broken.clear()
            mine = [one.canary for one in seen.of(Submission) if one.result is Result.ACCEPTED]
            await seen.until(lambda: seen.settled(mine))
        assert len(lab.truth.deliveries) >= len(mine)
    # No arrival is missed, none is told late that was in time, and none is told lost.
    verdicts = seen.verdicts()
    slow = slower_than(lab, seen, 1.0)
    told = {canary: verdicts[canary].outcome for canary in mine if canary not in slow}
    assert set(told.values()) == {Outcome.DELIVERED}
    assert {expiry.canary for expiry in seen.of(Expiry)} <= slow
    places = [(event.folder, event.uidvalidity, event.uid) for event in seen.of(Arrival)]
    assert len(places) == len(set(places))
    return seen


async def test_a_mailbox_that_is_down_costs_no_arrival_and_makes_nothing_late(
    tmp_path: Path,
) -> None:
    await outage(tmp_path, ImapDown())


async def test_a_mailbox_that_hangs_costs_no_arrival_and_makes_nothing_late(tmp_path: Path) -> None:
    await outage(tmp_path, ImapHung())


async def test_a_mailbox_that_is_down_at_the_first_start_costs_no_arrival(tmp_path: Path) -> None:
    seen = Seen()
    async with estate() as lab:
        broken = await lab.order(ImapDown(), mailboxes=[BOX])
        async with flying(lab, tmp_path, seen, interval="200ms", deadline="10s"):
            await lab.until(lambda: len(lab.truth.deliveries) >= 3)
            await broken.clear()
            first = seen.of(Submission)[0].canary
            await seen.until(lambda: seen.settled([first]))
    assert seen.outcomes()[0] is Outcome.DELIVERED


async def test_what_is_home_is_taken_out_of_the_mailbox(tmp_path: Path) -> None:
    seen = Seen()
    async with estate() as lab, flying(lab, tmp_path, seen, interval="300ms") as agent:
        await seen.until(lambda: seen.count(Outcome.DELIVERED) >= 3)
        assert agent.garbage > 0
        # With nothing in the air there is time for it.
        await lab.order(Refuse())
        await seen.until(lambda: agent.garbage == 0)


async def test_a_restart_awaits_what_is_in_the_air_and_sends_nothing_again(tmp_path: Path) -> None:
    seen, again = Seen(), Seen()
    async with estate() as lab:
        held = await lab.order(Hold())
        words: dict[str, Any] = {"interval": "300ms", "deadline": "10s"}
        async with flying(lab, tmp_path, seen, **words):
            await seen.until(lambda: len(seen.of(Submission)) >= 4)
        first = {one.canary for one in seen.of(Intent)}
        assert {one.canary for one in seen.of(Submission)} == first
        async with flying(lab, tmp_path, again, **words):
            await held.clear()
            await again.until(lambda: first <= {event.canary for event in again.of(Arrival)})
        sent = [entry.message_id for entry in lab.truth.acceptances if entry.sender]
        assert len(sent) == len(set(sent))
    mine = [event for event in again.of(Arrival) if event.canary in first]
    assert {event.clock for event in mine} == {"boottime"}
    numbers = [one.path_seq for one in (*seen.of(Intent), *again.of(Intent))]
    assert numbers == list(range(1, len(numbers) + 1))
