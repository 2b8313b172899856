"""From a body's bytes to the lines of a batch; nothing here looks into an event."""

import re

import msgspec

from collector.ingest.inflate import BodyError, BodyTooLargeError
from probes.contract.names import is_name
from probes.contract.wire import MAX_BATCH_EVENTS, WIRE_VERSION, BatchHeader

EPOCH_PATTERN = r"[A-Za-z0-9_-]{1,64}"
MAX_SEQ = (1 << 63) - 1
_EPOCH = re.compile(EPOCH_PATTERN)
_MAX_HEADER = 4096
_MAX_SHOWN = 80
_decoder = msgspec.json.Decoder(BatchHeader)


def read_batch(plain: bytes) -> tuple[BatchHeader, list[bytes]]:
    """The header and the events' lines, as many as the header says.

    Raises:
        BodyTooLargeError: more events than one batch may have.
        BodyError: the header is not what it should be, or the lines are not as many as it says.
    """
    end = plain.find(b"\n", 0, _MAX_HEADER + 1)
    if end < 0:
        raise BodyError("line 1: found no header, allowed is the batch's header on a line")
    header = _header(plain[:end])
    if not plain.endswith(b"\n"):
        raise BodyError("last line: found no line end, allowed is a batch that was not cut short")
    # Counted before they are cut apart: a body of nothing but line ends would be millions.
    count = plain.count(b"\n", end + 1)
    if count > MAX_BATCH_EVENTS:
        raise BodyTooLargeError(
            f"body: found {count} events, allowed is at most {MAX_BATCH_EVENTS}"
        )
    if count != header.count:
        raise BodyError(f"line 1: count: found {header.count}, allowed is the {count} that follow")
    return header, plain.split(b"\n")[1:-1]


def _header(line: bytes) -> BatchHeader:
    try:
        header = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BodyError(f"line 1: found {error}, allowed is the batch's header") from None
    problems = []
    if header.version != WIRE_VERSION:
        problems.append(f"version: found {_shown(header.version)}, allowed is {WIRE_VERSION}")
    if not is_name(header.agent):
        problems.append(f"agent: found {_shown(header.agent)}, allowed is the agent's name")
    if _EPOCH.fullmatch(header.epoch) is None:
        problems.append(f"epoch: found {_shown(header.epoch)}, allowed is {EPOCH_PATTERN}")
    for name, value, low, high in (
        ("count", header.count, 1, MAX_BATCH_EVENTS),
        ("first_seq", header.first_seq, 1, MAX_SEQ - MAX_BATCH_EVENTS),
        ("sent_at_ns", header.sent_at_ns, 0, MAX_SEQ),
    ):
        if not low <= value <= high:
            problems.append(f"{name}: found {_shown(value)}, allowed is {low} to {high}")
    if problems:
        raise BodyError("\n".join(f"line 1: {problem}" for problem in problems))
    return header


def _shown(value: int | str) -> str:
    text = ascii(value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
