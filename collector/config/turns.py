"""How much one customer may ask of the customers API, so that it holds up nobody else.

Operators are not bound: they could change the bounds as well.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from collector.allowance import Allowance
from collector.control.principal import Kind, Principal
from probes.contract.errors import MailcanaryError

CHANGES_PER_HOUR = 60
CHANGES_AT_ONCE = 10
"""Changes that a customer may make one after the other when it made none for a while."""
_HOUR_S = 3600.0


class TooOftenError(MailcanaryError):
    """Nothing was done; after ``retry_after_s`` seconds it may be tried again."""

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Turns:
    """One check or change of a customer at a time, whatever tokens it has, and so many changes."""

    def __init__(
        self,
        changes_per_hour: int = CHANGES_PER_HOUR,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._changes_per_hour = changes_per_hour
        most = min(CHANGES_AT_ONCE, changes_per_hour)
        self._changes = Allowance(most, _HOUR_S / changes_per_hour, monotonic)
        self._busy: set[str] = set()

    @contextmanager
    def one(self, who: Principal) -> Iterator[None]:
        """While a check or change of ``who`` is under way.

        Raises:
            TooOftenError: there is one under way already.
        """
        if who.kind is Kind.OPERATOR:
            yield
            return
        if who.name in self._busy:
            detail = "a check or change of this customer is under way; allowed is one at a time"
            raise TooOftenError(detail, 1)
        self._busy.add(who.name)
        try:
            yield
        finally:
            self._busy.discard(who.name)

    def may_change(self, who: Principal) -> None:
        """Look whether ``who`` may make a change now.

        Raises:
            TooOftenError: it made too many.
        """
        if who.kind is Kind.OPERATOR:
            return
        if wait_s := self._changes.wait_s(who.name):
            detail = f"found another change, allowed are {self._changes_per_hour} in an hour"
            raise TooOftenError(detail, math.ceil(wait_s))

    def changed(self, who: Principal) -> None:
        """Count a change."""
        if who.kind is not Kind.OPERATOR:
            self._changes.spend(who.name)
