"""Mailboxes that cannot be read for a while: nothing is missed, and no mail is blamed for it."""

import time

import pytest

from probes.contract.events import Expiry
from probes.contract.outcome import Outcome, Timing
from tests.servers.agent_config import config_words
from tests.servers.agents import Crew, RunningAgent
from tests.servers.arrivals import Arrivals
from tests.servers.journal import Canary, Journal

pytestmark = pytest.mark.servers

ACME = "acme/inbox"
DEADLINE_S = 2.0
LOSS_AFTER_S = 6.0


def out_for(journal: Journal, seconds: float, since_ns: int) -> bool:
    """Whether a canary accepted since then has been on its way for so long."""
    before_ns = time.time_ns() - round(seconds * 1e9)
    return any(
        canary.submissions and canary.submission.at_ns < before_ns
        for canary in journal.canaries(outcome=Outcome.PENDING, since_ns=since_ns)
    )


def assert_just(truth: Arrivals, canary: Canary) -> None:
    """It is called late, or lost, only if it was."""
    moved = truth.of(canary.id)
    if moved is None:
        return
    delay_s = (moved.not_after_ns - canary.arrival.sent_ns) / 1e9
    if canary.verdict.timing is Timing.LATE:
        assert delay_s > DEADLINE_S, (canary, moved)
    if canary.verdict.timing is Timing.IN_TIME:
        assert (moved.not_before_ns - canary.arrival.sent_ns) / 1e9 <= DEADLINE_S, (canary, moved)
    for expiry in canary.expiries:
        assert expiry.watermark_ns is not None
        assert expiry.watermark_ns <= moved.not_after_ns, (canary, moved)


def start(crew: Crew) -> RunningAgent:
    estate = crew.estate
    crew.workplace.write(
        config_words(
            estate,
            deadline=f"{DEADLINE_S:g}s",
            loss_after=f"{LOSS_AFTER_S:g}s",
        )
    )
    agent = crew.start()
    agent.journal.wait_for_each([(relay.name, ACME) for relay in estate.relays], Outcome.DELIVERED)
    return agent


def test_a_dovecot_that_was_down_costs_no_arrival_and_makes_no_mail_late(crew: Crew) -> None:
    """First it is stopped; then it takes mail and refuses readers, for longer than `loss_after`."""
    estate = crew.estate
    with Arrivals([estate.mailboxes["acme"]]) as truth:
        agent = start(crew)
        journal = agent.journal
        stopped_ns = time.time_ns()
        estate.dovecot.stop()
        journal.wait_for(lambda: out_for(journal, DEADLINE_S + 1, stopped_ns), "overdue canaries")
        estate.dovecot.start()
        for relay in estate.relays:
            relay.flush_queue()
        estate.destination.flush_queue()
        started_ns = time.time_ns()
        everywhere = [(relay.name, ACME) for relay in estate.relays]
        journal.wait_for_each(everywhere, Outcome.DELIVERED, since_ns=started_ns)

        refused_ns = time.time_ns()
        estate.dovecot.refuse_imap()
        journal.wait_for(lambda: out_for(journal, LOSS_AFTER_S + 2, refused_ns), "unread canaries")
        estate.dovecot.unfilter()
        read_ns = time.time_ns()
        journal.wait_for_each(everywhere, Outcome.DELIVERED, since_ns=read_ns)

        accepted = [canary for canary in journal.canaries() if canary.submissions]
        journal.wait_for(lambda: all(canary.arrivals for canary in accepted), "every canary")
        assert agent.stop() == 0
    home = [canary for canary in journal.canaries() if canary.arrivals]
    for canary in home:
        assert canary.verdict.duplicates == 0
        assert_just(truth, canary)
    assert not journal.canaries(outcome=Outcome.LOST)
    unread = [
        canary
        for canary in home
        if refused_ns + 1e9 < canary.intent.due_ns < read_ns - (DEADLINE_S + 1) * 1e9
    ]
    assert unread
    for canary in unread:
        assert (canary.outcome, canary.verdict.timing) == (Outcome.DELIVERED, Timing.UNCERTAIN)
    assert not [
        entry
        for entry in journal.entries
        if isinstance(entry.event, Expiry) and refused_ns < entry.event.at_ns
    ]
    journal.assert_contiguous()
