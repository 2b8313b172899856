"""From the configuration to what one agent has to look at from its relay; pure, deterministic."""

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from probes.contract.config.models import CheckRule, Config, Destination, ProbeKind
from probes.contract.config.selection import selects


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """One look, taken again every ``interval_s`` seconds; each part of it within ``timeout_s``.

    ``sources`` are the addresses of the relay to look from, ``canary_senders`` the envelope senders
    by which canaries in the relay's queue are known, in lower case.
    """

    agent: str
    relay: str
    probe: ProbeKind
    interval_s: float
    timeout_s: float
    sources: tuple[IPv4Address | IPv6Address, ...] = ()
    destinations: tuple[Destination, ...] = ()
    canary_senders: frozenset[str] = frozenset()

    @property
    def words(self) -> str:
        """What it is, in one line: the same in each revision as long as the look is the same."""
        towards = ",".join(one.name for one in self.destinations)
        return f"{self.agent}|{self.probe}|{self.relay}|{towards}"

    def within(self, limit_s: float) -> "CheckPlan":
        """The same, but no part of a look takes longer than that."""
        return replace(self, timeout_s=min(self.timeout_s, limit_s))


def check_plans(config: Config, agent: str) -> tuple[CheckPlan, ...]:
    """What ``agent`` has to look at; nothing for one that sits on no relay, or is not there."""
    mine = next((one for one in config.agents if one.name == agent), None)
    relay = next((one for one in config.relays if mine and one.name == mine.on_relay), None)
    if mine is None or relay is None:
        return ()
    senders = frozenset(one.sender.address.lower() for one in config.agents if one.sender)
    return tuple(
        CheckPlan(
            agent=agent,
            relay=relay.name,
            probe=rule.probe,
            interval_s=rule.interval,
            timeout_s=rule.timeout,
            sources=mine.sources or relay.egress,
            destinations=tuple(one for one in config.destinations if looks_at(rule, one)),
            canary_senders=senders if rule.probe is ProbeKind.QUEUE else frozenset(),
        )
        for rule in config.checks
        if selects(rule.relays, relay)
    )


def looks_at(rule: CheckRule, destination: Destination) -> bool:
    """Whether a rule is about that destination."""
    return rule.probe is ProbeKind.EGRESS and selects(rule.destinations, destination)
