"""The last assignment, on the disk: an agent that starts without its collector measures on."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from agent.assigned.planning import Planner
from agent.assignment import Assignment
from probes.contract.wire import AssignmentDocument

FILE_NAME = "assignment.json"


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    etag: str
    url: str
    document: AssignmentDocument


@dataclass(frozen=True, slots=True)
class Assigned:
    """An assignment as it came, with the version by which the collector knows it.

    ``planner`` is what planned the one before, if there was one.
    """

    etag: str
    document: AssignmentDocument
    planner: Planner = field(default_factory=Planner, compare=False)

    def work(self) -> Assignment:
        """What it gives this agent to do.

        Raises:
            AssignedError: it is of another version, or no configuration.
            AssignmentError: it has nothing for this agent to send.
        """
        return self.planner.work(self.document)


def load(state: Path, agent: str, url: str) -> Assigned | None:
    """What was kept for that agent of that collector; ``None`` where nothing usable was.

    What cannot be read is no more than a start without an assignment: the collector has it.
    """
    try:
        kept = msgspec.json.decode((state / FILE_NAME).read_bytes(), type=_Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    if kept.url != url or kept.document.agent != agent:
        return None
    return Assigned(kept.etag, kept.document)


def save(state: Path, url: str, assigned: Assigned) -> None:
    """Keep an assignment in the place of the one before: all of it or nothing.

    Raises:
        OSError: it cannot be written; the one before is still there.
    """
    kept = _Kept(etag=assigned.etag, url=url, document=assigned.document)
    file = state / FILE_NAME
    temporary = file.with_name(f".{FILE_NAME}.new")
    try:
        # It names hosts, users and secrets: nothing for other people of this machine.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(msgspec.json.encode(kept))
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
