"""``mailcanary probe``: one canary per selected path, now."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from agent.assignment import Assignment
    from agent.policy.models import PolicyFile
    from agent.shot.nagios import Thresholds
    from agent.shot.shoot import Shot

_NAGIOS_UNKNOWN = 3
_LONGEST_S = 86400.0


def _seconds(text: str | None, option: str, fallback: float) -> float:
    from probes.contract.units import parse_duration_between

    if text is None:
        return fallback
    try:
        return parse_duration_between(text, 0.001, _LONGEST_S)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _prepare(
    config: Path,
    name: str | None,
    policy: Path | None,
    relay: list[str],
    mailbox: list[str],
) -> "tuple[Assignment, PolicyFile]":
    import secrets

    from agent.assignment import assign
    from agent.policy.load import find_policy
    from agent.settings_files import load_config
    from agent.shot.shoot import check_budgets, renamed, select

    assignment = assign(load_config(config), name)
    plans = select(assignment.paths, relay, mailbox)
    check_budgets(plans, assignment)
    return renamed(assignment, plans, secrets.token_hex(3)), find_policy(config, policy)


def _fire(assignment: "Assignment", policy: "PolicyFile", wait_s: float) -> "Shot":
    import asyncio
    import os
    from importlib.metadata import version

    from agent import logs
    from agent.app import loop_factory
    from agent.shot.shoot import shoot

    # What fails is in the result; a log beside it would say it twice.
    logs.configure(level="error")
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(
            shoot(assignment, policy, os.environ, wait_s=wait_s, version=version("mailcanary"))
        )


def _show(shot: "Shot", thresholds: "Thresholds", *, as_json: bool) -> int:
    import json

    from rich.console import Console

    from agent.shot.nagios import State, plugin
    from agent.shot.report import as_json as to_json
    from agent.shot.report import legend, table

    state, text = plugin(shot, thresholds)
    if as_json:
        typer.echo(json.dumps(to_json(shot)))
    else:
        console = Console()
        console.print(table(shot, console.width))
        console.print(legend())
        console.print(text.partition(" | ")[0], highlight=False)
    return 0 if state in (State.OK, State.WARNING) else 1


def probe(
    config: Annotated[
        Path, typer.Option("--config", help="The configuration; customers.d beside it is read too.")
    ],
    name: Annotated[
        str | None,
        typer.Option(
            "--name", envvar="MAILCANARY_AGENT", help="As which of its agents; the only one if one."
        ),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="The policy; policy.yaml beside the config.")
    ] = None,
    relay: Annotated[
        list[str] | None, typer.Option("--relay", help="Only through this relay; repeatable.")
    ] = None,
    mailbox: Annotated[
        list[str] | None,
        typer.Option("--mailbox", help="Only to this customer/mailbox; repeatable."),
    ] = None,
    wait: Annotated[
        str | None, typer.Option("--wait", help="How long to wait; the longest deadline and 5 s.")
    ] = None,
    warning: Annotated[
        str | None,
        typer.Option("--warning", help="A longer delay is a WARNING; half of --critical."),
    ] = None,
    critical: Annotated[
        str | None, typer.Option("--critical", help="A longer delay is CRITICAL; the deadline.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of a table.")
    ] = False,
    nagios: Annotated[
        bool, typer.Option("--nagios", help="Be a Nagios plugin: one line, exit code 0, 1, 2 or 3.")
    ] = False,
) -> None:
    """Send one canary per selected path, now, and say what happened and where the time went.

    The canaries are this shot's own: a running agent of the same name neither counts nor deletes
    them. Exit code 0 when all came home, 1 when not; with --nagios a Nagios plugin's.
    """
    from agent.shot.nagios import Thresholds, plugin
    from agent.shot.shoot import ShotError
    from probes.contract.errors import MailcanaryError

    try:
        assignment, rules = _prepare(config, name, policy, relay or [], mailbox or [])
        deadline_s = max((plan.deadline_s for plan in assignment.paths), default=60.0)
        critical_s = _seconds(critical, "--critical", deadline_s)
        thresholds = Thresholds(_seconds(warning, "--warning", critical_s / 2), critical_s)
        if thresholds.warning_s > thresholds.critical_s:
            raise ShotError(
                f"--warning: found {thresholds.warning_s:g} s, allowed is at most --critical's "
                f"{thresholds.critical_s:g} s"
            )
        shot = _fire(assignment, rules, _seconds(wait, "--wait", deadline_s + 5.0))
    except MailcanaryError as error:
        if not nagios:
            raise
        typer.echo(f"MAIL UNKNOWN - {' '.join(str(error).split())}".replace("|", "/"))
        raise typer.Exit(_NAGIOS_UNKNOWN) from None
    if nagios:
        state, text = plugin(shot, thresholds)
        typer.echo(text)
        raise typer.Exit(int(state))
    raise typer.Exit(_show(shot, thresholds, as_json=as_json))
