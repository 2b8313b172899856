"""Checks of what all rules come to: paths claimed twice, budgets and quotas exceeded."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from probes.contract.config.models import Relay, Rule
from probes.contract.config.parts import CustomerPart, Draft, Part, shown_name, values
from probes.contract.config.rates import TOLERANCE, Rates, rates
from probes.contract.config.references import may_select
from probes.contract.config.selection import Choice, Chosen, Estate, Group, selects
from probes.contract.errors import Problem

LARGE_SHARE = 0.1
"""Of a relay's capacity: canaries beyond it are a load of their own, and get a warning."""


@dataclass(frozen=True, slots=True)
class _Planned:
    """One customer's rules worked out.

    ``every`` are all whose selections are sound, ``rated`` those of them whose pace is known, too;
    ``shared`` those of them whose mailboxes are all known, so that each one's share is.
    """

    entry: CustomerPart
    every: list[Group] = field(default_factory=list)
    rated: list[Group] = field(default_factory=list)
    shared: list[Group] = field(default_factory=list)


def budgets(draft: Draft) -> Iterator[Problem]:
    """Paths in two rules of a customer, and rates beyond relays', mailboxes', customers' limits.

    Counts what is sound; limits that are faulty themselves are not compared with anything.
    """
    planned = _plan(draft)
    every = [group for one in planned for group in one.rated]
    per_relay = rates(every).relays
    for part in draft.relays:
        yield from _relay(part, every, per_relay)
    for one in planned:
        yield from _overlaps(one.entry, one.every)
        yield from _mailboxes(one.entry, rates(one.shared))
        yield from _quota(one.entry, rates(one.rated))


def warnings(draft: Draft) -> Iterator[Problem]:
    """What is allowed and hardly meant: much of a relay's capacity spent on canaries."""
    per_relay = rates(group for one in _plan(draft) for group in one.rated).relays
    for part in draft.relays:
        relay = part.value
        if relay is None or relay.capacity is None or not part.sound("capacity"):
            continue
        rate = per_relay.get(relay.name, 0.0)
        if relay.capacity * LARGE_SHARE * TOLERANCE < rate <= relay.capacity * TOLERANCE:
            share = f"{rate / relay.capacity:.0%} of the capacity"
            what = f"{rate:.4g} canaries a minute planned, {share}"
            allowed = f"without a warning up to {LARGE_SHARE:.0%}, {_number(relay.capacity / 10)}"
            yield part.place.problem("capacity", found=what, allowed=allowed)
        if not _says(part, "max_per_minute") and relay.max_per_minute > relay.capacity:
            what = f"less than max_per_minute, by default {_number(relay.max_per_minute)}"
            allowed = f"without a warning a max_per_minute of at most {_number(relay.capacity)}"
            yield part.place.problem("capacity", found=what, allowed=allowed)


def _number(value: float) -> str:
    return f"{value:.6g}"


def _says(part: Part[Relay], key: str) -> bool:
    return part.value is not None and (key in part.value.model_fields_set or not part.sound(key))


def _plan(draft: Draft) -> list[_Planned]:
    main = draft.main.value
    if main is None:
        return []
    estate = Estate.of(values(draft.relays), values(draft.agents), main.defaults)
    by_default = draft.main.sound("defaults", "interval")
    result = []
    for entry in draft.customers:
        one = _Planned(entry)
        customer = entry.part.value
        boxes = Choice(values(entry.mailboxes))
        for index, rule in enumerate(entry.rules if customer is not None else ()):
            if rule.value is None or not _sound(rule, "relays", "agents", "mailboxes"):
                continue
            name = "" if customer is None else customer.name
            group = estate.group(name, boxes, index, rule.value)
            if not group.paths:
                continue
            one.every.append(group)
            if _sound(rule, "interval", "per") and (rule.value.interval or by_default):
                one.rated.append(group)
                if _all_known(rule.value.mailboxes, entry.mailboxes):
                    one.shared.append(group)
        result.append(one)
    return result


def _sound(rule: Part[Rule], *keys: str) -> bool:
    return all(rule.sound(key) for key in keys)


def _all_known(selector: Chosen, boxes: Sequence[Part[Any]]) -> bool:
    return not isinstance(selector, Mapping) or all(
        box.value is not None and may_select(selector, box) == selects(selector, box.value)
        for box in boxes
    )


def _overlaps(entry: CustomerPart, of_entry: list[Group]) -> Iterator[Problem]:
    for one, other in combinations(of_entry, 2):
        shared = [
            sorted(set(names).intersection(others))
            for names, others in (
                (one.agents, other.agents),
                (one.relays, other.relays),
                (one.mailboxes, other.mailboxes),
            )
        ]
        if all(shared):
            first = entry.rules[one.index].place
            count = len(shared[0]) * len(shared[1]) * len(shared[2])
            example = "|".join(names[0] for names in shared)
            more = f" and {count - 1} more" if count > 1 else ""
            what = f"path {example}{more}, which the rule in line {first.line} selects as well"
            place = entry.rules[other.index].place
            yield place.problem(found=what, allowed="each path in one rule only")


def _relay(
    part: Part[Relay], every: Iterable[Group], per_relay: Mapping[str, float]
) -> Iterator[Problem]:
    relay = part.value
    if relay is None:
        return
    capacity = relay.capacity if part.sound("capacity") else None
    written = "max_per_minute" in relay.model_fields_set and part.sound("max_per_minute")
    if capacity is not None and written and relay.max_per_minute > capacity:
        what = f"{_number(relay.max_per_minute)}, more than the relay can carry"
        allowed = f"at most its capacity, {_number(capacity)}"
        yield part.place.problem("max_per_minute", found=what, allowed=allowed)
    rate = per_relay.get(relay.name, 0.0)
    limits = [("max_per_minute", relay.max_per_minute)] if part.sound("max_per_minute") else []
    limits += [("capacity", capacity)] if capacity is not None else []
    for key, limit in limits:
        if rate > limit * TOLERANCE:
            most = _causes(relay.name, every)
            what = f"{rate:.4g} canaries a minute planned (most by {most})"
            yield part.place.problem(key, found=what, allowed=_number(limit))


def _causes(relay: str, every: Iterable[Group]) -> str:
    """The customers that give the relay most canaries, with their rates."""
    causes: defaultdict[str, float] = defaultdict(float)
    for group in every:
        if relay in group.relays:
            causes[group.customer] += group.per_relay
    largest = sorted(causes.items(), key=lambda item: (-item[1], item[0]))[:3]
    return ", ".join(f"{shown_name(customer)} {rate:.4g}" for customer, rate in largest)


def _mailboxes(entry: CustomerPart, planned: Rates) -> Iterator[Problem]:
    customer = entry.part.value
    for part in entry.mailboxes:
        if part.value is None or customer is None or not part.sound("max_per_minute"):
            continue
        rate = planned.mailboxes.get(f"{customer.name}/{part.value.name}", 0.0)
        limit = part.value.max_per_minute
        if rate > limit * TOLERANCE:
            what = f"{rate:.4g} canaries a minute planned"
            yield part.place.problem("max_per_minute", found=what, allowed=_number(limit))


def _quota(entry: CustomerPart, planned: Rates) -> Iterator[Problem]:
    customer = entry.part.value
    if customer is None:
        return
    usage = planned.customers[customer.name]
    quota = customer.quota
    place = entry.part.place
    if usage.paths > quota.paths and entry.part.sound("quota", "paths"):
        what = f"{usage.paths} paths planned"
        yield place.problem("quota", "paths", found=what, allowed=f"{quota.paths}")
    too_many = usage.per_minute > quota.per_minute * TOLERANCE
    if too_many and entry.part.sound("quota", "per_minute"):
        what = f"{usage.per_minute:.4g} canaries a minute planned"
        yield place.problem("quota", "per_minute", found=what, allowed=_number(quota.per_minute))
