"""mailcanary's front door: the ``mailcanary`` command.

Each sub-command lives beside the code it runs and is imported when it is called, so that
``mailcanary --help`` stays fast however much the sub-commands need.

Exit codes: 0 it worked; 1 it did not, and standard error says why; 2 what it was told is wrong: the
command line, the configuration, the policy.
``mailcanary probe --nagios`` uses a Nagios plugin's (0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN).
"""

import contextlib
import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping

    from typer._click import Command, Context

    from agent.cli.run import Hire
    from agent.embedded import Take
    from agent.remote import Collector as Employer
    from agent.remote_app import Job
    from collector.assembly import Parts
    from collector.config.files import ReadFiles
    from collector.settings import CollectorSettings
    from collector.web.server import ServerOptions
    from lab.demo.run import RunningAgent

T = TypeVar("T")

__version__ = "0.1.0"

_SERVICES = ("collector", "run", "agent")
"""Commands that run until they are told to stop."""
_HELP = {"help_option_names": ["--help", "-h"]}


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
    "backup": Lazy("collector.cli.backup:backup", "Copy all of a collector, while it runs."),
    "restore": Lazy("collector.cli.backup:restore", "Make a collector's state from a backup."),
    "collector": Lazy(
        "collector.cli.collector:collector", "Run the collector: assignments out, events in."
    ),
    "run": Lazy("agent.cli.run:run", "Run collector and agent in one process, for a small site."),
    "demo": Lazy("lab.demo.cli:demo", "See an outage on a mail estate of its own, in a minute."),
}  # fmt: skip


def load(name: str) -> "Command":
    """The real sub-command, or group of sub-commands, of that name."""
    module, _, attribute = COMMANDS[name].target.partition(":")
    target = getattr(importlib.import_module(module), attribute)
    if isinstance(target, typer.Typer):
        return typer.main.get_command(target)
    single = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    single.command(name, help=None, context_settings=_HELP)(target)
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
    context_settings=_HELP,
    help="Synthetic e-mail deliverability monitor: canary mails through every relay and home.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"mailcanary {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback does all there is to do
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a sub-command."""
    ctx.obj = FrontDoor()


def _files_of(config: Path) -> "ReadFiles":
    """Reads the configuration's files for a collector, which itself knows no agent's code."""
    from agent.settings_files import file_set, sources
    from collector.config.files import Files

    def read() -> Files:
        found = file_set(config)
        return Files(sources(found), found.problems, found.warnings)

    return read


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


class FrontDoor:
    """What commands need that are made of several parts: only here all of these are known.

    It stands in the commands' context; each of them says what it expects of it.
    """

    def run(self, work: "Coroutine[Any, Any, T]", log_level: str) -> T:
        """Do a work in an event loop of its own, and log from that level up."""
        import asyncio

        from agent import logs
        from agent.app import loop_factory

        logs.configure(level=log_level)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(work)

    def to_stdout(self) -> "contextlib.AbstractContextManager[None]":
        """For what prints a result: it is out, or there is an error, when this ends."""
        from agent.cli.output import to_stdout

        return to_stdout()

    def run_collector(self, settings: "CollectorSettings", log_level: str) -> None:
        """Run a collector until it is told to stop.

        Raises:
            MailcanaryError: it cannot start, and why.
        """
        from collector.app import run

        self.run(run(settings, _files_of(Path(settings.config)), __version__), log_level)

    def run_both(
        self, config: Path, state: Path, listen: str, agent: str, hire: "Hire", log_level: str
    ) -> None:
        """Run a collector and the agent that it is to employ, until they are told to stop.

        Raises:
            MailcanaryError: one of the two cannot start, and why.
        """
        from collector.settings import with_options

        settings = with_options(None, config=str(config), state=str(state), listen=listen)
        self.run(_both(settings, agent, hire), log_level)

    @contextlib.asynccontextmanager
    async def demo_agent(
        self, document: "Mapping[str, Any]", secrets: "Mapping[str, str]", take: "Take"
    ) -> "AsyncIterator[RunningAgent]":
        """A collector on the lab's configuration and an agent that works for it, over HTTP.

        The events that are shown are those of the collector's log; all that both keep goes when
        the demo ends.
        """
        import secrets as random_secrets
        import tempfile

        import yaml

        from agent.app import Settings
        from agent.embedded import as_environment, employed, trusting_policy
        from agent.limits import Limits
        from agent.remote_app import Job
        from collector.app import following
        from collector.settings import with_options
        from collector.web.server import ServerOptions
        from probes.contract.config.models import Config

        config = Config.model_validate(document)
        environment = as_environment(secrets, random_secrets.token_hex(16))
        with tempfile.TemporaryDirectory(prefix="mailcanary-demo-") as directory:
            place = Path(directory)
            main = place / "mailcanary.yaml"
            main.write_text(yaml.safe_dump(dict(document)))
            chosen = with_options(None, config=str(main), state=str(place / "collector"))

            def hire(collector: "Employer") -> Job:
                limits = Limits(heartbeat_s=0.5)
                settings = Settings(place / "agent", limits=limits)
                policy = trusting_policy(config)
                return Job(collector, policy, settings, __version__, environment)

            name, options = config.agents[0].name, ServerOptions(port=0)
            async with (
                _employing(chosen, name, hire, options) as (parts, job),
                following(parts.log, take),
                employed(job) as agent,
            ):
                yield agent


async def _both(settings: "CollectorSettings", agent: str, hire: "Hire") -> None:
    from agent.remote_app import work_for
    from collector.told import Told, heeding

    async def work(told: Told) -> None:
        async with _employing(settings, agent, hire) as (parts, job):
            told.serves(parts.config.reload)
            await work_for(job, told.stop)

    await heeding(work)


@contextlib.asynccontextmanager
async def _employing(
    settings: "CollectorSettings",
    agent: str,
    hire: "Hire",
    options: "ServerOptions | None" = None,
) -> "AsyncIterator[tuple[Parts, Job]]":
    """A collector that serves, and the work that it has for that agent in this process."""
    from agent.remote import Collector
    from collector.app import running
    from collector.control.principal import Kind

    files = _files_of(Path(settings.config))
    async with running(settings, files, __version__, options) as (parts, server):
        # Nobody else ever sees this token, and it ends with the process.
        info, secret = await parts.tokens.create(Kind.AGENT, agent, who="mailcanary")
        try:
            yield parts, hire(Collector(server.url, agent, secret=secret))
        finally:
            await parts.tokens.revoke(info.id, who="mailcanary")


def main(args: list[str] | None = None) -> Any:
    """Run the command line; errors that mailcanary foresees are one clear text, no traceback."""
    from probes.contract.errors import MailcanaryError

    _open_standard_files()
    given = sys.argv[1:] if args is None else args
    if args is None and given and given[0] in _SERVICES:
        _keep_signals(given[0])
    if "--nagios" in given:
        from agent.cli.plugin import as_plugin

        as_plugin(app, given)
    try:
        return app(args)
    except MailcanaryError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


def _keep_signals(service: str) -> None:
    """Have the kernel keep a SIGHUP, which would end the process, until the service heeds it.

    A SIGTERM before a collector has anything to stop ends it in order. An agent opens its spool
    before it heeds one: there it ends the process as it is, which loses nothing.
    """
    import signal

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    if service != "agent":
        signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))


def _open_standard_files() -> None:
    """Open what this process was started without: else a socket would get the number, and uvloop,
    which takes no socket for one, would end the process."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is the one that is missing.
            os.open(os.devnull, os.O_RDWR)
            if getattr(sys, name) is None:
                setattr(sys, name, os.fdopen(number, "w" if number else "r"))


if __name__ == "__main__":
    main()
