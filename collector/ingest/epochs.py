"""How many epochs an agent may begin: the log keeps a mark of each for ever, in every segment."""

import heapq
import math
from collections.abc import Mapping

from collector.log.engine import Mark

_DAY_NS = 86_400 * 10**9
_FOR_GOOD_S = 3600
"""When to ask again where only an operator can make room."""


class Epochs:
    """The epochs that each agent ever began, as the log's marks have them.

    ``new_per_day`` in any 24 hours and ``kept`` in all. An epoch begins when a spool does: a real
    agent has a few in its life, one without a disk of its own one with every start.
    """

    def __init__(self, new_per_day: int, kept: int) -> None:
        self.new_per_day = new_per_day
        self.kept = kept
        self._begun: dict[str, dict[str, int]] = {}
        self.loaded = False

    def load(self, marks: Mapping[tuple[str, str], Mark]) -> None:
        """What the log knows already; safe to do again."""
        for (source, epoch), mark in marks.items():
            self._begun.setdefault(source, {}).setdefault(epoch, mark.first_at_ns)
        self.loaded = True

    def knows(self, agent: str, epoch: str) -> bool:
        """Whether the agent has begun it."""
        return epoch in self._begun.get(agent, ())

    def too_many(self, agent: str, now_ns: int) -> tuple[str, int] | None:
        """Why the agent may begin no other epoch now, and in how many seconds to ask again."""
        begun = self._begun.get(agent, {})
        if len(begun) >= self.kept:
            return f"{len(begun)} epochs of {agent}", _FOR_GOOD_S
        # Those that began in what a clock set back calls the future count as well.
        latest = heapq.nlargest(self.new_per_day, begun.values())
        if len(latest) == self.new_per_day and latest[-1] > now_ns - _DAY_NS:
            left_s = (latest[-1] + _DAY_NS - now_ns) / 1e9
            text = f"{self.new_per_day} epochs of {agent} that began within a day"
            return text, max(1, min(math.ceil(left_s), 86_400))
        return None

    def begin(self, agent: str, epoch: str, now_ns: int) -> None:
        """The agent begins it."""
        self._begun.setdefault(agent, {})[epoch] = now_ns

    def forget(self, agent: str, epoch: str) -> None:
        """It came to nothing."""
        self._begun.get(agent, {}).pop(epoch, None)
