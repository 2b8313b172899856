"""``mailcanary agent``: run an agent from a local configuration file."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class LogLevel(StrEnum):
    """What may be given to --log-level."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _address(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise typer.BadParameter(f"found {text!r}, allowed is ADDRESS:PORT, such as 127.0.0.1:9877")
    return host.strip("[]") or "127.0.0.1", int(port)


def agent(
    config: Annotated[
        Path | None,
        typer.Option("--config", help="The configuration; customers.d beside it is read too."),
    ] = None,
    collector: Annotated[
        str | None,
        typer.Option("--collector", help="URL of the collector to work for, instead of --config."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="The agent's token; else MAILCANARY_TOKEN has it."),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option("--ca-file", help="Certificates to trust the collector's by; the system's."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            envvar="MAILCANARY_AGENT",
            help="Which of its agents this is; the only one if one.",
        ),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="The policy; policy.yaml beside the config.")
    ] = None,
    state: Annotated[
        Path, typer.Option("--state", help="Where spool and flights are kept.")
    ] = Path("/var/lib/mailcanary"),
    events: Annotated[
        str | None,
        typer.Option("--events", help="Append events to FILE as JSON lines; - is stdout."),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", help="Serve Prometheus metrics on ADDRESS:PORT.")
    ] = None,
    spool_max_mb: Annotated[
        int, typer.Option("--spool-max-mb", min=1, help="Drop the oldest events past this size.")
    ] = 1024,
    max_sending: Annotated[
        int | None,
        typer.Option(
            "--max-sending",
            min=1,
            help="Canaries on their way out at once; 4 per relay and at least 500.",
            show_default=False,
        ),
    ] = None,
    max_per_relay: Annotated[
        int, typer.Option("--max-per-relay", min=1, help="Of these, to one relay.")
    ] = 20,
    max_per_mailbox: Annotated[
        int, typer.Option("--max-per-mailbox", min=1, help="Canaries awaited in one mailbox.")
    ] = 5_000,
    max_in_air: Annotated[
        int, typer.Option("--max-in-air", min=1, help="Canaries awaited in all mailboxes.")
    ] = 200_000,
    max_unread_s: Annotated[
        float,
        typer.Option(
            "--max-unread-s", min=1, help="Seconds after which an unread mailbox gets no more."
        ),
    ] = 600.0,
    log_level: Annotated[
        LogLevel, typer.Option("--log-level", help="The least that is logged.")
    ] = LogLevel.INFO,
) -> None:
    """Run an agent until SIGTERM: send its canaries, read them back, write down what happened.

    Its work comes from a local file (--config) or from a collector (--collector, --name, --policy).
    Events go to the spool in the state directory, and from there to the collector or, with
    --events, to a file or to standard output as JSON lines, each exactly once. A second signal ends
    the process at once.
    """
    from importlib.metadata import version

    from agent import logs
    from agent.agent import Limits
    from agent.app import Settings, run
    from agent.assignment import assign
    from agent.caps import Caps, for_relays
    from agent.policy.load import find_policy, read_policy
    from agent.settings_files import load_config
    from probes.contract.config.loader import config_revision

    _one_source(config, collector, name, policy, events)
    caps = Caps(
        per_relay=max_per_relay,
        per_mailbox=max_per_mailbox,
        in_air=max_in_air,
        unread_s=max_unread_s,
    )
    settings = Settings(
        state=state,
        events=events,
        metrics=_address(metrics),
        limits=Limits(spool_bytes=spool_max_mb << 20),
    )
    if config is not None:
        document = load_config(config)
        assignment = assign(document, name, config_revision(document))
        rules = find_policy(config, policy)
        chosen = for_relays(assignment.routes, caps, sending=max_sending)
        settings = replace(settings, limits=replace(settings.limits, caps=chosen))
        logs.configure(level=log_level)
        run(assignment, rules, settings, version("mailcanary"))
    elif collector is not None and name is not None and policy is not None:
        from agent.remote import Collector
        from agent.remote_app import Job, run_for

        rules = read_policy(policy)
        if caps != Caps() or max_sending is not None:
            # Asked for; else they follow from how many relays the assignment of the day has.
            chosen = for_relays(0, caps, sending=max_sending)
            settings = replace(settings, limits=replace(settings.limits, caps=chosen))
        logs.configure(level=log_level)
        source = Collector(collector, name, token_file, ca_file)
        run_for(Job(source, rules, settings, version("mailcanary")))


def _one_source(
    config: Path | None,
    collector: str | None,
    name: str | None,
    policy: Path | None,
    events: str | None,
) -> None:
    """Refuse options that do not go together, all at once."""
    problems = []
    if (config is None) == (collector is None):
        found = "none of them" if config is None else "both"
        problems.append(f"found {found}, allowed is one of --config and --collector")
    if collector is not None:
        if name is None:
            problems.append("found no --name, allowed with --collector is the agent's name")
        if policy is None:
            problems.append("found no --policy, allowed with --collector is the agent's own policy")
        if events is not None:
            problems.append("found --events, allowed with --collector is none: it gets the events")
    if problems:
        raise typer.BadParameter("; ".join(problems))
