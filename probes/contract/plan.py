"""Which canary is due when: a pure function of the configuration; ``docs/plan.md`` explains it.

Each rule and relay make one periodic stream with a random phase (RFC 3432 section 4), whose slots
go to the (agent, mailbox) pairs in turn. What looks random is a hash of names, so that every agent
works out the same plan without talking to anybody, and an edit moves only what it is about.

Nothing is stored per path: an agent's paths are expanded when asked for.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from probes.contract.config.models import Config
from probes.contract.config.rates import Rates, rates
from probes.contract.config.selection import Group, groups
from probes.contract.names import Path
from probes.contract.units import NS_PER_S

JITTER = 0.1
"""Share of a stream's interval by which a canary may be later than its slot."""

_MASK = (1 << 64) - 1
_MIX = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio: odd, its bits spread evenly


class PathPlan(msgspec.Struct, frozen=True, gc=False):
    """When the canaries of one path are due. All times are seconds.

    Slot ``k`` begins ``phase_s + k * period_s`` after the Unix epoch, with ``0 <= phase_s <
    period_s``; its canary is due up to ``jitter_s`` later.
    """

    path: Path
    period_s: float
    phase_s: float
    deadline_s: float
    loss_after_s: float
    jitter_s: float = 0.0


def _hash64(*names: str) -> int:
    # NUL occurs in no name, so that different names never join to the same text.
    text = "\0".join(names).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8, person=b"mailcanary plan").digest())


def due_ns(plan: PathPlan, slot: int) -> int:
    """When the canary of ``slot`` is due, in nanoseconds since the Unix epoch."""
    period = round(plan.period_s * NS_PER_S)
    jitter = round(plan.jitter_s * NS_PER_S)
    path = plan.path
    drawn = _hash64("due", path.agent, path.relay, path.mailbox, str(slot)) if jitter else 0
    # Scaled by multiplication: the largest draw stays below the jitter, and so below the next slot.
    return round(plan.phase_s * NS_PER_S) + slot * period + (drawn * jitter >> 64)


def slot_after(plan: PathPlan, after_ns: int) -> int:
    """The first slot whose canary is due after ``after_ns``."""
    period = round(plan.period_s * NS_PER_S)
    slot = (after_ns - round(plan.phase_s * NS_PER_S)) // period
    return slot if due_ns(plan, slot) > after_ns else slot + 1


def next_due_ns(plan: PathPlan, after_ns: int) -> int:
    """The first due time after ``after_ns``, in nanoseconds since the Unix epoch."""
    return due_ns(plan, slot_after(plan, after_ns))


def due_times_ns(plan: PathPlan, after_ns: int) -> Iterator[int]:
    """All due times after ``after_ns``, ascending, without end."""
    slot = slot_after(plan, after_ns)
    while True:
        yield due_ns(plan, slot)
        slot += 1


@dataclass(slots=True)
class Share:
    """What one agent may send: canaries a minute for each relay and each mailbox that it uses.

    The shares of all agents add up to ``max_per_minute``; each is at least what the plan wants.
    """

    relays: dict[str, float] = field(default_factory=dict)
    mailboxes: dict[str, float] = field(default_factory=dict)


class Plan:
    """All paths of a configuration, in compact form."""

    def __init__(self, of: Iterable[Group], limits: Share) -> None:
        self._groups = list(of)
        self._limits = limits
        self._rates: Rates | None = None
        # Every stream of a group draws from the same pairs, so each pair is hashed once.
        self._pairs = [_pairs(group) for group in self._groups]

    @property
    def path_count(self) -> int:
        """How many paths there are."""
        return sum(group.paths for group in self._groups)

    def paths(self) -> Iterator[PathPlan]:
        """Every path of every agent."""
        for group, pairs in zip(self._groups, self._pairs, strict=True):
            yield from _expand(group, pairs, None)

    def for_agent(self, agent: str) -> list[PathPlan]:
        """The paths that ``agent`` sends on; none for an unknown agent."""
        return [
            path_plan
            for group, pairs in zip(self._groups, self._pairs, strict=True)
            if agent in group.agents
            for path_plan in _expand(group, pairs, agent)
        ]

    def rates(self) -> Rates:
        """Canaries a minute per relay, mailbox, customer and agent."""
        if self._rates is None:
            self._rates = rates(self._groups)
        return self._rates

    def shares(self) -> dict[str, Share]:
        """Each agent's part of the budgets, divided in proportion to the planned rates."""
        planned = self.rates()
        shares: defaultdict[str, Share] = defaultdict(Share)
        for agent, relays in planned.by_agent_relay.items():
            for relay, rate in relays.items():
                part = rate / planned.relays[relay]
                shares[agent].relays[relay] = self._limits.relays[relay] * part
        for agent, mailboxes in planned.by_agent_mailbox.items():
            for mailbox, rate in mailboxes.items():
                part = rate / planned.mailboxes[mailbox]
                shares[agent].mailboxes[mailbox] = self._limits.mailboxes[mailbox] * part
        return dict(shares)


def plan(config: Config) -> Plan:
    """The plan of ``config``, which must have passed its checks: no path is in two rules."""
    limits = Share(
        relays={relay.name: relay.max_per_minute for relay in config.relays},
        mailboxes={
            f"{customer.name}/{box.name}": box.max_per_minute
            for customer in config.customers
            for box in customer.mailboxes
        },
    )
    return Plan(groups(config), limits)


_Pair = tuple[int, str, str]
"""Hash, agent, mailbox."""


def _pairs(group: Group) -> list[_Pair]:
    return [
        (_hash64("pair", agent, mailbox), agent, mailbox)
        for agent in group.agents
        for mailbox in group.mailboxes
    ]


def _expand(group: Group, pairs: list[_Pair], only: str | None) -> Iterator[PathPlan]:
    if group.per_path:
        return _expand_per_path(group, pairs, only)
    return _expand_per_relay(group, pairs, only)


def _expand_per_path(group: Group, pairs: list[_Pair], only: str | None) -> Iterator[PathPlan]:
    interval = round(group.interval_s * NS_PER_S)
    jitter_s = interval * JITTER / NS_PER_S
    for relay in group.relays:
        for _, agent, mailbox in pairs:
            if only is None or agent == only:
                phase = _hash64("path", agent, relay, mailbox) % interval
                yield PathPlan(
                    Path(agent, relay, mailbox),
                    interval / NS_PER_S,
                    phase / NS_PER_S,
                    group.deadline_s,
                    group.loss_after_s,
                    jitter_s,
                )


def _expand_per_relay(group: Group, pairs: list[_Pair], only: str | None) -> Iterator[PathPlan]:
    interval = round(group.interval_s * NS_PER_S)
    period_s = interval * len(pairs) / NS_PER_S
    jitter_s = interval * JITTER / NS_PER_S
    for relay in group.relays:
        seed = _hash64("stream", group.customer, relay, group.words)
        phase = seed % interval
        # A pair's hash mixed with the stream's: each relay takes the pairs in an order of its own,
        # without a digest for every path.
        order = sorted(((pair[0] ^ seed) * _MIX & _MASK, pair) for pair in pairs)
        for turn, (_, (_, agent, mailbox)) in enumerate(order):
            if only is None or agent == only:
                yield PathPlan(
                    Path(agent, relay, mailbox),
                    period_s,
                    (phase + turn * interval) / NS_PER_S,
                    group.deadline_s,
                    group.loss_after_s,
                    jitter_s,
                )
