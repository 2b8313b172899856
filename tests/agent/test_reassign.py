"""A new assignment for a running agent: its paths, its relays, and what fails."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from agent.assignment import Assignment, AssignmentError
from probes.contract.config.models import Relay
from probes.contract.events import Arrival, Expiry, Heartbeat, Intent, Submission
from probes.contract.names import Path
from probes.contract.plan import PathPlan
from probes.contract.stages import Reason, Result
from probes.imap import ImapFailure, ImapStage
from probes.smtp import Mail, SendReport
from tests.agent.fakes import (
    ACCEPTED,
    BOUNCES,
    INBOX,
    FakeSmtp,
    InlineSpool,
    S,
    assignment,
    canary_id,
)
from tests.agent.mailbox.benches import play
from tests.agent.reassigning import A1, A2, AT_OTHER, dues, work
from tests.agent.stages import OTHER, Stage

# --- paths ----------------------------------------------------------------------------------


def test_a_path_that_stays_keeps_every_slot_however_often_it_is_assigned(
    inline_spool: InlineSpool,
) -> None:
    moments = random.Random(3)  # noqa: S311 - moments that repeat

    async def story() -> None:
        stage = Stage(inline_spool, first=work(A1, A2))
        await asyncio.sleep(1)
        start_ns = stage.clock.now().wall_ns
        for number in range(200):
            await asyncio.sleep(moments.choice((0.0, 0.001, 0.4, 1.3)))
            some = moments.choice(((A1,), (A1, A2), (AT_OTHER, A1)))
            stage.agent.reassign(work(*some, revision=f"r{number}"))
        end_ns = stage.clock.now().wall_ns - S
        mine = [one for one in stage.intents(A1) if start_ns < one.due_ns <= end_ns]
        assert [one.due_ns for one in mine] == dues(A1, start_ns, end_ns)
        assert all(0 <= one.at_ns - one.due_ns < 5_000_000 for one in mine)
        numbers = [one.path_seq for one in stage.intents(A1)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len({one.revision for one in mine}) > 5
        assert not [s for s in stage.spool.of(Submission) if s.result is Result.UNSENT]
        await stage.end()

    play(story)


def test_another_interval_a_new_path_and_one_that_is_gone(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        stage = Stage(inline_spool, first=work(A1, A2))
        await asyncio.sleep(25.5)
        at_ns = stage.clock.now().wall_ns
        faster = PathPlan(A1.path, 4.0, 1.0, 5.0, 30.0)
        stage.agent.reassign(work(faster, AT_OTHER, revision="r2"))
        await asyncio.sleep(40)
        now_ns = stage.clock.now().wall_ns
        for plan in (faster, AT_OTHER):
            sent = stage.intents(plan, since=at_ns)
            assert [one.due_ns for one in sent] == dues(plan, at_ns, now_ns)
            assert {one.revision for one in sent} == {"r2"}
            # Also a first slot less than a second away is not slept through.
            assert all(one.at_ns - one.due_ns < 5_000_000 for one in sent)
        assert not stage.intents(A2, since=at_ns)
        await stage.end()

    play(story)


def test_a_first_slot_that_is_near_is_met_on_time(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        stage = Stage(inline_spool, first=work())
        await asyncio.sleep(5.25)
        now_ns = stage.clock.now().wall_ns
        phase_s = (now_ns / 1e9 + 0.3) % 10.0
        near = PathPlan(A1.path, 10.0, phase_s, 5.0, 30.0)
        stage.agent.reassign(work(near))
        await asyncio.sleep(0.5)
        [sent] = stage.intents(near)
        assert 0 <= sent.at_ns - sent.due_ns < 5_000_000
        await stage.end()

    play(story)


def test_without_paths_the_agent_idles_and_beats(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        stage = Stage(inline_spool, first=work(A1))
        await asyncio.sleep(20)
        stage.agent.reassign(work(sender=assignment().sender, revision="r2"))
        await asyncio.sleep(60)
        mails, beats = len(stage.smtp.mails), len(stage.spool.of(Heartbeat))
        await asyncio.sleep(60)
        assert (len(stage.smtp.mails), len(stage.spool.of(Heartbeat))) == (mails, beats + 6)
        stage.agent.reassign(work(A1, revision="r3"))
        await asyncio.sleep(11)
        assert len(stage.smtp.mails) == mails + 1
        await stage.end()

    play(story)


# --- relays ---------------------------------------------------------------------------------


def received(by: str) -> bytes:
    """How a relay says that it took a canary from this agent."""
    text = f"Received: from sfo.monitor.example (sfo.monitor.example [192.0.2.9]) by {by}"
    return text.encode() + b" with ESMTP id 1; Thu, 9 Oct 2025 08:53:20 +0000\r\n"


@pytest.mark.parametrize("gone", [True, False])
def test_what_a_relay_carried_is_judged_by_what_it_was_called_then(
    inline_spool: InlineSpool, *, gone: bool
) -> None:
    """A relay that is gone, or that has another name and greets another HELO by now."""

    async def story() -> None:
        first = work(A1)
        host = {"host": "mx7.example.net"}
        named = {name: r.model_copy(update=host) for name, r in first.relays.items()}
        stage = Stage(inline_spool, first=replace(first, relays=named))
        await asyncio.sleep(9)
        assert first.sender is not None
        sender = first.sender.model_copy(update={"helo": "new.monitor.example"})
        new = replace(first, sender=sender)
        stage.agent.reassign(replace(new, paths=(), relays={}) if gone else new)
        stage.deliver(0, extra=received("mx7.example.net"))
        await asyncio.sleep(3)
        [arrived] = stage.spool.of(Arrival)
        assert arrived.carrier is not None
        assert arrived.carrier.relay_as_planned is True
        await stage.end()

    play(story)


def test_a_relay_that_was_held_up_by_its_cap_has_the_new_one(inline_spool: InlineSpool) -> None:
    async def hang(_relay: Relay, _mail: Mail, _dot: Callable[[], None]) -> SendReport:
        await asyncio.sleep(3600)
        return ACCEPTED

    async def story() -> None:
        relays = {
            f"r{i}": assignment().relays["relay-a1"].model_copy(update={"name": f"r{i}"})
            for i in range(300)
        }
        paths = tuple(PathPlan(Path("sfo", name, INBOX), 10.0, 1.0, 5.0, 30.0) for name in relays)
        stage = Stage(inline_spool, FakeSmtp(hang), first=work(paths[0], relays=relays))
        await asyncio.sleep(20)
        stage.agent.reassign(work(*paths, relays=relays, revision="r2"))
        await asyncio.sleep(25)
        # With caps for one relay, 250 on their way would have been the end of it.
        held = [one.reason for one in stage.spool.of(Submission)]
        assert len(stage.smtp.mails) > 550
        assert set(held) <= {Reason.AGENT_CAP}
        await stage.end()

    play(story)


# --- the rest -------------------------------------------------------------------------------


def test_labels_and_how_long_canaries_are_remembered(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        stage = Stage(inline_spool, first=work(A1, remember_s=3600.0))
        stage.inbox().mails.clear()
        await asyncio.sleep(15)
        stage.agent.reassign(work(A1, remember_s=120.0, labels={"site": "ber"}))
        # Unread from now on, its canaries are given up after the new time.
        gone = ImapFailure(ImapStage.IDLE, Reason.CLOSED, "the server has gone")
        stage.inbox().dies = stage.inbox().refuses = gone
        stage.inbox().stirred.set()
        await asyncio.sleep(300)
        given_up = [one for one in stage.spool.of(Expiry) if not one.lost]
        assert canary_id(1) in {one.canary for one in given_up}
        assert stage.spool.of(Heartbeat)[-1].labels == {"site": "ber"}
        await stage.end()

    play(story)


def test_an_assignment_before_the_agent_has_begun_is_the_one_it_begins_with(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        inline_spool.takes_s = 2.0
        stage = Stage(inline_spool, first=work(A1))
        await asyncio.sleep(1)
        stage.agent.reassign(work(AT_OTHER, revision="r2"))
        await asyncio.sleep(2)
        inline_spool.takes_s = 0.0
        await asyncio.sleep(20)
        assert {one.revision for one in stage.spool.of(Intent)} == {"r2"}
        assert stage.watched() == {OTHER, BOUNCES}
        await stage.end()

    play(story)


@dataclass
class Refusing(Stage):
    """Servers that do not take the assignment ``r2``."""

    def assign(self, new: Assignment) -> None:
        """The servers are told."""
        super().assign(new)
        if new.revision == "r2":
            raise RuntimeError("the servers do not take it")


def test_what_fails_leaves_everything_as_it_was(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        stage = Refusing(inline_spool, first=work(A1))
        await asyncio.sleep(9)
        at_ns = stage.clock.now().wall_ns
        another = replace(work(A1), agent="fra")
        with pytest.raises(AssignmentError, match="found agent fra, allowed is sfo"):
            stage.agent.reassign(another)
        with pytest.raises(AssignmentError, match="relay or mailbox is missing"):
            stage.agent.reassign(work(AT_OTHER, mailboxes={}))
        with pytest.raises(RuntimeError, match="do not take it"):
            stage.agent.reassign(work(AT_OTHER, revision="r2"))
        assert stage.assigned[-1].revision == "r1"
        await asyncio.sleep(20)
        sent = stage.intents(A1, since=at_ns)
        assert [one.due_ns for one in sent] == dues(A1, at_ns, stage.clock.now().wall_ns)
        assert {one.revision for one in stage.spool.of(Intent)} == {"r1"}
        assert stage.watched() == {INBOX, BOUNCES}
        await stage.end()

    play(story)
