"""An estate whose relays and mailboxes speak TLS and want logins, and its files on disk."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from agent.doctor.diagnose import Request, diagnose
from agent.doctor.model import Diagnosis, Item, Status
from lab.estate import Estate
from lab.specs import MailboxSpec, RelaySpec
from probes.contract.config.models import RelayTls

PASSWORD = "Hunter2-Hunter2"
KEY = "0123456789abcdef-signing"
RELAY_HOSTS = [f"127.20.0.{number}" for number in range(1, 9)]
IMAP_HOSTS = [f"127.23.0.{number}" for number in range(1, 9)]


@dataclass
class Certificates:
    """One authority, in a file, and contexts that show its certificates."""

    ca: trustme.CA
    ca_file: Path

    def context(self, *, days_left: int) -> ssl.SSLContext:
        """A server context for all of the estate's addresses."""
        now = datetime.now(UTC)
        leaf = self.ca.issue_cert(
            *RELAY_HOSTS,
            *IMAP_HOSTS,
            not_before=now - timedelta(days=90),
            not_after=now + timedelta(days=days_left, hours=1),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        return context


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    ca = trustme.CA()
    ca_file = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    return Certificates(ca, ca_file)


@dataclass
class Site:
    """A host with files for a running estate: edit ``config`` and ``policy``, then ask."""

    directory: Path
    estate: Estate
    config: dict[str, Any]
    policy: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def config_file(self) -> Path:
        return self.directory / "mailcanary.yaml"

    def write(self) -> None:
        """Write both files."""
        self.config_file.write_text(yaml.safe_dump(self.config))
        (self.directory / "policy.yaml").write_text(yaml.safe_dump(self.policy))

    def secret(self, name: str, value: str) -> None:
        """Write a secret's file."""
        file = self.directory / "secrets" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value)
        file.chmod(0o600)

    def request(self, **fields: Any) -> Request:
        """What to ask the doctor."""
        given: dict[str, Any] = {"config": self.config_file, "state": self.directory, "limit_s": 5}
        return Request(**(given | fields))

    async def diagnose(self, **fields: Any) -> Diagnosis:
        """Write the files and ask; in a thread, since the estate lives in this loop."""
        self.write()
        return await asyncio.to_thread(diagnose, self.request(**fields), self.environment)

    def relay(self, name: str) -> dict[str, Any]:
        """A relay's entry in the configuration."""
        entry: dict[str, Any] = next(r for r in self.config["relays"] if r["name"] == name)
        return entry

    def mailbox(self, name: str) -> dict[str, Any]:
        """A mailbox's entry in the configuration."""
        customer, _, box = name.partition("/")
        entries = next(c for c in self.config["customers"] if c["name"] == customer)["mailboxes"]
        entry: dict[str, Any] = next(entry for entry in entries if entry["name"] == box)
        return entry


def by_name(diagnosis: Diagnosis, group: str) -> dict[str, Item]:
    """A group's items by name."""
    return {item.name: item for item in diagnosis.items if item.group == group}


def troubles(diagnosis: Diagnosis) -> list[str]:
    """What did not turn out well, without what this host's own clock and disk may give."""
    return [
        f"{item.status} {item.group}: {item.name}: {item.seen}"
        for item in diagnosis.items
        if item.status is not Status.OK and item.name not in ("clock", "disk")
    ]


@pytest.fixture
async def site(tmp_path: Path, certificates: Certificates) -> AsyncIterator[Site]:
    """Everything is in order until a test changes it.

    Relays: ``open`` (no TLS, no login), ``strict`` (STARTTLS and login), ``wrapped`` (implicit TLS,
    login). Mailboxes: ``acme/inbox``, and the agent's bounces, both in TLS.
    """
    context = certificates.context(days_left=60)
    users = {"canary": PASSWORD}
    relays = [
        RelaySpec(name="open"),
        RelaySpec(name="strict", tls=RelayTls.STARTTLS, tls_context=context, users=users),
        RelaySpec(name="wrapped", tls=RelayTls.IMPLICIT, tls_context=context, users=users),
    ]
    inbox = MailboxSpec(name="acme/inbox", password=PASSWORD, tls_context=context)
    async with Estate(relays, [inbox]) as estate:
        config = estate.config_document()
        rules = []
        secrets = estate.secrets
        for relay in config["relays"]:
            if "auth" in relay:
                to = [f"{relay['host']}:{relay['port']}"]
                rules.append({"secret": relay["auth"]["secret"], "to": to})
        for customer in config["customers"]:
            for box in customer["mailboxes"]:
                imap = box["imap"]
                rule = {"secret": imap["secret"], "to": [f"{imap['host']}:{imap['port']}"]}
                rules.append(rule | ({"unverified": True} if imap["tls"] == "none" else {}))
        policy = {
            "version": 1,
            "keys": {"current": {"id": "k1", "secret": "signing-key"}},
            "sources": {"directory": "secrets"},
            "secrets": rules,
            "addresses": {"allow": ["127.0.0.0/8"]},
            "ca_file": str(certificates.ca_file),
        }
        made = Site(tmp_path, estate, config, policy)
        made.secret("signing-key", KEY)
        for name, value in secrets.items():
            made.secret(name, value)
        yield made
