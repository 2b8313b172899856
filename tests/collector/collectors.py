"""A collector as a process of its own, on a free port, with tokens made by its own command."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.servers.process import environment
from tests.servers.program import MAILCANARY, Program


def listening_url(log: Path) -> str | None:
    """Where the last collector that wrote to ``log`` listens, once it says so."""
    url = None
    for line in log.read_text().splitlines() if log.exists() else ():
        if line.startswith("{"):
            record = json.loads(line)
            if record.get("event") == "collector started":
                url = record["url"]
    return url


class RunningCollector:
    """``mailcanary collector`` over a state directory; may be killed and started again.

    It listens on the port that the first start found free, so that agents find it again.
    """

    def __init__(
        self, directory: Path, main: Path, under: Sequence[str] = (), settings: Path | None = None
    ) -> None:
        """``under`` is the beginning of a command line that runs the rest, as ``strace`` does."""
        self.state = directory / "collector"
        self.log = directory / "collector.log"
        self.main = main
        self._under = under
        self._settings = settings
        self._port = 0
        self._starts = 0
        self.program = self._program()

    def _program(self) -> Program:
        options: list[str | Path] = ["--config", self.main, "--state", self.state]
        if self._settings is not None:
            options += ["--settings", self._settings]
        listen = ["--listen", f"127.0.0.1:{self._port}"]
        command = [*self._under, *MAILCANARY, "collector", *options, *listen]
        return Program("collector", command, self.log)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it and wait until it serves."""
        self._starts += 1
        self.program = self._program()
        self.program.start()
        self.program.wait_for(self._serves, "the collector serves")
        url = listening_url(self.log)
        assert url is not None
        self._port = int(url.rpartition(":")[2])

    def _serves(self) -> bool:
        started = self.log.read_text().count('"collector started"') if self.log.exists() else 0
        return started == self._starts

    def token(self, kind: str, name: str) -> str:
        """A new token."""
        command = [sys.executable, "-m", "mailcanary", "token", "create"]
        options = ["--kind", kind, "--name", name, "--state", str(self.state), "--json"]
        done = subprocess.run(
            [*command, *options], capture_output=True, text=True, check=True, env=environment()
        )
        text: str = json.loads(done.stdout)["token"]
        return text
