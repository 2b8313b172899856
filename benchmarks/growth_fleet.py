"""A fleet as processes of their own, through the real command line; watched from outside."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.figures import Unavailable
from benchmarks.growth_estate import Ports
from benchmarks.growth_site import Site
from benchmarks.job import REPOSITORY, command
from collector.control.principal import Kind
from collector.control.store import operate
from collector.control.tokens import create

_TICK = os.sysconf("SC_CLK_TCK")
_PATIENCE_S = 120.0
_LOOK_S = 0.005


class Part:
    """A process, and the log that it writes; ``began_ns`` is the wall clock when it was started."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self._log = log
        self._read = 0
        self._rest = b""
        self.lines: list[dict[str, Any]] = []
        self.began_ns = time.time_ns()
        with log.open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mailcanary", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=err,
                stderr=err,
                cwd=REPOSITORY,
            )

    def stop(self) -> None:
        """End it in order."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def pids(self) -> list[int]:
        """Itself and the processes that it has started."""
        found = [self._process.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").iterdir():
                # A thread may end while it is looked at.
                with suppress(FileNotFoundError):
                    children = (task / "children").read_text(encoding="ascii")
                    found += map(int, children.split())
        return found

    def cpu_s(self) -> float:
        """CPU of all threads of all of them so far, in seconds."""
        return sum(map(_cpu_s, self.pids()))

    def rss(self) -> int:
        """Bytes that are resident, of all of them."""
        return sum(map(memory, self.pids()))

    def told(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log that say ``event``, so far."""
        with self._log.open("rb") as file:
            file.seek(self._read)
            data = self._rest + file.read()
            self._read = file.tell()
        *lines, self._rest = data.split(b"\n")
        self.lines += [msgspec.json.decode(line) for line in lines if line.startswith(b"{")]
        return [line for line in self.lines if line["event"] == event]

    def wait(self, what: Callable[[], bool], doing: str, look_s: float = _LOOK_S) -> None:
        """Return when ``what`` is so; it is looked every ``look_s``.

        Raises:
            RuntimeError: it ended before, or it took too long.
        """
        end = time.monotonic() + _PATIENCE_S
        while not what():
            if self._process.poll() is not None or time.monotonic() > end:
                tail = self._log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name}: not {doing}: {tail}")
            time.sleep(look_s)


def memory(pid: int | str) -> int:
    """Bytes of a process that are resident."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2]
    user, system = fields.split()[11:13]
    return (int(user) + int(system)) / _TICK


def at_ns(line: dict[str, Any]) -> int:
    """When a line was logged, by the wall clock."""
    return round(datetime.fromisoformat(line["timestamp"]).timestamp() * 1e6) * 1000


@contextmanager
def estate(relays: int) -> Iterator[Ports]:
    """The servers that agents talk to."""
    with subprocess.Popen(
        command("growth_estate", str(relays)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    ) as process:
        try:
            if process.stdout is None:
                raise Unavailable("no pipe")
            yield msgspec.json.decode(process.stdout.readline(), type=Ports)
        finally:
            if process.stdin is not None:
                process.stdin.close()


class Employer:
    """A collector over a site, and the agents that work for it; ``token`` is an operator's.

    ``options`` are the collector's, more than it needs. Whoever holds the stack ends them all.
    """

    def __init__(self, site: Site, stack: ExitStack, *options: str) -> None:
        self.site = site
        self._stack = stack
        self.state = site.directory / "collector"
        self.collector = self._start(
            "collector", "collector",
            "--config", str(site.main), "--state", str(self.state), "--listen", "127.0.0.1:0",
            *options,
        )  # fmt: skip
        self.collector.wait(lambda: bool(self.collector.told("collector started")), "serving")
        self.url = str(self.collector.told("collector started")[0]["url"])
        self.port = int(self.url.rpartition(":")[2])
        self.token = self._new_token(Kind.OPERATOR, "benchmark")

    def _start(self, name: str, *arguments: str) -> Part:
        part = Part(name, arguments, self.site.directory / f"{name}.log")
        self._stack.callback(part.stop)
        return part

    def _new_token(self, kind: Kind, name: str) -> str:
        now_ns = time.time_ns()
        _, secret = operate(
            self.state,
            lambda control: create(control, kind, name, who="benchmark", now_ns=now_ns),
        )
        return secret.reveal()

    def hire(self, name: str) -> Part:
        """Start the agent of that name; its state is in the site's directory of that name."""
        file = self.site.directory / f"{name}.token"
        file.touch(mode=0o600)
        file.write_text(self._new_token(Kind.AGENT, name))
        return self._start(
            name, "agent",
            "--collector", self.url, "--name", name, "--token-file", str(file),
            "--policy", str(self.site.policy), "--state", str(self.site.directory / name),
        )  # fmt: skip

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes, dict[str, str]]:
        """Ask the collector as an operator; status, body and headers with names in lower case."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_S)
        try:
            known = {"Authorization": f"Bearer {self.token}", **(headers or {})}
            connection.request(method, path, body, known)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, answer.read(), found
        finally:
            connection.close()


class Fleet(Employer):
    """A collector with all agents of its site at work."""

    def __init__(self, site: Site, stack: ExitStack) -> None:
        super().__init__(site, stack)
        self.agents = [self.hire(name) for name in site.size.agent_names]
        for agent in self.agents:
            agent.wait(lambda agent=agent: bool(agent.told("agent started")), "at work")  # type: ignore[misc]  # a lambda's default has no type

    def wait_for(self, revision: str) -> None:
        """Return when all agents work by ``revision``."""
        for agent in self.agents:
            agent.wait(
                lambda agent=agent: any(  # type: ignore[misc]  # a lambda's default has no type
                    line["revision"] == revision for line in agent.told("assignment")
                ),
                f"working by {revision}",
            )

    def wait_for_mailboxes(self) -> None:
        """Return when every agent reads every mailbox, as the collector knows it."""

        def states() -> list[str]:
            agents = msgspec.json.decode(self.ask("GET", "/api/v1/agents")[1])["agents"]
            reports = [agent["report"] or {"mailboxes": {}} for agent in agents]
            return [box["state"] for report in reports for box in report["mailboxes"].values()]

        size = self.site.size
        wanted = ["ok"] * (len(size.customer_names) + 1) * len(size.agent_names)
        self.collector.wait(lambda: states() == wanted, "all mailboxes read", look_s=1.0)

    def next_revision(self, known: int) -> dict[str, Any]:
        """The line by which the collector tells the revision after the first ``known``."""
        told = "configuration in force"
        self.collector.wait(lambda: len(self.collector.told(told)) > known, "a new revision")
        return self.collector.told(told)[known]


@contextmanager
def running(site: Site) -> Iterator[Fleet]:
    """A fleet at work; ended in order: first the agents, then the collector."""
    with ExitStack() as stack:
        yield Fleet(site, stack)


@contextmanager
def tidy_end() -> Iterator[None]:
    """Within, SIGTERM ends this process as an exception does: with all that it has begun."""

    def end(number: int, _frame: object) -> None:
        # Once: what is being ended then must not be cut short by another one.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
