"""Checks of what is looked at from the relays' own side: destinations and the rules over them."""

from collections.abc import Iterator

from probes.contract.config.models import CheckRule, Destination, ProbeKind
from probes.contract.config.parts import Draft, Part, values
from probes.contract.config.references import selection
from probes.contract.config.selection import selects
from probes.contract.errors import Problem
from probes.contract.units import format_duration


def outward(draft: Draft) -> Iterator[Problem]:
    """Destinations that are none, and rules that select nothing, overlap, or cannot be kept."""
    for destination in draft.destinations:
        yield from _destination(destination)
    for rule in draft.checks:
        yield from _rule(draft, rule)
    yield from _overlaps(draft)


def outward_warnings(draft: Draft) -> Iterator[Problem]:
    """Rules that nobody carries out, or that could not tell one cause from another."""
    for rule in draft.checks:
        if rule.value is None or not rule.sound("probe"):
            continue
        yield from _nobody_there(draft, rule, rule.value)
        if rule.value.probe is ProbeKind.EGRESS:
            yield from _nothing_to_compare(draft, rule, rule.value)


def _destination(part: Part[Destination]) -> Iterator[Problem]:
    destination = part.value
    if destination is None:
        return
    place = part.place
    if part.sound("domain") and part.sound("hosts"):
        if destination.domain is None and not destination.hosts:
            yield place.problem(found="neither domain nor hosts", allowed="one of the two")
        if destination.domain is not None and destination.hosts:
            yield place.problem("hosts", found="hosts beside a domain", allowed="one of the two")
    seen: set[int] = set()
    for index, port in enumerate(destination.controls):
        if not part.sound("controls", index):
            continue
        if port == destination.port and part.sound("port"):
            what = f"{port}, the port that mail goes to"
            yield place.problem("controls", index, found=what, allowed="another port")
        elif port in seen:
            what = f"{port} a second time"
            yield place.problem("controls", index, found=what, allowed="each port once")
        seen.add(port)


def _rule(draft: Draft, part: Part[CheckRule]) -> Iterator[Problem]:
    rule = part.value
    if draft.main.sound("relays"):
        yield from selection(part, "relays", draft.relays, "relay")
    if rule is None:
        return
    if part.sound("probe"):
        if rule.probe is ProbeKind.EGRESS:
            if draft.main.sound("destinations"):
                yield from selection(part, "destinations", draft.destinations, "destination")
        elif "destinations" in rule.model_fields_set:
            what = f"destinations of a {rule.probe} check"
            yield part.place.problem("destinations", found=what, allowed="none")
    if part.sound("interval") and part.sound("timeout") and rule.timeout > rule.interval:
        what = f"timeout {format_duration(rule.timeout)}"
        allowed = f"at most the interval, {format_duration(rule.interval)}"
        yield part.place.problem("timeout", found=what, allowed=allowed)


def _overlaps(draft: Draft) -> Iterator[Problem]:
    """The same look asked for twice: its results would be two histories of one thing."""
    first: dict[tuple[str, str, str], Part[CheckRule]] = {}
    for part in draft.checks:
        rule = part.value
        if rule is None or not all(part.sound(k) for k in ("probe", "relays", "destinations")):
            continue
        for key in _looks(draft, rule):
            other = first.setdefault(key, part)
            if other is part:
                continue
            probe, relay, destination = key
            towards = f" towards {destination}" if destination else ""
            what = f"{probe} of {relay}{towards} a second time (first in line {other.place.line})"
            yield part.place.problem("relays", found=what, allowed="each look in one rule")
            break


def _looks(draft: Draft, rule: CheckRule) -> Iterator[tuple[str, str, str]]:
    for relay in values(draft.relays):
        if not selects(rule.relays, relay):
            continue
        if rule.probe is not ProbeKind.EGRESS:
            yield rule.probe, relay.name, ""
            continue
        for destination in values(draft.destinations):
            if selects(rule.destinations, destination):
                yield rule.probe, relay.name, destination.name


def _nobody_there(draft: Draft, part: Part[CheckRule], rule: CheckRule) -> Iterator[Problem]:
    if not draft.main.sound("agents") or not part.sound("relays"):
        return
    manned = {agent.on_relay for agent in values(draft.agents)}
    bare = [
        relay.name
        for relay in values(draft.relays)
        if selects(rule.relays, relay) and relay.name not in manned
    ]
    if bare:
        shown = ", ".join(bare[:3]) + (f" and {len(bare) - 3} more" if len(bare) > 3 else "")
        what = f"relays on which no agent sits: {shown}"
        allowed = "without a warning an agent with on_relay for each"
        yield part.place.problem("relays", found=what, allowed=allowed)


def _nothing_to_compare(draft: Draft, part: Part[CheckRule], rule: CheckRule) -> Iterator[Problem]:
    chosen = [one for one in values(draft.destinations) if selects(rule.destinations, one)]
    if not chosen or not part.sound("destinations"):
        return
    if not any(one.controls for one in chosen):
        what = "destinations without controls: a filter looks like a network that is down"
        allowed = "without a warning one with controls, such as controls: [443]"
        yield part.place.problem("destinations", found=what, allowed=allowed)
    if len(chosen) == 1:
        what = f"{chosen[0].name} alone: a filter looks like a destination that is down"
        allowed = "without a warning two or more, of different owners"
        yield part.place.problem("destinations", found=what, allowed=allowed)
