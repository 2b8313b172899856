"""The demo on a terminal: a live table, or plain lines where there is no terminal."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from lab.demo.picture import Picture, RelayPicture
from lab.specs import RelaySpec

_BARS = "▁▂▃▄▅▆▇█"
_STYLES = {"ok": "green", "waiting": "yellow", "hit": "bold red"}


_LOWEST_S, _HIGHEST_S = 0.01, 10.0
"""What the lowest and the highest bar stand for, and all beyond them."""


def sparkline(delays: list[float]) -> str:
    """Delays in seconds as bars on a logarithmic scale, from 10 ms to 10 s."""
    last = len(_BARS) - 1
    span = math.log(_HIGHEST_S / _LOWEST_S)
    heights = (math.log(max(delay, _LOWEST_S) / _LOWEST_S) / span for delay in delays)
    return "".join(_BARS[min(last, round(height * last))] for height in heights)


_WIDE = 106
"""Columns that the whole table takes; a narrower terminal gets the figures without the frills."""
_NARROW = {
    "relay": 8, "zone": 14, "state": 7, "delay": 8, "p50": 6,
    "overdue": 7, "late": 4, "lost": 4, "reordered": 9,
}  # fmt: skip
"""Columns that each part of the narrower table takes, the space behind it not counted."""
_GO_FIRST = ("zone", "delay", "p50", "reordered", "lost", "late")
"""What a terminal has no room for goes in this order: names, states and what is overdue stay."""


def shown_in(width: int) -> list[str]:
    """The titles of the columns that a table in ``width`` columns has."""
    if width >= _WIDE:
        return list(_NARROW)
    titles = dict(_NARROW)
    for title in _GO_FIRST:
        if sum(titles.values()) + len(titles) > width:
            del titles[title]
    return list(titles)


def _row(spec: RelaySpec, relay: RelayPicture, *, wide: bool) -> dict[str, str | Text]:
    delays = list(relay.delays)
    middle = sorted(delays)[len(delays) // 2] if delays else None
    place = spec.labels["zone"]
    return {
        "relay": relay.name,
        "zone": f"{spec.labels['provider']} {place}" if wide else place,
        "state": Text(relay.state, _STYLES[relay.state]),
        "delay": sparkline(delays if wide else delays[-8:]),
        "p50": "" if middle is None else _duration(middle),
        "overdue": str(relay.overdue or ""),
        "late": str(relay.late or ""),
        "lost": str(relay.lost or ""),
        "reordered": str(relay.reordered or ""),
    }


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def table(picture: Picture, specs: list[RelaySpec], width: int) -> Table:
    """One row for each relay, in ``width`` columns; 80 are enough for all names and figures."""
    wide = width >= _WIDE
    shown = Table(
        expand=False,
        pad_edge=False,
        box=box.HEAVY_HEAD if wide else None,
        padding=(0, 1) if wide else (0, 1, 0, 0),
    )
    titles = shown_in(width)
    least = {"state": 7, "delay": 24 if wide else 8, "p50": 6}
    for title in titles:
        shown.add_column(
            "provider, zone" if wide and title == "zone" else title,
            no_wrap=True,
            min_width=least.get(title),
            justify="right" if title in ("overdue", "late", "lost", "reordered") else "left",
        )
    for spec in specs:
        row = _row(spec, picture.relays[spec.name], wide=wide)
        shown.add_row(*(row[title] for title in titles))
    return shown


def closing(result: Mapping[str, Any]) -> list[str]:
    """The summary in words."""
    filtered = ", ".join(result["relays_filtered"])
    hit = ", ".join(result["relays_hit"]) or "none"
    seen = result["time_to_see_s"]
    return [
        f"The lab filtered outbound port 25 on {filtered}.",
        f"Measured: hit were {hit}; "
        + ("not all of the filtered ones were seen." if seen is None else f"seen after {seen} s."),
        f"Of {result['sent']} canaries {', '.join(_fates(result))}.",
        f"{result['reordered']} were overtaken, {result['duplicates']} came twice."
        + (f" {result['unsent']} more were held back and not sent." if result["unsent"] else ""),
    ]


def _fates(result: Mapping[str, Any]) -> list[str]:
    """What became of all that were sent; of what did not happen only the usual is named."""
    fates = [
        f"{result['delivered']} were delivered in time",
        f"{result['late']} late",
        f"{result['lost']} lost",
        *(f"{count} {outcome}" for outcome, count in result["other"].items()),
    ]
    if result["pending"]:
        fates.append(f"{result['pending']} were still on their way at the end")
    return fates


class Screen(Protocol):
    """Where the story is shown."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End."""

    def say(self, at_s: float, text: str) -> None:
        """Something happened, ``at_s`` seconds into the story."""

    def draw(self, at_s: float, picture: Picture) -> None:
        """Show how things stand."""


class LiveScreen:
    """A table that is drawn anew several times a second, with the story's last lines below."""

    def __init__(self, console: Console, specs: list[RelaySpec]) -> None:
        self._console = console
        self._specs = specs
        self._lines: list[str] = []
        self._live = Live(console=console, refresh_per_second=8, transient=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def say(self, at_s: float, text: str) -> None:
        """Add a line to the story."""
        self._lines.append(f"{at_s:5.1f} s  {text}")

    def draw(self, at_s: float, picture: Picture) -> None:
        """Draw the table and as much of the story as there are lines for."""
        # The table's head and frame, the panel's frame, and a line for the cursor.
        room = max(2, self._console.height - len(self._specs) - 7)
        story: RenderableType = Panel("\n".join(self._lines[-room:]) or " ", title=f"{at_s:.0f} s")
        self._live.update(Group(table(picture, self._specs, self._console.width), story))


class PlainScreen:
    """A line for whatever happens, and one every few seconds on how things stand."""

    def __init__(
        self,
        console: Console,
        every_s: float = 5.0,
        writing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._console = console
        self._writing = writing
        self._every_s = every_s
        self._next_s = every_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, at_s: float, text: str) -> None:
        """Print the line."""
        with self._writing():
            self._console.print(f"{at_s:5.1f} s  {text}", highlight=False, soft_wrap=True)

    def draw(self, at_s: float, picture: Picture) -> None:
        """Print how things stand, when it is time."""
        if at_s < self._next_s:
            return
        self._next_s = at_s + self._every_s
        relays = picture.relays.values()
        bad = [f"{relay.name} ({relay.overdue} overdue)" for relay in relays if relay.overdue]
        late = sum(relay.late for relay in relays)
        self.say(
            at_s,
            f"{len(picture.canaries)} sent, {picture.pending} in the air, {late} late so far; "
            f"overdue: {', '.join(bad) or 'none'}",
        )
