"""``mailcanary check``: is the configuration sound, and what does it come to?"""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from agent.cli.output import problem_as_json, to_stdout
from agent.settings_files import check_files, file_sets
from probes.contract.config.looks import looks
from probes.contract.config.models import Config
from probes.contract.config.rates import Usage
from probes.contract.config.selection import groups
from probes.contract.config.separability import Ambiguity, ambiguities
from probes.contract.errors import Problem
from probes.contract.plan import plan

_SHOWN = 3
"""Warnings of one sort that are printed; --json has all."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What one sound configuration comes to; rates are a minute: of canaries, and of looks."""

    file: str
    relays: list[dict[str, Any]]
    mailboxes: list[dict[str, Any]]
    customers: list[dict[str, Any]]
    agents: list[dict[str, Any]]
    destinations: list[dict[str, Any]]
    looks: list[dict[str, Any]]
    warnings: list[Ambiguity]


@dataclass(frozen=True, slots=True)
class Report:
    """All that there is to say: of the files, and of the configurations that are sound."""

    problems: list[Problem]
    warnings: list[Problem]
    summaries: list[Summary]


def summary(file: str, config: Config) -> Summary:
    """The rates and warnings of ``config``, read from ``file``."""
    rates = plan(config).rates()
    paths: defaultdict[str, int] = defaultdict(int)
    for group in groups(config):
        for agent in group.agents:
            paths[agent] += group.paths // len(group.agents)
    relays = [
        _rate(relay.name, rates.relays.get(relay.name, 0.0), relay.max_per_minute)
        | {"rotation": relay.rotation.value}
        for relay in config.relays
    ]
    mailboxes = [
        _rate(name, rates.mailboxes.get(name, 0.0), box.max_per_minute)
        for customer in config.customers
        for box in customer.mailboxes
        for name in [f"{customer.name}/{box.name}"]
    ]
    customers = []
    for customer in config.customers:
        usage = rates.customers.get(customer.name, Usage())
        quota = customer.quota
        customers.append(
            {"name": customer.name, "paths": usage.paths, "max_paths": quota.paths}
            | _rate(customer.name, usage.per_minute, quota.per_minute)
        )
    agents = [
        {
            "name": agent.name,
            "paths": paths[agent.name],
            "per_minute": round(rates.agents.get(agent.name, 0.0), 6),
        }
        for agent in config.agents
    ]
    destinations, looked = _looks(config)
    return Summary(
        file, relays, mailboxes, customers, agents, destinations, looked, ambiguities(config)
    )


def _looks(config: Config) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the checks come to: for the destinations, and for the relays that agents look from."""
    every = looks(config.relays, config.agents, config.destinations, config.checks)
    destinations = [
        {
            "name": one.name,
            "per_minute": round(every.towards.get(one.name, 0.0), 6),
            "relays": every.origins.get(one.name, 0),
        }
        for one in config.destinations
    ]
    relays = [
        {
            "relay": relay.name,
            "egress_per_minute": round(every.egress.get(relay.name, 0.0), 6),
            "queue_per_minute": round(every.queue.get(relay.name, 0.0), 6),
        }
        for relay in config.relays
        if relay.name in every.egress or relay.name in every.queue
    ]
    return destinations, relays


def _rate(name: str, rate: float, limit: float) -> dict[str, Any]:
    return {"name": name, "per_minute": round(rate, 6), "max_per_minute": limit}


def check(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            readable=False,  # one of the problems, with all others
            help="Main files, each read with the customers.d/*.yaml beside it.",
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout, problems included.")
    ] = False,
) -> None:
    """Check configuration files and show what their canaries and checks come to.

    Exit code 0: sound (warnings may be printed); 1: problems, all of them listed; 2: wrong usage.
    """
    try:
        sets = file_sets(files)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="FILE") from None
    # Main files in one directory share their customers' files, and what is wrong with those.
    problems: dict[Problem, None] = {}
    warnings: dict[Problem, None] = {}
    summaries: list[Summary] = []
    for files_of_one in sets:
        checked = check_files(files_of_one)
        problems |= dict.fromkeys(checked.problems)
        warnings |= dict.fromkeys(checked.warnings)
        if checked.config is not None:
            summaries.append(summary(str(files_of_one.main), checked.config))
    report = Report(list(problems), list(warnings), summaries)
    with to_stdout():
        if as_json:
            typer.echo(json.dumps(_as_json(report), ensure_ascii=False))
        else:
            _print(report)
    if problems:
        raise typer.Exit(1)


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "ok": not report.problems,
        "problems": [problem_as_json(problem) for problem in report.problems],
        "warnings": [problem_as_json(warning) for warning in report.warnings],
        "configs": [
            {
                "file": entry.file,
                "relays": entry.relays,
                "mailboxes": entry.mailboxes,
                "customers": entry.customers,
                "agents": entry.agents,
                "destinations": entry.destinations,
                "looks": entry.looks,
                "warnings": [
                    {
                        "components": [str(component) for component in warning.components],
                        "paths": warning.paths,
                        "across": warning.across,
                        "advice": warning.advice,
                        "text": str(warning),
                    }
                    for warning in entry.warnings
                ],
            }
            for entry in report.summaries
        ],
    }


def _print(report: Report) -> None:
    for problem in report.problems:
        typer.echo(str(problem), err=True)
    for warning in report.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if report.problems:
        plural = "s" if len(report.problems) > 1 else ""
        typer.echo(f"{len(report.problems)} problem{plural}", err=True)
    console = Console(highlight=False)
    if not console.is_terminal:
        # Nothing that a file or a pipe has to be rid of: no lines, no wrapping.
        console = Console(highlight=False, width=1000)
    for entry in report.summaries:
        console.print(f"{entry.file}: ok", markup=False, soft_wrap=True)
        _print_rates(console, entry)
        _print_warnings(console, entry.warnings)


def _print_rates(console: Console, entry: Summary) -> None:
    limited = ("canaries/min", "max", "used")
    relays = _table(console, "relay", *limited, "rotation")
    for row in entry.relays:
        relays.add_row(row["name"], *_limited(row), row["rotation"])
    mailboxes = _table(console, "mailbox", *limited)
    for row in entry.mailboxes:
        mailboxes.add_row(row["name"], *_limited(row))
    customers = _table(console, "customer", *limited, "paths", "max paths")
    for row in entry.customers:
        paths = (str(row["paths"]), str(row["max_paths"]))
        customers.add_row(row["name"], *_limited(row), *paths)
    agents = _table(console, "agent", "canaries/min", "paths")
    for row in entry.agents:
        agents.add_row(row["name"], f"{row['per_minute']:.4g}", str(row["paths"]))
    destinations = _table(console, "destination", "connects/min/host", "relays")
    for row in entry.destinations:
        destinations.add_row(row["name"], f"{row['per_minute']:.4g}", str(row["relays"]))
    looked = _table(console, "looked from", "connects/min", "queue reads/min")
    for row in entry.looks:
        rates = (row["egress_per_minute"], row["queue_per_minute"])
        looked.add_row(row["relay"], *(f"{rate:.4g}" for rate in rates))
    for table in (relays, mailboxes, customers, agents, destinations, looked):
        if table.row_count:
            console.print(table)


def _table(console: Console, name: str, *columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    table.add_column(name, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _limited(row: dict[str, Any]) -> tuple[str, str, str]:
    rate, limit = row["per_minute"], row["max_per_minute"]
    return f"{rate:.4g}", f"{limit:.6g}", f"{rate / limit:.0%}"


def _print_warnings(console: Console, warnings: list[Ambiguity]) -> None:
    sorts: defaultdict[tuple[str, ...], list[Ambiguity]] = defaultdict(list)
    for warning in warnings:
        # Within one side the right people are called either way.
        level = "warning" if warning.across or len(warning.components) == 1 else "note"
        sorts[level, *(component.kind for component in warning.components)].append(warning)
    for (level, *_), alike in sorts.items():
        lines = [str(warning) for warning in alike[:_SHOWN]]
        if len(alike) > _SHOWN:
            lines.append(f"… and {len(alike) - _SHOWN} more like that (--json lists all)")
        for line in lines:
            console.print(f"{level}: {line}", markup=False, soft_wrap=True)
