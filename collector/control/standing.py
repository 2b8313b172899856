"""Is an agent up, down, or was it never seen? A pure function of times."""

from enum import StrEnum

MISSED_BEATS = 3


class Standing(StrEnum):
    """What is known of an agent's life."""

    UP = "up"
    DOWN = "down"
    NEVER_SEEN = "never-seen"


def standing(
    seen_ns: int | None, now_ns: int, beat_s: float, started_ns: int, stopped_ns: int | None
) -> Standing:
    """How an agent stands that was last heard at ``seen_ns``.

    It is down after three missed beats. A collector that was away heard nobody, so from its start
    at ``started_ns`` each agent has three beats to be heard again, unless it was down already when
    the collector was last known to run, at ``stopped_ns``.
    """
    if seen_ns is None:
        return Standing.NEVER_SEEN
    patience_ns = round(MISSED_BEATS * beat_s * 1e9)
    was_down = stopped_ns is not None and stopped_ns - seen_ns > patience_ns
    since_ns = seen_ns if was_down else max(seen_ns, started_ns)
    return Standing.DOWN if now_ns - since_ns > patience_ns else Standing.UP
