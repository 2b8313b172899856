"""A real ``mailcanary agent`` process against the lab in the test's own process."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.estate import Estate

ROOT = Path(__file__).parents[2]
SIGNING_KEY = "a-signing-key-that-nobody-may-see"


@dataclass(frozen=True, slots=True)
class Site:
    """The files of one agent."""

    directory: Path

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.directory / "mailcanary.yaml"

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.directory / "state"

    @property
    def events(self) -> Path:
        """The events file."""
        return self.directory / "events.jsonl"

    @property
    def log(self) -> Path:
        """What all runs logged."""
        return self.directory / "log"

    def records(self) -> list[dict[str, Any]]:
        """All lines of the events file."""
        if not self.events.exists():
            return []
        whole = self.events.read_bytes().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()]


def lay_out(
    estate: Estate,
    directory: Path,
    *,
    secrets: dict[str, str] | None = None,
    relay_port: int | None = None,
    **words: Any,
) -> Site:
    """Write an agent's configuration, policy and secrets for a started estate.

    ``relay_port`` takes the place of all relays, on 127.0.0.1.
    """
    site = Site(directory)
    document = estate.config_document(**words)
    if relay_port is not None:
        for relay in document["relays"]:
            relay.update(host="127.0.0.1", port=relay_port)
    site.config.write_text(yaml.safe_dump(document))
    values = {**estate.secrets, **(secrets or {}), "signing-key": SIGNING_KEY}
    for name, value in values.items():
        file = directory / "secrets" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value)
        file.chmod(0o600)
    to: dict[str, list[str]] = {}
    for relay in document["relays"]:
        if "auth" in relay:
            to.setdefault(relay["auth"]["secret"], []).append(f"{relay['host']}:{relay['port']}")
    for customer in document["customers"]:
        for mailbox in customer["mailboxes"]:
            imap = mailbox["imap"]
            to.setdefault(imap["secret"], []).append(f"{imap['host']}:{imap['port']}")
    policy = {
        "version": 1,
        "keys": {"current": {"id": "k1", "secret": "signing-key"}},
        "sources": {"directory": "secrets"},
        "secrets": [{"secret": n, "to": ends, "unverified": True} for n, ends in to.items()],
        "addresses": {"allow": ["127.0.0.0/8"]},
    }
    (directory / "policy.yaml").write_text(yaml.safe_dump(policy))
    return site


class Running:
    """A process under way."""

    def __init__(self, process: asyncio.subprocess.Process, arguments: list[str]) -> None:
        self.process = process
        self.arguments = arguments
        self.lines: list[dict[str, Any]] = []

    async def logged(self, event: str) -> dict[str, Any]:
        """Read the log until that event; it must come."""
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            while line := await self.process.stderr.readline():
                self.lines.append(json.loads(line))
                if self.lines[-1]["event"] == event:
                    return self.lines[-1]
        raise AssertionError(f"never logged: {event}; but {self.lines}")

    async def drained(self) -> None:
        """Read the rest of the log, to its end."""
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.lines.append(json.loads(line))

    async def stopped(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for the end; the exit code."""
        async with asyncio.timeout(20):
            await self.drained()
            return await self.process.wait()


@asynccontextmanager
async def running(
    site: Site, *options: str, stdout: int | None = None, under: Sequence[str] = ()
) -> AsyncIterator[Running]:
    """Start an agent; kill it at the end if it still runs. Events go to ``stdout`` if given.

    ``under`` is a command that becomes the agent, such as a tracer that stays in the background.
    """
    events = str(site.events) if stdout is None else "-"
    arguments = [
        *under, sys.executable, "-m", "mailcanary", "agent", "--config", str(site.config),
        "--state", str(site.state), "--events", events, *options,
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdout=asyncio.subprocess.DEVNULL if stdout is None else stdout,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        limit=1 << 22,
    )
    run = Running(process, arguments)
    try:
        yield run
    finally:
        if process.returncode is None:
            process.kill()
            await run.drained()
            await process.wait()
        with site.log.open("a") as log:
            log.writelines(json.dumps(line) + "\n" for line in run.lines)
