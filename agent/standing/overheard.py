"""A spool that tells which events an operation wrote, for who counts them."""

from collections.abc import Callable
from typing import TypeVar

from agent.spool.store import Record, Store
from agent.spool.writer import Operation, Spool

T = TypeVar("T")
_MOST = 10_000


class OverheardSpool:
    """A spool, and ``hear``, which is called in the spool's thread with what was written.

    Not when it is committed but just before: an operation that is carried out again, since its
    commit failed, is heard again. So is one whose caller was cancelled, since it takes place.
    """

    def __init__(self, spool: Spool, hear: Callable[[list[Record]], object]) -> None:
        self.epoch = spool.epoch
        self._spool = spool
        self._hear = hear

    async def run(self, operation: Operation[T]) -> T:
        """Run the operation; see :class:`agent.spool.writer.Spool`."""

        def overheard(store: Store) -> T:
            before = store.depth().last_seq
            result = operation(store)
            if written := store.read_after(before, _MOST):
                self._hear(written)
            return result

        return await self._spool.run(overheard)
