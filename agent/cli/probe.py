"""``mailcanary probe``: one canary per selected path, now."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.looking import Looking
from agent.cli.options import AgentName, ConfigFile, PolicyFile, refused, seconds
from agent.cli.output import refusal_as_json, to_stdout
from probes.contract.errors import MailcanaryError

if TYPE_CHECKING:
    from agent.assignment import Assignment
    from agent.policy.models import PolicyFile as Policy
    from agent.shot.shoot import Shot, Watch
    from agent.shot.thresholds import Range, Thresholds
    from probes.contract.errors import Problem

NAGIOS_S = 50.0
"""How long a plugin takes at most by itself: Nagios, Icinga and Checkmk give it 60 seconds."""

_LONGEST_S = 86400.0
_AFTERWARDS_S = 5.0
_RESERVE, _RESERVE_S = 0.25, 8.0
"""What of a limit is left for starting and for deleting what came home, and at most how much."""
_TO_TIDY_S = 1.5
"""What a start that was too slow has to leave of the limit when the wait is over."""
_TO_SAY_IT_S = 0.5
"""How long before the limit the result is printed, come what may."""
_INTERRUPTED = 130
_UNKNOWN = 3

Relays = Annotated[
    list[str] | None,
    typer.Option("--relay", metavar="NAME", help="Only through this relay; repeatable."),
]
Mailboxes = Annotated[
    list[str] | None,
    typer.Option("--mailbox", metavar="CUSTOMER/NAME", help="Only to this one; repeatable."),
]
Wait = Annotated[
    str | None,
    typer.Option(
        "--wait",
        metavar="TIME",
        help="How long to wait for canaries; the longest deadline and 5 s.",
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option(
        "--timeout",
        "-t",
        metavar="TIME",
        help="How long all of it may take; 50 s with --nagios, else no limit.",
    ),
]
WarningRange = Annotated[
    str | None,
    typer.Option(
        "--warning", "-w", metavar="RANGE", help="Delays that are a WARNING; half of --critical."
    ),
]
CriticalRange = Annotated[
    str | None,
    typer.Option(
        "--critical", "-c", metavar="RANGE", help="Delays that are CRITICAL; a path's deadline."
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(
        "--kind",
        metavar="KIND",
        help="Look from the relay's side instead: egress or queue; on that relay.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Nagios = Annotated[
    bool, typer.Option("--nagios", help="Be a Nagios plugin: one line, exit code 0, 1, 2 or 3.")
]


def _print_version(wanted: bool) -> None:
    from importlib.metadata import version

    if wanted:
        typer.echo(f"mailcanary {version('mailcanary')}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version", "-V", callback=_print_version, is_eager=True, help="Print the version."
    ),
]


@dataclass(frozen=True, slots=True)
class Times:
    """``limit_s`` is for all of it, from the start of the process; ``wait_s`` as asked for."""

    limit_s: float | None
    wait_s: float | None

    def wait(self, deadline_s: float) -> float:
        """For how long canaries are waited for, of which the latest are due after that long."""
        if self.wait_s is not None:
            return self.wait_s
        wait_s = deadline_s + _AFTERWARDS_S
        return wait_s if self.limit_s is None else min(wait_s, _longest_wait(self.limit_s))

    def left(self, wait_s: float, age_s: float) -> float:
        """What there is of that when the process is ``age_s`` old: its start may be slow."""
        if self.limit_s is None:
            return wait_s
        return max(0.0, min(wait_s, self.limit_s - age_s - _TO_TIDY_S))


def _longest_wait(limit_s: float) -> float:
    """What a limit leaves for waiting: before it the agent starts, after it the mails go."""
    return limit_s - min(_RESERVE_S, limit_s * _RESERVE)


def times(wait: str | None, timeout: str | None, *, nagios: bool) -> Times:
    """The times that the options ask for.

    Raises:
        typer.BadParameter: they are none, or the limit leaves no room for the wait.
    """
    limit_s = NAGIOS_S if nagios else None
    if timeout is not None:
        limit_s = seconds(timeout, "--timeout", 1.0, _LONGEST_S)
    wait_s = None if wait is None else seconds(wait, "--wait", 0.001, _LONGEST_S)
    if limit_s is not None and wait_s is not None and wait_s > _longest_wait(limit_s):
        allowed = f"at most {_longest_wait(limit_s):g} s, which is what --timeout leaves of its"
        raise refused("--wait", f"{wait_s:g} s", f"{allowed} {limit_s:g} s")
    return Times(limit_s, wait_s)


def _range(text: str | None, option: str) -> "Range | None":
    from agent.shot.thresholds import RANGES, parse_range

    try:
        return None if text is None else parse_range(text)
    except ValueError:
        raise refused(option, repr(text), RANGES) from None


def _check_order(warning: "Range | None", critical: "Range | None") -> None:
    if warning is None or critical is None or not warning.plain or not critical.plain:
        return
    if warning.end_s > critical.end_s:
        allowed = f"at most --critical's {critical.end_s:g} s"
        raise refused("--warning", f"{warning.end_s:g} s", allowed)


def _refuse_beside_kind(given: Mapping[str, object], kind: str) -> None:
    for option, value in given.items():
        if value:
            raise refused(option, f"--kind {kind} beside it", "one of the two")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the options select."""

    config: Path
    policy: Path | None
    agent: str | None
    relays: list[str]
    mailboxes: list[str]


def _prepare(wanted: _Wanted) -> "tuple[Assignment, Policy]":
    """Everything that is wrong with the files is told at once.

    Raises:
        MailcanaryError: configuration, policy or selection cannot be used.
    """
    import secrets

    from agent.assignment import assign
    from agent.policy.load import find_policy
    from agent.settings_files import load_config
    from agent.shot.shoot import check_budgets, renamed, select
    from probes.contract.errors import ConfigError

    try:
        config = load_config(wanted.config)
    except ConfigError as error:
        raise ConfigError(error.problems + _policy_problems(wanted)) from None
    policy = find_policy(wanted.config, wanted.policy)
    assignment = assign(config, wanted.agent)
    plans = select(assignment.paths, wanted.relays, wanted.mailboxes)
    check_budgets(plans, assignment)
    return renamed(assignment, plans, secrets.token_hex(3)), policy


def _policy_problems(wanted: _Wanted) -> "list[Problem]":
    from agent.policy.load import find_policy
    from probes.contract.errors import ConfigError

    try:
        find_policy(wanted.config, wanted.policy)
    except ConfigError as error:
        return error.problems
    return []


def _show(shot: "Shot", thresholds: "Thresholds", *, as_json: bool) -> int:
    import json

    from rich.console import Console

    from agent.shot.nagios import State, judge, summary
    from agent.shot.report import as_json as to_json
    from agent.shot.report import legend, table

    judged = judge(shot, thresholds)
    if as_json:
        typer.echo(json.dumps(to_json(shot, judged)))
    else:
        console = Console(highlight=False)
        terminal = console.is_terminal
        if not terminal:
            # Nothing that a file or a pipe has to be rid of: no lines, no wrapping.
            console = Console(highlight=False, width=1000)
        console.print(table(shot, judged, console.width, lines=terminal))
        console.print(legend(shot, console.width))
        console.print(summary(judged, shot, None), markup=False)
    return 0 if judged.state in (State.OK, State.WARNING) else 1


def _refusal(error: MailcanaryError) -> str:
    import json

    return json.dumps({"state": "unknown", **refusal_as_json(error)})


@dataclass(slots=True)
class _Run:
    """One run of the command; ``begun`` once there is something to say of canaries."""

    wanted: _Wanted
    times: Times
    ranges: "tuple[Range | None, Range | None]"
    as_json: bool
    nagios: bool
    begun: "tuple[Watch, Thresholds] | None" = None

    def code(self) -> int:
        """Fire, print the result, and give the exit code.

        Raises:
            MailcanaryError: no shot can be fired like that.
        """
        from agent.shot.fire import age_s, limited

        limit_s = self.times.limit_s
        left_s = None if limit_s is None else limit_s - age_s() - _TO_SAY_IT_S
        with limited(left_s, self._at_limit, _UNKNOWN if self.nagios else 1) as saying:
            try:
                shot, thresholds = self._fire()
            except MailcanaryError as error:
                if self.as_json:
                    with saying, to_stdout():
                        typer.echo(_refusal(error))
                raise
            with saying, to_stdout():
                code = self._say(shot, thresholds)
        return _INTERRUPTED if shot.cut and not self.nagios else code

    def _fire(self) -> "tuple[Shot, Thresholds]":
        from contextlib import nullcontext

        from rich.console import Console

        # What says the result at the limit has to be there by then: loading it takes its time.
        import agent.shot.nagios
        import agent.shot.report  # noqa: F401
        from agent import logs
        from agent.shot.fire import age_s, fire
        from agent.shot.shoot import Watch
        from agent.shot.thresholds import Thresholds

        assignment, policy = _prepare(self.wanted)
        wait_s = self.times.wait(max(plan.deadline_s for plan in assignment.paths))
        thresholds = Thresholds(*self.ranges, wait_s)
        watch = Watch(assignment.paths)
        self.begun = watch, thresholds
        # What fails is in the result; a log beside it would say it twice.
        logs.configure(level="error")
        console = Console()
        waiting = console.is_terminal and not self.as_json and not self.nagios
        text = f"{len(assignment.paths)} canaries: waiting for at most {wait_s:g} s"
        with console.status(text) if waiting else nullcontext():
            shot = fire(assignment, policy, watch, lambda: self.times.left(wait_s, age_s()))
        return shot, thresholds

    def _say(self, shot: "Shot", thresholds: "Thresholds") -> int:
        """Print the result; gives the exit code."""
        if self.nagios:
            from agent.shot.nagios import plugin

            state, text = plugin(shot, thresholds)
            typer.echo(text)
            return int(state)
        return _show(shot, thresholds, as_json=self.as_json)

    def _at_limit(self) -> int:
        """Print what has been seen when the time is over; gives the exit code."""
        cut = f"timed out after {self.times.limit_s:g} s"
        if self.begun is not None:
            watch, thresholds = self.begun
            return self._say(watch.shot(cut), thresholds)
        where = "while configuration and policy were being read"
        if self.nagios:
            typer.echo(f"MAIL UNKNOWN - {cut}, {where}")
            return _UNKNOWN
        if self.as_json:
            typer.echo(_refusal(MailcanaryError(f"{cut}, {where}")))
        typer.echo(f"{cut}, {where}", err=True)
        return 1


def probe(
    config: ConfigFile,
    name: AgentName = None,
    policy: PolicyFile = None,
    relay: Relays = None,
    mailbox: Mailboxes = None,
    wait: Wait = None,
    timeout: Timeout = None,
    warning: WarningRange = None,
    critical: CriticalRange = None,
    as_json: AsJson = False,
    nagios: Nagios = False,
    kind: Kind = None,
    version: Version = False,  # noqa: ARG001 - its callback has ended the command
) -> None:
    """Send one canary per selected path, now, and say what happened and where the time went.

    With --kind no canary is sent: on a relay, as the agent that sits on it, it
    looks at what the relay reaches (egress) or what waits in its queue (queue;
    RANGE is then of the age of the oldest mail in each queue).

    The canaries are this shot's own: a running agent of the same name neither
    counts nor deletes them. TIME is 500ms, 30s, 2m, or a number of seconds; RANGE
    is one as the Monitoring Plugins write it. Exit code 0 when all came home,
    1 when not, 2 when it cannot be tried; with --nagios a Nagios plugin's.
    """
    if as_json and nagios:
        raise refused("--json", "--nagios beside it", "one of the two")
    limits = times(wait, timeout, nagios=nagios)
    ranges = _range(warning, "--warning"), _range(critical, "--critical")
    _check_order(*ranges)
    if kind not in (None, "canary"):
        beside: dict[str, object] = {"--relay": relay, "--mailbox": mailbox, "--wait": wait}
        if kind != "queue":
            beside |= {"--warning": warning, "--critical": critical}
        _refuse_beside_kind(beside, str(kind))
        look = Looking(
            str(kind), config, policy, name, limits.limit_s, ranges, as_json=as_json, nagios=nagios
        )
        raise typer.Exit(look.code())
    wanted = _Wanted(config, policy, name, relay or [], mailbox or [])
    raise typer.Exit(_Run(wanted, limits, ranges, as_json=as_json, nagios=nagios).code())
