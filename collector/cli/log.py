"""``mailcanary log``: look at a collector's log, copy it, bring one back."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NoReturn

import typer

from collector.log import backup as copies
from collector.log import files, transfer
from collector.log import verify as verification
from collector.log.engine import LogError
from collector.log.opening import open_store
from collector.log.store import Limits

log = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)

Directory = Annotated[
    Path, typer.Argument(metavar="DIR", help="The log: `log` in the collector's state directory.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@log.callback()
def _group() -> None:
    """Check, export, import, back up or restore a collector's log.

    Beside a running collector: export, backup. On a log that nobody writes to, or on a backup:
    verify. With the directory for themselves: import, restore. Run it as the collector's user.
    """


@contextlib.contextmanager
def progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error where that is a terminal, and nothing where it is not."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda amount: bar.advance(task, amount)


def log_bytes(directory: Path) -> int:
    """The bytes of a log's segments; 0 where there is none."""
    with contextlib.suppress(OSError):
        firsts = files.list_segments(directory)
        return files.bytes_of([files.segment_file(directory, first) for first in firsts])
    return 0


def _end(result: dict[str, Any], summary: str, problems: list[str], *, as_json: bool) -> NoReturn:
    """Print what came of it; exit code 1 when there were problems."""
    if as_json:
        typer.echo(json.dumps({**result, "problems": problems}))
    else:
        for problem in problems:
            typer.echo(problem, err=True)
        typer.echo(summary)
    raise typer.Exit(1 if problems else 0)


def _counts(report: verification.Report) -> dict[str, Any]:
    result = asdict(report)
    del result["problems"]
    return result


def _told(report: verification.Report) -> str:
    return (
        f"{report.segments} segments, {report.entries} events and {report.dead_letters} dead "
        f"letters of {report.sources} sources, {report.missing} events known to be missing"
    )


@log.command("verify")
def verify(directory: Directory, as_json: Json = False) -> None:
    """Look through all of a log: is every event there once, or told to be missing?

    Exit code 1 and one line for each thing that is wrong, 0 when the log is whole.
    """
    with progress("verify", log_bytes(directory)) as advance:
        report = verification.verify(directory, advance)
    if not as_json:
        for note in report.notes:
            typer.echo(note, err=True)
    problems = [str(problem) for problem in report.problems]
    _end(_counts(report), _told(report), problems, as_json=as_json)


def _bound(text: str | None, option: str) -> tuple[int | None, int | None]:
    """A cursor or a time in nanoseconds, whichever the text is."""
    if text is None:
        return None, None
    if text.isascii() and text.isdigit():
        return int(text), None
    with contextlib.suppress(ValueError):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            whole = round(moment.replace(microsecond=0).timestamp())
            return None, whole * 10**9 + moment.microsecond * 1000
    raise typer.BadParameter(
        f"found {text!r}, allowed is a cursor, or a time with its zone: 2026-11-24T06:00:00Z",
        param_hint=option,
    )


def _kinds(text: str | None) -> frozenset[str] | None:
    return None if text is None else frozenset(kind.strip() for kind in text.split(","))


@contextlib.contextmanager
def _output(to: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that is there whole or not at all."""
    if to is None:
        yield sys.stdout.buffer
        return
    temporary = to.with_name(to.name + files.PARTIAL)
    try:
        with temporary.open("wb") as stream:
            yield stream
        files.publish(temporary, to)
    except OSError as error:
        raise error if isinstance(error, LogError) else files.trouble(to, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@log.command("export")
def export(
    directory: Directory,
    to: Annotated[
        Path | None, typer.Option("--to", help="Write to FILE; standard output without.")
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", help="Past this cursor, or from this time on.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", help="Up to this cursor or time, itself included.")
    ] = None,
    kinds: Annotated[
        str | None, typer.Option("--kinds", help="These kinds only, such as intent,arrival.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard error at the end.")
    ] = False,
) -> None:
    """Write events as JSON lines, each in its envelope as docs/events.md describes it.

    Times are those at which the collector took the events in. A part that cannot be read is left
    out and told, and the exit code is 1.
    """
    cursor, since_ns = _bound(after, "--after")
    last, until_ns = _bound(until, "--until")
    wanted = transfer.Selection(cursor or 0, last, since_ns, until_ns, _kinds(kinds))
    with progress("export", None) as advance, _output(to) as out:
        done = transfer.export(directory, wanted, out, advance)
    if as_json:
        typer.echo(json.dumps(asdict(done)), err=True)
    else:
        for problem in done.problems:
            typer.echo(problem, err=True)
        typer.echo(f"{done.entries} events, up to cursor {done.cursor}", err=True)
    raise typer.Exit(1 if done.problems else 0)


@log.command("import")
def import_(
    directory: Directory,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `log export` wrote.")],
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out lines that are wrong, and count them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put an export's events into a log, new or not; those that it has are left out.

    With a wrong line nothing is imported, unless --skip-bad is given: exit code 2 and one line for
    each. Numbers that the file leaves out count as missing from then on.
    """
    size = file.stat().st_size if file.is_file() else 0
    if not skip_bad:
        with progress("check", size) as advance:
            transfer.check_file(file, advance)
    elif not file.is_file():
        raise LogError(f"{file}: found no file, allowed is an export")
    store = open_store(directory, Limits())
    try:
        with progress("import", size) as advance:
            done = transfer.load(store, file, advance)
    finally:
        store.close()
    summary = (
        f"{done.accepted} events imported, {done.duplicates} were there already, "
        f"{done.missing} are missing, {done.bad} lines left out"
    )
    _end(asdict(done), summary, [], as_json=as_json)


def _copied(done: copies.Copied, *, as_json: bool) -> NoReturn:
    result = {**_counts(done.report), "bytes": done.bytes}
    problems = [str(problem) for problem in done.report.problems]
    _end(result, _told(done.report), problems, as_json=as_json)


@log.command("backup")
def backup(
    directory: Directory,
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="A directory that is new or empty.")
    ],
    as_json: Json = False,
) -> None:
    """Copy a log, also while the collector writes to it, and look through the copy.

    The copy is the log as it was at one moment. Exit code 1 when it is not whole.
    """
    with progress("backup", log_bytes(directory)) as advance:
        done = copies.backup(directory, target, advance)
    _copied(done, as_json=as_json)


@log.command("restore")
def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="What `log backup` wrote.")],
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The log's directory, new or empty.")
    ],
    as_json: Json = False,
) -> None:
    """Make a log from a backup, which is looked through first.

    The log keeps its id. Its next cursor is above all that were ever given, so that no consumer
    takes a new event for an old one; `mailcanary rebuild` makes the consumers agree with the log.
    """
    with progress("restore", log_bytes(source)) as advance:
        done = copies.restore(source, directory, advance)
    _copied(done, as_json=as_json)
