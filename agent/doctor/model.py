"""What was tried, what was seen, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from agent.doctor.rules import Rule, lines


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

    ``advice`` is what to do, and empty where there is nothing to do; ``rule`` is what the policy
    lacks, if that is it.
    """

    group: str
    name: str
    status: Status
    seen: str
    advice: str = ""
    rule: Rule | None = None


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

    def fail(self, name: str, seen: str, advice: str, rule: Rule | None = None) -> None:
        """It does not work."""
        self.items.append(Item(self._group, name, Status.FAIL, seen, advice, rule))

    def skip(self, names: Iterable[str], why: str) -> None:
        """These were not tried."""
        self.items += [Item(self._group, name, Status.SKIPPED, why) for name in names]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All items. ``usable`` is false when configuration, policy or agent name cannot be used.

    ``policy`` is the policy's file, and ``indent`` how its rules are indented, if there are any.
    """

    items: tuple[Item, ...]
    usable: bool = True
    policy: str = "policy.yaml"
    indent: str | None = None

    @property
    def lacking(self) -> list[str]:
        """The lines that the policy lacks."""
        rules = [item.rule for item in self.items if item.rule is not None]
        return lines(rules, "  " if self.indent is None else self.indent)

    def count(self, status: Status) -> int:
        """How many items turned out so."""
        return sum(item.status is status for item in self.items)

    @property
    def exit_code(self) -> int:
        """0: nothing failed; 1: something did; 2: configuration or usage is wrong."""
        if not self.usable:
            return 2
        return 1 if self.count(Status.FAIL) else 0
