"""From a body's bytes to the lines of a batch; nothing here looks into an event."""

import re

import msgspec

from collector.ingest.inflate import BodyError, BodyTooLargeError
from probes.contract.names import NAME_PATTERN
from probes.contract.wire import MAX_BATCH_EVENTS, WIRE_VERSION, BatchHeader

EPOCH_PATTERN = r"[A-Za-z0-9_-]{1,64}"
MAX_SEQ = (1 << 63) - 1
_EPOCH = re.compile(EPOCH_PATTERN)
_NAME = re.compile(NAME_PATTERN)
_MAX_HEADER = 4096
_decoder = msgspec.json.Decoder(BatchHeader)


def read_batch(plain: bytes) -> tuple[BatchHeader, list[bytes]]:
    """The header and the events' lines, as many as the header says.

    Raises:
        BodyTooLargeError: more events than one batch may have.
        BodyError: the header is not what it should be, or the lines are not as many as it says.
    """
    line, newline, rest = plain.partition(b"\n")
    if not newline or len(line) > _MAX_HEADER:
        raise BodyError("line 1: found no header, allowed is the batch's header on a line")
    header = _header(line)
    if rest and not rest.endswith(b"\n"):
        raise BodyError("last line: found no line end, allowed is a batch that was not cut short")
    # Counted before they are cut apart: a body of nothing but line ends would be millions.
    count = rest.count(b"\n")
    if count > MAX_BATCH_EVENTS:
        raise BodyTooLargeError(f"found {count} events, allowed is at most {MAX_BATCH_EVENTS}")
    if count != header.count:
        raise BodyError(f"line 1: count: found {header.count}, allowed is the {count} that follow")
    return header, rest.split(b"\n")[:-1]


def _header(line: bytes) -> BatchHeader:
    try:
        header = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BodyError(f"line 1: found {error}, allowed is the batch's header") from None
    problems = []
    if header.version != WIRE_VERSION:
        problems.append(f"line 1: version: found {header.version}, allowed is {WIRE_VERSION}")
    if _NAME.fullmatch(header.agent) is None:
        problems.append("line 1: agent: found no name, allowed is the agent's name")
    if _EPOCH.fullmatch(header.epoch) is None:
        problems.append(f"line 1: epoch: found no epoch, allowed is {EPOCH_PATTERN}")
    if not 1 <= header.count <= MAX_BATCH_EVENTS:
        problems.append(f"line 1: count: found {header.count}, allowed is 1 to {MAX_BATCH_EVENTS}")
    if not 1 <= header.first_seq <= MAX_SEQ - MAX_BATCH_EVENTS:
        problems.append(f"line 1: first_seq: found {header.first_seq}, allowed is from 1")
    if problems:
        raise BodyError("\n".join(problems))
    return header
