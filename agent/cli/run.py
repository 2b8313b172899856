"""``mailcanary run``: an agent, and a collector beside it that the agent knows nothing of."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from agent.cli.options import AgentName, ConfigFile, PolicyFile
from agent.cli.running import Running
from agent.cli.taking import taking

if TYPE_CHECKING:
    from agent.remote import Collector
    from agent.remote_app import Job

Hire = Callable[["Collector"], "Job"]
"""Gives the agent's work for the collector that it is told of."""


class RunsBoth(Protocol):
    """What the front door puts into the command's context."""

    def run_both(
        self, config: Path, state: Path, listen: str, agent: str, hire: Hire, log_level: str
    ) -> None:
        """Run a collector and the agent that it is to employ, until they are told to stop.

        Raises:
            MailcanaryError: one of the two cannot start, and why.
        """


@dataclass(frozen=True, kw_only=True)
class Places:
    """What runs, and where it is kept and listens."""

    config: ConfigFile
    name: AgentName = None
    policy: PolicyFile = None
    state: Annotated[
        Path, typer.Option("--state", help="Where log, rollups, spool and flights are kept.")
    ] = Path("/var/lib/mailcanary")
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDRESS:PORT", help="Where the collector serves.")
    ] = "127.0.0.1:8420"


@dataclass(frozen=True, kw_only=True)
class RunOptions(Running, Places):
    """All options of the command."""


@taking(RunOptions)
def run(ctx: typer.Context, options: RunOptions) -> None:
    """Run a collector and one agent in this process until SIGTERM: all that a small site needs.

    Other agents may work for the same collector. SIGHUP reads the configuration again. A second
    signal ends the process at once.
    """
    from agent.assignment import assign
    from agent.policy.load import find_policy
    from agent.settings_files import load_config

    rules = find_policy(options.config, options.policy)
    who = assign(load_config(options.config), options.name).agent
    settings = options.settings(options.state / "agent")

    def hire(collector: "Collector") -> "Job":
        from agent.remote_app import Job

        return Job(collector, rules, settings, version("mailcanary"))

    both: RunsBoth = ctx.obj
    state = options.state / "collector"
    both.run_both(options.config, state, options.listen, who, hire, options.log_level)
