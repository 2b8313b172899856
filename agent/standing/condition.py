"""Whether canaries go wrong somewhere, told once when it begins and once when it ends. Pure.

The rule is in ``docs/agent.md``: three of the last ten begin a trouble, and a run of good ones ends
it, the longer the oftener it has come back within the hour. So what flaps is told ever more seldom.
"""

from collections import Counter, deque
from dataclasses import dataclass

WRONG = 3
"""So many wrong ones begin a trouble, ..."""
OF = 10
"""... of so many."""
STEADY = 5
"""So many good ones in a row end it; twice as many for each time that it began within the hour."""
MOST_STEADY = 80
_HOUR_NS = 3_600_000_000_000


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong: an outcome's word or ``overdue``, at which stage, for what reason."""

    what: str
    stage: str = ""
    reason: str = ""

    @property
    def kind(self) -> tuple[str, str]:
        """What must change for it to be another trouble; why a connect fails may well vary."""
        return self.what, self.stage


Sign = Trouble | None
"""What one canary showed; ``None``: it came home in time."""


class Condition:
    """The condition of a relay or a mailbox. ``trouble`` is what it suffers from now."""

    def __init__(self) -> None:
        self.trouble: Trouble | None = None
        self.since_ns = 0
        self._known = False
        self._signs: deque[Sign] = deque(maxlen=MOST_STEADY)
        self._begun: deque[int] = deque(maxlen=MOST_STEADY)

    @property
    def healthy(self) -> bool | None:
        """Whether it is without trouble; ``None`` before that can be told."""
        return self.trouble is None if self._known else None

    def take(self, sign: Sign, now_ns: int) -> bool:
        """Note a canary's sign, at that time of the boot clock; whether the trouble changed."""
        self._signs.append(sign)
        before = self.trouble
        if sign is None:
            self._known = True
            if before is None:
                # The usual case, at once: a good one begins no trouble.
                return False
        if before is None:
            self.trouble = _trouble(list(self._signs)[-OF:])
        else:
            self.trouble = self._after(before, self._steady(now_ns))
        if self.trouble is before:
            return False
        self._known, self.since_ns = True, now_ns
        self._signs.clear()
        if self.trouble is not None:
            self._begun.append(now_ns)
        return True

    def _steady(self, now_ns: int) -> int:
        """How long a run has to be to end the trouble."""
        begun = sum(now_ns - at_ns < _HOUR_NS for at_ns in self._begun)
        doublings = min(max(0, begun - 1), MOST_STEADY.bit_length())
        return int(min(MOST_STEADY, STEADY << doublings))

    def _after(self, trouble: Trouble, steady: int) -> Trouble | None:
        """What follows a trouble: the same until a run of signs has had nothing of it."""
        run = list(self._signs)[-steady:]
        if len(run) < steady:
            return trouble
        if not any(run):
            return None
        if any(sign is not None and sign.kind == trouble.kind for sign in run):
            return trouble
        return _trouble(run) or trouble


def _trouble(signs: list[Sign]) -> Trouble | None:
    """What most of the wrong ones suffered from, if they are enough; of equals the latest."""
    wrong = [sign for sign in signs if sign is not None]
    if len(wrong) < WRONG:
        return None
    often = Counter(sign.kind for sign in wrong)
    most = max(often.values())
    return next(sign for sign in reversed(wrong) if often[sign.kind] == most)
