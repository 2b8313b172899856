"""Port 25 is filtered: at a relay, which then holds what it accepts, or at the agent itself."""

import time

import pytest

from probes.contract.metrics.missing import Standing
from probes.contract.metrics.overtaking import crossing, new_mailbox
from probes.contract.metrics.reordering import new_stream
from probes.contract.metrics.spans import arrival_span
from probes.contract.names import Path
from probes.contract.outcome import Outcome, Timing
from probes.contract.stages import Reason, Result, Stage
from tests.servers.agent_config import config_words
from tests.servers.agents import Crew, run_to_end
from tests.servers.estate import ServerEstate
from tests.servers.journal import Canary, Journal
from tests.servers.postfix import Postfix
from tests.servers.process import wait_until

pytestmark = pytest.mark.servers

ACME = "acme/inbox"
DEADLINE_S = 3.0


def overdue(journal: Journal, relay: str, since_ns: int) -> list[Canary]:
    """Accepted canaries that a complete check, begun after their deadline, did not show."""
    health = journal.health(ACME)
    watermark_ns = 0 if health is None else health.watermark_ns or 0
    return [
        canary
        for canary in journal.canaries(relay=relay, outcome=Outcome.PENDING, since_ns=since_ns)
        if canary.submissions
        and canary.verdict.stage is Stage.TRANSIT
        and canary.submission.sent_ns + DEADLINE_S * 1e9 < watermark_ns
    ]


def holds(estate: ServerEstate, relay: Postfix, canaries: list[Canary]) -> bool:
    """Whether the relay's queue has them all, under their queue ids, and says why."""
    queue = {mail.queue_id: mail for mail in relay.queue()}
    reasons = "".join(mail.reasons for mail in queue.values())
    return (
        {canary.submission.queue_id for canary in canaries} <= set(queue)
        and f"connect to {estate.destination.address}" in reasons
        and "Connection timed out" in reasons
    )


def overtaken(canaries: list[Canary]) -> dict[str, str]:
    """Which canaries were overtaken in the mailbox, each with the relay that carried the other."""
    stream = new_mailbox()
    found = {}
    for canary in sorted(canaries, key=lambda canary: canary.arrival.uid):
        verdict = stream.fold(crossing(canary.submission, canary.arrival))
        if verdict.standing is Standing.REORDERED:
            assert verdict.by_relay is not None
            found[canary.id] = verdict.by_relay
    return found


def assert_per_path_order(canaries: list[Canary]) -> None:
    """RFC 4737 by its definition: a canary is reordered if one with a greater number came first.

    What was held is released at once, so that whether it overtakes itself is the servers' choice.
    """
    stream, greatest = new_stream(first=1), 0
    for canary in sorted(canaries, key=lambda canary: canary.arrival.uid):
        arrival = canary.arrival
        found = stream.fold(arrival.path_seq, arrival_span(arrival.sent_ns, arrival.delay))
        reordered = arrival.path_seq < greatest
        assert found.standing is (Standing.REORDERED if reordered else Standing.IN_ORDER)
        greatest = max(greatest, arrival.path_seq)


def wait_for_held(
    estate: ServerEstate, relay: Postfix, journal: Journal, since_ns: int
) -> list[Canary]:
    """Canaries that the relay has accepted since then and holds past their deadline."""
    journal.wait_for(
        lambda: len(overdue(journal, relay.name, since_ns)) >= 3, "overdue canaries in transit"
    )
    held = overdue(journal, relay.name, since_ns)
    for canary in held:
        assert canary.submission.result is Result.ACCEPTED
        assert canary.submission.queue_id
    wait_until(lambda: holds(estate, relay, held), f"the canaries in the queue of {relay.name}")
    return held


def assert_late(canary: Canary) -> None:
    """It came home once, past its deadline."""
    assert canary.outcome is Outcome.LATE
    assert canary.verdict.timing is Timing.LATE
    assert canary.verdict.delay is not None
    assert canary.verdict.delay.lo > DEADLINE_S
    assert canary.verdict.duplicates == 0


def test_a_filtered_relay_holds_what_comes_home_late_and_overtaken(crew: Crew) -> None:
    """The outage that the project is about, on one relay of five."""
    estate = crew.estate
    filtered, *others = estate.relays
    crew.workplace.write(
        config_words(
            estate,
            deadline=f"{DEADLINE_S:g}s",
        )
    )
    agent = crew.start()
    journal = agent.journal
    everywhere = [(relay.name, ACME) for relay in estate.relays]
    elsewhere = [(relay.name, ACME) for relay in others]
    journal.wait_for_each(everywhere, Outcome.DELIVERED)

    filtered.filter_outbound()
    since_ns = time.time_ns()
    held = wait_for_held(estate, filtered, journal, since_ns)
    journal.wait_for_each(elsewhere, Outcome.DELIVERED, count=3, since_ns=since_ns)
    for relay in others:
        assert not [mail for mail in relay.queue() if "timed out" in mail.reasons]

    filtered.unfilter()
    filtered.flush_queue()
    journal.wait_for(lambda: all(canary.arrivals for canary in held), "the held canaries")
    assert agent.stop() == 0
    for canary in held:
        assert_late(canary)
    home = [canary for canary in journal.canaries(mailbox=ACME) if canary.arrivals]
    by = overtaken(home)
    assert {canary.id for canary in held} <= set(by)
    assert {by[canary.id] for canary in held} <= {relay.name for relay in others}
    for canary in home:
        if canary.relay != filtered.name:
            assert canary.outcome is Outcome.DELIVERED
            assert canary.id not in by or by[canary.id] != canary.relay
    for relay in estate.relays:
        assert_per_path_order([canary for canary in home if canary.relay == relay.name])
    journal.assert_contiguous()


def test_a_filtered_agent_reaches_no_relay_and_says_so(crew: Crew) -> None:
    """Of two agents one has its own port 25 filtered: each reports what it sees, of its own."""
    estate = crew.estate
    site = estate.sites[0]
    site.filter_outbound()
    crew.workplace.write(
        config_words(
            estate,
            agents=["inside", "outside"],
        )
    )
    inside, outside = crew.start("inside", site=site), crew.start("outside")
    everywhere = [(relay.name, ACME) for relay in estate.relays]
    inside.journal.wait_for_each(everywhere, Outcome.UNREACHABLE)
    outside.journal.wait_for_each(everywhere, Outcome.DELIVERED)
    for canary in inside.journal.canaries(outcome=Outcome.UNREACHABLE):
        relay = next(relay for relay in estate.relays if relay.name == canary.relay)
        submission = canary.submission
        assert canary.verdict.stage is Stage.CONNECT
        assert canary.verdict.reason is Reason.TIMEOUT
        assert submission.detail == "connect: timed out after 2 s"
        (attempt,) = submission.attempts
        assert (attempt.address, attempt.reason) == (relay.address, Reason.TIMEOUT)
        assert submission.queue_id is None
    assert not [canary for canary in inside.journal.canaries() if canary.arrivals]

    site.unfilter()
    inside.journal.wait_for_each(everywhere, Outcome.DELIVERED)
    (address,) = {
        canary.submission.source
        for canary in inside.journal.canaries(outcome=Outcome.DELIVERED)
        if canary.submissions
    }
    assert address == site.address
    for agent in (inside, outside):
        assert agent.stop() == 0
        assert {canary.intent.path for canary in agent.journal.canaries()} == {
            Path(agent.name, relay, ACME) for relay, _ in everywhere
        }
        agent.journal.assert_contiguous()


def test_one_shot_and_doctor_name_the_filtered_relay(crew: Crew) -> None:
    """As a Nagios plugin: OK, then CRITICAL for the relay that holds its mail; and the doctor."""
    estate = crew.estate
    work = crew.workplace
    work.write(
        config_words(
            estate,
            deadline="20s",
        )
    )
    probe = work.command("probe", "--nagios", "--wait", "40s")
    doctor = work.command("doctor", "--state", work.directory / "doctor.state", "--json")
    good = run_to_end(probe)
    assert good.returncode == 0, good
    assert good.stdout.startswith("MAIL OK - 5 of 5 home, the slowest after ")
    healthy = run_to_end(doctor)
    assert healthy.returncode == 0, healthy.stdout

    holding, silent = estate.relays[2:4]
    holding.filter_outbound()
    silent.filter_inbound()
    bad = run_to_end(work.command("probe", "--nagios", "--wait", "6s", "--critical", "5s"))
    assert bad.returncode == 2, bad
    assert bad.stdout.startswith("MAIL CRITICAL - 3 of 5 home; ")
    assert f"{holding.name} to {ACME}: accepted, not seen in the mailbox after 6" in bad.stdout
    assert f"{silent.name} to {ACME}: unreachable at connect: timed out after 2 s" in bad.stdout
    ill = run_to_end([*doctor, "--timeout", "2"])
    assert ill.returncode == 1, ill.stdout
    assert f"relay {silent.name}" in ill.stdout

    holding.unfilter()
    holding.flush_queue()
    acme = estate.mailboxes["acme"]
    wait_until(lambda: len(acme.files()) == 1, "the held canary", timeout=30)
