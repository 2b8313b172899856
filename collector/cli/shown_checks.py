"""What ``mailcanary show checks`` and ``show queue`` print."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from collector.cli.shown import NS_PER_S, duration, folded, printable, queued_line, table

Look = Mapping[str, Any]


def clock(ns: int, now_ns: int) -> str:
    """A time of a look, UTC: without its day where that is the last one."""
    at = datetime.fromtimestamp(ns // NS_PER_S, UTC)
    same = 0 <= now_ns - ns < 86_400 * NS_PER_S
    return f"{at:%H:%M:%S}" if same else f"{at:%Y-%m-%d %H:%M:%S}"


def checks_lines(looks: Sequence[Look], now_s: int, width: int) -> list[str]:
    """A line per look, and below it what is wrong."""
    if not looks:
        return ["no checks to show: none was told of, or all are well"]
    lines = []
    for it in looks:
        towards = _towards(it)
        state = "stale" if it["stale"] else "ok" if it["ok"] else "bad"
        since = clock(it["since_ns"], now_s * NS_PER_S)
        said = ", ".join(filter(None, (it["stage"], it["reason"])))
        line = f"{state:5}  {it['relay']}  {it['probe']}{towards}  since {since}"
        lines += folded(printable(f"{line}  {said}".rstrip()), width)
        if it["detail"]:
            lines += folded(printable(f"    {it['detail']}"), width)
    return lines


def _towards(it: Look) -> str:
    words = []
    if it["egress"] is not None:
        words.append(f"to {it['target']} at {it['egress']['host']}:{it['egress']['port']}")
    elif it["target"]:
        words.append(f"to {it['target']}")
    if it["source"]:
        words.append(f"from {it['source']}")
    return "".join(f" {word}" for word in words)


def queue_lines(answer: Mapping[str, Any], width: int) -> list[str]:
    """The queues, what waits in them for which domain and why, and our canaries."""
    look, canaries = answer["look"], answer["canaries"]
    at_ns = look["at_ns"]
    title = f"queue of {look['relay']} at {clock(at_ns, at_ns)} UTC, seen by {look['agent']}"
    lines = [printable(title + (", stale" if look["stale"] else "")), ""]
    queue = look["queue"]
    if queue is None:
        said = ", ".join(filter(None, (look["stage"], look["reason"], look["detail"])))
        return [*lines, *folded(printable(f"could not be read: {said}"), width)]
    rows = [
        [
            printable(name),
            str(depth["count"]),
            str(depth["bytes"]),
            _age(depth["oldest_ns"], at_ns),
        ]
        for name, depth in queue["queues"].items()
    ]
    lines += table(["queue", "mails", "bytes", "oldest"], rows, width)
    for group in queue["groups"]:
        why = ": ".join(filter(None, (group["reason"], group["text"])))
        waits = f"{group['count']} for {group['domain']} in {group['queue']}"
        lines += ["", *folded(printable(f"{waits}: {why or 'no reason given'}"), width)]
    lines += ["", "canaries of ours:" if canaries else "no canary of ours waits there"]
    for one in canaries:
        lines += folded(printable(f"{one['canary']}  {queued_line(one, look['relay'])}"), width)
    if answer["more"]:
        lines.append(f"and {answer['more']} more")
    if not queue["complete"]:
        lines.append("the listing was cut off: there is at least that much")
    return lines


def _age(since_ns: int | None, at_ns: int) -> str:
    return "-" if since_ns is None else duration(max(0, at_ns - since_ns) / NS_PER_S)
