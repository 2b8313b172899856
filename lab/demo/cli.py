"""``mailcanary demo``: the outage, told on a terminal or as one JSON object."""

import json
import sys
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from typing import Annotated, Any, Protocol

import typer
from rich.console import Console

from lab.demo.run import Demo, StartAgent
from lab.demo.show import LiveScreen, PlainScreen, Screen, closing
from lab.demo.story import MAX_DURATION_S, MIN_DURATION_S, plot, relays
from probes.contract.units import parse_duration_between


class ShowsDemo(Protocol):
    """What the front door puts into the command's context: the lab itself knows no agent."""

    demo_agent: StartAgent

    def run(self, work: Coroutine[Any, Any, Any], log_level: str) -> Any:
        """Do a work in an event loop of its own, and log from that level up."""

    def to_stdout(self) -> AbstractContextManager[None]:
        """For what prints a result: one clear error where standard output does not take it."""


def demo(
    ctx: typer.Context,
    duration: Annotated[
        str, typer.Option("--duration", help="How long the story lasts: 15s to 80s.")
    ] = "45s",
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines instead of a live table, also on a terminal.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print nothing but one JSON object at the end.")
    ] = False,
) -> None:
    """See an outage on a mail estate inside this process, without root, servers or network.

    Ten relays of two providers carry three customers' canaries. Then outbound port 25 of two of
    them is filtered, as clouds do it: they accept mail and cannot pass it on. Exit code 0 when just
    those two were found.
    """
    try:
        story = plot(parse_duration_between(duration, MIN_DURATION_S, MAX_DURATION_S))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--duration") from None
    door: ShowsDemo = ctx.obj
    console = Console(stderr=as_json, quiet=as_json)
    screen: Screen = PlainScreen(console, writing=door.to_stdout)
    if console.is_terminal and not plain and not as_json:
        screen = LiveScreen(console, relays())
    # From errors up: what the agent warns of is what the demo shows.
    result = door.run(Demo(story, screen).run(door.demo_agent), log_level="error")
    with door.to_stdout():
        if as_json:
            sys.stdout.write(json.dumps(result) + "\n")
        for line in closing(result):
            console.print(line, highlight=False)
    raise typer.Exit(0 if result["relays_hit"] == sorted(result["relays_filtered"]) else 1)
