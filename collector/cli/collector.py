"""``mailcanary collector``: run the collector."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

if TYPE_CHECKING:
    from collector.settings import CollectorSettings


class RunsCollector(Protocol):
    """What the front door puts into the command's context: it can read an agent's files."""

    def run_collector(self, settings: "CollectorSettings", log_level: str) -> None:
        """Run a collector until it is told to stop.

        Raises:
            MailcanaryError: it cannot start, and why.
        """


def collector(
    ctx: typer.Context,
    settings: Annotated[
        str | None,
        typer.Option("--settings", help="collector.yaml: how the collector itself runs."),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option("--config", help="The configuration, instead of the settings' own."),
    ] = None,
    state: Annotated[
        str | None, typer.Option("--state", help="Where log, tokens and rollups are kept.")
    ] = None,
    listen: Annotated[
        str | None, typer.Option("--listen", help="ADDRESS:PORT, instead of the settings' own.")
    ] = None,
    log_level: Annotated[
        str, typer.Option("--log-level", help="debug, info, warning or error.")
    ] = "info",
) -> None:
    """Run a collector until SIGTERM: assignments out, events in, nothing lost.

    SIGHUP reads the configuration and the certificate again; changed files are seen by themselves.
    A second signal ends the process at once.
    """
    from collector.settings import read_settings, with_options

    if log_level not in ("debug", "info", "warning", "error"):
        raise typer.BadParameter(
            f"found {log_level!r}, allowed is debug, info, warning or error",
            param_hint="--log-level",
        )
    given = None if settings is None else read_settings(Path(settings))
    front_door: RunsCollector = ctx.obj
    chosen = with_options(given, config=config, state=state, listen=listen)
    front_door.run_collector(chosen, log_level)
