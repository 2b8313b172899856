"""An agent on a relay sees the outage from inside while another one's canaries are overdue."""

import time

import pytest
import yaml

from probes.contract.events import Check
from probes.contract.outcome import Outcome
from probes.contract.stages import Reason, Stage
from tests.servers.agent_config import Words, config_words
from tests.servers.agents import Crew, RunningAgent
from tests.servers.dovecot import IMAP_PORT
from tests.servers.journal import Canary
from tests.servers.postfix import Postfix

pytestmark = pytest.mark.servers

ACME = "acme/inbox"
NODE = "node"


def configured(crew: Crew, relay: Postfix) -> Words:
    """One agent sends; another sits on ``relay``, sends nothing, and looks outward from there."""
    home, elsewhere = crew.estate.destination, crew.estate.relays[-2]
    words = config_words(crew.estate, deadline="3s")
    words["agents"].append({"name": NODE, "on_relay": relay.name})
    words["destinations"] = [
        {"name": "home", "hosts": [home.address], "controls": [IMAP_PORT]},
        {"name": "elsewhere", "hosts": [elsewhere.address], "reference": True},
    ]
    words["checks"] = [
        {"probe": "egress", "relays": relay.name, "interval": "5s", "timeout": "3s"},
        {"probe": "queue", "relays": relay.name, "interval": "5s", "timeout": "3s"},
    ]
    return words


def start_on(crew: Crew, relay: Postfix) -> RunningAgent:
    """The agent on the relay, whose policy names the program and neither keys nor secrets."""
    listing = ["/usr/sbin/postqueue", "-c", str(relay.directory / "etc"), "-j"]
    policy = {"version": 1, "queue": {"form": "postfix", "command": listing}}
    kept = crew.workplace.policy.read_text()
    crew.workplace.policy.write_text(yaml.safe_dump(policy))
    node = crew.start(NODE, site=relay.namespace)
    node.journal.wait_for(lambda: bool(checks(node, "queue")), "a first look at the queue")
    crew.workplace.policy.write_text(kept)
    return node


def checks(node: RunningAgent, probe: str, since_ns: int = 0) -> list[Check]:
    """Its checks of a kind, of rounds that began after that."""
    node.journal.refresh()
    found = [entry.event for entry in node.journal.entries if isinstance(entry.event, Check)]
    return [one for one in found if one.probe == probe and (one.began_ns or 0) > since_ns]


def concluded(node: RunningAgent, since_ns: int = 0) -> list[Check]:
    """What each round of looking outward came to."""
    return [one for one in checks(node, "egress", since_ns) if one.pattern is not None]


def stuck(node: RunningAgent, canaries: list[Canary], since_ns: int) -> bool:
    """Whether a look at the queue shows all those canaries, by the relay's own ids for them."""
    wanted = {canary.submission.queue_id for canary in canaries}
    return any(
        wanted <= {one.queue_id for one in check.queue.canaries}
        for check in checks(node, "queue", since_ns)
        if check.queue is not None and not check.ok
    )


def test_a_filter_is_seen_and_named_from_inside_and_so_is_its_end(crew: Crew) -> None:
    relay = crew.estate.relays[0]
    crew.workplace.write(configured(crew, relay))
    node = start_on(crew, relay)
    site = crew.start()
    site.journal.wait_for_each([(relay.name, ACME)], Outcome.DELIVERED)
    node.journal.wait_for(lambda: bool(concluded(node)), "a round")
    assert [one.ok for one in concluded(node)] == [True] * len(concluded(node))

    relay.filter_outbound()
    since_ns = time.time_ns()
    node.journal.wait_for(lambda: bool(concluded(node, since_ns)), "a round under the filter")
    first = concluded(node, since_ns)[0]
    # The very first round that began after the filter names it: an interval, and a timeout.
    assert (first.ok, first.stage, first.reason) == (False, Stage.EGRESS_CONNECT, Reason.FILTERED)
    assert (first.agent, first.relay, first.source) == (NODE, relay.name, relay.address)
    assert first.detail is not None
    assert "port 25 times out" in first.detail

    def overdue() -> list[Canary]:
        found = site.journal.canaries(relay=relay.name, outcome=Outcome.PENDING, since_ns=since_ns)
        return [one for one in found if one.submissions and one.submission.queue_id][:3]

    site.journal.wait_for(lambda: len(overdue()) == 3, "canaries that the relay has taken")
    held = overdue()
    node.journal.wait_for(lambda: stuck(node, held, since_ns), "the canaries in the queue")
    last = [one for one in checks(node, "queue", since_ns) if not one.ok][-1]
    assert (last.stage, last.reason) == (Stage.EGRESS_CONNECT, Reason.TIMEOUT)

    relay.unfilter()
    ended_ns = time.time_ns()
    relay.flush_queue()
    node.journal.wait_for(lambda: bool(concluded(node, ended_ns)), "a round after the filter")
    assert concluded(node, ended_ns)[0].ok
    site.journal.wait_for(lambda: all(one.arrivals for one in held), "the held canaries")
    assert (node.stop(), site.stop()) == (0, 0)
    node.journal.assert_contiguous()
    assert not node.journal.canaries()
