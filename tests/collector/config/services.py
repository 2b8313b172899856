"""A collector's configuration as tests run it: real files, a real log and control file."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from agent.settings_files import file_set, sources
from collector.config.customer_files import CustomerFiles
from collector.config.customers import Customers
from collector.config.files import Files
from collector.config.hosts import HostPolicy
from collector.config.revisions import Revisions
from collector.config.service import ConfigService
from collector.control.audit import Audit
from collector.control.store import ControlStore
from collector.log.sqlite import SqliteLog
from collector.own_events import OwnEvents
from tests.collector.control.stores import HandClock

RELAYS = [{"name": "relay-1", "host": "relay-1.example.net", "max_per_minute": 60}]
AGENTS = [
    {"name": name, "sender": {"address": f"c@{name}.example", "helo": f"{name}.example"}}
    for name in ("lon", "sfo")
]


def customer(name: str, agent: str = "sfo", **more: Any) -> dict[str, Any]:
    """A customer with one mailbox and one rule."""
    return {
        "name": name,
        "mailboxes": [
            {
                "name": "in",
                "address": f"in@{name}.example",
                "imap": {"host": "imap.example.net", "user": "in", "secret": f"{name}/in"},
            }
        ],
        "canaries": [{"agents": agent, "interval": "1m"}],
        **more,
    }


def main_document(**more: Any) -> dict[str, Any]:
    """The main file's content."""
    return {"version": 1, "relays": RELAYS, "agents": AGENTS, **more}


def write_yaml(file: Path, document: dict[str, Any]) -> None:
    """Write a file as an operator would."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(document, sort_keys=False))


def read_files(main: Path) -> Files:
    """The files as they are on the disk."""
    found = file_set(main)
    return Files(sources(found), found.problems, found.warnings)


@dataclass(slots=True)
class Site:
    """A configuration on the disk and the services over it."""

    main: Path
    state: Path
    log: SqliteLog
    store: ControlStore
    clock: HandClock
    config: ConfigService
    customers: Customers
    audit: Audit

    @property
    def directory(self) -> Path:
        """``customers.d``."""
        return self.main.parent / "customers.d"

    async def told(self) -> list[str]:
        """The revisions that the log was told of, in order."""
        entries = await self.log.read(0, 1000)
        events = [msgspec.json.decode(entry.body) for entry in entries]
        return [event["revision"] for event in events if event["kind"] == "config"]


def site_files(directory: Path) -> Path:
    """A main file and two customers, acme for sfo and globex for lon; gives the main file."""
    main = directory / "etc" / "mailcanary.yaml"
    write_yaml(main, main_document())
    write_yaml(main.parent / "customers.d" / "acme.yaml", customer("acme"))
    write_yaml(main.parent / "customers.d" / "globex.yaml", customer("globex", "lon"))
    return main


@asynccontextmanager
async def opened(
    main: Path,
    state: Path,
    clock: HandClock,
    policy: HostPolicy | None = None,
    read: Callable[[Path], Files] = read_files,
) -> AsyncIterator[Site]:
    """The services over a state directory; not started."""
    log = SqliteLog.open(state / "log")
    store = ControlStore.open(state)
    try:
        audit = Audit(store, clock.wall_ns)
        config = ConfigService(
            main,
            lambda: read(main),
            own=await OwnEvents.of(log, clock.wall_ns),
            revisions=Revisions(store),
            now_ns=clock.wall_ns,
        )
        customers = Customers(config, CustomerFiles(main), audit, policy or HostPolicy())
        yield Site(main, state, log, store, clock, config, customers, audit)
    finally:
        store.close()
        await log.close()


@asynccontextmanager
async def site(
    directory: Path,
    policy: HostPolicy | None = None,
    read: Callable[[Path], Files] = read_files,
) -> AsyncIterator[Site]:
    """A site of its own, started."""
    main = site_files(directory)
    async with opened(main, directory / "state", HandClock(), policy, read) as found:
        await found.config.start()
        yield found
