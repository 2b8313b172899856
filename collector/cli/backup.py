"""``mailcanary backup`` and ``mailcanary restore``: all of a collector, also while it runs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from collector import backup as whole
from collector.cli.log import log_bytes, progress
from collector.cli.token import DEFAULT_STATE
from collector.settings import read_settings, with_options

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def backup(
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="A directory that is new or empty.")
    ],
    settings: Annotated[
        str | None, typer.Option("--settings", help="The collector's own: collector.yaml.")
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", help="The configuration, as the collector has it.")
    ] = None,
    state: Annotated[
        str | None, typer.Option("--state", help="Where log, tokens and rollups are kept.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy all of a collector, also while it runs: log, tokens, audit trail, rollups, files.

    Give it the options that the collector was started with. The copy is looked through; exit code 1
    when it is not whole or a file had to be left out.
    """
    given = None if settings is None else read_settings(Path(settings))
    chosen = with_options(given, config=config, state=state)
    place = Path(chosen.state)
    named = settings is not None or config is not None
    found = whole.config_files(None if settings is None else Path(settings), Path(chosen.config))
    with progress("backup", log_bytes(place / whole.LOG)) as advance:
        done = whole.backup(place, target, found if named else (), advance)
    if not named:
        note = "no --settings and no --config: the configuration's files are not in it"
        typer.echo(note, err=True)
    _end(done, f"{target}: {_told(done)}", as_json=as_json)


def restore(
    source: Annotated[
        Path, typer.Argument(metavar="BACKUP", help="What `mailcanary backup` wrote.")
    ],
    state: Annotated[
        Path, typer.Option("--state", help="The collector's state directory, new or empty.")
    ] = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Make a collector's state directory from a backup, which is looked through first.

    The configuration's files are in the backup's `config`, for you to copy back.
    """
    with progress("restore", log_bytes(source / whole.LOG)) as advance:
        done = whole.restore(source, state, advance)
    _end(done, f"{state}: {_told(done)}", as_json=as_json)


def _told(done: whole.Copied) -> str:
    log, control = done.log, done.control
    parts = [
        f"{log.segments} segments with {log.entries} events",
        f"{control.tokens} tokens, {control.audit} audit entries",
        f"{control.agents} agents, {control.revisions} revisions",
        "rollups" if done.rollups else "no rollups",
    ]
    if done.config:
        parts.append(f"{done.config} files of the configuration")
    return ", ".join(parts)


def _end(done: whole.Copied, summary: str, *, as_json: bool) -> NoReturn:
    problems = [*(str(problem) for problem in done.log.problems), *done.notes]
    if as_json:
        log: dict[str, Any] = asdict(done.log)
        del log["problems"]
        result = {
            "log": log,
            "control": asdict(done.control),
            "rollups": done.rollups,
            "config_files": done.config,
            "bytes": done.bytes,
            "problems": problems,
        }
        typer.echo(json.dumps(result))
    else:
        for problem in problems:
            typer.echo(problem, err=True)
        typer.echo(summary)
    raise typer.Exit(1 if problems else 0)
