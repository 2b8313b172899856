"""The simulated machine's clocks, over the simulation's true time."""

from collections.abc import Callable

from agent.clock import Moment

EPOCH_NS = 1_760_000_000_000_000_000
NS = 1_000_000_000


class VirtualClock:
    """A wall clock that can be set, and a boot clock that begins anew with each boot.

    Implements :class:`agent.clock.Clock`. True time, in seconds from 0, is what ``true_s`` gives:
    it never jumps, and everything is judged by it.
    """

    def __init__(self, true_s: Callable[[], float]) -> None:
        self._true_s = true_s
        self._wall_off_ns = EPOCH_NS
        self._booted_ns = 0
        self._boots = 1
        self.booted_ns: dict[str, int] = {"boot-1": 0}
        """When each boot's clock began, in true nanoseconds."""
        self.stepped_s = 0.0
        """How far the wall clock was moved in all, forward and back added up."""

    def _true_ns(self) -> int:
        return round(self._true_s() * NS)

    def now(self) -> Moment:
        """Both clocks, read together."""
        true_ns = self._true_ns()
        return Moment(true_ns + self._wall_off_ns, true_ns - self._booted_ns, f"boot-{self._boots}")

    def step(self, seconds: float) -> None:
        """Someone sets the wall clock."""
        self._wall_off_ns += round(seconds * NS)
        self.stepped_s += abs(seconds)

    def reboot(self) -> None:
        """The machine starts again; the wall clock goes on."""
        self._booted_ns = self._true_ns() - NS
        self._boots += 1
        self.booted_ns[f"boot-{self._boots}"] = self._booted_ns

    def true_of_wall(self, wall_ns: int) -> float:
        """The true time at which the wall clock, as it is set now, showed that."""
        return (wall_ns - self._wall_off_ns) / NS
