"""The newest state of every look: what replaces it, what is stale, forgotten, or too much."""

from pathlib import Path

import msgspec
import pytest

from collector.rollup import looks
from collector.rollup.consumer import RollupConsumer
from collector.rollup.looks import LOOKS, MAX_SAID, Looks, look_key, unpack_said
from probes.contract.checks import EgressPattern
from probes.contract.events import Check
from probes.contract.stages import Reason, Stage
from probes.contract.units import NS_PER_S
from tests.collector.rollup.histories import (
    LOG_ID,
    T0_S,
    History,
    bounds_of,
    config,
    egress,
    log_of,
    queue_look,
    tick,
)
from tests.collector.rollup.recount import dump_looks, roll_up, rolled_up

T0_NS = T0_S * NS_PER_S
NAME = "relay-a|egress|bigmail|mx1.bigmail.example:25|203.0.113.11|sfo"


def state(where: Path, events: History, name: str = NAME) -> tuple[object, ...] | None:
    where.mkdir(exist_ok=True)
    rolled_up(where, events)
    found = dump_looks(where)
    return found.get(name)


def seconds(*ns: int) -> list[float]:
    return [(one - T0_NS) / NS_PER_S for one in ns]


def test_since_moves_only_with_what_it_came_to(tmp_path: Path) -> None:
    bad = [
        (40.0, egress(30, ok=False, reason=Reason.TIMEOUT)),
        (70.0, egress(60, ok=False, reason=Reason.TIMEOUT)),
    ]
    found = state(tmp_path / "a", [(10.0, egress(0)), *bad])
    assert found is not None
    assert found[:3] == (False, "egress-connect", "timeout")
    assert seconds(*found[3:]) == [30, 60, 70]  # type: ignore[arg-type]  # times
    other = (100.0, egress(90, ok=False, reason=Reason.REFUSED))
    found = state(tmp_path / "b", [(10.0, egress(0)), *bad, other])
    assert found is not None
    assert seconds(*found[3:]) == [90, 90, 100]  # type: ignore[arg-type]  # times


def test_what_is_older_changes_nothing(tmp_path: Path) -> None:
    late = (80.0, egress(30, ok=False, reason=Reason.TIMEOUT))
    found = state(tmp_path, [(70.0, egress(60)), late])
    assert found is not None
    assert found[0] is True
    assert seconds(*found[4:]) == [60, 70]  # type: ignore[arg-type]  # times


def test_a_clock_that_was_ahead_once_holds_nothing_up(tmp_path: Path) -> None:
    found = state(
        tmp_path,
        [(10.0, egress(9_999_999)), (40.0, egress(30, ok=False, reason=Reason.TIMEOUT))],
    )
    assert found is not None
    assert found[0] is False


@pytest.mark.parametrize("restart", [False, True])
def test_a_look_is_forgotten_when_nothing_is_heard_of_it(tmp_path: Path, *, restart: bool) -> None:
    kept = "relay-a|egress|bigmail|mx1.bigmail.example:443|203.0.113.11|sfo"
    entries = log_of(
        [
            config("r1", "aws", "1h"),
            (0.0, egress(0)),
            (10.0, egress(0, port=443)),
            (3000.0, egress(3000, port=443)),
            (3700.0, tick(3700)),
        ]
    )
    roll_up(tmp_path, [[entry] for entry in entries], [restart] * len(entries))
    assert set(dump_looks(tmp_path)) == {kept}


def test_an_agent_has_so_many_looks_and_no_more(tmp_path: Path) -> None:
    many = [egress(0, host=f"mx{number}.example") for number in range(LOOKS + 3)]
    entries = log_of([*many, egress(0, agent="fra"), egress(1, host="mx0.example")])
    consumer = RollupConsumer(tmp_path)
    consumer.open(LOG_ID, bounds_of(entries))
    consumer.take(entries)
    assert consumer.counters.looks_refused == 3
    consumer.close()
    found = dump_looks(tmp_path)
    assert len(found) == LOOKS + 1
    assert sum(name.endswith("|fra") for name in found) == 1
    again = RollupConsumer(tmp_path)
    again.open(LOG_ID, bounds_of(entries))
    again.take(log_of([egress(2, host="one-more.example")]))
    assert again.counters.looks_refused == 4
    again.close()


@pytest.mark.parametrize("target", ["a|b", "x" * 256, "ümlaut", "\x1b[2J"])
def test_names_that_are_none_are_not_kept(target: str) -> None:
    assert look_key("sfo", egress(0, target=target)) is None


def test_an_ipv6_host_keeps_its_port_apart() -> None:
    key = look_key("sfo", egress(0, host="2001:db8::1", port=443))
    assert key is not None
    assert key.place == "[2001:db8::1]:443"


def test_of_endless_details_little_is_kept() -> None:
    known = Looks()
    pattern = EgressPattern(
        reached=0, tried=1, controls_reached=0, controls_tried=0, failed=["x" * 999] * 900
    )
    look = msgspec.structs.replace(
        queue_look(0), pattern=pattern, detail="d" * 100_000, stage=Stage.EGRESS_CONNECT
    )
    assert look.queue is not None
    look = msgspec.structs.replace(
        look,
        queue=msgspec.structs.replace(
            look.queue,
            queues={f"queue-{number}": look.queue.queues["active"] for number in range(900)},
            groups=look.queue.groups * 900,
        ),
    )
    assert known.fold("sfo", look, T0_NS)
    [row], _ = known.take_changes()
    assert len(row.said) <= MAX_SAID
    said = unpack_said(row.said)
    assert said.detail == "d" * looks.MAX_TEXT
    assert said.queue is not None
    assert len(said.queue.queues) == looks.QUEUES
    assert said.queue.canaries == 3


@pytest.mark.parametrize(
    ("interval_s", "stale_s"), [(None, 180), (30.0, 90), (0.0, 3), (1e300, 3 * 7 * 86400)]
)
def test_a_look_is_stale_after_three_of_its_intervals(
    interval_s: float | None, stale_s: int
) -> None:
    known = Looks()
    look = Check(
        agent="sfo", probe="dns", at_ns=T0_NS, ok=True, relay="relay-a", interval_s=interval_s
    )
    assert known.fold("sfo", look, T0_NS)
    [row], _ = known.take_changes()
    assert row.stale_ns == T0_NS + stale_s * NS_PER_S


def test_a_number_that_no_database_takes_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    entries = log_of([queue_look(0), egress(1)])
    body = entries[0].body.replace(b'"count":40', b'"count":99999999999999999999999')
    consumer = RollupConsumer(tmp_path)
    consumer.open(LOG_ID, bounds_of(entries))
    consumer.take([entries[0]._replace(body=body), entries[1]])
    assert consumer.counters.undecodable == 1
    consumer.close()
    assert set(dump_looks(tmp_path)) == {NAME}
