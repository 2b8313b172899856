"""One canary's way out: durable before it is sent, one attempt, and every end recorded."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from agent.air import Air
from agent.schedule import Slot
from agent.sender import Caps, Load, Sender, held_back
from agent.spool.flight import FlightState
from agent.spool.store import Cursor
from probes.contract.config.models import Relay
from probes.contract.events import Arrival, Intent, Interval, Submission
from probes.contract.message import envid
from probes.contract.names import Path
from probes.contract.stages import Reason, Result, Stage
from probes.contract.token import HEADER, Judgement, judge
from probes.smtp import Mail, SendReport
from tests.agent.fakes import (
    ACCEPTED,
    INBOX,
    KEY,
    PATH,
    RING,
    FakeSmtp,
    HandClock,
    InlineSpool,
    assignment,
    canary_id,
    flight,
    plan_of,
    rng,
)
from tests.simulation.loop import VirtualLoop

OTHER_RELAY = Path("sfo", "relay-a2", INBOX)


class Bench:
    """A sender on a bench, with all that it needs."""

    def __init__(self, spool: InlineSpool, clock: HandClock) -> None:
        self.spool = spool
        self.clock = clock
        self.air = Air()
        self.counters: Counter[str] = Counter()
        self.numbers = itertools.count(1)

    def sender(self, smtp: FakeSmtp, caps: Caps | None = None) -> Sender:
        """A sender with those relays."""
        return Sender(
            replace(assignment(), revision="r1"),
            KEY,
            clock=self.clock,
            spool=self.spool,
            smtp=smtp,
            air=self.air,
            counters=self.counters,
            rng=rng(),
            new_id=lambda: canary_id(next(self.numbers)),
            caps=caps or Caps(),
        )

    def slot(self, path: Path = PATH, *, stale: bool = False) -> Slot:
        """A slot that is due now."""
        return Slot(plan_of(path), self.clock.now().wall_ns, stale)

    def submissions(self) -> list[Submission]:
        """What is recorded of all attempts."""
        return [event for event in self.spool.events() if isinstance(event, Submission)]

    def intents(self) -> list[Intent]:
        """What is recorded of all intents."""
        return [event for event in self.spool.events() if isinstance(event, Intent)]


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
    assert submission.result is (Result.UNKNOWN if dot else Result.FAILED)
    assert submission.reason is Reason.LOCAL
    assert submission.detail == "KeyError inside the agent"
    assert len(bench.air) == (1 if dot else 0)
    assert len(bench.spool.store.flights()) == (1 if dot else 0)


async def test_an_arrival_that_overtakes_the_relays_reply(bench: Bench) -> None:
    async def answer(_relay: Relay, _mail: Mail, on_data_sent: Callable[[], None]) -> SendReport:
        on_data_sent()
        [mine] = bench.spool.store.flights()
        seen = Arrival(
            canary=mine.canary, path=mine.path, path_seq=1, mailbox_seq=1,
            stream_epoch=mine.stream_epoch, sent_ns=0, seen_ns=0, delay=Interval(0.0, 0.1),
            clock="boottime", folder="INBOX", junk=False, uidvalidity=7, uid=1,
        )  # fmt: skip
        cursor = Cursor(7, 2, bench.clock.now())
        await bench.spool.run(lambda store: store.record_check(INBOX, "INBOX", cursor, [(1, seen)]))
        bench.air.forget(mine)
        return ACCEPTED

    await bench.sender(FakeSmtp(answer)).fly(bench.slot())
    assert bench.spool.kinds() == ["Intent", "Arrival", "Submission"]
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


class Hanging:
    """Relays that answer when they are let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.smtp = FakeSmtp(self._answer)

    async def _answer(self, _relay: Relay, _mail: Mail, dot: Callable[[], None]) -> SendReport:
        await self.let.wait()
        dot()
        return ACCEPTED


async def settle() -> None:
    """Let every task run as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


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


def test_which_cap_holds_back() -> None:
    caps = Caps(per_relay=2, sending=5, in_air=9)
    assert held_back(caps, Load(4, Counter(a=1)), 8, "a") is None
    relay, agent = Reason.RELAY_CAP, Reason.AGENT_CAP
    for load, in_air, reason in (
        (Load(4, Counter(a=2)), 8, relay),
        (Load(5, Counter(a=1)), 8, agent),
        (Load(4, Counter(a=1)), 9, agent),
    ):
        held = held_back(caps, load, in_air, "a")
        assert held is not None
        assert held[0] is reason


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


# --- after a restart ------------------------------------------------------------------------


async def test_flights_of_before_are_awaited_and_none_is_sent_again(bench: Bench) -> None:
    store = bench.spool.store
    sent = bench.clock.now()
    store.begin()
    store.begin_flight(flight(1, sent=sent), "")
    awaited = store.begin_flight(flight(2, sent=sent), "")
    store.end_submission(
        Submission(canary=awaited.canary, path=PATH, sent_ns=0, at_ns=0, result=Result.ACCEPTED),
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
    assert {kept.state for kept in store.flights()} == {FlightState.AWAITED}
    assert bench.counters == {"submissions_unknown": 1}
    assert sender.take_up(store.flights()) == []
    runs = bench.spool.runs
    await sender.tell_interrupted([])
    assert bench.spool.runs == runs


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
