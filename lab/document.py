"""The estate as a mailcanary configuration."""

from collections.abc import Iterable, Sequence
from typing import Any

from lab.mailboxes import Mailbox
from lab.relay import Relay
from lab.specs import AgentSpec

BOUNCE_CUSTOMER = "monitor"
PLENTY = 1_000_000.0


def bounce_mailbox(agent: str) -> str:
    """The name of the mailbox that an agent's bounces go to."""
    return f"{BOUNCE_CUSTOMER}/{agent}-bounces"


def secret_name(mailbox: str) -> str:
    """The name of a mailbox's secret: ``customer/mailbox`` in a form that secrets may have."""
    return mailbox


def relay_secret_name(relay: str) -> str:
    """The name of the secret with which an agent logs in to a relay that wants AUTH."""
    return relay


def relay_entry(relay: Relay) -> dict[str, Any]:
    """A relay's entry in ``relays``."""
    spec = relay.spec
    entry: dict[str, Any] = {
        "name": relay.name,
        "host": relay.host,
        "port": relay.port,
        "tls": str(spec.tls),
        "received_as": [relay.hostname],
        "egress": [relay.egress],
        "max_per_minute": spec.max_per_minute,
        "rotation": str(spec.rotation),
        "labels": dict(spec.labels),
    }
    if spec.users:
        entry["auth"] = {"user": next(iter(spec.users)), "secret": relay_secret_name(relay.name)}
    if spec.capacity is not None:
        entry["capacity"] = spec.capacity
        entry["max_per_minute"] = min(spec.max_per_minute, spec.capacity)
    return entry


def mailbox_entry(mailbox: Mailbox) -> dict[str, Any]:
    """A mailbox's entry in its customer's ``mailboxes``."""
    spec = mailbox.spec
    return {
        "name": mailbox.name.partition("/")[2],
        "address": mailbox.address,
        "imap": {
            "host": mailbox.host,
            "port": mailbox.port,
            "tls": "implicit" if spec.tls_context else "none",
            "user": mailbox.user,
            "secret": secret_name(mailbox.name),
            "max_commands_per_minute": PLENTY,
        },
        "folders": {"inbox": spec.inbox, "junk": spec.junk},
        "authserv_id": spec.authserv_id,
        "max_per_minute": spec.max_per_minute,
        "labels": dict(spec.labels),
    }


def agent_entry(spec: AgentSpec, bounces: Mailbox) -> dict[str, Any]:
    """An agent's entry in ``agents``."""
    return {
        "name": spec.name,
        "sender": {
            "address": bounces.address,
            "helo": f"{spec.name}.{BOUNCE_CUSTOMER}.example",
            "bounces": bounces.name,
        },
        "labels": dict(spec.labels),
    }


def customer_entries(
    mailboxes: Iterable[Mailbox], rules: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The entries in ``customers``; the monitor's own mailboxes get no canaries."""
    customers: dict[str, dict[str, Any]] = {}
    for mailbox in mailboxes:
        name = mailbox.name.partition("/")[0]
        customer = customers.setdefault(
            name,
            {
                "name": name,
                "quota": {"paths": 1_000_000, "per_minute": PLENTY},
                "mailboxes": [],
                "canaries": [] if name == BOUNCE_CUSTOMER else list(rules),
            },
        )
        customer["mailboxes"].append(mailbox_entry(mailbox))
    return list(customers.values())
