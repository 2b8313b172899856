"""What holds canaries back: how many may be on their way and in the air, so that one sick part of
the estate never silences the others. Pure.
"""

from collections import Counter
from dataclasses import dataclass, field, replace

from probes.contract.stages import Reason


@dataclass(frozen=True, slots=True)
class Caps:
    """How many canaries may be on their way out at once, and how many in the air.

    Once half of ``sending`` are under way, a relay on its way to which are ``few`` gets no more. As
    long as ``few`` for every relay fit into the other half, relays that hang, however many, leave
    room for those that do not. ``unread_s`` is for how long a mailbox may go unread, in seconds,
    before it gets no more: nobody would take them away.
    """

    per_relay: int = 20
    few: int = 3
    sending: int = 500
    per_mailbox: int = 5_000
    in_air: int = 200_000
    unread_s: float = 600.0


@dataclass(slots=True)
class Load:
    """How many canaries are on their way out now."""

    sending: int = 0
    per_relay: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Home:
    """Where a canary would come home: how many are awaited, and for how long it was not read."""

    in_air: int = 0
    in_mailbox: int = 0
    unread_s: float = 0.0


def held_back(caps: Caps, load: Load, home: Home, relay: str) -> tuple[Reason, str] | None:
    """Why a canary through that relay may not be sent now; ``None`` when it may."""
    mine = load.per_relay[relay]
    if mine >= caps.per_relay:
        return Reason.RELAY_CAP, f"{mine} canaries are on their way to {relay}"
    if home.unread_s > caps.unread_s:
        text = f"the mailbox has not been read for {home.unread_s:.0f} s"
        return Reason.MAILBOX_CAP, text
    if home.in_mailbox >= caps.per_mailbox:
        return Reason.MAILBOX_CAP, f"{home.in_mailbox} canaries are awaited in the mailbox"
    if load.sending >= caps.sending:
        return Reason.AGENT_CAP, f"{load.sending} canaries are on their way out"
    if load.sending * 2 >= caps.sending and mine >= caps.few:
        text = f"{load.sending} canaries are on their way out, {mine} of them to {relay}"
        return Reason.AGENT_CAP, text
    if home.in_air >= caps.in_air:
        return Reason.AGENT_CAP, f"{home.in_air} canaries are in the air"
    return None


_MOST_FEW = 3
_SENDING = 500
_SENDING_PER_RELAY = 4


def for_relays(relays: int, caps: Caps | None = None, *, sending: int | None = None) -> Caps:
    """``caps`` with ``sending`` and ``few`` fit for so many relays.

    ``sending`` is as given, else 4 for each relay and 500 at least. ``few`` is as many as leave
    room for every relay though all others hang: 3 at most, and 1 where even that is too many.
    """
    if sending is None:
        sending = max(_SENDING, _SENDING_PER_RELAY * relays)
    few = min(_MOST_FEW, sending // (2 * max(1, relays)))
    return replace(caps or Caps(), sending=sending, few=max(1, few))
