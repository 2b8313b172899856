"""The ingest benchmark sends what it says to both servers."""

import pytest

from benchmarks import ingest
from probes.contract.events import decode
from probes.contract.names import Path


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_runs_and_names_its_figures() -> None:
    figures = ingest.run(batches=50, steady_s=2.0)
    assert {figure.name.removeprefix("ingest.") for figure in figures} == {
        *(
            f"{agents}_agents.{what}"
            for agents in (1, 50)
            for what in ("rate", "beside_appending", "cpu", "cores", "sender")
        ),
        *(
            f"beside_rollup.{what}"
            for what in (
                *("rate", "counted", "lag", "p50", "p99"),
                *("cores", "rollup_cores", "rollup_cpu", "sender"),
            )
        ),
        "half_load.p50",
        "half_load.p99",
        "memory",
        "batch",
        "machine_load",
    }
    # In so short a time the rollup may have counted nothing, or all.
    may = ("beside_rollup.lag", "beside_rollup.counted")
    assert all(figure.value > 0 for figure in figures if not figure.name.endswith(may))


def test_an_agents_events_are_its_own() -> None:
    events = [decode(body) for body in ingest.events_of("site-7")]
    assert len(events) > 4 * ingest.BATCH
    paths = [path for event in events if isinstance(path := getattr(event, "path", None), Path)]
    assert len(paths) == len(events)
    assert {path.agent for path in paths} == {"site-7"}
    assert len({getattr(event, "canary", None) for event in events}) > len(events) // 4
    others = {getattr(decode(body), "canary", None) for body in ingest.events_of("site-8")}
    assert not others & {getattr(event, "canary", None) for event in events}
    grant = ingest.grant()
    assert {path.relay for path in paths} == set(grant.relays)
    assert {path.mailbox for path in paths} <= set(grant.mailboxes)
