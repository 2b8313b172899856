"""``mailcanary doctor``: does everything that a configuration names work from here?"""

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import AgentName, seconds
from agent.cli.output import to_stdout

# What cannot be read an item says, with all others, so Typer does not look.
Config = Annotated[
    Path,
    typer.Option(
        "--config", readable=False, help="The configuration; customers.d beside it is read too."
    ),
]
Policy = Annotated[
    Path | None,
    typer.Option("--policy", readable=False, help="The policy; policy.yaml beside the config."),
]
State = Annotated[
    Path,
    typer.Option("--state", readable=False, help="Where the agent keeps spool and flights."),
]


def doctor(
    config: Config,
    policy: Policy = None,
    name: AgentName = None,
    state: State = Path("/var/lib/mailcanary"),
    timeout: Annotated[
        str,
        typer.Option(
            "--timeout",
            metavar="TIME",
            help="How long one step may take: 100ms to 5m, or seconds.",
        ),
    ] = "10s",
    every: Annotated[
        bool, typer.Option("--all", help="Show every item, also of servers without trouble.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Try everything that an agent would need, and say per item what works and what to do.

    The state directory, the clock, configuration and policy, every secret and
    key; for each relay its name, port, TLS, what it offers and the login; for
    each mailbox the same and its folders. No mail is sent, read or deleted.

    Exit code 0: nothing failed (warnings may be shown); 1: something failed;
    2: configuration, policy or command line cannot be used.
    """
    from contextlib import nullcontext

    from rich.console import Console

    from agent.doctor.diagnose import Request, diagnose
    from agent.doctor.show import as_json as to_json
    from agent.doctor.show import show

    console = Console(highlight=False)
    waiting = console.is_terminal and not as_json
    limit_s = seconds(timeout, "--timeout", 0.1, 300.0)
    with console.status("asking all servers") if waiting else nullcontext():
        diagnosis = diagnose(Request(config, policy, name, state, limit_s))
    with to_stdout():
        if as_json:
            typer.echo(json.dumps(to_json(diagnosis), ensure_ascii=False))
        else:
            show(diagnosis, console, every=every)
    if diagnosis.exit_code:
        raise typer.Exit(diagnosis.exit_code)
