"""The demo on a terminal: a live table, or plain lines where there is no terminal."""

import math
from collections.abc import Mapping
from typing import Any, Protocol, Self

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


def _row(spec: RelaySpec, relay: RelayPicture) -> list[str | Text]:
    delays = list(relay.delays)
    middle = sorted(delays)[len(delays) // 2] if delays else None
    return [
        relay.name,
        f"{spec.labels['provider']} {spec.labels['zone']}",
        Text(relay.state, _STYLES[relay.state]),
        sparkline(delays),
        "" if middle is None else (f"{middle * 1000:.0f} ms" if middle < 1 else f"{middle:.1f} s"),
        str(relay.overdue or ""),
        str(relay.late or ""),
        str(relay.lost or ""),
        str(relay.reordered or ""),
    ]


def table(picture: Picture, specs: list[RelaySpec]) -> Table:
    """One row for each relay."""
    shown = Table(expand=False, pad_edge=False)
    for title in ("relay", "provider, zone", "state", "delay", "p50"):
        shown.add_column(title, no_wrap=True, min_width=24 if title == "delay" else None)
    for title in ("overdue", "late", "lost", "reordered"):
        shown.add_column(title, justify="right")
    for spec in specs:
        shown.add_row(*_row(spec, picture.relays[spec.name]))
    return shown


def closing(result: Mapping[str, Any]) -> list[str]:
    """The summary in words."""
    r = result
    counts = (
        f"Of {r['sent']} canaries {r['delivered']} were delivered in time, {r['late']} late, "
        f"{r['lost']} lost; {r['reordered']} were overtaken, {r['duplicates']} came twice."
    )
    filtered = ", ".join(result["relays_filtered"])
    hit = ", ".join(result["relays_hit"]) or "none"
    seen = result["time_to_see_s"]
    return [
        f"The lab filtered outbound port 25 on {filtered}.",
        f"Measured: hit were {hit}; "
        + ("not all of the filtered ones were seen." if seen is None else f"seen after {seen} s."),
        counts,
    ]


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
        """Draw the table and the story so far."""
        story: RenderableType = Panel("\n".join(self._lines[-8:]) or " ", title=f"{at_s:.0f} s")
        self._live.update(Group(table(picture, self._specs), story))


class PlainScreen:
    """A line for whatever happens, and one every few seconds on how things stand."""

    def __init__(self, console: Console, every_s: float = 5.0) -> None:
        self._console = console
        self._every_s = every_s
        self._next_s = every_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, at_s: float, text: str) -> None:
        """Print the line."""
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
