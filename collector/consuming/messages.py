"""What a collector and a consumer's process say to each other: JSON lines over its pipes."""

from typing import Any, Literal

import msgspec

from collector.consumers import Progress
from collector.log.follow import Outlook, Stretch

Level = Literal["debug", "info", "warning", "error", "critical"]


class Start(msgspec.Struct, frozen=True, tag="start"):
    """The first line to the process: which log it follows, and what there is in it."""

    log_id: str
    outlook: Outlook


class Report(msgspec.Struct, frozen=True, tag="report"):
    """How the consumer fares; at least once a second."""

    progress: Progress


class Damage(msgspec.Struct, frozen=True, tag="damage"):
    """A segment that the process cannot read for damage; the collector's to repair."""

    segment: Stretch


class Line(msgspec.Struct, frozen=True, tag="line"):
    """A line for the collector's log."""

    level: Level
    event: str
    fields: dict[str, Any]


ToProcess = Start | Outlook
FromProcess = Report | Damage | Line

to_process = msgspec.json.Decoder(ToProcess)
from_process = msgspec.json.Decoder(FromProcess)
_encoder = msgspec.json.Encoder(enc_hook=repr)


def as_line(message: ToProcess | FromProcess) -> bytes:
    """The message on a line of its own; what is no JSON in a log's fields is told as Python has
    it."""
    return _encoder.encode(message) + b"\n"
