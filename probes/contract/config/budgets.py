"""Checks of what all rules come to: paths claimed twice, budgets and quotas exceeded."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations

from probes.contract.config.parts import CustomerPart, Draft, values
from probes.contract.config.rates import TOLERANCE, Rates, rates
from probes.contract.config.selection import Choice, Estate, Group
from probes.contract.errors import Problem


def budgets(draft: Draft) -> Iterator[Problem]:
    """Paths in two rules of a customer, and rates beyond relays', mailboxes', customers' limits.

    Counts what is sound; limits that are faulty themselves are not compared with anything.
    """
    if draft.main.value is None or not draft.main.complete:
        return  # without the defaults no rate is known
    defaults = draft.main.value.defaults
    estate = Estate.of(values(draft.relays), values(draft.agents), defaults)
    by_customer = [(entry, list(_groups(estate, entry))) for entry in draft.customers]
    for entry, of_entry in by_customer:
        yield from _overlaps(entry, of_entry)
    every = [group for _, of_entry in by_customer for group in of_entry]
    planned = rates(every)
    yield from _relays(draft, every, planned)
    for entry, of_entry in by_customer:
        yield from _mailboxes(entry, planned)
        yield from _quota(entry, rates(of_entry))


def _groups(estate: Estate, entry: CustomerPart) -> Iterator[Group]:
    if entry.part.name is None:
        return
    boxes = Choice(values(entry.mailboxes))
    for index, rule in enumerate(entry.rules):
        if rule.value is not None and rule.complete:
            group = estate.group(entry.part.name, boxes, index, rule.value)
            if group.paths:
                yield group


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


def _relays(draft: Draft, every: Iterable[Group], planned: Rates) -> Iterator[Problem]:
    blown = {}
    for part in draft.relays:
        relay = part.value
        if relay is None or not part.complete:
            continue
        if planned.relays.get(relay.name, 0.0) > relay.max_per_minute * TOLERANCE:
            blown[relay.name] = part
    if not blown:
        return
    causes: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for group in every:
        for name in blown.keys() & set(group.relays):
            causes[name][group.customer] += group.per_relay
    for name, part in blown.items():
        largest = sorted(causes[name].items(), key=lambda item: (-item[1], item[0]))[:3]
        shown = ", ".join(f"{customer} {rate:.4g}" for customer, rate in largest)
        what = f"{planned.relays[name]:.4g} canaries a minute planned (most by {shown})"
        limit = part.value.max_per_minute if part.value is not None else 0
        yield part.place.problem("max_per_minute", found=what, allowed=f"{limit:.6g}")


def _mailboxes(entry: CustomerPart, planned: Rates) -> Iterator[Problem]:
    for part in entry.mailboxes:
        if part.value is None or not part.complete:
            continue
        rate = planned.mailboxes.get(f"{entry.part.name}/{part.value.name}", 0.0)
        limit = part.value.max_per_minute
        if rate > limit * TOLERANCE:
            what = f"{rate:.4g} canaries a minute planned"
            yield part.place.problem("max_per_minute", found=what, allowed=f"{limit:.6g}")


def _quota(entry: CustomerPart, planned: Rates) -> Iterator[Problem]:
    customer = entry.part.value
    if customer is None or not entry.part.complete:
        return
    usage = planned.customers[customer.name]
    quota = customer.quota
    place = entry.part.place
    if usage.paths > quota.paths:
        what = f"{usage.paths} paths planned"
        yield place.problem("quota", "paths", found=what, allowed=f"{quota.paths}")
    if usage.per_minute > quota.per_minute * TOLERANCE:
        what = f"{usage.per_minute:.4g} canaries a minute planned"
        yield place.problem("quota", "per_minute", found=what, allowed=f"{quota.per_minute:.6g}")
