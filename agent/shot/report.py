"""A shot's result for people, a table with a bar per path, and for machines, a JSON object."""

from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.shot.nagios import why
from agent.shot.shoot import Flown, Shot
from probes.contract.outcome import Outcome
from probes.contract.stages import SUBMISSION_STAGES, Stage

_BAR, _LEAST_BAR = 40, 10
_ROOM_BESIDE = 130
_STYLES = {
    Stage.RESOLVE: "cyan",
    Stage.CONNECT: "blue",
    Stage.BANNER: "magenta",
    Stage.EHLO: "yellow",
    Stage.TLS: "bright_blue",
    Stage.AUTH: "bright_magenta",
    Stage.MAIL: "green",
    Stage.RCPT: "bright_green",
    Stage.DATA: "bright_yellow",
    Stage.ACCEPT: "bright_cyan",
    Stage.TRANSIT: "white",
}
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


def _sign(stage: str) -> str:
    """A stage's letter; transit, which is no stage of the agent's own, is a line."""
    return "─" if stage == Stage.TRANSIT else stage[0].upper()


def bar(flown: Flown, longest: float, width: int = _BAR) -> Text:
    """The journey as a bar, to scale: ``longest`` seconds fill its ``width`` columns."""
    found = parts(flown)
    text = Text()
    for (stage, _), columns in zip(
        found.items(), widths(list(found.values()), width, longest), strict=True
    ):
        text.append(_sign(stage) * columns, _STYLES[Stage(stage)])
    return text


def legend() -> Text:
    """Which letter of a bar stands for which stage; some share one and differ by their place."""
    text = Text("Bars, in order: ")
    for stage, style in _STYLES.items():
        text.append(f"{_sign(stage)} ", style)
        text.append(f"{stage.value}  ")
    return text


def table(shot: Shot, width: int) -> RenderableType:
    """One row for each path, in ``width`` columns.

    Where there is no room for what was seen beside the bars, it follows below, path by path.
    """
    beside = width >= _ROOM_BESIDE
    shown = Table(pad_edge=False)
    for title in ("relay", "mailbox", "outcome", "delay", "where the time went"):
        shown.add_column(title, no_wrap=True)
    if beside:
        shown.add_column("what was seen")
    names = max((len(f.path.relay) + len(f.path.mailbox) for f in shot.flown), default=0)
    columns = max(_LEAST_BAR, min(_BAR, width - names - (80 if beside else 38)))
    longest = max((sum(parts(flown).values()) for flown in shot.flown), default=0.0)
    below = []
    for flown in shot.flown:
        seen = _seen(flown, shot)
        cells = _cells(flown, bar(flown, longest, columns))
        shown.add_row(*cells, *([seen] if beside else []))
        if seen and not beside:
            below.append(Text(f"{flown.path.relay} to {flown.path.mailbox}: {seen}"))
    return Group(shown, *below)


def _cells(flown: Flown, journey: Text) -> list[str | Text]:
    verdict = flown.verdict
    delay = verdict.delay
    return [
        flown.path.relay,
        flown.path.mailbox,
        Text(verdict.outcome, "green" if verdict.outcome in _GOOD else "bold red"),
        "" if delay is None else f"{delay.hi * 1000:.0f} ms",
        journey,
    ]


def _seen(flown: Flown, shot: Shot) -> str:
    submission = flown.submission
    if flown.verdict.outcome not in _GOOD:
        text = why(flown, shot.mailboxes.get(flown.path.mailbox))
        queue_id = None if submission is None else submission.queue_id
        return f"{text} (queue id {queue_id})" if queue_id else text
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
    return ", ".join(said)


def as_json(shot: Shot) -> dict[str, Any]:
    """The result as one JSON-able object: every event of every canary, and its verdict."""
    return {
        "waited_s": round(shot.waited_s, 3),
        "canaries": [
            {
                "path": msgspec.to_builtins(flown.path),
                "verdict": msgspec.to_builtins(flown.verdict),
                "phases": parts(flown),
                "submission": msgspec.to_builtins(flown.submission),
                "arrival": msgspec.to_builtins(flown.arrival),
                "bounce": msgspec.to_builtins(flown.bounce),
            }
            for flown in shot.flown
        ],
        "mailboxes": msgspec.to_builtins(shot.mailboxes),
    }
