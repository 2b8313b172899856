"""Looks by their intervals: a whole agent in virtual time, on a real spool."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from agent.assignment import Assignment, assign
from probes.contract.check_plan import CheckPlan
from probes.contract.checks import Finding
from probes.contract.config.models import Config, ProbeKind
from probes.contract.events import Check
from probes.contract.stages import Reason, Stage
from tests.agent.fakes import InlineSpool, assignment, document
from tests.agent.mailbox.benches import play
from tests.agent.stages import Stage as AgentStage

OK = Finding(ok=True, timings={"connect": 0.25})


async def at_once(_target: str) -> Finding:
    """A look that finds nothing wrong."""
    return OK


@dataclass
class Prober:
    """A probe of two targets that answers as ``answer`` does, and adds up how many were ok."""

    answer: Callable[[str], Awaitable[Finding]] = at_once
    plans: list[CheckPlan] = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    names: tuple[str, ...] = ("mx1", "mx2")

    async def targets(self, plan: CheckPlan) -> Sequence[str]:
        """The same two each time."""
        self.plans.append(plan)
        return self.names

    async def probe(self, target: str, deadline_s: float) -> Finding:
        """What the test wants."""
        assert deadline_s == 5.0
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            return await self.answer(target)
        finally:
            self.under_way -= 1

    def conclude(self, findings: Sequence[Finding]) -> Sequence[Finding]:
        """How many were ok."""
        good = sum(one.ok for one in findings)
        return [Finding(ok=good == len(findings), detail=f"{good} of {len(findings)}")]


def on_relay(*checks: dict[str, str], sender: bool = False) -> Assignment:
    """The work of an agent on relay-a1 that only looks, unless it is to send as well."""
    agent: dict[str, object] = {"name": "sfo", "on_relay": "relay-a1"}
    if sender:
        agent["sender"] = {"address": "canary@monitor.example", "helo": "sfo.monitor.example"}
    return assignment(agents=[agent], checks=list(checks))


QUEUE = {"probe": "queue", "interval": "10s", "timeout": "5s"}


def staged(spool: InlineSpool, prober: Prober, first: Assignment) -> AgentStage:
    """An agent whose queue is looked at by that prober."""
    return AgentStage(spool, first=first, probes={ProbeKind.QUEUE: prober})


def test_an_agent_without_a_sender_looks_at_fixed_times(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        prober = Prober()
        stage = staged(inline_spool, prober, on_relay(QUEUE))
        await asyncio.sleep(100)
        await stage.end()
        checks = stage.spool.of(Check)
        rounds = sorted({check.began_ns for check in checks if check.began_ns is not None})
        assert len(rounds) == 10
        assert {b - a for a, b in pairwise(rounds)} == {10_000_000_000}
        assert len(checks) == 30
        one, two, both = checks[:3]
        assert (one.agent, one.relay, one.probe) == ("sfo", "relay-a1", "queue")
        assert (one.ok, one.timings, one.interval_s) == (True, {"connect": 0.25}, 10.0)
        assert one.began_ns == two.began_ns == both.began_ns
        assert (both.ok, both.detail) == (True, "2 of 2")
        assert stage.agent.health.counters["check_rounds"] == 10
        assert stage.agent.health.counters["checks_done"] == 30
        assert not stage.smtp.mails

    play(story)


def test_an_agent_may_look_and_send(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        stage = staged(inline_spool, Prober(), on_relay(QUEUE, sender=True))
        await asyncio.sleep(30)
        await stage.end()
        assert stage.smtp.mails
        assert len(stage.spool.of(Check)) == 9

    play(story)


def test_what_stays_the_same_keeps_its_times_and_what_is_new_begins(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        prober = Prober()
        stage = staged(inline_spool, prober, on_relay(QUEUE))
        await asyncio.sleep(30)
        before = {check.began_ns for check in stage.spool.of(Check)}
        for _ in range(50):
            stage.agent.reassign(on_relay(QUEUE))
            await asyncio.sleep(0.7)
        rounds = sorted({check.began_ns or 0 for check in stage.spool.of(Check)})
        assert {b - a for a, b in pairwise(rounds)} == {10_000_000_000}
        assert before < set(rounds)
        stage.agent.reassign(on_relay(QUEUE | {"interval": "20s"}))
        await asyncio.sleep(100)
        slow = [check for check in stage.spool.of(Check) if check.interval_s == 20.0]
        assert len({check.began_ns for check in slow}) == 5
        stage.agent.reassign(on_relay())
        count = len(stage.spool.of(Check))
        await asyncio.sleep(100)
        assert len(stage.spool.of(Check)) == count
        await stage.end()

    play(story)


def test_another_sender_elsewhere_moves_no_look(inline_spool: InlineSpool) -> None:
    """Whose canaries are known in the queue is part of the plan, and changes with any agent."""

    def known_too(name: str) -> Assignment:
        other = {"name": name, "sender": {"address": f"c@{name}.example", "helo": "h.example"}}
        node: dict[str, object] = {"name": "sfo", "on_relay": "relay-a1"}
        config = Config.model_validate(document(agents=[node, other], checks=[QUEUE]))
        return assign(config, "sfo")

    async def story() -> None:
        prober = Prober()
        stage = staged(inline_spool, prober, on_relay(QUEUE))
        for number in range(20):
            await asyncio.sleep(7)
            stage.agent.reassign(known_too(f"a{number}"))
        rounds = sorted({check.began_ns or 0 for check in stage.spool.of(Check)})
        assert {b - a for a, b in pairwise(rounds)} == {10_000_000_000}
        assert len({plan.canary_senders for plan in prober.plans}) > 5
        await stage.end()

    play(story)


def test_a_round_that_takes_long_costs_rounds_and_never_piles_up(
    inline_spool: InlineSpool,
) -> None:
    async def slow(_target: str) -> Finding:
        await asyncio.sleep(9.5)
        return OK

    async def story() -> None:
        prober = Prober(slow)
        stage = staged(
            inline_spool, prober, on_relay({"probe": "queue", "interval": "5s", "timeout": "5s"})
        )
        await asyncio.sleep(200)
        counters = stage.agent.health.counters
        assert prober.most == 2
        rounds, skipped = counters["check_rounds"], counters["check_rounds_skipped"]
        assert rounds == 20
        assert 38 <= rounds + skipped <= 40
        await stage.end()

    play(story)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("raises", "the queue probe failed inside the agent: ValueError: no"),
        ("hangs", "the queue probe failed inside the agent: not ended 5 s after its limit of 5 s"),
    ],
)
def test_a_probe_that_breaks_its_promise_costs_its_own_finding(
    inline_spool: InlineSpool, fault: str, text: str
) -> None:
    async def broken(target: str) -> Finding:
        if target == "mx1":
            return Finding(ok=False, stage=Stage.EGRESS_CONNECT, reason=Reason.TIMEOUT)
        if fault == "raises":
            raise ValueError("no")
        await asyncio.sleep(1e6)
        return OK

    async def story() -> None:
        stage = staged(inline_spool, Prober(broken), on_relay(QUEUE))
        await asyncio.sleep(25)
        await stage.end()
        good, bad, both = stage.spool.of(Check)[:3]
        assert (good.stage, good.reason) == (Stage.EGRESS_CONNECT, Reason.TIMEOUT)
        assert (bad.ok, bad.reason, bad.detail) == (False, Reason.LOCAL, text)
        assert both.detail == "0 of 2"
        counters = stage.agent.health.counters
        assert counters["checks_failed"] == counters["checks_done"]

    play(story)


def test_while_the_spool_takes_nothing_results_are_kept_until_the_next_round(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        stage = staged(inline_spool, Prober(), on_relay(QUEUE | {"interval": "60s"}))
        await asyncio.sleep(61)
        inline_spool.problem = "spool: no space"
        seen = len(stage.spool.of(Check))
        await asyncio.sleep(60)
        inline_spool.problem = None
        await asyncio.sleep(55)
        # The round of the bad minute is there, with its own time.
        assert stage.agent.health.counters["checks_lost"] == 0
        rounds = sorted({check.began_ns or 0 for check in stage.spool.of(Check)})
        assert len(stage.spool.of(Check)) >= seen + 3
        assert {b - a for a, b in pairwise(rounds)} == {60_000_000_000}
        inline_spool.problem = "spool: no space"
        await asyncio.sleep(300)
        inline_spool.problem = None
        assert stage.agent.health.counters["checks_lost"] >= 9
        await stage.end()

    play(story)


def test_what_the_spool_did_not_take_is_counted_when_the_look_is_given_up(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        begun = asyncio.Event()

        async def told(_target: str) -> Finding:
            begun.set()
            return OK

        stage = staged(inline_spool, Prober(told), on_relay(QUEUE | {"interval": "60s"}))
        await asyncio.sleep(0.001)
        inline_spool.problem = "spool: no space"
        await begun.wait()
        await asyncio.sleep(1)
        assert stage.agent.health.counters["checks_lost"] == 0
        stage.agent.reassign(on_relay())
        await asyncio.sleep(1)
        assert stage.agent.health.counters["checks_lost"] == 3
        inline_spool.problem = None
        await stage.end()

    play(story)


def test_many_looks_are_bounded_at_any_time(inline_spool: InlineSpool) -> None:
    async def slow(_target: str) -> Finding:
        await asyncio.sleep(1)
        return OK

    async def story() -> None:
        prober = Prober(slow, names=tuple(f"mx{number}" for number in range(1000)))
        stage = staged(inline_spool, prober, on_relay(QUEUE | {"interval": "60s"}))
        await asyncio.sleep(70)
        await stage.end()
        assert prober.most == 256
        assert len(stage.spool.of(Check)) >= 1001

    play(story)


def test_looks_under_way_end_with_the_agent(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        begun = asyncio.Event()

        async def slow(_target: str) -> Finding:
            begun.set()
            await asyncio.sleep(4)
            return OK

        prober = Prober(slow)
        stage = staged(inline_spool, prober, on_relay(QUEUE))
        await begun.wait()
        await stage.end()
        assert prober.under_way == 0
        assert not stage.spool.of(Check)

    play(story)
