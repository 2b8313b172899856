"""The options of every command that runs an agent, and what they amount to."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.options import refused, seconds

if TYPE_CHECKING:
    from agent.app import Settings
    from agent.caps import Caps

_MOST_MB = 1 << 24
_MOST = 1_000_000
_WEEK_S = 7 * 86_400.0


class LogLevel(StrEnum):
    """What may be given to --log-level."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _whole(
    option: str, told: str, most: int = _MOST, unit: str = "N", *, show_default: bool = True
) -> Any:
    """An option that is a whole number from 1 to ``most``; what typer makes of one has no type."""

    def number(found: str | int) -> int:
        text = str(found).strip()
        if text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= most:
            return int(text)
        raise refused(option, repr(found), f"a whole number from 1 to {most}")

    return typer.Option(option, parser=number, metavar=unit, help=told, show_default=show_default)


def _unread_s(found: str | float) -> float:
    return seconds(str(found), "--max-unread-s", 1.0, _WEEK_S)


def address(text: str, option: str) -> tuple[str, int]:
    """The host and the port in an option's ``text``; an IPv6 address stands in brackets.

    Raises:
        typer.BadParameter: it is none.
    """
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    good = port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536
    if not colon or not good or (":" in bare and bare == host) or not host.isprintable():
        raise refused(option, repr(text), "ADDRESS:PORT, such as 127.0.0.1:9877")
    return bare or "127.0.0.1", int(port)


@dataclass(frozen=True, kw_only=True)
class Running:
    """How an agent runs, whatever gives it its work."""

    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics", metavar="ADDRESS:PORT", help="Serve the agent's Prometheus metrics there."
        ),
    ] = None
    spool_max_mb: Annotated[
        int,
        _whole("--spool-max-mb", "Drop the oldest events past this size.", _MOST_MB, "MB"),
    ] = 1024
    max_sending: Annotated[
        int | None,
        _whole(
            "--max-sending",
            "Canaries on their way out at once; 4 per relay and at least 500.",
            show_default=False,
        ),
    ] = None
    max_per_relay: Annotated[
        int,
        _whole("--max-per-relay", "Of these, to one relay."),
    ] = 20
    max_per_mailbox: Annotated[
        int,
        _whole("--max-per-mailbox", "Canaries awaited in one mailbox."),
    ] = 5_000
    max_in_air: Annotated[
        int,
        _whole("--max-in-air", "Canaries awaited in all mailboxes."),
    ] = 200_000
    max_unread_s: Annotated[
        float,
        typer.Option(
            "--max-unread-s",
            parser=_unread_s,
            metavar="SECONDS",
            help="Time after which an unread mailbox gets no more.",
        ),
    ] = 600.0
    log_level: Annotated[
        LogLevel, typer.Option("--log-level", help="The least that is logged.")
    ] = LogLevel.INFO

    def caps(self) -> "Caps":
        """The caps as asked for; what follows from how many relays there are is not in them."""
        from agent.caps import Caps

        return Caps(
            per_relay=self.max_per_relay,
            per_mailbox=self.max_per_mailbox,
            in_air=self.max_in_air,
            unread_s=self.max_unread_s,
        )

    def settings(self, state: Path, events: str | None = None) -> "Settings":
        """How an agent runs that keeps its state there.

        Raises:
            typer.BadParameter: --metrics is no address.
        """
        from agent.app import Settings
        from agent.limits import Limits

        limits = Limits(
            spool_bytes=self.spool_max_mb << 20, asked=self.caps(), sending=self.max_sending
        )
        metrics = None if self.metrics is None else address(self.metrics, "--metrics")
        return Settings(state, events, metrics, limits)
