"""What an agent's configuration says of an estate's servers."""

from collections.abc import Sequence
from typing import Any

from tests.servers.dovecot import Mailbox
from tests.servers.estate import MONITOR_DOMAIN, ServerEstate
from tests.servers.namespaces import Endpoint
from tests.servers.postfix import Postfix

STEPS = {"connect": "2s", "banner": "10s", "command": "10s", "accept": "20s"}

Words = dict[str, Any]
"""A part of a configuration file."""


def at(where: Endpoint) -> Words:
    """That a server is reached there."""
    return {"host": where.host, "port": where.port}


def relay_words(server: Postfix, **changes: Any) -> Words:
    """How the configuration describes a relay of the estate."""
    return {
        "name": server.name,
        "host": server.address,
        "port": server.port,
        "tls": "none",
        "received_as": [server.hostname],
        "egress": [server.address],
        "max_per_minute": 6000,
    } | changes


def mailbox_words(box: Mailbox, imap: Endpoint, secret: str, **changes: Any) -> Words:
    """How the configuration describes a mailbox of the estate, read over TLS at `imap`."""
    return {
        "name": "inbox",
        "address": box.address,
        "imap": {
            **at(imap),
            "user": box.user,
            "secret": secret,
            "max_commands_per_minute": 6000,
        },
        "folders": {"inbox": "INBOX", "junk": "Junk"},
        "max_per_minute": 6000,
    } | changes


def customer_words(
    estate: ServerEstate,
    name: str,
    *,
    imap: Endpoint | None = None,
    mailbox: Words | None = None,
    rule: Words | None = None,
) -> Words:
    """A customer with its mailbox of the estate and one rule; `rule` and `mailbox` are changes."""
    box = estate.mailboxes[name]
    where = imap or estate.dovecot.imaps
    return {
        "name": name,
        "quota": {"paths": 1000, "per_minute": 60000},
        "mailboxes": [mailbox_words(box, where, f"{name}/imap", **(mailbox or {}))],
        "canaries": [{"per": "path", "interval": "1s"} | (rule or {})],
    }


def monitor_words(estate: ServerEstate) -> Words:
    """The monitor's own customer: it has the mailbox for bounces and no canaries."""
    box = mailbox_words(estate.bounces, estate.dovecot.imaps, "monitor/imap", name="bounces")
    return {"name": "monitor", "mailboxes": [box]}


def agent_words(estate: ServerEstate, name: str) -> Words:
    """An agent whose bounces come to the estate's mailbox for bounces."""
    sender = {
        "address": estate.sender(name),
        "helo": f"{name}.{MONITOR_DOMAIN}",
        "bounces": "monitor/bounces",
    }
    return {"name": name, "sender": sender}


def config_words(
    estate: ServerEstate,
    relays: Sequence[Words] | None = None,
    customers: Sequence[Words] | None = None,
    *,
    agents: Sequence[str] = ("site",),
    **defaults: str,
) -> Words:
    """A whole configuration: of every relay and of acme, unless told otherwise."""
    if relays is None:
        relays = [relay_words(relay) for relay in estate.relays]
    if customers is None:
        customers = [customer_words(estate, "acme")]
    return {
        "version": 1,
        "defaults": {"interval": "1s", "deadline": "10s", "loss_after": "60s"} | defaults,
        "timeouts": STEPS,
        "relays": list(relays),
        "agents": [agent_words(estate, name) for name in agents],
        "customers": [*customers, monitor_words(estate)],
    }


def estate_secrets(estate: ServerEstate) -> dict[str, str]:
    """The passwords of all mailboxes, under the names that the configuration gives them."""
    secrets = {f"{name}/imap": box.password for name, box in estate.mailboxes.items()}
    return secrets | {"monitor/imap": estate.bounces.password}


def _place(host: str, port: int) -> str:
    """An endpoint as the policy writes it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def secret_endpoints(config: Words) -> dict[str, set[str]]:
    """Each secret of a configuration, with the places that it is for."""
    wanted: dict[str, set[str]] = {}
    for relay in config["relays"]:
        if "auth" in relay:
            where = _place(relay["host"], relay["port"])
            wanted.setdefault(relay["auth"]["secret"], set()).add(where)
    for customer in config["customers"]:
        for box in customer["mailboxes"]:
            imap = box["imap"]
            wanted.setdefault(imap["secret"], set()).add(_place(imap["host"], imap["port"]))
    return wanted
