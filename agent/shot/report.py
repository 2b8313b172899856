"""A shot's result for people, a table with a bar per path, and for machines, a JSON object."""

from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.shot.nagios import Judged, State
from agent.shot.shoot import Flown, Shot
from agent.shot.words import printable, why
from probes.contract.outcome import Outcome
from probes.contract.stages import SUBMISSION_STAGES, Stage

_BAR, _LEAST_BAR = 40, 10
_ROOM_BESIDE = 130
_SIGNS = {
    Stage.RESOLVE: ("N", "cyan", "resolve (name)"),
    Stage.CONNECT: ("C", "blue", "connect"),
    Stage.BANNER: ("B", "magenta", "banner"),
    Stage.EHLO: ("E", "yellow", "ehlo"),
    Stage.TLS: ("T", "bright_blue", "tls"),
    Stage.AUTH: ("A", "bright_magenta", "auth"),
    Stage.MAIL: ("M", "green", "mail"),
    Stage.RCPT: ("R", "bright_green", "rcpt"),
    Stage.DATA: ("D", "bright_yellow", "data"),
    Stage.ACCEPT: (".", "bright_cyan", "accept (final dot)"),
    Stage.TRANSIT: ("─", "white", "transit"),
}
"""Each stage's sign in a bar, of which no two are the same, its colour, and its name."""
_GOOD = (Outcome.DELIVERED,)


def parts(flown: Flown) -> dict[str, float]:
    """Seconds spent in each stage, in order; ``transit`` is what the delay leaves after them."""
    phases = {} if flown.submission is None else flown.submission.phases
    found = {stage.value: phases[stage] for stage in SUBMISSION_STAGES if stage in phases}
    delay = flown.verdict.delay
    if delay is not None:
        found[Stage.TRANSIT.value] = max(0.0, delay.hi - sum(found.values()))
    return found


def widths(seconds: list[float], width: int, longest: float) -> list[int]:
    """Columns for each part of a bar, as near to scale as whole columns are, summing exactly."""
    if longest <= 0:
        return [0] * len(seconds)
    edges = []
    total = 0.0
    for part in seconds:
        total += part
        edges.append(round(min(1.0, total / longest) * width))
    return [end - start for start, end in zip([0, *edges], edges, strict=False)]


def bar(flown: Flown, longest: float, width: int = _BAR) -> Text:
    """The journey as a bar, to scale: ``longest`` seconds fill its ``width`` columns."""
    found = parts(flown)
    text = Text()
    for (stage, _), columns in zip(
        found.items(), widths(list(found.values()), width, longest), strict=True
    ):
        sign, style, _name = _SIGNS[Stage(stage)]
        text.append(sign * columns, style)
    return text


def legend(shot: Shot, width: int) -> Text:
    """What the signs in the bars of this shot stand for, and what time a whole bar is.

    No line ends between a sign and its name.
    """
    journeys = [parts(flown) for flown in shot.flown]
    seen = {stage for journey in journeys for stage in journey}
    longest = max((sum(journey.values()) for journey in journeys), default=0.0)
    if not seen:
        return Text("No canary got as far as a bar.")
    text = Text(f"The longest bar is {_milliseconds(longest)}:")
    used = len(text.plain)
    for sign, style, name in (signs for stage, signs in _SIGNS.items() if stage in seen):
        columns = len(f"  {sign} {name}")
        if used + columns > width:
            text.append("\n")
            used = 0
        text.append("  ").append(sign, style).append(f" {name}")
        used += columns
    return text


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.{0 if seconds >= 0.01 else 1}f} ms"


def table(shot: Shot, judged: Judged, width: int, *, lines: bool) -> RenderableType:
    """One row for each path, in ``width`` columns; with ``lines`` there is one below the titles.

    Where there is no room for what was seen beside the bars, it follows below, path by path.
    """
    beside = width >= _ROOM_BESIDE
    shown = Table(box=SIMPLE_HEAD if lines else None, show_edge=False, pad_edge=False)
    for title in ("relay", "mailbox", "outcome"):
        shown.add_column(title, no_wrap=True)
    shown.add_column("delay", no_wrap=True, justify="right")
    shown.add_column("where the time went", no_wrap=True)
    if beside:
        shown.add_column("what was seen")
    names = max((len(f.path.relay) + len(f.path.mailbox) for f in shot.flown), default=0)
    columns = max(_LEAST_BAR, min(_BAR, width - names - (80 if beside else 34)))
    longest = max((sum(parts(flown).values()) for flown in shot.flown), default=0.0)
    below = []
    for state, flown in judged.paths:
        seen = _seen(flown, shot)
        cells = _cells(flown, state, bar(flown, longest, columns))
        shown.add_row(*cells, *([seen] if beside else []))
        if seen and not beside:
            below.append(Text(f"{flown.path.relay} to {flown.path.mailbox}: {seen}"))
    return Group(shown, *below)


_COLOURS = {
    State.OK: "green",
    State.WARNING: "yellow",
    State.CRITICAL: "bold red",
    State.UNKNOWN: "magenta",
}


def _cells(flown: Flown, state: State, journey: Text) -> list[str | Text]:
    verdict = flown.verdict
    return [
        flown.path.relay,
        flown.path.mailbox,
        Text(verdict.outcome, _COLOURS[state]),
        "" if verdict.delay is None else _milliseconds(verdict.delay.hi),
        journey,
    ]


def _seen(flown: Flown, shot: Shot) -> str:
    submission = flown.submission
    if flown.verdict.outcome not in _GOOD:
        return why(flown, shot)
    said = []
    if submission is not None and submission.tls is not None:
        said.append(submission.tls.version)
        if not submission.tls.verified:
            said.append("certificate not verified")
    if flown.verdict.junk:
        said.append("in junk")
    if flown.arrival is not None and flown.arrival.carrier is not None:
        carrier = flown.arrival.carrier
        if carrier.relay_as_planned is False:
            said.append(f"carried by {carrier.relay_seen}")
        if carrier.egress_as_planned is False:
            said.append(f"left from {carrier.egress_seen}")
    return printable(", ".join(said))


def as_json(shot: Shot, judged: Judged) -> dict[str, Any]:
    """The result as one JSON-able object: every event of every canary, and its verdict."""
    return {
        "state": judged.state.name.lower(),
        "home": judged.home,
        "waited_s": round(shot.waited_s, 3),
        "cut": shot.cut or None,
        "canaries": [
            {
                "path": msgspec.to_builtins(flown.path),
                "state": state.name.lower(),
                "why": None if state is State.OK else why(flown, shot),
                "verdict": msgspec.to_builtins(flown.verdict),
                "phases": parts(flown),
                "submission": msgspec.to_builtins(flown.submission),
                "arrival": msgspec.to_builtins(flown.arrival),
                "bounce": msgspec.to_builtins(flown.bounce),
            }
            for state, flown in judged.paths
        ],
        "mailboxes": msgspec.to_builtins(shot.mailboxes),
    }
