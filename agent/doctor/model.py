"""What was tried, what was seen, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How one item turned out."""

    OK = "ok"
    WARN = "warn"
    """Canaries fly, but something will be missing, blurred, or break before long."""
    FAIL = "fail"
    """What this item is about does not work."""
    SKIPPED = "skipped"
    """Not tried, since something before it failed, or cannot be told from here."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was tried. ``group`` is whose: ``here``, ``relay a1``, ``mailbox acme/inbox``.

    ``advice`` is what to do, and empty where there is nothing to do.
    """

    group: str
    name: str
    status: Status
    seen: str
    advice: str = ""


class Findings:
    """Collects the items of one group, in the order in which they were tried."""

    def __init__(self, group: str) -> None:
        self.items: list[Item] = []
        self._group = group

    def ok(self, name: str, seen: str) -> None:
        """It works."""
        self.items.append(Item(self._group, name, Status.OK, seen))

    def warn(self, name: str, seen: str, advice: str) -> None:
        """It works, but."""
        self.items.append(Item(self._group, name, Status.WARN, seen, advice))

    def fail(self, name: str, seen: str, advice: str) -> None:
        """It does not work."""
        self.items.append(Item(self._group, name, Status.FAIL, seen, advice))

    def skip(self, names: Iterable[str], why: str) -> None:
        """These were not tried."""
        self.items += [Item(self._group, name, Status.SKIPPED, why) for name in names]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All items. ``usable`` is false when configuration, policy or agent name cannot be used."""

    items: tuple[Item, ...]
    usable: bool = True

    def count(self, status: Status) -> int:
        """How many items turned out so."""
        return sum(item.status is status for item in self.items)

    @property
    def exit_code(self) -> int:
        """0: nothing failed; 1: something did; 2: configuration or usage is wrong."""
        if not self.usable:
            return 2
        return 1 if self.count(Status.FAIL) else 0
