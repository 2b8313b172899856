"""How long a canary is overdue, by a clock that nobody sets: pure, for every reader of events.

A wall clock can be set between the send of a canary and the check of its mailbox, and its ``_ns``
readings then tell of a wait that never was. The agent's boot clock cannot be set. So where both
instants name the same boot they are compared on its clock; across a reboot, or from an agent too
old to name boots, only the wall clock is left. ``docs/events.md`` has the rule.
"""

import msgspec

from probes.contract.events import Heartbeat, Intent, Submission


class Instant(msgspec.Struct, frozen=True):
    """One instant of one agent: by its wall clock and, if it said so, by its boot clock.

    In nanoseconds. The boot clock's reading means something only within ``boot_id``.
    """

    wall_ns: int
    boot_ns: int | None = None
    boot_id: str | None = None


def sent_at(event: Intent | Submission) -> Instant:
    """When the canary was sent; by an intent alone, the instant before which it was not."""
    wall_ns = event.sent_ns if isinstance(event, Submission) else event.at_ns
    return Instant(wall_ns, event.sent_boot_ns, event.boot_id)


def watermark_of(beat: Heartbeat, mailbox: str) -> Instant | None:
    """The mailbox's watermark; ``None`` when there is none, or this heartbeat does not name it."""
    health = beat.mailboxes.get(mailbox)
    if health is None or health.watermark_ns is None:
        return None
    return Instant(health.watermark_ns, health.watermark_boot_ns, beat.boot_id)


def share_clock(start: Instant, end: Instant) -> bool:
    """Whether the boot clock tells the time between the two."""
    known = start.boot_ns is not None and end.boot_ns is not None
    return known and bool(start.boot_id) and start.boot_id == end.boot_id


def seconds_between(start: Instant, end: Instant) -> float:
    """Seconds from ``start`` to ``end``: exact within a boot, else by the wall clock."""
    if share_clock(start, end) and start.boot_ns is not None and end.boot_ns is not None:
        return (end.boot_ns - start.boot_ns) / 1e9
    return (end.wall_ns - start.wall_ns) / 1e9


def overdue_s(
    sent: Instant, watermark: Instant | None, after_s: float, *, wall_error_s: float = 1.0
) -> float | None:
    """Seconds for which a canary that has not been seen is certainly overdue.

    It may take ``after_s`` seconds (its deadline, or ``loss_after``), and ``watermark`` is how far
    its mailbox was read. Negative while the watermark has not come so far; ``None`` without one.
    Where only the wall clock tells, ``wall_error_s`` is taken off: it may be that wrong.
    """
    if watermark is None:
        return None
    error_s = 0.0 if share_clock(sent, watermark) else wall_error_s
    return seconds_between(sent, watermark) - error_s - after_s
