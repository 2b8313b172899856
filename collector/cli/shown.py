"""What ``mailcanary show`` prints: answers of a collector as plain text of a terminal's width.

No colours and no frames: what is printed is the same on a terminal, in a file and with NO_COLOR.
"""

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

DAY_S = 86_400
NS_PER_S = 10**9
_GAP = "  "
_NOT_TOLD = frozenset(("kind", "canary", "path", "stream_epoch", "boot_id"))
_NOT_ENDED = ("pending", "unknown", "unsent")

Figures = Mapping[str, Any]


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The lines of a table; the first column is set left, the others right.

    What ``width`` has no room for follows as further tables with the same first column: no heading
    is cut, no cell goes over two lines, and nothing is left out.
    """
    columns = list(zip(headings, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    lines: list[str] = []
    rest = list(range(1, len(columns)))
    while rest or not lines:
        taken = _as_many_as_fit(widths, rest, width)
        rest = rest[len(taken) :]
        if lines:
            lines.append("")
        for row in (headings, *rows):
            cells = [row[0].ljust(widths[0]), *(row[n].rjust(widths[n]) for n in taken)]
            lines.append(_GAP.join(cells).rstrip())
    return lines


def _as_many_as_fit(widths: Sequence[int], rest: Sequence[int], width: int) -> list[int]:
    """The first of the columns ``rest`` that fit beside the first one; one at least."""
    used = widths[0]
    taken: list[int] = []
    for n in rest:
        used += len(_GAP) + widths[n]
        if taken and used > width:
            break
        taken.append(n)
    return taken


def duration(seconds: float) -> str:
    """A duration for people: ``4 ms``, ``1.2 s``, ``67 min``, ``1.5 h``, ``3 d``."""
    if seconds < 0.9995:
        return f"{_short(seconds * 1000)} ms"
    for unit, length_s, most_s in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 2 * DAY_S)):
        if seconds < most_s:
            return f"{_short(seconds / length_s)} {unit}"
    return f"{_short(seconds / DAY_S)} d"


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0") if number < 9.95 else f"{number:.0f}"


def delay(interval: Mapping[str, Any] | None) -> str:
    """A delay, which lies between two bounds: ``1.2 s`` where they look the same, else both."""
    if interval is None:
        return "-"
    lo = duration(interval["lo"])
    if interval["hi"] is None:
        return f"over {lo}"
    hi = duration(interval["hi"])
    if lo == hi:
        return lo
    number, unit = lo.split()
    return f"{number}-{hi}" if hi.endswith(f" {unit}") else f"{lo}-{hi}"


def moment(seconds: int, tier_s: int) -> str:
    """When a stretch of ``tier_s`` seconds begins, UTC, no longer than it has to be."""
    form = {60: "%H:%M:%S", 3600: "%m-%d %H:%M"}.get(tier_s, "%Y-%m-%d")
    return datetime.fromtimestamp(seconds, UTC).strftime(form)


def series_lines(answer: Mapping[str, Any], width: int) -> list[str]:
    """A series' table; ``answer`` has at least one point."""
    points = [(point["start_s"], point["figures"]) for point in answer["points"]]
    outcomes = [o for o in points[0][1]["outcomes"] if any(f["outcomes"][o] for _, f in points)]
    rare = [name for name in _RARE if any(_rare(figures, name) for _, figures in points)]
    headings = ["sent (UTC)", "canaries", *outcomes, "p50", "p90", "p99", *rare]
    rows = [
        [
            moment(start_s, answer["tier"]),
            str(it["canaries"]),
            *(str(it["outcomes"][outcome] or "-") for outcome in outcomes),
            *(delay(it[percentile]) for percentile in ("p50", "p90", "p99")),
            *(str(_rare(it, name) or "-") for name in rare),
        ]
        for start_s, it in points
    ]
    begin = datetime.fromtimestamp(answer["points"][0]["start_s"], UTC)
    title = f"{answer['dimension']} {answer['key']}, from {begin:%Y-%m-%d %H:%M} UTC"
    return [printable(title), "", *table(headings, rows, width)]


_RARE = ("reordered", "duplicates", "junk", "greylisted")
"""Shown where there were any."""


def _rare(figures: Figures, name: str) -> int:
    # What a collector that is a version older does not count is none.
    return int(figures["order"]["reordered"] if name == "reordered" else figures.get(name, 0))


def list_lines(
    dimension: str, found: Mapping[str, Sequence[Figures]], since_s: int, width: int
) -> list[str]:
    """A line per name, from what each of its hours since ``since_s`` says."""
    rows = []
    for name, hours in found.items():
        canaries = sum(it["canaries"] for it in hours)
        rows.append([printable(name), str(canaries), delivered(hours), delay(worst_p99(hours))])
    title = f"{dimension}s, from {moment(since_s, 3600)} UTC"
    return [title, "", *table([dimension, "canaries", "delivered", "p99"], rows, width)]


def delivered(hours: Iterable[Figures]) -> str:
    """The ratio of canaries delivered in time to those whose end is known, of several stretches."""
    arrived = ended = 0
    for it in hours:
        arrived += it["outcomes"]["delivered"]
        ended += it["canaries"] - sum(it["outcomes"][name] for name in _NOT_ENDED)
    if not ended:
        return "-"
    # Cut, not rounded: 100 % is said of nothing that lacks one.
    return f"{arrived * 1000 // ended / 10:.1f} %"


def worst_p99(hours: Iterable[Figures]) -> Mapping[str, Any] | None:
    """The greatest p99, above which that of all the stretches together is not.

    ``None`` where there is none, and where so many were lost in one that it has none.
    """
    found = [(it["p99"], it["outcomes"]["lost"]) for it in hours]
    if any(p99 is None and lost for p99, lost in found):
        return None
    return max((p99 for p99, _ in found if p99 is not None), key=_upper, default=None)


def _upper(interval: Mapping[str, Any]) -> tuple[float, float]:
    hi = interval["hi"]
    return (float("inf") if hi is None else hi, interval["lo"])


def story_lines(story: Mapping[str, Any], width: int) -> list[str]:
    """A canary: its path, what became of it, and its events one below the other."""
    it = story["canary"]
    verdict = it["verdict"]
    where = "no intent known" if it["path"] is None else " -> ".join(it["path"].values())
    said = [verdict["outcome"], *filter(None, (verdict[k] for k in ("timing", "stage", "reason")))]
    lines = [f"{it['canary']}  {where}", ", ".join(said)]
    if verdict["delay"] is not None:
        lines[-1] += f"  {delay(verdict['delay'])}"
    # A collector that is a version older tells neither.
    if it.get("greylisted"):
        lines.append("greylisted: the host behind the relay put it off at first")
    if (seen := it.get("queued")) is not None:
        ended = verdict["delay"] is not None
        lines.append(queued_line(seen, seen["relay"], ended=ended))
    lines += [" ".join(it["labels"])] if it["labels"] else []
    taken = [event["ingested_at_ns"] // NS_PER_S for event in story["events"]]
    one_day = len({second // DAY_S for second in taken}) == 1
    if taken:
        day = f", {moment(taken[0], DAY_S)}" if one_day else ""
        lines += ["", f"taken in (UTC{day})"]
    for second, event in zip(taken, story["events"], strict=True):
        at = moment(second, 60) if one_day else f"{moment(second, DAY_S)} {moment(second, 60)}"
        lines += [f"{at}  {event['kind']}", *(f"    {told}" for told in told_lines(event["event"]))]
    return [part for line in lines for part in folded(printable(line), width)]


def queued_line(seen: Mapping[str, Any], relay: str, *, ended: bool = False) -> str:
    """The sentence that says where a canary waits or waited, since when and why."""
    began = _instant(seen["first_ns"])[11:19]
    where = f"in the {seen['queue']} queue of {relay}"
    why = seen["text"] or ", ".join(filter(None, (seen["stage"], seen["reason"])))
    seen_last = _instant(seen["last_ns"])[11:19]
    told = f"waited {where} until {seen_last}" if ended else f"waits {where} since {began}"
    return f"{told}: {why}" if why else told


def told_lines(event: Mapping[str, Any]) -> list[str]:
    """The fields of an event that say something, one a line."""
    lines = []
    for key, value in event.items():
        # What a boot clock showed says nothing to people.
        if key in _NOT_TOLD or key.endswith("_boot_ns") or value in (None, "", [], {}):
            continue
        if key.endswith("_ns") and isinstance(value, int):
            lines.append(f"{key.removesuffix('_ns')}: {_instant(value)}")
        elif isinstance(value, dict) and value.keys() == {"lo", "hi"}:
            lines.append(f"{key}: {delay(value)}")
        elif key == "phases" and isinstance(value, dict):
            phases = (f"{stage} {duration(seconds)}" for stage, seconds in value.items())
            lines.append(f"{key}: {', '.join(phases)}")
        elif isinstance(value, dict | list):
            lines.append(f"{key}: {json.dumps(value)}")
        else:
            lines.append(f"{key}: {value}")
    return lines


def _instant(ns: int) -> str:
    """A time of an event, UTC; as it is where no calendar has it."""
    try:
        at = datetime.fromtimestamp(ns // NS_PER_S, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{ns} ns"
    return f"{at:%Y-%m-%d %H:%M:%S}.{ns // 10**6 % 1000:03}"


def printable(text: str) -> str:
    """The text with ``?`` for control characters: those of a relay's reply reach no terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def folded(line: str, width: int) -> list[str]:
    """The line, broken between words where it is too long, what follows set in."""
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=f"{indent}    ",
        break_on_hyphens=False,
        break_long_words=False,
    ) or [""]
