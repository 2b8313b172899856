"""A round of looks for the eyes: tables, and the sentences that count."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from agent.checking.judged import Judged, ages_s
from probes.contract.events import Check
from probes.contract.units import NS_PER_S, format_duration

_GROUPS = 15
_CANARIES = 20


def tables(checks: Sequence[Check], *, lines: bool) -> Iterator[Table]:
    """What was seen, as far as there is any; ``lines`` is whether to draw some."""
    hosts = [check for check in checks if check.egress is not None]
    if hosts:
        yield _hosts(hosts, lines=lines)
    for check in checks:
        if check.queue is not None:
            yield from _queues(check, lines=lines)


def summary(judged: Judged) -> str:
    """The sentences that count, one a line, and the state before them."""
    return "\n".join(f"{judged.state.name}: {text}" for text in judged.sentences)


def _table(*columns: str, lines: bool) -> Table:
    table = Table(box=SIMPLE_HEAD if lines else None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e3:.1f}"


def _text(text: object) -> Text:
    # A host's words are shown as they are: nothing in them is markup.
    return Text("" if text is None else str(text))


def _hosts(checks: Sequence[Check], *, lines: bool) -> Table:
    table = _table("target", "host", "port", "from", "connect ms", "banner ms", "seen", lines=lines)
    for check in checks:
        seen = check.egress
        if seen is None:
            continue
        told = seen.banner or "open" if check.ok else check.detail or check.reason
        host = seen.host if seen.address in (None, seen.host) else f"{seen.host} [{seen.address}]"
        table.add_row(
            _text(check.target),
            _text(host),
            _text(f"{seen.port} control" if seen.control else seen.port),
            _text(check.source),
            _ms(check.timings.get("connect")),
            _ms(check.timings.get("banner")),
            _text(told),
            style=None if check.ok else "red",
        )
    return table


def _queues(check: Check, *, lines: bool) -> Iterator[Table]:
    queue = check.queue
    if queue is None:
        return
    ages = ages_s(check)
    depths = _table("queue", "mails", "bytes", "oldest", lines=lines)
    for name, depth in sorted(queue.queues.items()):
        age = format_duration(float(round(ages[name]))) if name in ages else ""
        depths.add_row(_text(name), str(depth.count), str(depth.bytes), age)
    yield depths
    if queue.groups:
        groups = _table("queue", "domain", "mails", "stage", "reason", "for example", lines=lines)
        for group in queue.groups[:_GROUPS]:
            cells = (group.queue, group.domain, group.count, group.stage, group.reason, group.text)
            groups.add_row(*map(_text, cells))
        more = len(queue.groups) - _GROUPS + queue.more_groups
        if more > 0:
            groups.add_row(_text(f"… {more} more"))
        yield groups
    if queue.canaries:
        yield _canaries(check, lines=lines)


def _canaries(check: Check, *, lines: bool) -> Table:
    table = _table("canary's queue id", "queue", "came", "to", "waits for", lines=lines)
    queue = check.queue
    found = queue.canaries if queue is not None else []
    for one in found[:_CANARIES]:
        came = datetime.fromtimestamp(one.arrived_ns / NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        table.add_row(*map(_text, (one.queue_id, one.queue, came, one.recipient, one.text)))
    more = len(found) - _CANARIES + (queue.more_canaries if queue is not None else 0)
    if more > 0:
        table.add_row(_text(f"… {more} more"))
    return table
