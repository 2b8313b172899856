"""The files of a fleet of any size: a collector's configuration, the agents' policy and secrets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.growth_estate import HOST, Ports, relay_host

PROBE = "probe"
"""The customer whose rule is changed; a relay of its own, so that it stands beside the others."""

PROBE_INTERVAL = "200ms"
NEVER = "365d"
_KEY = "signing-key"
_PASSWORD = "a password of the benchmark's\n"  # noqa: S105 - no secret: its mailboxes are empty


@dataclass(frozen=True, slots=True)
class Size:
    """Every customer has one mailbox and one rule over all relays and agents.

    A relay has a canary of each customer every ``interval``, from the agents in turn. The customer
    ``PROBE`` comes on top, with one path per agent.
    """

    customers: int
    relays: int
    agents: int
    interval: str

    @property
    def paths(self) -> int:
        """Paths of the fleet; one where there is nothing but the probe."""
        return self.customers * self.relays * self.agents or self.agents

    @property
    def agent_names(self) -> list[str]:
        """The agents."""
        return [f"agent-{number}" for number in range(self.agents)]

    @property
    def customer_names(self) -> list[str]:
        """The customers, without the probe."""
        return [f"customer-{number:04}" for number in range(self.customers)]


def main_document(size: Size, ports: Ports, *, interval: str) -> dict[str, Any]:
    """The main file. Rules have the default interval, so that one edit makes all of them rest."""
    named = [(f"relay-{number:03}", "mx") for number in range(size.relays)]
    relays = [
        {
            "name": name,
            "host": relay_host(number),
            "port": ports.smtp,
            "tls": "none",
            "max_per_minute": 1e6,
            "labels": {"pool": pool},
        }
        for number, (name, pool) in enumerate([*named, (PROBE, PROBE)])
    ]
    agents = [
        {"name": name, "sender": {"address": f"canary@{name}.example", "helo": f"{name}.example"}}
        for name in size.agent_names
    ]
    defaults = {"interval": interval}
    return {"version": 1, "defaults": defaults, "relays": relays, "agents": agents}


def customer_document(name: str, ports: Ports, rule: dict[str, Any]) -> dict[str, Any]:
    """A customer with one mailbox and one rule."""
    mailbox = {
        "name": "inbox",
        "address": f"canary@{name}.example",
        "imap": {
            "host": HOST,
            "port": ports.imap,
            "tls": "none",
            "user": "canary",
            "secret": f"{name}/imap",
        },
        "max_per_minute": 1e6,
    }
    quota = {"paths": 1_000_000, "per_minute": 1e6}
    return {"name": name, "quota": quota, "mailboxes": [mailbox], "canaries": [rule]}


def probe_document(ports: Ports, number: int, *, interval: str = PROBE_INTERVAL) -> dict[str, Any]:
    """The probe as change ``number`` leaves it: another deadline, the rhythm as it was."""
    rule = {
        "relays": {"pool": PROBE},
        "per": "path",
        "interval": interval,
        "deadline": f"{60 + number}s",
    }
    return customer_document(PROBE, ports, rule)


class Site:
    """A fleet's files below one directory."""

    def __init__(self, directory: Path, size: Size, ports: Ports) -> None:
        self.directory = directory
        self.size = size
        self.ports = ports
        self.main = directory / "mailcanary.yaml"
        self.policy = directory / "policy.yaml"
        self.customers = directory / "customers.d"

    def write(self) -> None:
        """Write all of them."""
        self.customers.mkdir()
        self.rest(self.size.interval)
        for name in self.size.customer_names:
            document = customer_document(name, self.ports, {"relays": {"pool": "mx"}})
            (self.customers / f"{name}.yaml").write_text(text_of(document))
        self.change(0)
        names = [*self.size.customer_names, PROBE]
        self._write_secrets(names)
        to = [f"{HOST}:{self.ports.imap}"]
        rules = [{"secret": f"{name}/imap", "to": to, "unverified": True} for name in names]
        policy = {
            "version": 1,
            "keys": {"current": {"id": "growth", "secret": _KEY}},
            "sources": {"directory": "secrets"},
            "secrets": rules,
            "addresses": {"allow": ["127.0.0.0/8"]},
        }
        self.policy.write_text(text_of(policy))

    def _write_secrets(self, names: list[str]) -> None:
        for name in [_KEY, *(f"{name}/imap" for name in names)]:
            file = self.directory / "secrets" / name
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file.touch(mode=0o600)
            file.write_text(_PASSWORD)

    def rest(self, interval: str) -> None:
        """Give all rules but the probe's another interval."""
        document = main_document(self.size, self.ports, interval=interval)
        _replace(self.main, text_of(document))

    def change(self, number: int, *, interval: str = PROBE_INTERVAL) -> None:
        """Write the probe's file as change ``number`` has it, all at once."""
        document = probe_document(self.ports, number, interval=interval)
        _replace(self.customers / f"{PROBE}.yaml", text_of(document))


def text_of(document: dict[str, Any]) -> str:
    """A document as a file."""
    text: str = yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False)
    return text


def _replace(file: Path, text: str) -> None:
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    new.replace(file)
