"""A fleet in processes of its own: agents that work for a collector, against the lab."""

import json
from collections.abc import Sequence
from pathlib import Path  # noqa: TC003 - beside imports that are used at run time

from agent.spool.schema import open_spool
from agent.spool.store import Store
from tests.agent.processes import Site
from tests.collector.collectors import RunningCollector
from tests.servers.program import MAILCANARY, Program


class RemoteAgent:
    """``mailcanary agent --collector`` over a state directory; may be killed and started again."""

    def __init__(self, site: Site, name: str, url: str, token: str) -> None:
        self.name = name
        self.directory = site.directory / f"agent-{name}"
        self.directory.mkdir()
        token_file = self.directory / "token"
        token_file.touch(mode=0o600)
        token_file.write_text(token)
        self.state = self.directory / "state"
        self.log = self.directory / "log"
        command: Sequence[str | Path] = [
            *MAILCANARY, "agent", "--collector", url, "--name", name,
            "--policy", site.directory / "policy.yaml", "--token-file", token_file,
            "--state", self.state,
        ]  # fmt: skip
        self.program = Program(name, command, self.log)

    def wrote(self) -> tuple[str, int, int]:
        """The spool's epoch, its last number, and how many events it still holds."""
        opened = open_spool(self.state)
        try:
            store = Store(opened.connection, opened.epoch)
            depth = store.depth()
            return opened.epoch, depth.last_seq, depth.rows
        finally:
            opened.connection.close()
            opened.lock.close()

    def said(self, event: str) -> int:
        """How often its log has that event."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return sum(json.loads(line)["event"] == event for line in lines if line.startswith("{"))


def hired(
    site: Site, collector: RunningCollector, names: Sequence[str], url: str | None = None
) -> list[RemoteAgent]:
    """Agents with tokens of their own; ``url`` where they reach the collector."""
    return [
        RemoteAgent(site, name, url or collector.url, collector.token("agent", name))
        for name in names
    ]
