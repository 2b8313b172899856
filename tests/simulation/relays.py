"""Relays that fail to order: the agent's ``Smtp`` port in the simulated world."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from agent.assignment import Assignment
from probes.contract.config.models import Relay, Timeouts
from probes.contract.message import canary_of_envid
from probes.contract.stages import Reason, Result, Stage
from probes.smtp import Mail as Envelope
from probes.smtp import SendReport
from tests.simulation.dsn import dsn
from tests.simulation.life import Life
from tests.simulation.scenario import BOUNCES, Spell
from tests.simulation.world import Mail, Truth, World

_BEFORE_DOT = (Stage.BANNER, Stage.EHLO, Stage.MAIL, Stage.RCPT, Stage.DATA)


# What happens to a mail now and then without any fault that lasts.
_EVERY_DAY = ("", "lose", "dup", "slow", "junk", "dsn")
_ODDS = (90, 3, 2, 2, 2, 1)


@dataclass(frozen=True, slots=True)
class Fate:
    """How one attempt ends, and whether the relay takes the mail all the same."""

    result: Result
    after_s: float
    stage: Stage | None = None
    reason: Reason | None = None
    takes: bool = False


class SimSmtp:
    """One life's way to the relays."""

    def __init__(self, world: World, life: Life, assignment: Assignment) -> None:
        self._world = world
        self._life = life
        self._boxes = {box.address: name for name, box in assignment.mailboxes.items()}
        self._timeouts = assignment.timeouts

    async def send(
        self, relay: Relay, compose: Callable[[], Envelope], on_data_sent: Callable[[], None]
    ) -> SendReport:
        """One attempt; what the relay has, it has, whatever becomes of the agent."""
        world, life, rng = self._world, self._life, self._world.rng
        life.must_pass("send")
        mail = compose()
        truth = self._truth(relay, mail)
        fate = _fate(world, relay.name, self._timeouts)
        world.trace(f"send {truth.canary[:6]} via {relay.name}: {fate.result} {fate.stage or ''}")
        if fate.stage in (None, Stage.ACCEPT):
            await asyncio.sleep(rng.uniform(0.01, 0.2))
            life.must_pass("dot")
            truth.dot_s = world.now()
            if fate.takes:
                _Transit(world, relay, mail, truth).begin()
            on_data_sent()
            life.must_pass("dotted")
        await asyncio.sleep(fate.after_s)
        if not life.alive:
            raise asyncio.CancelledError
        truth.result = fate.result
        detail = None if fate.stage is None else f"{fate.stage}: {fate.reason}"
        return SendReport(
            result=fate.result, stage=fate.stage, reason=fate.reason, detail=detail, dsn=True
        )

    def _truth(self, relay: Relay, mail: Envelope) -> Truth:
        canary = canary_of_envid(mail.envid or "")
        assert canary is not None
        truth = self._world.truths.get(canary)
        if truth is None:
            box = self._boxes[mail.recipient]
            truth = Truth(canary, relay.name, box, sent_s=self._world.now())
            self._world.truths[canary] = truth
        truth.attempts += 1
        return truth


def _fate(world: World, relay: str, limits: Timeouts) -> Fate:
    rng = world.rng
    trip = rng.uniform(0.005, 0.3)
    stage = rng.choice(_BEFORE_DOT)
    spell = world.spell(
        relay, "blackhole", "refused", "hang", "close", "reject", "defer", "accept-hang",
        "accept-close",
    )  # fmt: skip
    at_dot = rng.random() < 0.3
    match spell.what if spell else "":
        case "blackhole":
            reason = Reason.TIMEOUT
            return Fate(Result.UNREACHABLE, limits.connect, Stage.CONNECT, reason)
        case "refused":
            return Fate(Result.UNREACHABLE, trip, Stage.CONNECT, Reason.REFUSED)
        case "hang":
            return Fate(Result.FAILED, limits.command, stage, Reason.TIMEOUT)
        case "close":
            return Fate(Result.FAILED, trip, stage, Reason.CLOSED)
        case "reject":
            takes = at_dot and rng.random() < 0.1
            stage = Stage.ACCEPT if at_dot else stage
            return Fate(Result.REJECTED, trip, stage, Reason.REPLY_5XX, takes)
        case "defer":
            takes = at_dot and rng.random() < 0.1
            stage = Stage.ACCEPT if at_dot else stage
            return Fate(Result.DEFERRED, trip, stage, Reason.REPLY_4XX, takes)
        case "accept-hang":
            takes = rng.random() < 0.5
            return Fate(Result.UNKNOWN, limits.accept, Stage.ACCEPT, Reason.TIMEOUT, takes)
        case "accept-close":
            takes = rng.random() < 0.7
            return Fate(Result.UNKNOWN, trip, Stage.ACCEPT, Reason.CLOSED, takes)
    return Fate(Result.ACCEPTED, trip, takes=True)


class _Transit:
    """One mail's way from its relay to the mailbox, or not."""

    def __init__(self, world: World, relay: Relay, envelope: Envelope, truth: Truth) -> None:
        self._world = world
        self._relay = relay
        self._envelope = envelope
        self._truth = truth

    def begin(self) -> None:
        """The relay has it."""
        world, rng, name = self._world, self._world.rng, self._relay.name
        spell = world.spell(name, "hold", "lose", "dup", "slow", "junk", "dsn", "dsn-delay")
        what = spell.what if spell else rng.choices(_EVERY_DAY, _ODDS)[0]
        after = rng.expovariate(1 / 0.5) if rng.random() < 0.8 else rng.expovariate(1 / 8.0)
        match what:
            case "lose":
                return
            case "dsn":
                world.later(rng.uniform(0.01, 20.0), lambda: self._notify("failed"))
                return
            case "dsn-delay":
                after += rng.uniform(5.0, 30.0)
                world.later(rng.uniform(0.01, 20.0), lambda: self._notify("delayed"))
            case "hold":
                after += self._held_s(spell)
            case "slow":
                after += rng.uniform(5.0, 70.0)
            case "dup":
                for _ in range(rng.randint(1, 2)):
                    world.later(after + rng.expovariate(1 / 10.0), self._deliver)
        world.later(after, lambda: self._deliver(junk=what == "junk"))

    def _held_s(self, spell: Spell | None) -> float:
        return 0.0 if spell is None else max(0.0, spell.end_s - self._world.now())

    def _raw(self) -> bytes:
        hop = (
            f"Received: from {self._relay.host} by mx.customer.example with ESMTP;"
            " Thu, 9 Oct 2025 08:53:20 +0000\r\n"
        )
        return hop.encode() + self._envelope.content

    def _deliver(self, *, junk: bool = False) -> None:
        mail = Mail(self._raw(), 0.0, "canary", self._truth.canary)
        self._world.deliver(self._truth.mailbox, mail, junk=junk)

    def _notify(self, action: str) -> None:
        rng, canary = self._world.rng, self._truth.canary
        header = self._envelope.content.partition(b"\r\n\r\n")[0]
        envid = self._envelope.envid
        if rng.random() < 0.5:
            header = b"Subject: returned without its other fields"
        elif rng.random() < 0.5:
            envid = None
        raw = dsn(canary, action, header, envid, self._envelope.sender)
        self._truth.dsns.add(action)
        if action == "failed":
            self._truth.failed_dsn_s = self._world.now()
        self._world.deliver(BOUNCES, Mail(raw, 0.0, f"dsn-{action}"))
