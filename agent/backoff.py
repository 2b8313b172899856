"""How long to wait before trying again: exponential, with full jitter, in one place."""

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Waits that double from ``first_s`` up to ``most_s``, each drawn from (half of it, all of it].

    Half of the wait is kept: full jitter down to nothing would let a broken server be asked again
    at once. The random source is passed in, so that a simulation repeats.
    """

    rng: random.Random
    first_s: float = 0.5
    most_s: float = 30.0
    _next_s: float = field(default=0.0, init=False)

    def next_s(self, *, at_least_s: float = 0.0) -> float:
        """The next wait in seconds."""
        self._next_s = min(self.most_s, max(self.first_s, 2 * self._next_s))
        drawn = self._next_s * (1.0 - self.rng.random() / 2)
        return max(at_least_s, drawn)

    def reset(self) -> None:
        """It worked: begin from the first wait again."""
        self._next_s = 0.0
