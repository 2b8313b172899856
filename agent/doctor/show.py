"""A diagnosis for eyes, for grep, and for programs."""

from dataclasses import asdict
from itertools import groupby
from typing import Any

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
    """The items, the lines that the policy lacks, and the numbers of items by status."""
    items = [asdict(item) | {"status": str(item.status)} for item in diagnosis.items]
    counts = {str(status): diagnosis.count(status) for status in Status}
    return {"items": items, "policy_lacks": diagnosis.lacking, **counts}


def show(diagnosis: Diagnosis, console: Console, *, every: bool) -> None:
    """A table on a terminal, else a line for each item; ``every`` spares none."""
    if console.is_terminal:
        _print_groups(_rows(diagnosis, every=every), console)
    else:
        for item in diagnosis.items:
            advice = f" -> {item.advice}" if item.advice else ""
            line = f"{item.status:7} {item.group}: {item.name}: {item.seen}{advice}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    _print_lacking(diagnosis, console)
    counts = ", ".join(f"{diagnosis.count(status)} {status}" for status in Status)
    console.print(counts, markup=False, highlight=False)


def _print_lacking(diagnosis: Diagnosis, console: Console) -> None:
    """The lines that the policy lacks, by themselves and unbroken: to be copied."""
    lines = diagnosis.lacking
    if not lines:
        return
    where = "put in place of" if diagnosis.indent is None else "add to the list"
    text = [f"If these secrets are meant to go there, {where} 'secrets' in {diagnosis.policy}:"]
    if any(item.rule is not None and item.rule.unverified for item in diagnosis.items):
        text.append("(unverified: true lets one go without TLS, as the configuration asks)")
    text += ["", *(["secrets:"] if diagnosis.indent is None else []), *lines]
    for line in [*text, ""]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


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


def _print_groups(rows: list[Item], console: Console) -> None:
    """Each group under its name; the columns of all in line."""
    item_width = max((len(row.name) for row in rows), default=0)
    status_width = max(len(status) for status in Status)
    for group, items in groupby(rows, key=lambda row: row.group):
        console.print(Text(f"\n{group}", style="bold"))
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(width=0)
        table.add_column(width=item_width, no_wrap=True)
        table.add_column(width=status_width, no_wrap=True)
        table.add_column()
        for item in items:
            text = Text(item.seen)
            if item.advice:
                text.append(f"\n→ {item.advice}", style="bold")
            status = Text(item.status, style=_STYLES[item.status])
            table.add_row("", item.name, status, text)
        console.print(table)
    console.print()
