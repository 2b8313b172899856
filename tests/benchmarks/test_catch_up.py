"""The catch-up benchmark: its spool is one that an agent goes on with, and it runs."""

import time
from itertools import pairwise
from pathlib import Path as FilePath

import pytest

from agent.spool.schema import open_spool
from agent.spool.store import Store
from benchmarks import catch_up
from benchmarks.backlog import DELAY_S, PER_CANARY, build
from probes.contract.events import Arrival, Intent, Submission, decode
from probes.contract.names import Path
from probes.contract.outcome import Outcome, tell
from probes.contract.units import NS_PER_S

PATH = Path("sfo", "relay-a", "acme/inbox")
NOW_NS = 1_760_000_000 * NS_PER_S


def test_a_backlog_is_canaries_that_came_home_in_the_order_in_which_they_did(
    tmp_path: FilePath,
) -> None:
    made = build(tmp_path, PATH, 30.0, 10.0, NOW_NS)
    assert (made.canaries, made.events) == (300, 300 * PER_CANARY)
    opened = open_spool(tmp_path)
    store = Store(opened.connection, opened.epoch)
    try:
        events = [decode(record.body) for record in store.read_after(0, 10_000)]
        assert store.flights() == []
        # An agent that is started numbers its canaries on from there.
        assert store._next(f"path:{PATH}", f"mailbox:{PATH.agent}|{PATH.mailbox}") == (301, 301)
    finally:
        store.close()
        opened.lock.close()
    by_canary: dict[str, list[Intent | Submission | Arrival]] = {}
    for event in events:
        assert isinstance(event, Intent | Submission | Arrival)
        by_canary.setdefault(event.canary, []).append(event)
    assert len(by_canary) == 300
    assert {tell(mine).verdict().outcome for mine in by_canary.values()} == {Outcome.DELIVERED}
    written = [
        event.seen_ns if isinstance(event, Arrival) else event.at_ns
        for event in events
        if isinstance(event, Intent | Submission | Arrival)
    ]
    # A submission is written with its intent; it tells of a moment after that.
    assert all(after - before > -NS_PER_S for before, after in pairwise(written))
    assert written[0] == NOW_NS - (30 + DELAY_S) * NS_PER_S
    assert NOW_NS - NS_PER_S < written[-1] <= NOW_NS


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_runs_and_names_its_figures() -> None:
    began_s = time.monotonic()
    figures = {figure.name.removeprefix("catch_up."): figure for figure in catch_up.run(120.0)}
    assert set(figures) == {
        *(
            f"{rate}_per_s.{what}"
            for rate in catch_up.RATES
            for what in (
                *("rate", "over_real_time", "seconds", "first", "counted"),
                *("agent_cores", "collector_cores", "up", "lag", "wrong"),
            )
        ),
        "machine_load",
    }
    assert sum(figures[f"{rate}_per_s.seconds"].value for rate in catch_up.RATES) < (
        time.monotonic() - began_s
    )
    for rate in catch_up.RATES:
        assert figures[f"{rate}_per_s.rate"].value > 0
        assert figures[f"{rate}_per_s.up"].value == 1
        assert figures[f"{rate}_per_s.wrong"].value == 0
