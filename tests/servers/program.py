"""A program of ours as a process: started, awaited, stopped as systemd would, or killed."""

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.boots import Boot
from tests.servers.namespaces import Namespace
from tests.servers.process import CommandError, environment, tail, wait_until

MAILCANARY = (sys.executable, "-m", "mailcanary")


@dataclass
class Program:
    """A program that may be started again and again, one process at a time.

    All its output goes to the end of the file `log`. It runs at `site` if it is given one, and in
    `boot`, which may be set to another one between two starts.
    """

    name: str
    command: Sequence[str | Path]
    log: Path
    site: Namespace | None = None
    boot: Boot | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def pid(self) -> int:
        """The process id of the program itself. Only between start and end."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and do not wait for anything."""
        assert not self.is_running(), f"{self.name} runs already"
        command = [str(word) for word in self.command]
        if self.boot is not None:
            command = self.boot.command(command)
        start = subprocess.Popen if self.site is None else self.site.popen
        with self.log.open("ab") as log:
            self._process = start(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment()
            )

    def stop(self) -> int:
        """Stop it as systemd would; gives its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a chance to write anything more."""
        self._end(signal.SIGKILL)

    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def heeds_stop(self) -> bool:
        """Whether it has begun far enough to end in order once it is told to stop."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    def must_run(self) -> None:
        """Raise CommandError with its log when it was started and has ended by itself."""
        if self._process is not None and (status := self._process.poll()) is not None:
            raise CommandError(f"{self.name}: exit {status}: {tail(self.log)}")

    def wait_for(self, ready: Callable[[], bool], what: str, *, timeout: float = 60) -> None:
        """As `wait_until`, with a time for slow machines, and no longer than it runs."""

        def tried() -> bool:
            self.must_run()
            return ready()

        wait_until(tried, what, timeout=timeout)

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        status = self._process.wait(timeout=30)
        self._process = None
        return status
