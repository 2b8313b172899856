"""``mailcanary agent``: run an agent from a local configuration file, or for a collector."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import AgentName, PolicyFile, readable
from agent.cli.running import Running
from agent.cli.taking import taking


def _readable(path: Path | None) -> Path | None:
    return None if path is None else readable(path, "--config")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Who the agent is, where its work comes from, and where its events go."""

    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            callback=_readable,
            help="The configuration; customers.d beside it is read too.",
        ),
    ] = None
    collector: Annotated[
        str | None,
        typer.Option(
            "--collector", metavar="URL", help="The collector to work for, instead of --config."
        ),
    ] = None
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="The agent's token; else MAILCANARY_TOKEN has it."),
    ] = None
    ca_file: Annotated[
        Path | None,
        typer.Option("--ca-file", help="Certificates to trust the collector's by; the system's."),
    ] = None
    name: AgentName = None
    policy: PolicyFile = None
    state: Annotated[Path, typer.Option("--state", help="Where spool and flights are kept.")] = (
        Path("/var/lib/mailcanary")
    )
    events: Annotated[
        str | None,
        typer.Option("--events", help="Append events to FILE as JSON lines; - is stdout."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class AgentOptions(Running, Source):
    """All options of the command."""


@taking(AgentOptions)
def agent(_ctx: typer.Context, options: AgentOptions) -> None:
    """Run an agent until SIGTERM: send its canaries, read them back, write down what happened.

    Its work comes from a local file (--config) or from a collector (--collector, --name, --policy).
    Events go to the spool in the state directory, and from there to the collector or, with
    --events, to a file or to standard output as JSON lines, each exactly once. A second signal ends
    the process at once.
    """
    _one_source(options)
    if options.config is not None:
        _by_file(options, options.config)
    elif options.collector is not None and options.name is not None and options.policy is not None:
        _by_collector(options, options.collector, options.name, options.policy)


def _by_file(options: AgentOptions, config: Path) -> None:
    from agent import logs
    from agent.app import run
    from agent.assignment import assign
    from agent.policy.load import find_policy
    from agent.settings_files import load_config
    from probes.contract.config.loader import config_revision

    document = load_config(config)
    assignment = assign(document, options.name, config_revision(document))
    rules = find_policy(config, options.policy)
    settings = options.settings(options.state, options.events)
    logs.configure(level=options.log_level)
    run(assignment, rules, settings, version("mailcanary"))


def _by_collector(options: AgentOptions, url: str, name: str, policy: Path) -> None:
    from agent import logs
    from agent.policy.load import read_policy
    from agent.remote import Collector
    from agent.remote_app import Job, run_for

    settings = options.settings(options.state)
    source = Collector(url, name, options.token_file, options.ca_file)
    job = Job(source, read_policy(policy), settings, version("mailcanary"))
    logs.configure(level=options.log_level)
    run_for(job)


def _one_source(options: AgentOptions) -> None:
    """Refuse options that do not go together, all at once."""
    problems = []
    if (options.config is None) == (options.collector is None):
        found = "none of them" if options.config is None else "both"
        problems.append(f"found {found}, allowed is one of --config and --collector")
    if options.collector is not None:
        if options.name is None:
            problems.append("found no --name, allowed with --collector is the agent's name")
        if options.policy is None:
            problems.append("found no --policy, allowed with --collector is the agent's own policy")
        if options.events is not None:
            problems.append("found --events, allowed with --collector is none: it gets the events")
    elif options.config is not None:
        for option, given in (
            ("--token-file", options.token_file),
            ("--ca-file", options.ca_file),
        ):
            if given is not None:
                problems.append(f"found {option}, allowed is it only with --collector")
    if problems:
        raise typer.BadParameter("; ".join(problems), param_hint="--config or --collector")
