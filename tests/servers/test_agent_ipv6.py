"""Over IPv6, and from there to IPv4 when IPv6 leads nowhere; the address used is written down."""

import time

import pytest

from probes.contract.outcome import Outcome
from probes.contract.stages import Reason, Stage
from tests.servers.agent_config import STEPS, config_words, customer_words, relay_words
from tests.servers.agents import Crew, RunningAgent
from tests.servers.journal import Canary
from tests.servers.namespaces import KERNEL_HAS_IPV6

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(not KERNEL_HAS_IPV6, reason="the kernel knows no IPv6"),
]

ACME = "acme/inbox"
CONNECT_S = 2.0
LITERAL, BOTH, ONLY_IPV4 = "relay-1", "relay-2", "relay-3"


def start(crew: Crew) -> RunningAgent:
    """Three relays: one by its IPv6 address, two by names with both, one of these bound to IPv4."""
    estate, site = crew.estate, crew.estate.sites[0]
    relays = dict(zip((LITERAL, BOTH, ONLY_IPV4), estate.relays, strict=False))
    site.resolve(
        {relay.hostname: [relay.address, relay.address6] for relay in relays.values()}
        | {"imap.estate.example": [estate.dovecot.imaps6.host]}
    )
    words = [
        relay_words(relays[LITERAL], host=relays[LITERAL].address6),
        relay_words(relays[BOTH], host=relays[BOTH].hostname),
        relay_words(
            relays[ONLY_IPV4], host=relays[ONLY_IPV4].hostname, source_address=site.address
        ),
    ]
    imap = estate.dovecot.imaps6._replace(host="imap.estate.example")
    assert STEPS["connect"] == f"{CONNECT_S:g}s"
    crew.workplace.write(config_words(estate, words, [customer_words(estate, "acme", imap=imap)]))
    return crew.start(site=site)


def home(agent: RunningAgent, relay: str, since_ns: int) -> Canary:
    """A canary that was due since then and has come home through that relay."""
    agent.journal.wait_for_each([(relay, ACME)], Outcome.DELIVERED, since_ns=since_ns)
    return agent.journal.canaries(relay=relay, outcome=Outcome.DELIVERED, since_ns=since_ns)[0]


def went(canary: Canary) -> tuple[str | None, str | None]:
    """From which address to which."""
    return canary.submission.source, canary.submission.peer


def test_ipv6_is_used_and_when_it_is_dropped_ipv4_is(crew: Crew) -> None:
    """What IPv6 cost is kept; only a relay that has no other address cannot be reached."""
    estate, site = crew.estate, crew.estate.sites[0]
    literal, both, only_ipv4 = estate.relays[:3]
    agent = start(crew)
    by_ipv6 = {LITERAL: literal, BOTH: both}
    for name, relay in by_ipv6.items():
        canary = home(agent, name, 0)
        assert went(canary) == (site.address6, relay.address6)
        assert canary.submission.attempts == []
        # Postfix wrote down the same.
        assert (canary.arrival.hops[0].by, canary.arrival.hops[0].address) == (
            relay.hostname,
            site.address6,
        )
    assert went(home(agent, ONLY_IPV4, 0)) == (site.address, only_ipv4.address)

    site.filter_outbound(family="ipv6")
    filtered_ns = time.time_ns()
    fallen_back = home(agent, BOTH, filtered_ns)
    assert went(fallen_back) == (site.address, both.address)
    [attempt] = fallen_back.submission.attempts
    assert (attempt.address, attempt.reason) == (both.address6, Reason.TIMEOUT)
    # Event loops' timers may ring a fraction of a millisecond early.
    assert attempt.elapsed_s >= CONNECT_S - 0.05
    assert fallen_back.submission.phases[Stage.CONNECT] >= CONNECT_S - 0.05
    assert home(agent, ONLY_IPV4, filtered_ns).submission.attempts == []
    agent.journal.wait_for_each([(LITERAL, ACME)], Outcome.UNREACHABLE)
    lost = agent.journal.canaries(relay=LITERAL, outcome=Outcome.UNREACHABLE)[0].submission
    assert (lost.stage, lost.reason, lost.peer) == (Stage.CONNECT, Reason.TIMEOUT, None)
    assert [attempt.address for attempt in lost.attempts] == [literal.address6]

    site.unfilter()
    unfiltered_ns = time.time_ns()
    for name, relay in by_ipv6.items():
        assert went(home(agent, name, unfiltered_ns)) == (site.address6, relay.address6)
    assert agent.stop() == 0
    agent.journal.assert_contiguous()
