"""How much each of many may do: so much at once, and from then on at a steady rate."""

import time
from collections import OrderedDict
from collections.abc import Callable

REMEMBERED = 10_000
"""Of how many it is known what they did: of the others it is long ago, or never was."""
_HAIR_S = 1e-6
"""The sum of many steps is not exactly what they come to."""


class Allowance:
    """Lets each spend ``most`` at once, and one more every ``every_s`` seconds.

    The generic cell rate algorithm (ITU-T I.371): of each is kept when its bucket is full again.
    All are full at the start. Used from one event loop.
    """

    def __init__(
        self, most: float, every_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_s = most * every_s
        self._every_s = every_s
        self._monotonic = monotonic
        self._full_s: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """Of how many it is known what they did."""
        return len(self._full_s)

    def wait_s(self, who: str, amount: float = 1.0) -> float:
        """In how many seconds ``who`` may spend ``amount``; 0.0 when it may now."""
        now_s = self._monotonic()
        full_s = max(now_s, self._full_s.get(who, now_s)) + amount * self._every_s
        wait_s = full_s - now_s - self._most_s
        return wait_s if wait_s > _HAIR_S else 0.0

    def spend(self, who: str, amount: float = 1.0) -> None:
        """Count ``amount`` against ``who``, whether it may or not."""
        now_s = self._monotonic()
        full_s = max(now_s, self._full_s.pop(who, now_s))
        self._full_s[who] = full_s + amount * self._every_s
        if len(self._full_s) > REMEMBERED:
            # The one that was quiet for longest has refilled most.
            self._full_s.popitem(last=False)

    def give_back(self, who: str, amount: float) -> None:
        """Undo a part of what was spent."""
        if who in self._full_s:
            self._full_s[who] -= amount * self._every_s
