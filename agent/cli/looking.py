"""``mailcanary probe --kind``: one round of looks from the relay's side, now."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from agent.cli.options import refused
from agent.cli.output import to_stdout
from probes.contract.errors import MailcanaryError

if TYPE_CHECKING:
    from agent.policy.models import PolicyFile
    from agent.shot.thresholds import Range
    from probes.contract.config.models import ProbeKind
    from probes.contract.events import Check

_TO_SAY_IT_S = 6.0
"""What of the limit is left for starting, for looks that end a little late, and for saying it."""


@dataclass(frozen=True, slots=True)
class Looking:
    """What the options ask for; ``limit_s`` is for all of it."""

    kind: str
    config: Path
    policy: Path | None
    agent: str | None
    limit_s: float | None
    ranges: "tuple[Range | None, Range | None]"
    as_json: bool
    nagios: bool

    def code(self) -> int:
        """Look, print what was seen, and give the exit code.

        Raises:
            MailcanaryError: there is nothing to look at like that.
        """
        from agent import logs

        logs.configure(level="error")
        try:
            checks = self._look(self._kind())
        except MailcanaryError as error:
            if self.as_json:
                from agent.cli.output import refusal_as_json

                with to_stdout():
                    typer.echo(json.dumps({"state": "unknown", **refusal_as_json(error)}))
            raise
        with to_stdout():
            return self._say(checks)

    def _kind(self) -> "ProbeKind":
        from probes.contract.config.models import ProbeKind

        try:
            return ProbeKind(self.kind)
        except ValueError:
            allowed = ", ".join(["canary", *ProbeKind])
            raise refused("--kind", repr(self.kind), f"one of {allowed}") from None

    def _look(self, kind: "ProbeKind") -> "list[Check]":
        from agent.checking.once import once, plans_of
        from agent.checking.registry import probes
        from agent.settings_files import load_config

        plans = plans_of(load_config(self.config), self.agent, kind)
        limit_s = None if self.limit_s is None else max(0.5, self.limit_s - _TO_SAY_IT_S)
        return once(plans, probes(self._policy()), limit_s)

    def _policy(self) -> "PolicyFile":
        """The agent's policy; its defaults where there is none, since no secret is needed here."""
        from agent.policy.load import DEFAULT_NAME, find_policy
        from agent.policy.models import PolicyFile

        if self.policy is None and not (self.config.parent / DEFAULT_NAME).exists():
            return PolicyFile(version=1)
        return find_policy(self.config, self.policy)

    def _say(self, checks: "list[Check]") -> int:
        from rich.console import Console

        from agent.checking.judged import judge, plugin
        from agent.checking.shown import summary, tables
        from agent.shot.nagios import State
        from probes.contract.events import encode

        warning, critical = self.ranges
        if self.nagios:
            state, text = plugin(checks, self.kind, warning, critical)
            typer.echo(text)
            return int(state)
        judged = judge(checks, warning, critical)
        if self.as_json:
            typer.echo(
                json.dumps(
                    {
                        "state": judged.state.name.lower(),
                        "sentences": judged.sentences,
                        "checks": [json.loads(encode(check)) for check in checks],
                    }
                )
            )
        else:
            console = Console(highlight=False)
            terminal = console.is_terminal
            if not terminal:
                console = Console(highlight=False, width=1000)
            for table in tables(checks, lines=terminal):
                console.print(table)
            console.print(summary(judged), markup=False, soft_wrap=True)
        return 0 if judged.state in (State.OK, State.WARNING) else 1
