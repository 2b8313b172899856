"""mailcanary's front door: the ``mailcanary`` command.

Each sub-command lives beside the code it runs and is imported when it is called, so that
``mailcanary --help`` stays fast however much the sub-commands need.

Exit codes: 0 it worked; 1 it did not, and standard error says why; 2 what it was told is wrong: the
command line, the configuration, the policy.
``mailcanary probe --nagios`` uses a Nagios plugin's (0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN).
"""

import contextlib
import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from typer._click import Command, Context

    from agent.agent import Agent
    from agent.embedded import Take
    from collector.config.files import ReadFiles

__version__ = "0.1.0"

_NAGIOS_UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Lazy:
    """Where a sub-command lives, as ``module:name``, and what ``--help`` says of it.

    The name is a function's, or that of a ``typer.Typer`` whose commands are a group of their own,
    as in ``mailcanary log export``. Such a group has a callback, without which Typer would make a
    group of one command that command.
    """

    target: str
    help: str


COMMANDS: dict[str, Lazy] = {
    "init": Lazy("agent.cli.init:init", "Write a commented starter configuration."),
    "check": Lazy("agent.cli.check:check", "Check a configuration and print its canary rates."),
    "schema": Lazy("mailcanary:schema", "Print the JSON Schema of a file or of the events."),
    "doctor": Lazy("agent.cli.doctor:doctor", "Try everything that a configuration names."),
    "probe": Lazy("agent.cli.probe:probe", "Send one canary per selected path, now."),
    "agent": Lazy("agent.cli.agent:agent", "Run an agent: send canaries and read them back."),
    "log": Lazy("collector.cli.log:log", "Check, export, import or back up a collector's log."),
    "token": Lazy("collector.cli.token:token", "Make, list and revoke API tokens."),
    "show": Lazy("collector.cli.show:show", "Show paths, relays, customers and canaries."),
    "rebuild": Lazy("collector.cli.rebuild:rebuild", "Count a collector's log again."),
    "collector": Lazy("mailcanary:collector", "Run the collector: assignments out, events in."),
    "demo": Lazy("mailcanary:demo", "See an outage on a mail estate of its own, in a minute."),
}  # fmt: skip


def load(name: str) -> "Command":
    """The real sub-command, or group of sub-commands, of that name."""
    module, _, attribute = COMMANDS[name].target.partition(":")
    target = getattr(importlib.import_module(module), attribute)
    if isinstance(target, typer.Typer):
        return typer.main.get_command(target)
    single = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    single.command(name, help=None)(target)
    return typer.main.get_command(single)


class LazyGroup(TyperGroup):
    """Lists the sub-commands by their names alone, and loads one when it is run."""

    def list_commands(self, ctx: "Context") -> list[str]:  # noqa: ARG002 - the base class's signature
        """The names of all sub-commands, in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: "Context", cmd_name: str) -> "Command | None":  # noqa: ARG002
        """A stand-in that knows its help text: enough for ``--help`` and for completion."""
        lazy = COMMANDS.get(cmd_name)
        return None if lazy is None else TyperCommand(cmd_name, help=lazy.help, callback=_nothing)

    def resolve_command(
        self, ctx: "Context", args: list[str]
    ) -> "tuple[str | None, Command | None, list[str]]":
        """The real sub-command that the command line names."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in COMMANDS else command, rest


def _nothing() -> None:
    """What a stand-in would run; it is never run."""


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Synthetic e-mail deliverability monitor: canary mails through every relay and home.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"mailcanary {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a sub-command."""


def demo(
    duration: Annotated[
        str, typer.Option("--duration", help="How long the story lasts: 15s to 80s.")
    ] = "45s",
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines instead of a live table, also on a terminal.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print nothing but one JSON object at the end.")
    ] = False,
) -> None:
    """See an outage on a mail estate inside this process, without root, servers or network.

    Ten relays of two providers carry three customers' canaries. Then outbound port 25 of two of
    them is filtered, as clouds do it: they accept mail and cannot pass it on. Exit code 0 when just
    those two were found.
    """
    import asyncio
    import json

    from rich.console import Console

    from agent import logs
    from agent.app import loop_factory
    from lab.demo.run import Demo
    from lab.demo.show import LiveScreen, PlainScreen, Screen, closing
    from lab.demo.story import MAX_DURATION_S, MIN_DURATION_S, plot, relays
    from probes.contract.units import parse_duration_between

    try:
        story = plot(parse_duration_between(duration, MIN_DURATION_S, MAX_DURATION_S))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--duration") from None
    logs.configure(level="warning")
    console = Console(stderr=as_json, quiet=as_json)
    screen: Screen = PlainScreen(console)
    if console.is_terminal and not plain and not as_json:
        screen = LiveScreen(console, relays())
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        result = runner.run(Demo(story, screen).run(_demo_agent))
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
    for line in closing(result):
        console.print(line, highlight=False)
    raise typer.Exit(0 if result["relays_hit"] == sorted(result["relays_filtered"]) else 1)


def _files_of(config: "Path") -> "ReadFiles":
    """Reads the configuration's files for a collector, which itself knows no agent's code."""
    from agent.settings_files import file_set, sources
    from collector.config.files import Files

    def read() -> Files:
        found = file_set(config)
        return Files(sources(found), found.problems, found.warnings)

    return read


def collector(
    settings: Annotated[
        str | None,
        typer.Option("--settings", help="collector.yaml: how the collector itself runs."),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option("--config", help="The configuration, instead of the settings' own."),
    ] = None,
    state: Annotated[
        str | None, typer.Option("--state", help="Where log, tokens and rollups are kept.")
    ] = None,
    listen: Annotated[
        str | None, typer.Option("--listen", help="ADDRESS:PORT, instead of the settings' own.")
    ] = None,
    log_level: Annotated[
        str, typer.Option("--log-level", help="debug, info, warning or error.")
    ] = "info",
) -> None:
    """Run a collector until SIGTERM: assignments out, events in, nothing lost.

    SIGHUP reads the configuration and the certificate again; changed files are seen by themselves.
    A second signal ends the process at once.
    """
    import asyncio
    from pathlib import Path

    from agent import logs
    from agent.app import loop_factory
    from collector.app import run
    from collector.settings import read_settings, with_options

    if log_level not in ("debug", "info", "warning", "error"):
        raise typer.BadParameter(
            f"found {log_level!r}, allowed is debug, info, warning or error",
            param_hint="--log-level",
        )
    given = None if settings is None else read_settings(Path(settings))
    chosen = with_options(given, config=config, state=state, listen=listen)
    logs.configure(level=log_level)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run(chosen, _files_of(Path(chosen.config)), __version__))


def schema(
    of: Annotated[
        str,
        typer.Argument(
            metavar="[config|customer|policy|events|collector]",
            help="config: main file; customer: in customers.d; policy: an agent's; events; "
            "collector: its settings",
        ),
    ],
) -> None:
    """Print the JSON Schema of the files that mailcanary reads, or of the events, for editors."""
    from agent.cli.schema import SchemaOf, as_text, schema_text
    from collector.settings import settings_schema

    allowed = [*SchemaOf, "collector"]
    if of not in allowed:
        raise typer.BadParameter(f"found {of!r}, allowed is {', '.join(allowed)}", param_hint="OF")
    typer.echo(as_text(settings_schema()) if of == "collector" else schema_text(SchemaOf(of)))


@contextlib.asynccontextmanager
async def _demo_agent(
    document: "Mapping[str, Any]", secrets: "Mapping[str, str]", take: "Take"
) -> "AsyncIterator[Agent]":
    """An agent on the lab's configuration, with a spool that goes when the demo ends."""
    import secrets as random_secrets
    import tempfile
    from pathlib import Path

    from agent.agent import Limits
    from agent.assignment import assign
    from agent.embedded import as_environment, embedded, trusting_policy
    from probes.contract.config.models import Config

    config = Config.model_validate(document)
    environment = as_environment(secrets, random_secrets.token_hex(16))
    with tempfile.TemporaryDirectory(prefix="mailcanary-demo-") as state:
        async with embedded(
            assign(config),
            trusting_policy(config),
            environment,
            Path(state),
            take,
            version=__version__,
            limits=Limits(heartbeat_s=0.5),
        ) as agent:
            yield agent


def main(args: list[str] | None = None) -> Any:
    """Run the command line; errors that mailcanary foresees are one clear text, no traceback."""
    from probes.contract.errors import MailcanaryError

    if "--nagios" in (sys.argv[1:] if args is None else args):
        _as_plugin(args)
    try:
        return app(args)
    except MailcanaryError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


def _as_plugin(args: list[str] | None) -> NoReturn:
    """Run as a Nagios plugin: whatever goes wrong in the plugin itself is UNKNOWN, in one line.

    Exit codes 1 and 2 mean WARNING and CRITICAL there, so neither a wrong option nor a fault of
    ours may end with one.
    """
    try:
        # Not standalone, it gives the command's exit code and raises what it would have printed.
        code = app(args, standalone_mode=False)
    except Exception as error:  # noqa: BLE001 - a monitoring system reads the one line
        text = getattr(error, "message", "") or f"{type(error).__name__}: {error}"
        sys.stdout.write(f"MAIL UNKNOWN - {' '.join(text.split()).replace('|', '/')}\n")
        sys.exit(_NAGIOS_UNKNOWN)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
