"""Canaries through every relay and home again: what is said of them is what happened."""

from collections.abc import Iterable

import pytest

from probes.contract.message import message_id
from probes.contract.outcome import Outcome, Timing
from tests.ports import free_port
from tests.servers.accounts import assert_true
from tests.servers.agent_config import at, config_words, customer_words, relay_words
from tests.servers.agents import Crew
from tests.servers.arrivals import Arrivals
from tests.servers.estate import MONITOR_DOMAIN, ServerEstate
from tests.servers.journal import Canary
from tests.servers.postfix import Postfix
from tests.servers.process import wait_until
from tests.servers.proxy import Direction

pytestmark = pytest.mark.servers

LATENCY_S = 0.3
SLOW_STAGES = ("banner", "ehlo", "mail", "rcpt", "data", "accept")
"""Those in which the agent waits for a reply."""


def assert_queued_as_said(relay: Postfix, canary: Canary) -> None:
    """The relay's log has the canary under the queue id that the agent wrote down."""
    expected = f"{canary.submission.queue_id}: message-id={message_id(canary.id, MONITOR_DOMAIN)}"
    wait_until(lambda: expected in relay.log.read_text(), f"{expected} in the log of {relay.name}")


def assert_way_home(estate: ServerEstate, relay: Postfix, canary: Canary) -> None:
    """Agent to relay to destination to Dovecot, and nothing else carried it."""
    to_relay, to_destination, to_mailbox = canary.arrival.hops
    assert (to_relay.by, to_relay.address) == (relay.hostname, estate.gateway)
    assert to_relay.helo == f"site.{MONITOR_DOMAIN}"
    assert (to_destination.by, to_destination.helo, to_destination.address) == (
        estate.destination.hostname,
        relay.hostname,
        relay.address,
    )
    assert to_mailbox.by == "imap.estate.example"
    assert to_mailbox.protocol is not None
    assert to_mailbox.protocol.startswith("LMTP")
    carrier = canary.arrival.carrier
    assert carrier is not None
    assert (carrier.relay_as_planned, carrier.relay_seen) == (True, relay.hostname)
    assert (carrier.egress_as_planned, carrier.egress_seen) == (True, relay.address)


def assert_numbered(canaries: Iterable[Canary]) -> None:
    """Every path and every mailbox numbers its canaries from 1 without a gap."""
    by_path: dict[str, list[int]] = {}
    by_mailbox: dict[str, list[int]] = {}
    for canary in canaries:
        by_path.setdefault(str(canary.intent.path), []).append(canary.intent.path_seq)
        by_mailbox.setdefault(canary.mailbox, []).append(canary.intent.mailbox_seq)
    for numbers in (*by_path.values(), *by_mailbox.values()):
        assert numbers == list(range(1, len(numbers) + 1))


def assert_home(estate: ServerEstate, login: Postfix, canary: Canary) -> None:
    """It came home in time, once, as it was sent; over TLS if through the relay with a login."""
    relay = next(relay for relay in estate.relays if relay.name == canary.relay)
    assert canary.verdict.timing is Timing.IN_TIME
    assert canary.verdict.duplicates == 0
    assert canary.verdict.junk is (canary.mailbox == "initech/inbox")
    assert canary.arrival.clock == "boottime"
    assert_way_home(estate, relay, canary)
    assert_queued_as_said(relay, canary)
    tls = canary.submission.tls
    assert (tls is not None and tls.verified) is (relay is login)
    assert (canary.arrival.hops[0].tls is not None) is (relay is login)


def test_healthy_paths_come_home_with_true_delays(crew: Crew) -> None:
    """Five relays, one with STARTTLS and a login; three mailboxes, one whose mail goes to Junk."""
    estate = crew.estate
    login = estate.relays[1]
    estate.require_login(login)
    crew.workplace.secrets["relay-2"] = estate.mailboxes["globex"].password
    auth = {"user": estate.mailboxes["globex"].user, "secret": "relay-2"}
    relays = [
        relay_words(relay, **({"tls": "starttls", "auth": auth} if relay is login else {}))
        for relay in estate.relays
    ]
    junked = {"address": estate.mailboxes["initech"].junk_address}
    customers = [
        customer_words(estate, "acme"),
        customer_words(estate, "globex", rule={"interval": "2s"}),
        customer_words(
            estate,
            "initech",
            mailbox=junked,
            rule={"relays": ["relay-1", "relay-2"], "interval": "2s"},
        ),
    ]
    crew.workplace.write(config_words(estate, relays, customers))
    paths = [
        (relay.name, f"{customer}/inbox")
        for relay in estate.relays
        for customer in ("acme", "globex")
    ]
    paths += [("relay-1", "initech/inbox"), ("relay-2", "initech/inbox")]
    with Arrivals([estate.mailboxes["acme"], estate.mailboxes["globex"]]) as truth:
        agent = crew.start(metrics=free_port())
        agent.journal.wait_for_each(paths, Outcome.DELIVERED, count=2)
        assert 'mailcanary_agent_mailbox_in_flight{mailbox="acme/inbox"}' in agent.scrape()
        assert agent.stop() == 0
        journal = agent.journal
        home = [canary for canary in journal.canaries() if canary.arrivals]
        known = [canary for canary in home if assert_true(truth, canary)]
    assert {(canary.relay, canary.mailbox) for canary in known} >= set(paths[:10])
    assert {canary.outcome for canary in journal.canaries()} <= {
        Outcome.DELIVERED,
        Outcome.PENDING,
    }
    for canary in home:
        assert_home(estate, login, canary)
    assert_numbered(journal.canaries())
    journal.assert_contiguous()


def phases(canaries: list[Canary], stage: str) -> list[float]:
    return [canary.submission.phases[stage] for canary in canaries]


def assert_carried_by(address: str, canary: Canary) -> None:
    """It left the planned relay by an address that was not planned."""
    carrier = canary.arrival.carrier
    assert carrier is not None
    assert carrier.relay_as_planned
    assert (carrier.egress_as_planned, carrier.egress_seen) == (False, address)


def test_slow_parts_show_where_they_are(crew: Crew) -> None:
    """The way to relay 1, the way from relay 2 to the destination, and IMAP of globex are slow."""
    estate = crew.estate
    front = estate.proxy(estate.relays[0].endpoint)
    front.slow(to_client=Direction(latency=LATENCY_S))
    estate.detour(estate.relays[1]).slow(to_client=Direction(latency=2 * LATENCY_S))
    imap = estate.proxy(estate.dovecot.imaps)
    imap.slow(to_client=Direction(latency=LATENCY_S))
    relays = [
        relay_words(relay, **(at(front.endpoint) if index == 0 else {}))
        for index, relay in enumerate(estate.relays[:3])
    ]
    customers = [
        customer_words(estate, "acme"),
        customer_words(estate, "globex", imap=imap.endpoint),
    ]
    # The certificate there does not name the proxy.
    crew.workplace.write(config_words(estate, relays, customers), unverified=["globex/imap"])
    paths = [(relay["name"], box) for relay in relays for box in ("acme/inbox", "globex/inbox")]
    with Arrivals([estate.mailboxes["acme"], estate.mailboxes["globex"]]) as truth:
        agent = crew.start()
        agent.journal.wait_for_each(paths, Outcome.DELIVERED, count=3)
        assert agent.stop() == 0
        home = agent.journal.canaries(outcome=Outcome.DELIVERED)
        known = [canary for canary in home if assert_true(truth, canary)]
    assert {(canary.relay, canary.mailbox) for canary in known} >= set(paths)
    slow_front, slow_back, healthy = (
        [canary for canary in home if canary.relay == relay["name"]] for relay in relays
    )
    # A busy agent sees the end of one stage, which is the beginning of the next, a little late.
    for stage in SLOW_STAGES:
        assert min(phases(slow_front, stage)) >= LATENCY_S / 2
        for unharmed in (slow_back, healthy):
            assert min(phases(unharmed, stage)) < LATENCY_S / 2
    for canary in slow_front:
        assert sum(canary.submission.phases.values()) >= 0.95 * len(SLOW_STAGES) * LATENCY_S
    # The mail is with the relay before its last reply, that to the final dot, comes.
    assert min(canary.arrival.delay.lo for canary in slow_front) >= 5 * LATENCY_S
    # At least one reply to the envelope; on a new connection banner and EHLO come before it.
    assert min(canary.arrival.delay.hi for canary in slow_back) >= 2 * LATENCY_S
    assert max(canary.arrival.delay.hi for canary in slow_back) >= 6 * LATENCY_S
    assert max(canary.arrival.hops[1].delay_s or 0 for canary in slow_back) >= 1
    for canary in slow_back:
        assert_carried_by(estate.gateway, canary)
    # A mail cannot have been seen sooner than the answer that shows it took to come back.
    slow_reader = [canary for canary in healthy if canary.mailbox == "globex/inbox"]
    assert min(canary.arrival.delay.hi for canary in slow_reader) >= LATENCY_S
