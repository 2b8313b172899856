"""The real agent as a process, with a configuration, a policy and secrets for an estate."""

import base64
import subprocess
import urllib.request
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import yaml

from tests.servers.agent_config import Words, estate_secrets, secret_endpoints
from tests.servers.boots import Boot
from tests.servers.estate import ServerEstate
from tests.servers.journal import Journal
from tests.servers.namespaces import Namespace
from tests.servers.process import environment, tail
from tests.servers.program import MAILCANARY, Program

SIGNING_KEY = "the key that signs the canaries of these tests"


@dataclass
class Workplace:
    """A directory with everything that an agent needs and everything that it writes."""

    directory: Path
    ca_file: Path
    secrets: dict[str, str]

    @property
    def config(self) -> Path:
        return self.directory / "config.yaml"

    @property
    def policy(self) -> Path:
        return self.directory / "policy.yaml"

    def write(self, config: Words, *, unverified: Collection[str] = ()) -> None:
        """Write the configuration, a policy that fits it, and the secrets.

        The secrets in `unverified` may be sent to whom no certificate vouches for.
        """
        self.directory.mkdir(exist_ok=True)
        self.config.write_text(yaml.safe_dump(config))
        policy = {
            "version": 1,
            "keys": {"current": {"id": "k1", "secret": "signing-key"}},
            "sources": {"directory": "secrets", "credentials": False},
            "secrets": [
                {"secret": name, "to": sorted(to), "unverified": name in unverified}
                for name, to in secret_endpoints(config).items()
            ],
            # The estate lies in a network that customers may not name by default.
            "addresses": {"allow": ["198.18.0.0/15"]},
            "ca_file": str(self.ca_file),
        }
        self.policy.write_text(yaml.safe_dump(policy))
        self.write_secrets()

    def write_secrets(self) -> None:
        """Write the secrets anew, also while agents run."""
        for name, value in {**self.secrets, "signing-key": SIGNING_KEY}.items():
            file = self.directory / "secrets" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(value + "\n")
            file.chmod(0o600)

    def command(self, name: str, *words: str | Path) -> list[str]:
        """The command line of a sub-command that reads this configuration and policy."""
        options = ["--config", self.config, "--policy", self.policy, *words]
        return [*MAILCANARY, name, *(str(word) for word in options)]


@dataclass
class RunningAgent:
    """One agent of a workplace, which may be started again and again on the same state."""

    workplace: Workplace
    name: str = "site"
    site: Namespace | None = None
    metrics: int | None = None

    @property
    def events(self) -> Path:
        return self.workplace.directory / f"{self.name}.events"

    @property
    def log(self) -> Path:
        return self.workplace.directory / f"{self.name}.log"

    @property
    def state(self) -> Path:
        return self.workplace.directory / f"{self.name}.state"

    @cached_property
    def program(self) -> Program:
        """The agent as a process."""
        words: list[str | Path] = ["--name", self.name, "--log-level", "debug"]
        words += ["--state", self.state, "--events", self.events]
        if self.metrics is not None:
            words += ["--metrics", f"127.0.0.1:{self.metrics}"]
        command = self.workplace.command("agent", *words)
        return Program(f"agent {self.name}", command, self.log, self.site)

    @cached_property
    def journal(self) -> Journal:
        """What it has written, over all its starts."""
        return Journal(self.events, self.program.must_run)

    def start(self) -> None:
        """Start it; at its site, if it has one."""
        self.program.start()

    def stop(self) -> int:
        """Stop it as systemd would; gives its exit status."""
        return self.program.stop()

    def kill(self) -> None:
        """End it without a chance to write anything more."""
        self.program.kill()

    def reboot(self, age_s: int) -> Boot:
        """Kill it, and start it as on a machine that was rebooted `age_s` seconds ago."""
        self.kill()
        self.program.boot = Boot.new(self.workplace.directory, age_s)
        self.start()
        return self.program.boot

    def scrape(self) -> str:
        """What it tells Prometheus; kept beside its log."""
        url = f"http://127.0.0.1:{self.metrics}/metrics"
        with urllib.request.urlopen(url, timeout=20) as answer:
            text: bytes = answer.read()
        (self.workplace.directory / f"{self.name}.metrics").write_bytes(text)
        return text.decode()


def run_to_end(command: Sequence[str], *, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    """Run a command and give its exit status and output."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=environment(), check=False
    )


def leaks(paths: Iterable[Path], secrets: Mapping[str, str]) -> list[str]:
    """Which secrets stand in which files, in the clear or in an encoding of SMTP's and IMAP's."""
    found = []
    for path in paths:
        data = path.read_bytes()
        for name, value in secrets.items():
            forms = {value.encode(), value.encode().hex().encode()}
            # Base64 of a text that has something before it: each of three alignments (RFC 4648).
            for before in (b"", b"\0", b"\0\0"):
                text = base64.b64encode(before + value.encode())
                forms.add(text[4 if before else 0 : -4])
            if any(form in data for form in forms):
                found.append(f"{name} in {path}")
    return found


@dataclass
class Crew:
    """The agents of one test, in one workplace. Those that still run are killed at the end."""

    estate: ServerEstate
    workplace: Workplace
    agents: list[RunningAgent] = field(default_factory=list)

    @classmethod
    def of(cls, estate: ServerEstate, directory: Path) -> Self:
        """A crew without agents, that knows all passwords of the estate."""
        return cls(estate, Workplace(directory, estate.ca_file, estate_secrets(estate)))

    def start(self, name: str = "site", **options: Any) -> RunningAgent:
        """Start an agent on the configuration that was written last."""
        agent = RunningAgent(self.workplace, name, **options)
        self.agents.append(agent)
        agent.start()
        return agent

    def end(self) -> None:
        """Kill the agents that still run."""
        for agent in self.agents:
            if agent.program.is_running():
                agent.kill()

    def log_tails(self, lines: int = 30) -> str:
        """The ends of the agents' logs, under their names, and what came of their canaries."""
        return "\n".join(
            f"--- {agent.name}\n{agent.journal.summary()}\n{tail(agent.log, lines)}"
            for agent in self.agents
        )

    def leaks(self) -> list[str]:
        """Which secrets stand anywhere in what the agents wrote or told Prometheus."""
        files = [file for agent in self.agents for file in (agent.events, agent.log)]
        files += [path for agent in self.agents for path in agent.state.rglob("*")]
        files += self.workplace.directory.glob("*.metrics")
        secrets = {**self.workplace.secrets, "signing-key": SIGNING_KEY}
        return leaks([file for file in files if file.is_file()], secrets)
