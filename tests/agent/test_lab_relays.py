"""A whole agent against relays that misbehave, on real sockets."""

from pathlib import Path

from lab.estate import Estate
from lab.faults import (
    Drop,
    Greylist,
    InboundFiltered,
    OutboundFiltered,
    PortClosed,
    Refuse,
    Side,
    Tarpit,
    WrongEgress,
)
from probes.contract.events import Arrival, Intent, Submission
from probes.contract.message import message_id
from probes.contract.outcome import Outcome, Timing
from probes.contract.stages import Reason, Result, Stage
from tests.agent.labs import PATIENCE_S, Seen, flying, quick_relay

A1, A2, BOX = "relay-a1", "relay-a2", "acme/inbox"
TIMEOUTS = {"connect": "300ms", "banner": "2s", "command": "2s", "accept": "2s"}


def estate() -> Estate:
    """Two relays and a mailbox."""
    return Estate([quick_relay(A1), quick_relay(A2)], [BOX])


async def test_healthy_canaries_come_home_with_true_delays(tmp_path: Path) -> None:
    seen = Seen()
    async with estate() as lab:
        async with flying(lab, tmp_path, seen, interval="200ms"):
            await seen.until(lambda: min(seen.count(Outcome.DELIVERED, r) for r in (A1, A2)) >= 5)
        truth = {entry.message_id: entry.delivered_ns for entry in lab.truth.deliveries}
        address = lab.mailboxes["monitor/lab-bounces"].address
    domain = address.rpartition("@")[2]
    for event in seen.of(Arrival):
        delay_s = (truth[message_id(event.canary, domain)] - event.sent_ns) / 1e9
        assert event.delay.lo <= delay_s + 0.005
        assert delay_s <= event.delay.hi + 0.005
        assert event.clock == "boottime"
        assert event.hops[0].by == f"{event.path.relay}.lab.example"
        assert event.auth is not None
        assert event.auth.spf == "pass"
    for submission in seen.of(Submission):
        assert submission.result is Result.ACCEPTED
        assert submission.queue_id
        assert submission.peer is not None
        assert {"connect", "banner", "mail", "rcpt", "data", "accept"} <= set(submission.phases)
    assert {v.timing for v in seen.verdicts().values() if v.outcome is Outcome.DELIVERED} == {
        Timing.IN_TIME
    }
    for relay in (A1, A2):
        numbers = [intent.path_seq for intent in seen.of(Intent, relay)]
        assert numbers == list(range(1, len(numbers) + 1))
    beat = seen.beats()[-1]
    assert beat.mailboxes[BOX].state == "ok"


async def test_mail_stuck_on_a_filtered_relay_is_overdue_then_late_and_out_of_order(
    tmp_path: Path,
) -> None:
    seen = Seen()
    async with estate() as lab:
        fault = await lab.order(OutboundFiltered(), relays=[A1])
        async with flying(lab, tmp_path, seen, interval="250ms", deadline="500ms"):
            await seen.until(lambda: seen.count(Outcome.DELIVERED, A2) >= 6)
            stuck = seen.verdicts(A1)
            accepted = [s.canary for s in seen.of(Submission, A1) if s.result is Result.ACCEPTED]
            assert len(accepted) >= 3
            assert {stuck[canary].outcome for canary in accepted} == {Outcome.PENDING}
            assert {stuck[canary].stage for canary in accepted} == {Stage.TRANSIT}
            await fault.clear()
            await seen.until(lambda: seen.settled(accepted))
    released = seen.verdicts(A1)
    assert released[accepted[0]].outcome is Outcome.LATE
    first = released[accepted[0]].delay
    assert first is not None
    assert first.lo > 0.5
    assert Outcome.LOST not in seen.outcomes()
    # In one folder the order of the UIDs is that of arrival: mail through the other relay overtook.
    sequence = [event.mailbox_seq for event in sorted(seen.of(Arrival), key=lambda e: e.uid)]
    assert sequence != sorted(sequence)


async def test_a_relay_that_cannot_be_reached(tmp_path: Path) -> None:
    seen = Seen()
    async with estate() as lab:
        await lab.order(InboundFiltered(), relays=[A1])
        await lab.order(PortClosed(), relays=[A2])
        async with flying(lab, tmp_path, seen, interval="300ms", timeouts=TIMEOUTS):
            await seen.until(lambda: min(len(seen.of(Submission, r)) for r in (A1, A2)) >= 2)
    assert {(s.path.relay, s.result, s.stage, s.reason) for s in seen.of(Submission)} == {
        (A1, Result.UNREACHABLE, Stage.CONNECT, Reason.TIMEOUT),
        (A2, Result.UNREACHABLE, Stage.CONNECT, Reason.REFUSED),
    }
    for submission in seen.of(Submission, A1):
        assert submission.attempts[0].elapsed_s >= 0.29
        assert "300 ms" in (submission.detail or "") or "0.3 s" in (submission.detail or "")


async def test_refusals_for_now_and_for_good(tmp_path: Path) -> None:
    seen = Seen()
    async with estate() as lab:
        await lab.order(Refuse(code=550, enhanced="5.7.1", text="Go away"), relays=[A1])
        busy = Refuse(code=451, enhanced="4.7.1", text="Busy", stage=Stage.MAIL)
        await lab.order(busy, relays=[A2])
        async with flying(lab, tmp_path, seen, interval="300ms"):
            await seen.until(lambda: min(len(seen.of(Submission, r)) for r in (A1, A2)) >= 2)
        assert lab.truth.acceptances == []
    for submission in seen.of(Submission, A1):
        assert submission.reply is not None
        assert (submission.reply.code, submission.reply.enhanced) == (550, "5.7.1")
        assert (submission.stage, submission.reason) == (Stage.RCPT, Reason.REPLY_5XX)
    for submission in seen.of(Submission, A2):
        assert (submission.stage, submission.reason) == (Stage.MAIL, Reason.REPLY_4XX)
    assert set(seen.outcomes(A1)) == {Outcome.REJECTED}
    assert set(seen.outcomes(A2)) <= {Outcome.DEFERRED, Outcome.PENDING}


async def test_a_tarpit_delays_nobody_elses_canaries(tmp_path: Path) -> None:
    seen = Seen()

    def past_the_held() -> list[Submission]:
        """Those of the other relay that began when one of the first was being held already."""
        told = {one.canary for one in seen.of(Submission, A1)}
        intents = seen.of(Intent)
        held = (
            n for n, one in enumerate(intents) if one.path.relay == A1 and one.canary not in told
        )
        later = {one.canary for one in intents[next(held, len(intents)) :]}
        return [one for one in seen.of(Submission, A2) if one.canary in later]

    async with estate() as lab:
        # Longer than anybody here waits: whatever stood behind it would never be seen.
        await lab.order(Tarpit({Stage.BANNER: 10 * PATIENCE_S}), relays=[A1])
        patient = {**TIMEOUTS, "banner": f"{20 * PATIENCE_S:.0f}s"}
        async with flying(lab, tmp_path, seen, interval="200ms", timeouts=patient):
            await seen.until(lambda: len(past_the_held()) >= 5)
            assert {one.result for one in past_the_held()} == {Result.ACCEPTED}
            # None got through; once enough of them hang, the next ones are not even begun.
            assert {one.result for one in seen.of(Submission, A1)} <= {Result.UNSENT}


async def test_the_time_in_a_tarpit_is_told_with_its_stage(tmp_path: Path) -> None:
    seen = Seen()
    async with estate() as lab:
        await lab.order(Tarpit({Stage.BANNER: 1.0}), relays=[A1])
        patient = {**TIMEOUTS, "banner": "60s"}
        async with flying(lab, tmp_path, seen, interval="500ms", timeouts=patient):
            await seen.until(lambda: seen.of(Submission, A1))
    first = seen.of(Submission, A1)[0]
    # The relay's second may begin before the agent has seen that it is connected.
    assert first.phases["connect"] + first.phases["banner"] > 0.99


async def test_greylisting_by_a_relay_is_a_deferral_and_behind_it_a_delay(tmp_path: Path) -> None:
    seen = Seen()
    async with estate() as lab:
        await lab.order(Greylist(retry_after=0.5, at=Side.RELAY), relays=[A1])
        await lab.order(Greylist(retry_after=0.5), relays=[A2])
        async with flying(lab, tmp_path, seen, interval="400ms", deadline="10s"):
            await seen.until(lambda: seen.count(Outcome.DELIVERED, A1) >= 1)
            await seen.until(lambda: seen.count(Outcome.DELIVERED, A2) >= 1)
    assert seen.outcomes(A1)[0] is Outcome.DEFERRED
    first = seen.verdicts(A2)[seen.of(Intent, A2)[0].canary]
    assert first.outcome is Outcome.DELIVERED
    assert first.delay is not None
    assert first.delay.hi > 0.5


async def test_a_lost_reply_to_the_dot_is_no_lost_canary(tmp_path: Path) -> None:
    seen = Seen()
    async with estate() as lab:
        await lab.order(Drop(stage=Stage.ACCEPT), relays=[A1])
        async with flying(lab, tmp_path, seen, interval="300ms"):
            await seen.until(lambda: seen.count(Outcome.DELIVERED, A1) >= 2)
    assert {one.result for one in seen.of(Submission, A1)} == {Result.UNKNOWN}


async def test_mail_that_leaves_from_another_address_is_reported(tmp_path: Path) -> None:
    seen = Seen()
    async with estate() as lab:
        await lab.order(WrongEgress(), relays=[A1])
        async with flying(lab, tmp_path, seen, interval="300ms"):
            await seen.until(lambda: min(len(seen.of(Arrival, r)) for r in (A1, A2)) >= 2)
    for relay, planned in ((A1, False), (A2, True)):
        for event in seen.of(Arrival, relay):
            assert event.carrier is not None
            assert event.carrier.relay_as_planned is True
            assert event.carrier.egress_as_planned is planned
            assert (event.carrier.egress_seen == "127.29.0.1") is not planned
