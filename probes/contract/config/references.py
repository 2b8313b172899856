"""Checks of what parts say about each other: references, secrets' owners, order of times."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from probes.contract.config.messages import suggest
from probes.contract.config.models import Agent, CheckRule, Defaults, Rule
from probes.contract.config.parts import CustomerPart, Draft, Part, Place
from probes.contract.config.selection import Chosen, selector_words, selects
from probes.contract.errors import Problem
from probes.contract.names import is_name
from probes.contract.units import format_duration


def references(draft: Draft, *, all_readable: bool) -> Iterator[Problem]:
    """References of agents and rules to what is not there, or cannot be used for it.

    Nothing is called missing that an unreadable file or a list that is none may hold, or that may
    be a part of which the name, or the labels, are faulty.
    """
    for agent in draft.agents:
        yield from _of_agent(draft, agent, all_readable=all_readable)
    lists: tuple[tuple[str, str, list[Part[Any]]], ...] = (
        ("relays", "relay", draft.relays),
        ("agents", "agent", draft.agents),
    )
    for entry in draft.customers:
        for rule in entry.rules:
            for key, kind, parts in lists:
                if draft.main.sound(key):
                    yield from selection(rule, key, parts, kind)
            if entry.part.sound("mailboxes"):
                yield from selection(rule, "mailboxes", entry.mailboxes, "mailbox")
            if draft.main.sound("agents") and rule.value is not None and rule.sound("agents"):
                yield from _senders(draft, rule.place, rule.value)


def _of_agent(draft: Draft, agent: Part[Agent], *, all_readable: bool) -> Iterator[Problem]:
    if agent.value is None:
        return
    relay = agent.value.on_relay
    if relay is not None and draft.main.sound("relays"):
        yield from _known(relay, _names(draft.relays), "relay", agent.place, "on_relay")
    sender = agent.value.sender
    if sender is None or sender.bounces is None or not agent.sound("sender", "bounces"):
        return
    boxes = {
        f"{entry.part.name}/{name}" for entry in draft.customers for name in _names(entry.mailboxes)
    }
    owner = sender.bounces.partition("/")[0]
    owners = [entry for entry in draft.customers if entry.part.name == owner]
    if owners:
        judged = all(entry.part.sound("mailboxes") for entry in owners)
    else:
        judged = all_readable and draft.main.sound("customers")
    if judged:
        steps = ("sender", "bounces")
        yield from _known(sender.bounces, sorted(boxes), "mailbox", agent.place, *steps)


def _names(parts: Sequence[Part[Any]]) -> list[str]:
    return [part.name for part in parts if part.name is not None]


def _known(
    name: str, known: Sequence[str], kind: str, place: Place, *steps: int | str
) -> Iterator[Problem]:
    # A part whose name is faulty in nothing but case or blanks is the one that is meant.
    if name not in known and name not in map(_meant, known):
        found = f"the unknown {kind} {name!r}{suggest(name, list(known))}"
        yield place.problem(*steps, found=found, allowed=f"the name of {_a(kind)}")


def _meant(name: str) -> str:
    """``name`` with the characters that names may have, and slashes."""
    return re.sub(r"[^a-z0-9._/-]+", "-", name.strip().lower())


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def selection(
    rule: Part[Rule] | Part[CheckRule], key: str, parts: Sequence[Part[Any]], kind: str
) -> Iterator[Problem]:
    """What is wrong with a rule's selection at ``key`` of those parts, each of them a ``kind``."""
    if rule.value is None:
        return
    place, names = rule.place, _names(parts)
    selector: Chosen = getattr(rule.value, key)
    if not rule.sound(key):
        # What can be read of a list with faulty items.
        raw = rule.written(key)
        items = enumerate(raw) if isinstance(raw, list) else ()
        for index, item in items:
            if isinstance(item, str) and is_name(item):
                yield from _known(item, names, kind, place, key, index)
    elif selector == "all":
        if not parts:
            yield place.problem(key, found=f"all, but there is no {kind}", allowed=_a(kind))
    elif isinstance(selector, str):
        yield from _known(selector, names, kind, place, key)
    elif isinstance(selector, tuple):
        seen: set[str] = set()
        for index, name in enumerate(selector):
            yield from _known(name, names, kind, place, key, index)
            if name in seen:
                what = f"{name!r} a second time"
                yield place.problem(key, index, found=what, allowed="each name once")
            seen.add(name)
    elif not any(may_select(selector, part) for part in parts):
        what = f"labels {selector_words(selector)}, which no {kind} has"
        yield place.problem(key, found=what, allowed=f"labels of at least one {kind}")


def may_select(selector: Chosen, part: Part[Any]) -> bool:
    """Whether ``selector`` selects ``part``, or may once the part's faulty labels are mended."""
    if part.value is None or not isinstance(selector, Mapping):
        return part.value is not None and selects(selector, part.value)
    if () in part.faulty or ("labels",) in part.faulty:
        return True
    mended = {_meant(str(loc[1])).replace("-", "_") for loc in part.faulty if loc[0] == "labels"}
    labels: Mapping[str, str] = part.value.labels
    return all(labels.get(key) == value or key in mended for key, value in selector.items())


def _senders(draft: Draft, place: Place, rule: Rule) -> Iterator[Problem]:
    chosen = [
        part for part in draft.agents if part.value is not None and selects(rule.agents, part.value)
    ]
    mute = [
        part.name or "one without a name"
        for part in chosen
        if part.value is not None and part.value.sender is None and part.sound("sender")
    ]
    if rule.agents != "all" and mute:
        what = f"agents without a sender: {', '.join(mute)}"
        yield place.problem("agents", found=what, allowed="agents that have a sender")
    elif mute and len(mute) == len(chosen):
        what = "all, but no agent has a sender"
        yield place.problem("agents", found=what, allowed="agents that have a sender")


def secrets(draft: Draft) -> Iterator[Problem]:
    """Secrets outside their owner's namespace: ``customer/`` for a customer's, none for relays'."""
    customers = {entry.part.name for entry in draft.customers}
    for relay in draft.relays:
        if relay.value is None or relay.value.auth is None:
            continue
        if relay.sound("auth", "secret"):
            secret = relay.value.auth.secret
            owner, slash, _ = secret.partition("/")
            if slash and owner in customers:
                what = f"the secret {secret!r} of customer {owner!r}"
                allowed = "a secret outside every customer's namespace"
                yield relay.place.problem("auth", "secret", found=what, allowed=allowed)
    for entry in draft.customers:
        if entry.part.name is not None and entry.part.sound("name"):
            yield from _secrets_of(entry, entry.part.name)


def _secrets_of(entry: CustomerPart, customer: str) -> Iterator[Problem]:
    for box in entry.mailboxes:
        if box.value is None or not box.sound("imap", "secret"):
            continue
        secret = box.value.imap.secret
        if not secret.startswith(f"{customer}/"):
            # A word without a slash may be the password itself, and this text ends in logs.
            what = f"the secret {secret!r}" if "/" in secret else "a secret of nobody (not shown)"
            allowed = f"one of the customer's own, {customer}/…"
            yield box.place.problem("imap", "secret", found=what, allowed=allowed)


def times(draft: Draft) -> Iterator[Problem]:
    """Deadlines beyond the loss time, and loss times beyond what is remembered."""
    main = draft.main
    if main.value is None:
        return
    defaults = main.value.defaults
    sound = {key for key in Defaults.model_fields if main.sound("defaults", key)}
    yield from _order(main.place, ("defaults",), defaults, defaults, sound)
    for entry in draft.customers:
        for part in entry.rules:
            if part.value is None:
                continue
            own = part.value.model_fields_set
            usable = {key for key in sound | own if key not in own or part.sound(key)}
            yield from _order(part.place, (), part.value, defaults, usable)


def _order(
    place: Place,
    steps: tuple[str, ...],
    own: Defaults | Rule,
    defaults: Defaults,
    usable: set[str],
) -> Iterator[Problem]:
    """Judges what is ``own`` beside what is not; of the defaults alone, those that are written."""
    deadline = own.deadline or defaults.deadline
    loss_after = own.loss_after or defaults.loss_after
    remember = defaults.remember
    written = own.model_fields_set & usable
    if deadline > loss_after and {"deadline", "loss_after"} <= usable and written & _DEADLINE:
        key = "deadline" if "deadline" in written else "loss_after"
        what = f"deadline {format_duration(deadline)}"
        allowed = f"at most loss_after, {format_duration(loss_after)}"
        yield place.problem(*steps, key, found=what, allowed=allowed)
    if loss_after > remember and {"loss_after", "remember"} <= usable and written & _MEMORY:
        what = f"loss_after {format_duration(loss_after)}"
        allowed = f"at most remember, {format_duration(remember)}"
        yield place.problem(*steps, "loss_after", found=what, allowed=allowed)


_DEADLINE = {"deadline", "loss_after"}
_MEMORY = {"loss_after", "remember"}
