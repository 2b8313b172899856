"""Checks of what is looked at from the relays' own side: destinations and the rules over them."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import combinations

from probes.contract.config.looks import looks
from probes.contract.config.models import Agent, CheckRule, Destination, ProbeKind
from probes.contract.config.parts import Draft, Part, shown_name, values
from probes.contract.config.references import may_select, selection
from probes.contract.config.selection import selects
from probes.contract.errors import Problem
from probes.contract.units import format_duration

MANY_PER_MINUTE = 600.0
"""Connections a minute to one host: beyond it, its owner may take it for an attack."""
SECOND_TRY_S = 3.0
"""By then TCP has tried a second time (RFC 6298 section 2.1), and waited for the answer."""


def outward(draft: Draft) -> Iterator[Problem]:
    """Destinations that are none, and rules that select nothing, overlap, or cannot be kept."""
    for agent in draft.agents:
        yield from _sources(agent)
    for destination in draft.destinations:
        yield from _destination(destination)
        yield from _ports(destination)
    for rule in draft.checks:
        yield from _selections(draft, rule)
        yield from _times(rule)
    yield from _overlaps(draft)


def outward_warnings(draft: Draft) -> Iterator[Problem]:
    """Rules that nobody carries out, that cannot tell one cause from another, or look too often."""
    for part in draft.checks:
        rule = part.value
        if rule is None or not part.sound("probe"):
            continue
        yield from _nobody_there(draft, part, rule)
        if rule.probe is ProbeKind.EGRESS:
            yield from _nothing_to_compare(draft, part, rule)
            yield from _one_try(part, rule)
    yield from _too_often(draft)


def _sources(part: Part[Agent]) -> Iterator[Problem]:
    agent = part.value
    if agent is None:
        return
    if agent.sources and agent.on_relay is None and part.sound("on_relay"):
        what = "sources of an agent that sits on no relay"
        yield part.place.problem("sources", found=what, allowed="none, or an on_relay")
    seen: set[object] = set()
    for index, address in enumerate(agent.sources):
        if not part.sound("sources", index):
            continue
        if address in seen:
            what = f"{str(address)!r} a second time"
            yield part.place.problem("sources", index, found=what, allowed="each address once")
        seen.add(address)


def _destination(part: Part[Destination]) -> Iterator[Problem]:
    one, place = part.value, part.place
    if one is None or () in part.faulty:
        return
    hosts = bool(one.hosts) or not part.sound("hosts")
    domain = one.domain is not None or not part.sound("domain")
    if not domain and not hosts:
        yield place.problem(found="neither domain nor hosts", allowed="one of the two")
    elif domain and hosts:
        yield place.problem("hosts", found="hosts beside a domain", allowed="one of the two")
    if one.domain is not None and part.sound("domain") and _is_address(one.domain):
        what = f"the address {one.domain!r}"
        yield place.problem("domain", found=what, allowed="a domain; an address stands in hosts")
    seen: set[str] = set()
    for index, host in enumerate(one.hosts):
        if part.sound("hosts", index):
            if host.lower() in seen:
                what = f"{host!r} a second time"
                yield place.problem("hosts", index, found=what, allowed="each host once")
            seen.add(host.lower())


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _ports(part: Part[Destination]) -> Iterator[Problem]:
    one, place = part.value, part.place
    seen: set[int] = set()
    for index, port in enumerate(() if one is None else one.controls):
        if one is None or not part.sound("controls", index):
            continue
        if port == one.port and part.sound("port"):
            what = f"{port}, the port that mail goes to"
            yield place.problem("controls", index, found=what, allowed="another port")
        elif port in seen:
            what = f"{port} a second time"
            yield place.problem("controls", index, found=what, allowed="each port once")
        seen.add(port)


def _selections(draft: Draft, part: Part[CheckRule]) -> Iterator[Problem]:
    rule = part.value
    if rule is None:
        return
    if draft.main.sound("relays"):
        yield from selection(part, "relays", draft.relays, "relay")
    if not part.sound("probe"):
        return
    if rule.probe is ProbeKind.EGRESS:
        if draft.main.sound("destinations"):
            yield from selection(part, "destinations", draft.destinations, "destination")
    elif "destinations" in rule.model_fields_set or not part.sound("destinations"):
        what = f"destinations of a {rule.probe} check"
        yield part.place.problem("destinations", found=what, allowed="none")


def _times(part: Part[CheckRule]) -> Iterator[Problem]:
    rule = part.value
    if rule is None or not (part.sound("interval") and part.sound("timeout")):
        return
    if rule.timeout > rule.interval:
        # Of a default nobody knows that it is there: the one that is written is to blame.
        key = "timeout" if "timeout" in rule.model_fields_set else "interval"
        what = f"timeout {format_duration(rule.timeout)}"
        allowed = f"at most the interval, {format_duration(rule.interval)}"
        yield part.place.problem(key, found=what, allowed=allowed)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What a rule looks at; ``destinations`` only of those that look at some."""

    part: Part[CheckRule]
    probe: ProbeKind
    relays: frozenset[str]
    destinations: frozenset[str]


def _overlaps(draft: Draft) -> Iterator[Problem]:
    """The same look asked for twice: its results would be two histories of one thing."""
    told: set[int] = set()
    for first, other in combinations(_chosen(draft), 2):
        relays = first.relays & other.relays
        destinations = first.destinations & other.destinations
        egress = first.probe is ProbeKind.EGRESS
        if first.probe is not other.probe or not relays:
            continue
        if id(other) in told:
            continue
        told.add(id(other))
        more = len(relays) * (len(destinations) or 1) - 1
        what = f"{first.probe} {'from' if egress else 'of'} {shown_name(min(relays))}"
        what += f" towards {shown_name(min(destinations))}" if egress and destinations else ""
        what += f" and {more} more" if more else ""
        looks = "looks at as well" if destinations or not egress else "looks out from as well"
        what += f", which the rule in line {first.part.place.line} {looks}"
        # Else a filter would be judged by a part of what is seen, twice, and differently.
        allowed = "one rule with all destinations" if egress else "each look in one rule only"
        yield other.part.place.problem(found=what, allowed=allowed)


def _chosen(draft: Draft) -> Iterator[_Chosen]:
    for part in draft.checks:
        rule = part.value
        if rule is None or not (part.sound("probe") and part.sound("relays")):
            continue
        relays = [one.name for one in values(draft.relays) if selects(rule.relays, one)]
        destinations: list[str] = []
        if rule.probe is ProbeKind.EGRESS:
            if not part.sound("destinations"):
                continue
            every = values(draft.destinations)
            destinations = [one.name for one in every if selects(rule.destinations, one)]
        yield _Chosen(part, rule.probe, frozenset(relays), frozenset(destinations))


def _nobody_there(draft: Draft, part: Part[CheckRule], rule: CheckRule) -> Iterator[Problem]:
    if not draft.main.sound("agents") or not part.sound("relays"):
        return
    if any(agent.value is None or not agent.sound("on_relay") for agent in draft.agents):
        return
    manned = {agent.on_relay for agent in values(draft.agents)}
    bare = [
        relay.name
        for relay in draft.relays
        if relay.value is not None
        and relay.name is not None
        and relay.sound("name")
        and selects(rule.relays, relay.value)
        and relay.name not in manned
    ]
    if bare:
        shown = ", ".join(bare[:3]) + (f" and {len(bare) - 3} more" if len(bare) > 3 else "")
        what = f"relays on which no agent sits: {shown}"
        allowed = "without a warning an agent with on_relay for each"
        yield part.place.problem("relays", found=what, allowed=allowed)


def _nothing_to_compare(draft: Draft, part: Part[CheckRule], rule: CheckRule) -> Iterator[Problem]:
    if not draft.main.sound("destinations") or not part.sound("destinations"):
        return
    # One whose name is faulty may be one that is meant.
    if not all(one.sound("name") for one in draft.destinations):
        return
    chosen = [one for one in draft.destinations if may_select(rule.destinations, one)]
    known = [one.value for one in chosen if one.value is not None]
    told = all(one.sound("controls") for one in chosen)
    if known and told and not any(one.controls for one in known):
        what = "destinations without controls: a filter looks like a network that is down"
        allowed = "without a warning one with controls, such as controls: [443]"
        yield part.place.problem("destinations", found=what, allowed=allowed)
    named = rule.destinations if isinstance(rule.destinations, tuple) else ()
    if len(known) == 1 and len(set(named)) <= 1:
        what = f"{known[0].name} alone: a filter looks like a destination that is down"
        allowed = "without a warning two or more, of different owners"
        yield part.place.problem("destinations", found=what, allowed=allowed)


def _one_try(part: Part[CheckRule], rule: CheckRule) -> Iterator[Problem]:
    if part.sound("timeout") and rule.timeout < SECOND_TRY_S:
        what = f"timeout {format_duration(rule.timeout)}: one lost packet looks like a filter"
        allowed = f"without a warning {format_duration(SECOND_TRY_S)} or more"
        yield part.place.problem("timeout", found=what, allowed=allowed)


def _too_often(draft: Draft) -> Iterator[Problem]:
    rules = [
        part.value
        for part in draft.checks
        if part.value is not None
        and all(part.sound(key) for key in ("probe", "relays", "destinations", "interval"))
    ]
    every = looks(
        values(draft.relays), values(draft.agents), values(draft.destinations), rules
    ).towards
    for part in draft.destinations:
        rate = every.get(part.value.name, 0.0) if part.value is not None else 0.0
        if rate > MANY_PER_MINUTE:
            what = f"{rate:.4g} connections a minute to each of its hosts"
            allowed = (
                f"without a warning up to {MANY_PER_MINUTE:g}: a longer interval, fewer relays"
            )
            yield part.place.problem(found=what, allowed=allowed)
