"""The agent's health as Prometheus reads it, over HTTP."""

import re
import urllib.request
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.prometheus import families, serve, standing_families
from agent.standing.ledger import ENDS, Figures, Standing
from probes.contract.events import Heartbeat, MailboxHealth, SpoolHealth
from probes.contract.outcome import Outcome
from tests.ports import free_port

AGENT = Path(__file__).parents[2] / "agent"

BEAT = Heartbeat(
    agent="sfo",
    at_ns=1_760_000_000_500_000_000,
    version="1.2",
    boot_id="b",
    started_ns=1_760_000_000_000_000_000,
    in_flight=4,
    lag_s=0.25,
    spool=SpoolHealth(epoch="e", last_seq=9, depth=5, bytes=4096, dropped=2, problem="disk full"),
    mailboxes={
        "acme/inbox": MailboxHealth(
            state="ok", watermark_ns=1_760_000_000_250_000_000, in_flight=3
        ),
        "zeta/inbox": MailboxHealth(state="down", watermark_ns=None, in_flight=1),
    },
    counters={
        "bounces": 1,
        "bounces_foreign": 2,
        "canaries_arrived": 7,
        "canaries_forged": 1,
        "intents_refused": 3,
        "other_mail": 6,
        "submissions_accepted": 8,
        "waits_lost": 1,
        "copies_not_told": 11,
        "cleanup_foreign": 12,
        "orphans_removed": 13,
        "idle_refused": 14,
        "events_shipped": 15,
        "ship_failures": 16,
    },
)


def read(port: int) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples that the endpoint gives."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_is_served_over_http() -> None:
    last: list[Heartbeat] = []
    port = free_port()
    stop = serve("127.0.0.1", port, lambda: families(last[-1]) if last else ())
    try:
        assert read(port) == {}
        last.append(BEAT)
        samples = read(port)
    finally:
        stop()
    agent = "mailcanary_agent_"
    assert samples[agent + "info", (("agent", "sfo"), ("version", "1.2"))] == 1
    assert samples[agent + "in_flight", ()] == 4
    assert samples[agent + "lag_seconds", ()] == 0.25
    assert samples[agent + "heartbeat_timestamp_seconds", ()] == 1_760_000_000.5
    assert samples[agent + "spool_events", ()] == 5
    assert samples[agent + "spool_up", ()] == 0
    assert samples[agent + "spool_dropped_events_total", ()] == 2
    acme, zeta = (("mailbox", "acme/inbox"),), (("mailbox", "zeta/inbox"),)
    assert (samples[agent + "mailbox_up", acme], samples[agent + "mailbox_up", zeta]) == (1, 0)
    watermark = agent + "mailbox_watermark_timestamp_seconds"
    assert samples[watermark, acme] == pytest.approx(1_760_000_000.25, abs=1e-6)
    assert (watermark, zeta) not in samples
    assert samples[agent + "mailbox_in_flight", zeta] == 1
    assert samples[agent + "canaries_total", (("judgement", "arrived"),)] == 7
    assert samples[agent + "canaries_total", (("judgement", "forged"),)] == 1
    assert samples[agent + "submissions_total", (("result", "accepted"),)] == 8
    assert samples[agent + "waits_total", (("end", "lost"),)] == 1
    assert samples[agent + "intents_total", (("end", "refused"),)] == 3
    assert samples[agent + "bounces_total", (("about", "canary"),)] == 1
    assert samples[agent + "bounces_total", (("about", "foreign"),)] == 2
    assert samples[agent + "other_mails_total", ()] == 6
    assert samples[agent + "copies_not_told_total", ()] == 11
    assert samples[agent + "cleanup_foreign_mails_total", ()] == 12
    assert samples[agent + "orphans_removed_total", ()] == 13
    assert samples[agent + "idle_refused_total", ()] == 14
    assert samples[agent + "events_total", (("end", "shipped"),)] == 15
    assert samples[agent + "ship_failures_total", ()] == 16


def counted() -> set[str]:
    """What the agent's code counts, the variable part of a name left out."""
    names = set()
    for file in AGENT.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        names |= set(re.findall(r'count(?:er)?s\[\s*f?"([a-z_]+)', text))
    return names


def test_everything_that_the_agent_counts_is_served_and_described() -> None:
    names = counted()
    assert {"idle_refused", "submissions_", "canaries_arrived", "events_shipped"} <= names
    page = (AGENT.parent / "docs" / "agent.md").read_text(encoding="utf-8")
    described = set(re.findall(r"(?:mailcanary_agent|…)_([a-z_]+_total)", page))
    for name in names:
        served = {
            sample.name.removeprefix("mailcanary_agent_")
            for family in families(msgspec.structs.replace(BEAT, counters={name: 99}))
            for sample in family.samples
            if sample.value == 99
        }
        assert len(served) == 1, name
        assert served <= described, name


STANDING = Standing(
    {
        "relay-a1": Figures(
            outcomes=Counter({Outcome.DELIVERED: 7, Outcome.LOST: 2}),
            failures=Counter({("transit", ""): 2}),
            in_flight=3,
            overdue=1,
            last_ns=1_760_000_000_250_000_000,
            healthy=False,
        ),
        "relay-a2": Figures(),
    },
    {"acme/inbox": True},
)


def standing() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples of :data:`STANDING`."""
    return {
        (sample.name.removeprefix("mailcanary_agent_"), tuple(sorted(sample.labels.items()))): (
            sample.value
        )
        for family in standing_families(STANDING)
        for sample in family.samples
    }


def test_how_each_relay_does() -> None:
    samples = standing()
    a1, a2 = (("relay", "relay-a1"),), (("relay", "relay-a2"),)
    assert samples["relay_canaries_total", (("outcome", "delivered"), *a1)] == 7
    assert samples["relay_canaries_total", (("outcome", "lost"), *a1)] == 2
    failed = (("reason", ""), *a1, ("stage", "transit"))
    assert samples["relay_failures_total", failed] == 2
    assert samples["relay_in_flight", a1] == 3
    assert samples["relay_overdue", a1] == 1
    last = samples["relay_last_arrival_timestamp_seconds", a1]
    assert last == pytest.approx(1_760_000_000.25, abs=1e-6)
    assert samples["relay_healthy", a1] == 0
    assert samples["mailbox_healthy", (("mailbox", "acme/inbox"),)] == 1
    # A relay that nothing is known of shows zeros, so that an increase from there is seen ...
    assert {samples["relay_canaries_total", (("outcome", end), *a2)] for end in ENDS} == {0}
    assert (samples["relay_in_flight", a2], samples["relay_overdue", a2]) == (0, 0)
    # ... and nothing that would have to be invented.
    assert ("relay_healthy", a2) not in samples
    assert ("relay_last_arrival_timestamp_seconds", a2) not in samples


def test_the_number_of_series_is_that_of_the_relays_times_what_the_docs_say() -> None:
    page = (AGENT.parent / "docs" / "agent.md").read_text(encoding="utf-8")
    found = re.search(r"(\d+) series for each relay", page)
    assert found is not None
    of_one = [labels for _, labels in standing() if ("relay", "relay-a1") in labels]
    # Beside the failures, of which there are as many as differ.
    assert len(of_one) - 1 == int(found[1])


def test_every_metric_is_described() -> None:
    page = (AGENT.parent / "docs" / "agent.md").read_text(encoding="utf-8")
    described = set(re.findall(r"`(?:mailcanary_agent|…)_([a-z_]+)", page))
    served = [*families(BEAT), *standing_families(STANDING)]
    names = {
        family.name.removeprefix("mailcanary_agent_")
        + {"counter": "_total", "info": "_info"}.get(family.type, "")
        for family in served
    } - {"mailcanary_agent_info"}
    assert sorted(names - described) == []


def test_names_keep_to_the_conventions() -> None:
    for family in (*families(BEAT), *standing_families(STANDING)):
        assert family.name.startswith("mailcanary_agent")
        assert family.documentation
        assert not family.name.endswith(("_ms", "_ns"))


def test_a_port_that_is_taken_is_an_error_and_a_stopped_one_is_free() -> None:
    port = free_port()
    stop = serve("127.0.0.1", port, lambda: ())
    with pytest.raises(OSError, match="in use"):
        serve("127.0.0.1", port, lambda: ())
    stop()
    serve("127.0.0.1", port, lambda: ())()
