"""A reboot in mid-flight: no canary is sent twice or forgotten, and the wall clock takes over."""

import time

import pytest

from probes.contract.message import message_id
from probes.contract.outcome import Outcome
from probes.contract.stages import Result
from tests.servers.accounts import FINAL, accepted_ids, assert_accounted_for, assert_true
from tests.servers.agent_config import Words, at, config_words, customer_words, relay_words
from tests.servers.agents import Crew, RunningAgent
from tests.servers.arrivals import Arrivals
from tests.servers.estate import MONITOR_DOMAIN
from tests.servers.journal import Canary
from tests.servers.proxy import Direction

pytestmark = pytest.mark.servers

ACME = "acme/inbox"
LOSS_AFTER_S = 15
WALL_ERROR_S = 1.0
LATENCY_S = 0.3
# A machine that the agent is started on first thing, and one that was up for years before.
AGES_S = (20, 100_000_000)


def configured(crew: Crew, interval: str) -> Words:
    """All relays to one mailbox; the way to the first is slow, so that a kill cuts attempts off."""
    estate = crew.estate
    front = estate.proxy(estate.relays[0].endpoint)
    front.slow(to_client=Direction(latency=LATENCY_S))
    relays = [
        relay_words(estate.relays[0], **at(front.endpoint)),
        *map(relay_words, estate.relays[1:]),
    ]
    customers = [customer_words(estate, "acme", rule={"interval": interval})]
    return config_words(estate, relays, customers, deadline="5s", loss_after=f"{LOSS_AFTER_S}s")


def in_mid_flight(agent: RunningAgent, since_ns: int) -> bool:
    """Whether one canary is on its way to the slow relay, and two are held by the filtered one."""
    on_its_way = [
        canary
        for canary in agent.journal.canaries(relay="relay-1", since_ns=since_ns)
        if not canary.submissions
    ]
    return bool(on_its_way) and len(held(agent, since_ns)) >= 2


def held(agent: RunningAgent, since_ns: int) -> list[Canary]:
    """The canaries that the filtered relay took since then, and that have not come home."""
    return [
        canary
        for canary in agent.journal.canaries(relay="relay-2", since_ns=since_ns)
        if canary.submissions
        and canary.submission.result is Result.ACCEPTED
        and not canary.arrivals
    ]


def reboot_in_mid_flight(crew: Crew, agent: RunningAgent, age_s: int) -> set[str]:
    """Kill the agent and start it in another boot; gives the canaries that cross over for sure."""
    estate = crew.estate
    relay = estate.relays[1]
    since_ns = time.time_ns()
    relay.filter_outbound()
    agent.journal.wait_for(lambda: in_mid_flight(agent, since_ns), "canaries in mid-flight")
    beats = len(agent.journal.heartbeats())
    crossing = {canary.id for canary in held(agent, since_ns)}
    boot = agent.reboot(age_s)
    agent.journal.wait_for(
        lambda: len(agent.journal.heartbeats()) > beats, "a heartbeat of the other boot"
    )
    assert agent.journal.heartbeats()[-1].boot_id == boot.id
    released_ns = time.time_ns()
    relay.unfilter()
    relay.flush_queue()
    agent.journal.wait_for_each(
        [(relay.name, ACME) for relay in estate.relays], Outcome.DELIVERED, since_ns=released_ns
    )
    return crossing


def measured_by(canaries: list[Canary], clock: str) -> list[Canary]:
    return [canary for canary in canaries if canary.arrivals and canary.arrival.clock == clock]


@pytest.mark.timeout(240)
def test_an_agent_rebooted_in_mid_flight_goes_on_by_the_wall_clock(crew: Crew) -> None:
    """Twice: into a boot clock that is behind the one before, and into one that is far ahead."""
    estate = crew.estate
    taken_before = accepted_ids(estate)
    config = configured(crew, "500ms")
    crew.workplace.write(config)
    with Arrivals([estate.mailboxes["acme"]]) as truth:
        agent = crew.start()
        everywhere = [(relay.name, ACME) for relay in estate.relays]
        agent.journal.wait_for_each(everywhere, Outcome.DELIVERED)
        crossings = [reboot_in_mid_flight(crew, agent, age_s) for age_s in AGES_S]
        # And once more in the same boot, without new canaries: their time is years away.
        config["customers"][0]["canaries"][0]["interval"] = "365d"
        crew.workplace.write(config)
        agent.kill()
        agent.start()
        agent.journal.wait_for(
            lambda: {canary.outcome for canary in agent.journal.canaries()} <= FINAL,
            "an end for every canary",
        )
        assert agent.stop() == 0
        canaries = agent.journal.canaries()
        known = {c.id for c in canaries if c.arrivals and assert_true(truth, c)}
    agent.journal.assert_contiguous()

    taken = accepted_ids(estate) - taken_before
    assert max(taken.values()) == 1
    assert set(taken) <= {message_id(canary.id, MONITOR_DOMAIN) for canary in canaries}
    for canary in canaries:
        assert_accounted_for(canary, arrived=message_id(canary.id, MONITOR_DOMAIN) in taken)
    by_wall = measured_by(canaries, "wall")
    for crossing in crossings:
        assert crossing <= {canary.id for canary in by_wall}
        assert crossing & known
    for canary in by_wall:
        delay = canary.arrival.delay
        assert delay.hi - delay.lo >= WALL_ERROR_S
    assert measured_by(canaries, "boottime")
    assert any(canary.was_interrupted for canary in canaries)
