"""``mailcanary rebuild``: what follows from the log, made from it again."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from probes.contract.errors import MailcanaryError

rebuild = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False
)

State = Annotated[
    Path, typer.Option("--state", metavar="DIR", help="The collector's state directory.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@rebuild.callback()
def _group() -> None:
    """Make from the log again what follows from it. The collector must be stopped."""


@rebuild.command("rollups")
def rollups(state: State = Path("/var/lib/mailcanary-collector"), as_json: Json = False) -> None:
    """Count all of the log again, into a new file that then takes the old one's place.

    Cells and canaries older than the log reaches are kept. Until the end the old file is as it was.
    Exit code 0: done; 1: not, and standard error says why.
    """
    import json

    try:
        count = asyncio.run(_rollups(state))
    except MailcanaryError as error:
        _fail(str(error))
    typer.echo(json.dumps({"entries": count}) if as_json else f"counted {count} events of the log")


def _fail(text: str) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(1)


async def _rollups(state: Path) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from collector.log.sqlite import SqliteLog
    from collector.rollup.rebuild import rebuild as count_again

    if not (state / "log").is_dir():
        _fail(f"{state}: found no log, allowed is a collector's state directory")
    log = SqliteLog.open(state / "log")
    try:
        bounds = await log.bounds()
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task("rollups", total=max(0, bounds.last - bounds.first + 1))
            return await count_again(log, state, lambda count: bar.advance(task, count))
    finally:
        await log.close()
