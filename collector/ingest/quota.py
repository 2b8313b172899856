"""How many bytes an agent may put into the log, so that none pushes the others' history out."""

import time
from collections.abc import Callable

from collector.allowance import Allowance
from collector.log.engine import Appended, Batch

_HOUR_S = 3600.0
EVENT_BYTES = 128
"""What an event takes on the disk besides its own length, at most."""


class ByteQuota:
    """What each agent may have: an hour's worth at once, and then at that rate.

    Paid in arrears: who is not in debt may send a batch, whatever its size, and waits afterwards.
    So what a batch unpacks to need not be known before it is read, and the debt is at most what the
    batches of one agent that are under way hold. Buckets begin full with every start.
    """

    def __init__(
        self, bytes_per_hour: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._allowed = Allowance(bytes_per_hour, _HOUR_S / bytes_per_hour, monotonic)

    def wait_s(self, agent: str) -> float:
        """In how many seconds the agent may send; 0.0 when it may now."""
        return self._allowed.wait_s(agent, 0)

    def take(self, agent: str, amount: int) -> None:
        """Count ``amount`` bytes against the agent."""
        self._allowed.spend(agent, amount)

    def give(self, agent: str, amount: int) -> None:
        """Give back what was taken for nothing."""
        self._allowed.give_back(agent, amount)


def cost(batch: Batch) -> int:
    """The most that a batch takes in the log, when all of it is new and cannot be packed."""
    return _cost(batch, len(batch.items), len(batch.dead))


def cost_of_new(batch: Batch, appended: Appended) -> int:
    """The bytes that were new; duplicates, which stand first, take none."""
    return _cost(batch, appended.accepted, appended.refused)


def _cost(batch: Batch, items: int, dead: int) -> int:
    size = sum(len(item.body) for item in batch.items[len(batch.items) - items :])
    size += sum(
        len(letter.body) + len(letter.refusal.detail)
        for letter in batch.dead[len(batch.dead) - dead :]
    )
    return size + (items + dead) * EVENT_BYTES
