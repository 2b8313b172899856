"""One canary's way out: durable before it is sent, one attempt, and every end recorded."""

import asyncio
from collections.abc import Callable

import pytest

from agent.caps import Caps
from agent.spool.flight import FlightState
from agent.spool.store import Cursor
from probes.contract.config.models import Relay
from probes.contract.message import envid
from probes.contract.names import Path
from probes.contract.stages import Reason, Result, Stage
from probes.contract.token import HEADER, Judgement, judge
from probes.smtp import Mail, SendReport
from tests.agent.fakes import (
    ACCEPTED,
    INBOX,
    PATH,
    RING,
    FakeSmtp,
    HandClock,
    InlineSpool,
    S,
    arrival_of,
    canary_id,
)
from tests.agent.senders import Bench
from tests.simulation.loop import VirtualLoop

OTHER_RELAY = Path("sfo", "relay-a2", INBOX)


@pytest.fixture
def bench(inline_spool: InlineSpool, clock: HandClock) -> Bench:
    """A bench."""
    return Bench(inline_spool, clock)


def answering(report: SendReport, *, dot: bool = False) -> FakeSmtp:
    """Relays that all answer so."""

    async def answer(_relay: Relay, _mail: Mail, on_data_sent: Callable[[], None]) -> SendReport:
        if dot:
            on_data_sent()
        return report

    return FakeSmtp(answer)


# --- the good way ---------------------------------------------------------------------------


async def test_an_accepted_canary_is_awaited(bench: Bench) -> None:
    smtp = FakeSmtp()
    await bench.sender(smtp).fly(bench.slot())
    assert bench.spool.kinds() == ["Intent", "Submission"]
    [submission] = bench.submissions()
    assert (submission.result, submission.queue_id) == (Result.ACCEPTED, "4F1")
    assert submission.phases == {"connect": 0.01}
    [kept] = bench.spool.store.flights()
    assert kept.state is FlightState.AWAITED
    assert bench.air.mailbox(INBOX).get(canary_id(1)) is not None
    assert bench.counters == {"submissions_accepted": 1}


async def test_the_mail_is_a_genuine_canary_with_its_own_envelope(bench: Bench) -> None:
    smtp = FakeSmtp()
    await bench.sender(smtp).fly(bench.slot())
    [(relay, mail)] = smtp.mails
    assert relay == "relay-a1"
    assert (mail.sender, mail.recipient) == ("canary@monitor.example", "canary@acme.example")
    assert mail.envid == envid(canary_id(1))
    header = mail.content.decode().replace("\r\n ", " ")
    value = next(li for li in header.splitlines() if li.startswith(HEADER)).partition(": ")[2]
    judgement, token = judge(
        value, RING, agent="sfo", mailbox=INBOX, now_ns=bench.clock.now().wall_ns, remember_s=60
    )
    assert judgement is Judgement.GENUINE
    assert token is not None
    [submission] = bench.submissions()
    assert (token.canary, token.sent_ns) == (submission.canary, submission.sent_ns)
    assert (token.path_seq, token.stream_epoch) == (1, bench.spool.epoch)


async def test_the_intent_is_durable_before_the_relay_hears_of_the_canary(bench: Bench) -> None:
    seen: list[list[str]] = []

    async def answer(_relay: Relay, _mail: Mail, _dot: Callable[[], None]) -> SendReport:
        seen.append(bench.spool.kinds())
        return ACCEPTED

    await bench.sender(FakeSmtp(answer)).fly(bench.slot())
    assert seen == [["Intent"]]


async def test_canaries_are_numbered_per_path_and_per_mailbox(bench: Bench) -> None:
    sender = bench.sender(FakeSmtp())
    for path in (PATH, OTHER_RELAY, PATH, OTHER_RELAY, PATH):
        await sender.fly(bench.slot(path))
    assert [intent.path_seq for intent in bench.intents()] == [1, 1, 2, 2, 3]
    assert [intent.mailbox_seq for intent in bench.intents()] == [1, 2, 3, 4, 5]
    assert {intent.revision for intent in bench.intents()} == {"r1"}


async def test_the_send_time_is_taken_after_the_intent_is_durable(bench: Bench) -> None:
    def slow_disk() -> None:
        bench.clock.advance(2)

    bench.spool.before_run = slow_disk
    await bench.sender(FakeSmtp()).fly(bench.slot())
    [intent], [submission] = bench.intents(), bench.submissions()
    assert submission.sent_ns - intent.at_ns == 2_000_000_000


class Busy:
    """Relays of an agent that waits for its own means first, and then sends or does not."""

    def __init__(self, clock: HandClock, *, sends: bool) -> None:
        self._clock = clock
        self._sends = sends
        self.mail: Mail | None = None

    async def send(
        self, _relay: Relay, mail: Callable[[], Mail], on_data_sent: Callable[[], None]
    ) -> SendReport:
        """Wait for two seconds; the attempt takes a fourth of one."""
        self._clock.advance(2)
        if not self._sends:
            return SendReport(result=Result.UNSENT, stage=Stage.RESOLVE, reason=Reason.LOCAL)
        self.mail = mail()
        self._clock.advance(0.25)
        on_data_sent()
        return ACCEPTED


async def test_what_the_agent_waits_for_itself_is_no_delay_of_the_mails(bench: Bench) -> None:
    smtp = Busy(bench.clock, sends=True)
    await bench.sender(smtp).fly(bench.slot())
    [intent], [submission] = bench.intents(), bench.submissions()
    assert submission.sent_ns - intent.at_ns == 2 * S
    assert submission.at_ns - submission.sent_ns == S // 4
    assert smtp.mail is not None
    assert f"t={submission.sent_ns};".encode() in smtp.mail.content.replace(b"\r\n ", b"")
    [kept] = bench.spool.store.flights()
    assert kept.sent.wall_ns == submission.sent_ns
    assert bench.air.mailbox(INBOX).get(canary_id(1)) == kept


async def test_what_was_not_sent_bears_its_intents_time(bench: Bench) -> None:
    await bench.sender(Busy(bench.clock, sends=False)).fly(bench.slot())
    [intent], [submission] = bench.intents(), bench.submissions()
    assert (submission.sent_ns, submission.result) == (intent.at_ns, Result.UNSENT)
    assert bench.spool.store.flights() == []


async def test_a_send_is_told_by_the_clock_that_nobody_sets_too(bench: Bench) -> None:
    def set_clock() -> None:
        bench.clock.advance(2)
        bench.clock.step(-3600.0)

    bench.spool.before_run = set_clock
    begun = bench.clock.now()
    sender = bench.sender(FakeSmtp(), Caps(per_mailbox=1))
    await sender.fly(bench.slot())
    [intent], [submission] = bench.intents(), bench.submissions()
    assert (intent.boot_id, intent.sent_boot_ns) == (begun.boot_id, begun.boot_ns)
    assert (submission.boot_id, submission.sent_boot_ns) == (begun.boot_id, begun.boot_ns + 2 * S)
    held_at = bench.clock.now()
    await sender.fly(bench.slot())
    held = bench.submissions()[1]
    assert (held.result, held.boot_id, held.sent_boot_ns) == (
        Result.UNSENT, held_at.boot_id, held_at.boot_ns,
    )  # fmt: skip


# --- bad ends -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "stage", "reason"),
    [
        (Result.REJECTED, Stage.RCPT, Reason.REPLY_5XX),
        (Result.DEFERRED, Stage.RCPT, Reason.REPLY_4XX),
        (Result.UNREACHABLE, Stage.CONNECT, Reason.TIMEOUT),
        (Result.FAILED, Stage.TLS, Reason.CERTIFICATE),
        (Result.UNSENT, Stage.AUTH, Reason.SECRET),
    ],
)
async def test_a_refused_canary_is_not_awaited(
    bench: Bench, result: Result, stage: Stage, reason: Reason
) -> None:
    report = SendReport(result=result, stage=stage, reason=reason, detail="so it said")
    await bench.sender(answering(report)).fly(bench.slot())
    [submission] = bench.submissions()
    assert (submission.result, submission.stage, submission.reason) == (result, stage, reason)
    assert bench.spool.store.flights() == []
    assert len(bench.air) == 0
    assert bench.counters == {f"submissions_{result}": 1}


async def test_a_refusal_after_the_dot_is_not_awaited_either(bench: Bench) -> None:
    report = SendReport(result=Result.REJECTED, stage=Stage.ACCEPT, reason=Reason.REPLY_5XX)
    await bench.sender(answering(report, dot=True)).fly(bench.slot())
    assert len(bench.air) == 0
    assert bench.spool.store.flights() == []


async def test_a_lost_reply_to_the_dot_leaves_the_canary_awaited(bench: Bench) -> None:
    report = SendReport(result=Result.UNKNOWN, stage=Stage.ACCEPT, reason=Reason.CLOSED)
    await bench.sender(answering(report, dot=True)).fly(bench.slot())
    assert len(bench.air) == 1
    assert [kept.state for kept in bench.spool.store.flights()] == [FlightState.AWAITED]


@pytest.mark.parametrize("dot", [False, True])
async def test_a_fault_of_our_own_is_an_end_like_any_other(bench: Bench, dot: bool) -> None:
    async def answer(_relay: Relay, _mail: Mail, on_data_sent: Callable[[], None]) -> SendReport:
        if dot:
            on_data_sent()
        raise KeyError("a bug")

    await bench.sender(FakeSmtp(answer)).fly(bench.slot())
    [submission] = bench.submissions()
    assert submission.result is (Result.UNKNOWN if dot else Result.UNSENT)
    assert submission.reason is Reason.LOCAL
    assert submission.detail == "KeyError inside the agent"
    assert len(bench.air) == (1 if dot else 0)
    assert len(bench.spool.store.flights()) == (1 if dot else 0)


async def test_an_arrival_that_overtakes_the_relays_reply(bench: Bench) -> None:
    async def answer(_relay: Relay, _mail: Mail, on_data_sent: Callable[[], None]) -> SendReport:
        on_data_sent()
        [mine] = bench.spool.store.flights()
        seen = arrival_of(mine)
        cursor = Cursor(7, 2, bench.clock.now())
        await bench.spool.run(lambda store: store.record_check(INBOX, "INBOX", cursor, [(1, seen)]))
        bench.air.forget(mine)
        return ACCEPTED

    await bench.sender(FakeSmtp(answer)).fly(bench.slot())
    assert bench.spool.kinds() == ["Intent", "Arrival", "Submission"]
    assert [one.result for one in bench.submissions()] == [Result.ACCEPTED]
    assert bench.spool.store.flights() == []
    assert len(bench.air) == 0


# --- held back ------------------------------------------------------------------------------


async def test_a_stale_slot_is_unsent_and_said_so(bench: Bench) -> None:
    smtp = FakeSmtp()
    await bench.sender(smtp).fly(bench.slot(stale=True))
    assert smtp.mails == []
    [submission] = bench.submissions()
    assert (submission.result, submission.reason) == (Result.UNSENT, Reason.STALE)
    assert bench.spool.kinds() == ["Intent", "Submission"]
    assert bench.spool.store.flights() == []
    assert bench.counters == {"submissions_unsent": 1}


async def test_a_canary_whose_intent_took_too_long_is_stale_as_well(bench: Bench) -> None:
    smtp = FakeSmtp()
    waits = [6.0]

    def slow_disk() -> None:
        # The wall clock is set meanwhile: it is the other one that tells.
        bench.clock.step(-3600)
        bench.clock.advance(waits.pop() if waits else 0)

    bench.spool.before_run = slow_disk
    await bench.sender(smtp).fly(bench.slot())
    assert smtp.mails == []
    [submission] = bench.submissions()
    assert (submission.result, submission.reason) == (Result.UNSENT, Reason.STALE)
    assert submission.detail == "its intent was on the disk only 6.0 s after it was due"
    assert bench.spool.store.flights() == []
    assert (len(bench.air), bench.counters) == (0, {"submissions_unsent": 1})


# --- a spool that fails ---------------------------------------------------------------------


async def test_without_a_durable_intent_there_is_no_mail(bench: Bench) -> None:
    smtp = FakeSmtp()
    sender = bench.sender(smtp)
    bench.spool.problem = "disk full"
    await sender.fly(bench.slot())
    await sender.fly(bench.slot(stale=True))
    assert smtp.mails == []
    assert bench.counters == {"intents_refused": 2}
    assert sender.sending == 0
    bench.spool.problem = None
    await sender.fly(bench.slot())
    assert len(smtp.mails) == 1
    assert [intent.path_seq for intent in bench.intents()] == [1]


def test_an_attempts_end_is_written_as_soon_as_the_spool_takes_it(bench: Bench) -> None:
    async def answer(_relay: Relay, _mail: Mail, dot: Callable[[], None]) -> SendReport:
        dot()
        bench.spool.problem = "disk full"
        return ACCEPTED

    async def story() -> None:
        loop = asyncio.get_running_loop()
        flying = asyncio.create_task(bench.sender(FakeSmtp(answer)).fly(bench.slot()))
        await asyncio.sleep(300)
        assert bench.spool.kinds() == ["Intent"]
        # Not asked too often, nor too seldom to notice soon.
        assert 10 < bench.spool.runs < 30
        bench.spool.problem = None
        mended = loop.time()
        await flying
        assert loop.time() - mended <= 30
        assert bench.spool.kinds() == ["Intent", "Submission"]

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story())
