"""How many files this process may open, and whether its work may need more."""

import resource

import structlog

from agent.assignment import Assignment
from agent.checking.checks import AT_ONCE

log = structlog.get_logger(__name__)


def raise_files_limit() -> int:
    """Let this process open as many files as it may; gives how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        return soft
    return hard


class FewFiles:
    """Says so when an assignment may need more files than the ``limit``, once for each amount."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._told: int | None = None

    def look(self, assignment: Assignment, sending: int) -> None:
        """Look at an assignment of which up to ``sending`` canaries are on their way at a time."""
        folders = sum(1 + (box.folders.junk is not None) for box in assignment.mailboxes.values())
        looking = AT_ONCE if assignment.checks else 0
        # A folder's connection and its successor, the canaries on their way, the looks, and what is
        # always open.
        wanted = 2 * folders + sending + looking + 100
        if self._limit == resource.RLIM_INFINITY or wanted <= self._limit:
            self._told = None
            return
        if wanted != self._told:
            log.warning(
                "too few open files allowed: canaries may stay unsent and mailboxes unread; raise "
                "LimitNOFILE or ulimit -n",
                allowed=self._limit,
                wanted=wanted,
                folders=folders,
            )
        self._told = wanted
