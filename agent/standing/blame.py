"""Whose fault it is when a canary goes wrong where relay and mailbox meet: the relay's, or not.

One mailbox that takes nothing must not make every relay look sick, and a sick relay must not make
mailboxes look sick. So a mailbox is held responsible for what goes wrong there only when no other
relay gets through to it. Pure.
"""

from dataclasses import dataclass, field

from agent.standing.condition import Condition, Sign
from probes.contract.stages import Stage

_MEETING = frozenset((Stage.RCPT, Stage.DATA, Stage.ACCEPT, Stage.TRANSIT))
"""Where the mailbox may be the cause: the relay may know it, and ask it before it accepts."""


@dataclass(slots=True)
class _Heard:
    """Which relays' last canary got as far as to a mailbox, and whose came home in time."""

    relays: set[str] = field(default_factory=set)
    through: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Change:
    """The trouble of a relay or mailbox is another now; ``lasted_s`` is how long the last did."""

    kind: str
    name: str
    before: Sign
    now: Sign
    lasted_s: float


class Blame:
    """The conditions of relays and mailboxes."""

    def __init__(self) -> None:
        self.relays: dict[str, Condition] = {}
        self.mailboxes: dict[str, Condition] = {}
        self._heard: dict[str, _Heard] = {}

    def take(self, relay: str, mailbox: str, sign: Sign, now_ns: int) -> list[Change]:
        """A canary to that mailbox through that relay showed this; gives what changed by it."""
        heard = self._heard.get(mailbox)
        if heard is None:
            heard = self._heard[mailbox] = _Heard()
        meeting = sign is None or sign.stage in _MEETING
        (heard.relays.add if meeting else heard.relays.discard)(relay)
        (heard.through.add if sign is None else heard.through.discard)(relay)
        alone = heard.relays <= {relay}
        excused = sign is not None and meeting and not alone and not heard.through
        changes = []
        if not excused:
            changes += self._note("relay", self.relays, relay, sign, now_ns)
        if excused or sign is None:
            changes += self._note("mailbox", self.mailboxes, mailbox, sign, now_ns)
        return changes

    def keep(self, relays: set[str], mailboxes: set[str]) -> None:
        """Forget all others: they are not measured any more."""
        for name in self.relays.keys() - relays:
            del self.relays[name]
        for name in (self.mailboxes.keys() | self._heard.keys()) - mailboxes:
            self.mailboxes.pop(name, None)
            self._heard.pop(name, None)
        for heard in self._heard.values():
            heard.relays &= relays
            heard.through &= relays

    def _note(
        self, kind: str, conditions: dict[str, Condition], name: str, sign: Sign, now_ns: int
    ) -> list[Change]:
        condition = conditions.get(name)
        if condition is None:
            condition = conditions[name] = Condition()
        before, since_ns = condition.trouble, condition.since_ns
        if not condition.take(sign, now_ns):
            return []
        return [Change(kind, name, before, condition.trouble, (now_ns - since_ns) / 1e9)]
