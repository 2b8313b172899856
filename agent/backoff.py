"""How long to wait before trying again: exponential, with full jitter, in one place."""

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Waits that double from ``first_s`` to ``most_s``, each drawn from ((1 - jitter) of it, it].

    By default half of the wait is kept: full jitter (1.0) down to nothing lets a broken server be
    asked again at once, and spreads many clients of one server best. The random source is passed
    in, so that a simulation repeats.
    """

    rng: random.Random
    first_s: float = 0.5
    most_s: float = 30.0
    jitter: float = 0.5
    _next_s: float = field(default=0.0, init=False)

    def next_s(self, *, at_least_s: float = 0.0) -> float:
        """The next wait in seconds."""
        self._next_s = min(self.most_s, max(self.first_s, 2 * self._next_s))
        drawn = self._next_s * (1.0 - self.rng.random() * self.jitter)
        return max(at_least_s, drawn)

    def reset(self) -> None:
        """It worked: begin from the first wait again."""
        self._next_s = 0.0
