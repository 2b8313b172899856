"""Canaries that were on their way when the agent ended: told of by the next one, not sent again."""

import asyncio

import pytest

from agent.spool.flight import FlightState
from agent.spool.store import Cursor
from probes.contract.events import CanaryEvent, Expiry
from probes.contract.outcome import Outcome, tell
from probes.contract.stages import Reason, Result
from tests.agent.fakes import (
    INBOX,
    PATH,
    FakeSmtp,
    HandClock,
    InlineSpool,
    arrival_of,
    canary_id,
    flight,
    submission_of,
)
from tests.agent.senders import Bench, Hanging, settle


@pytest.fixture
def bench(inline_spool: InlineSpool, clock: HandClock) -> Bench:
    """A bench."""
    return Bench(inline_spool, clock)


async def test_flights_of_before_are_awaited_and_none_is_sent_again(bench: Bench) -> None:
    store = bench.spool.store
    sent = bench.clock.now()
    store.begin()
    store.begin_flight(flight(1, sent=sent), "")
    awaited = store.begin_flight(flight(2, sent=sent), "")
    store.end_submission(
        submission_of(awaited),
        sent,
        FlightState.AWAITED,
    )
    store.commit()
    bench.clock.advance(10)
    smtp = FakeSmtp()
    sender = bench.sender(smtp)
    interrupted = sender.take_up(store.flights())
    assert [one.canary for one in interrupted] == [canary_id(1)]
    assert len(bench.air) == 2
    await sender.tell_interrupted(interrupted)
    assert smtp.mails == []
    last = bench.submissions()[-1]
    assert (last.canary, last.result, last.reason) == (
        canary_id(1),
        Result.UNKNOWN,
        Reason.INTERRUPTED,
    )
    intent = bench.intents()[0]
    assert (last.boot_id, last.sent_boot_ns) == (intent.boot_id, intent.sent_boot_ns)
    assert {kept.state for kept in store.flights()} == {FlightState.AWAITED}
    assert bench.counters == {"submissions_unknown": 1}
    assert sender.take_up(store.flights()) == []
    runs = bench.spool.runs
    await sender.tell_interrupted([])
    assert bench.spool.runs == runs


@pytest.mark.parametrize("end", ["arrived", "expired"])
async def test_a_canary_whose_wait_ended_before_its_attempt_is_told_of_by_the_next_start(
    bench: Bench, end: str
) -> None:
    """It was cut off before the relay's reply was on the disk, and there was no trace of it."""
    store = bench.spool.store
    made = store.begin_flight(flight(1, sent=bench.clock.now()), "r1")
    if end == "arrived":
        store.record_check(INBOX, "INBOX", Cursor(7, 2, made.sent), [(1, arrival_of(made))])
    else:
        store.end_wait(
            Expiry(canary=made.canary, path=PATH, at_ns=0, lost=False, watermark_ns=None)
        )
    sender = bench.sender(FakeSmtp())
    interrupted = sender.take_up(store.flights())
    assert len(bench.air) == 0, "nothing more is awaited"
    await sender.tell_interrupted(interrupted)
    [submission] = bench.submissions()
    assert (submission.result, submission.reason) == (Result.UNKNOWN, Reason.INTERRUPTED)
    assert sender.take_up(store.flights()) == []
    told = [event for event in bench.spool.events() if isinstance(event, CanaryEvent)]
    outcome = tell(told).verdict().outcome
    assert outcome is (Outcome.DELIVERED if end == "arrived" else Outcome.UNKNOWN)


async def test_a_canary_cut_off_while_it_is_sent_is_told_of_by_the_next_start(bench: Bench) -> None:
    hanging = Hanging()
    task = asyncio.create_task(bench.sender(hanging.smtp).fly(bench.slot()))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.spool.kinds() == ["Intent"]
    again = bench.sender(FakeSmtp())
    interrupted = again.take_up(bench.spool.store.flights())
    await again.tell_interrupted(interrupted)
    assert bench.spool.kinds() == ["Intent", "Submission"]
