"""Which agents are silent, and which canaries nobody will tell the end of: by the log's time.

An agent is silent at a tick when none of its events was taken in during the :data:`BEATS` beats
before it. While the collector itself was away (two ticks further apart than that) nobody could be
heard, so the silence of all begins when it is back.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping

from collector.rollup.canary import RowKey
from probes.contract.units import NS_PER_S

BEATS = 3
BEAT_S = 10.0
"""Time between two heartbeats of an agent."""
SILENCE_NS = int(BEATS * BEAT_S * NS_PER_S)


class Silence:
    """The canaries without an end, by when that is overdue, and when each agent was heard last."""

    def __init__(
        self, heard: Iterable[tuple[str, int]] = (), tick_ns: int = 0, listening_ns: int = 0
    ) -> None:
        self.heard = dict(heard)
        self.tick_ns = tick_ns
        self.listening_ns = listening_ns
        self._due: list[tuple[int, int, RowKey, str]] = []
        self._overdue: defaultdict[str, dict[int, RowKey]] = defaultdict(dict)
        self._open: dict[int, tuple[int, RowKey]] = {}

    def hear(self, heard: Mapping[str, int]) -> None:
        """Note when an event of each of these sources was taken in last."""
        self.heard.update(heard)

    def opened(self, number: int, born_ns: int, key: RowKey) -> None:
        """A canary became known; called in the order of their numbers, and so of their births."""
        self._open[number] = (born_ns, key)

    def awaits(self, due_ns: int, number: int, key: RowKey, agent: str) -> None:
        """A canary was sent; its end is overdue for good at ``due_ns``."""
        heapq.heappush(self._due, (due_ns, number, key, agent))

    def closed(self, number: int) -> None:
        """All that was awaited of the canary is known: it need not be looked at again."""
        self._open.pop(number, None)

    def tick(self, at_ns: int) -> list[tuple[int, RowKey]]:
        """Numbers and keys of the open canaries whose agent is silent, and which were overdue."""
        if at_ns - self.tick_ns > SILENCE_NS:
            self.listening_ns = at_ns
        self.tick_ns = max(self.tick_ns, at_ns)
        while self._due and self._due[0][0] <= at_ns:
            _, number, key, agent = heapq.heappop(self._due)
            if number in self._open:
                self._overdue[agent][number] = key
        found: list[tuple[int, RowKey]] = []
        for agent in list(self._overdue):
            still = {n: key for n, key in self._overdue.pop(agent).items() if n in self._open}
            if self._is_silent(agent, at_ns):
                found.extend(still.items())
            elif still:
                self._overdue[agent] = still
        return sorted(found, key=lambda one: one[0])

    def too_old(self, before_ns: int) -> list[tuple[int, RowKey]]:
        """Numbers and keys of the open canaries that became known before then; they are closed."""
        found: list[tuple[int, RowKey]] = []
        for number, (born_ns, key) in self._open.items():
            if born_ns >= before_ns:
                break
            found.append((number, key))
        for number, _ in found:
            del self._open[number]
        return found

    def _is_silent(self, agent: str, at_ns: int) -> bool:
        return at_ns - max(self.heard.get(agent, 0), self.listening_ns) >= SILENCE_NS
