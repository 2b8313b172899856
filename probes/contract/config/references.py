"""Checks of what parts say about each other: references, secrets' owners, order of times."""

from collections.abc import Iterator
from typing import Any

from probes.contract.config.messages import suggest
from probes.contract.config.models import Defaults, Rule
from probes.contract.config.parts import CustomerPart, Draft, Part, Place
from probes.contract.config.selection import Chosen, selector_words, selects
from probes.contract.errors import Problem
from probes.contract.units import format_duration


def references(draft: Draft, *, all_readable: bool) -> Iterator[Problem]:
    """References of agents and rules to what is not there, or cannot be used for it.

    Mailboxes are looked for only if ``all_readable``: an unreadable file may hold them.
    """
    relays = [part.name for part in draft.relays if part.name is not None]
    boxes = [
        f"{customer.part.name}/{box.name}"
        for customer in draft.customers
        for box in customer.mailboxes
        if customer.part.name is not None and box.name is not None
    ]
    for agent in draft.agents:
        if agent.value is None:
            continue
        if agent.value.on_relay is not None:
            yield from _known(agent.value.on_relay, relays, "relay", agent.place, "on_relay")
        sender = agent.value.sender
        if sender is not None and sender.bounces is not None and all_readable:
            steps = ("sender", "bounces")
            yield from _known(sender.bounces, boxes, "mailbox", agent.place, *steps)
    for entry in draft.customers:
        for rule in entry.rules:
            if rule.value is not None:
                place, value = rule.place, rule.value
                yield from _selection(place, "relays", value.relays, draft.relays, "relay")
                yield from _selection(place, "agents", value.agents, draft.agents, "agent")
                yield from _selection(
                    place, "mailboxes", value.mailboxes, entry.mailboxes, "mailbox"
                )
                yield from _senders(draft, place, value)


def _known(
    name: str, known: list[str], kind: str, place: Place, *steps: int | str
) -> Iterator[Problem]:
    if name not in known:
        found = f"the unknown {kind} {name!r}{suggest(name, known)}"
        yield place.problem(*steps, found=found, allowed=f"the name of {_a(kind)}")


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _selection(
    place: Place, key: str, selector: Chosen, parts: list[Part[Any]], kind: str
) -> Iterator[Problem]:
    names = [part.name for part in parts if part.name is not None]
    if selector == "all":
        if not parts:
            yield place.problem(key, found=f"all, but there is no {kind}", allowed=_a(kind))
    elif isinstance(selector, str):
        yield from _known(selector, names, kind, place, key)
    elif isinstance(selector, tuple):
        for index, name in enumerate(selector):
            yield from _known(name, names, kind, place, key, index)
            if name in selector[:index]:
                what = f"{name!r} a second time"
                yield place.problem(key, index, found=what, allowed="each name once")
    elif all(part.complete for part in parts) and not any(
        selects(selector, part.value) for part in parts if part.value is not None
    ):
        # Only with all parts sound: a faulty one may be the one that the labels mean.
        what = f"labels {selector_words(selector)}, which no {kind} has"
        yield place.problem(key, found=what, allowed=f"labels of at least one {kind}")


def _senders(draft: Draft, place: Place, rule: Rule) -> Iterator[Problem]:
    chosen = [
        part.value
        for part in draft.agents
        if part.value is not None and selects(rule.agents, part.value)
    ]
    mute = [agent.name for agent in chosen if agent.sender is None]
    if not all(part.complete for part in draft.agents):
        return
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
        if relay.value is not None and relay.value.auth is not None:
            secret = relay.value.auth.secret
            owner, slash, _ = secret.partition("/")
            if slash and owner in customers:
                what = f"the secret {secret!r} of customer {owner!r}"
                allowed = "a secret outside every customer's namespace"
                yield relay.place.problem("auth", "secret", found=what, allowed=allowed)
    for entry in draft.customers:
        if entry.part.name is not None:
            yield from _secrets_of(entry, entry.part.name)


def _secrets_of(entry: CustomerPart, customer: str) -> Iterator[Problem]:
    for box in entry.mailboxes:
        if box.value is not None and not box.value.imap.secret.startswith(f"{customer}/"):
            secret = box.value.imap.secret
            # A word without a slash may be the password itself, and this text ends in logs.
            what = f"the secret {secret!r}" if "/" in secret else "a secret of nobody (not shown)"
            allowed = f"one of the customer's own, {customer}/…"
            yield box.place.problem("imap", "secret", found=what, allowed=allowed)


def times(draft: Draft) -> Iterator[Problem]:
    """Deadlines beyond the loss time, and loss times beyond what is remembered."""
    if draft.main.value is None or not draft.main.complete:
        return
    defaults = draft.main.value.defaults
    own = list(_order(draft.main.place, ("defaults",), defaults, Defaults()))
    yield from own
    if own:
        return  # every rule would only repeat it
    for entry in draft.customers:
        for part in entry.rules:
            if part.value is not None and part.complete:
                yield from _order(part.place, (), part.value, defaults)


def _order(
    place: Place, steps: tuple[str, ...], own: Defaults | Rule, defaults: Defaults
) -> Iterator[Problem]:
    deadline = own.deadline or defaults.deadline
    loss_after = own.loss_after or defaults.loss_after
    remember = own.remember if isinstance(own, Defaults) else defaults.remember
    written = own.model_fields_set
    if deadline > loss_after:
        key = "deadline" if "deadline" in written else "loss_after"
        what = f"deadline {format_duration(deadline)}"
        allowed = f"at most loss_after, {format_duration(loss_after)}"
        yield place.problem(*steps, key, found=what, allowed=allowed)
    if loss_after > remember and written & {"loss_after", "remember"}:
        what = f"loss_after {format_duration(loss_after)}"
        allowed = f"at most remember, {format_duration(remember)}"
        yield place.problem(*steps, "loss_after", found=what, allowed=allowed)
