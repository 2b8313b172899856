"""What cells and paths look like to those who ask."""

import msgspec

from collector.rollup.cells import DEGREE, HI, LO, OUTCOMES, STAGES, TIMINGS, Cell, Key
from probes.contract.events import Interval
from probes.contract.metrics.ratios import Duplication, Loss, ratio
from probes.contract.metrics.reordering import MAX_DEGREE
from probes.contract.metrics.sketch import DelaySketch
from probes.contract.outcome import Outcome
from probes.contract.units import NS_PER_S

_BASES = 2000
"""How far the bucket numbers reach to either side of their base."""


class Upto(msgspec.Struct, frozen=True):
    """An interval in seconds; ``hi`` is ``None`` where it is infinite."""

    lo: float
    hi: float | None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Order within the numbered stream of a path (RFC 4737).

    ``degrees[n - 1]`` counts the arrivals of degree n.
    """

    received: int
    reordered: int
    reordered_ratio: float | None
    mean_extent: float | None
    extent_max: int
    late: Upto | None
    degrees: list[int]
    discontinuities: int
    gap_packets: int
    unjudged: int


class Overtaken(msgspec.Struct, frozen=True, kw_only=True):
    """Order in the mailbox, across relays."""

    judged: int
    overtaken: int
    overtaken_ratio: float | None
    mean_extent: float | None
    extent_max: int
    late: Upto | None
    unjudged: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted of a set of canaries; a ratio with nothing to divide by is ``None``.

    ``p50`` to ``p99`` are one-way delays in seconds, ``None`` where undefined: of no canary, or
    when so many were lost that the rank falls among these.
    """

    canaries: int
    outcomes: dict[str, int]
    timing: dict[str, int]
    stages: dict[str, int]
    loss_ratio: Upto | None
    delivered_ratio: float | None
    p50: Upto | None
    p90: Upto | None
    p99: Upto | None
    duplicates: int
    duplication_fraction: float | None
    junk: int
    delayed_dsn: int
    greylisted: int
    wrong_relay: int
    wrong_egress: int
    order: Order
    overtaking: Overtaken


def sketch_of(cell: Cell) -> DelaySketch:
    """The delays that a cell counts, lost canaries among them."""
    return DelaySketch(
        los={key - LO: n for key, n in cell.items() if abs(key - LO) < _BASES // 2},
        his={key - HI: n for key, n in cell.items() if abs(key - HI) < _BASES // 2},
        lost=cell.get(OUTCOMES[Outcome.LOST], 0),
    )


def figures(cell: Cell) -> Figures:
    """What a cell says."""
    get = cell.get
    outcomes = {outcome.value: get(key, 0) for outcome, key in OUTCOMES.items()}
    arrived = outcomes[Outcome.DELIVERED] + outcomes[Outcome.LATE]
    told = get(Key.CANARIES, 0) - outcomes[Outcome.PENDING] - outcomes[Outcome.UNKNOWN]
    told -= outcomes[Outcome.UNSENT]
    sketch = sketch_of(cell)
    doubled = Duplication(
        received=arrived, replicated=get(Key.REPLICATED, 0), extra=get(Key.DUPLICATES, 0)
    )
    return Figures(
        canaries=get(Key.CANARIES, 0),
        outcomes=outcomes,
        timing={timing.value: get(key, 0) for timing, key in TIMINGS.items()},
        stages={stage.value: n for stage, key in STAGES.items() if (n := get(key, 0))},
        loss_ratio=_upto(Loss(arrived=arrived, lost=outcomes[Outcome.LOST]).ratio()),
        delivered_ratio=ratio(outcomes[Outcome.DELIVERED], told),
        p50=_upto(sketch.percentile(50)),
        p90=_upto(sketch.percentile(90)),
        p99=_upto(sketch.percentile(99)),
        duplicates=get(Key.DUPLICATES, 0),
        duplication_fraction=doubled.duplication_fraction(),
        junk=get(Key.JUNK, 0),
        delayed_dsn=get(Key.DELAYED_DSN, 0),
        greylisted=get(Key.GREYLISTED, 0),
        wrong_relay=get(Key.WRONG_RELAY, 0),
        wrong_egress=get(Key.WRONG_EGRESS, 0),
        order=_order(cell),
        overtaking=_overtaking(cell),
    )


def _order(cell: Cell) -> Order:
    get = cell.get
    received, reordered = get(Key.RECEIVED, 0), get(Key.REORDERED, 0)
    return Order(
        received=received,
        reordered=reordered,
        reordered_ratio=ratio(reordered, received),
        mean_extent=ratio(get(Key.EXTENT_SUM, 0), reordered),
        extent_max=get(Key.EXTENT_MAX, 0),
        late=_late(cell, Key.LATE_LO_NS, Key.LATE_HI_NS),
        degrees=[get(DEGREE + n, 0) for n in range(1, MAX_DEGREE + 1)],
        discontinuities=get(Key.DISCONTINUITIES, 0),
        gap_packets=get(Key.GAP_PACKETS, 0),
        unjudged=get(Key.UNJUDGED, 0),
    )


def _overtaking(cell: Cell) -> Overtaken:
    get = cell.get
    judged, overtaken = get(Key.JUDGED, 0), get(Key.OVERTAKEN, 0)
    return Overtaken(
        judged=judged,
        overtaken=overtaken,
        overtaken_ratio=ratio(overtaken, judged),
        mean_extent=ratio(get(Key.OVERTAKEN_EXTENT_SUM, 0), overtaken),
        extent_max=get(Key.OVERTAKEN_EXTENT_MAX, 0),
        late=_late(cell, Key.OVERTAKEN_LATE_LO_NS, Key.OVERTAKEN_LATE_HI_NS),
        unjudged=get(Key.OVERTAKING_UNJUDGED, 0),
    )


def _late(cell: Cell, lo: Key, hi: Key) -> Upto | None:
    if hi not in cell:
        return None
    return Upto(cell.get(lo, 0) / NS_PER_S, cell[hi] / NS_PER_S)


def _upto(interval: Interval | None) -> Upto | None:
    if interval is None:
        return None
    return Upto(interval.lo, None if interval.hi == float("inf") else interval.hi)
