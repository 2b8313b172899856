"""A diagnosis for eyes, for grep, and for programs."""

from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.doctor.model import Diagnosis, Item, Status

MANY_GROUPS = 12
"""With more groups than these, those that are all right get one line each."""

_STYLES = {
    Status.OK: "green",
    Status.WARN: "yellow",
    Status.FAIL: "bold red",
    Status.SKIPPED: "dim",
}


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """The items and their numbers by status."""
    items = [asdict(item) | {"status": str(item.status)} for item in diagnosis.items]
    counts = {str(status): diagnosis.count(status) for status in Status}
    return {"items": items, **counts}


def show(diagnosis: Diagnosis, console: Console, *, every: bool) -> None:
    """A table on a terminal, else a line for each item; ``every`` spares none."""
    if console.is_terminal:
        console.print(_table(_rows(diagnosis, every=every)))
    else:
        for item in diagnosis.items:
            advice = f" -> {item.advice}" if item.advice else ""
            line = f"{item.status:7} {item.group}: {item.name}: {item.seen}{advice}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    counts = ", ".join(f"{diagnosis.count(status)} {status}" for status in Status)
    console.print(counts, markup=False, highlight=False)


def _rows(diagnosis: Diagnosis, *, every: bool) -> list[Item]:
    """The items to show: where there are many groups, a group without trouble is one row."""
    groups = [list(items) for _, items in groupby(diagnosis.items, key=lambda item: item.group)]
    if every or len(groups) <= MANY_GROUPS:
        return list(diagnosis.items)
    return [row for items in groups for row in _condensed(items)]


def _condensed(items: list[Item]) -> list[Item]:
    if any(item.status is not Status.OK for item in items):
        return items
    names = ", ".join(item.name for item in items)
    return [Item(items[0].group, "all", Status.OK, names)]


def _table(rows: list[Item]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("what", no_wrap=True)
    table.add_column("item", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("seen, and what to do")
    before = ""
    for row in rows:
        group = row.group if row.group != before else ""
        if group and before:
            table.add_section()
        before = row.group
        text = Text(row.seen)
        if row.advice:
            text.append(f"\n→ {row.advice}", style="bold")
        table.add_row(Text(group), row.name, Text(row.status, style=_STYLES[row.status]), text)
    return table
