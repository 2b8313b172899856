"""What a round comes to: a plugin's state, its line and its performance data."""

import pytest

from agent.checking.judged import judge, plugin
from agent.shot.nagios import State
from agent.shot.thresholds import parse_range
from probes.contract.checks import EgressPattern, EgressSeen, QueueDepth, QueueSeen
from probes.contract.events import Check
from probes.contract.stages import Reason, Stage

NOW_NS = 1_760_000_000_000_000_000
MINUTE_NS = 60_000_000_000


def check(**fields: object) -> Check:
    """A check that found nothing wrong, with changes."""
    whole: dict[str, object] = {
        "agent": "node",
        "probe": "egress",
        "relay": "relay-a1",
        "at_ns": NOW_NS,
        "ok": True,
    }
    return Check(**(whole | fields))  # type: ignore[arg-type]  # the test's own words


def host(name: str, *, ok: bool, port: int = 25) -> Check:
    """One look at a host."""
    return check(
        ok=ok,
        target=name,
        source="203.0.113.11",
        stage=None if ok else Stage.EGRESS_CONNECT,
        reason=None if ok else Reason.TIMEOUT,
        detail=None if ok else f"{name}, port {port}: timed out",
        timings={"connect": 0.0123},
        egress=EgressSeen(host=f"mx.{name}.example", port=port),
    )


def together(*, ok: bool, detail: str, reason: Reason | None = None) -> Check:
    """What a round comes to from one source."""
    pattern = EgressPattern(reached=1, tried=2, controls_reached=1, controls_tried=1)
    return check(ok=ok, reason=reason, detail=detail, source="203.0.113.11", pattern=pattern)


def queue(minutes: float | None, **fields: object) -> Check:
    """A look at a queue whose oldest mail is that old."""
    oldest = None if minutes is None else NOW_NS - round(minutes * MINUTE_NS)
    depth = QueueDepth(count=0 if minutes is None else 7, bytes=700, oldest_ns=oldest)
    seen = QueueSeen(queues={"deferred": depth}, groups=[], canaries=[])
    return check(probe="queue", queue=seen, **fields)


def test_what_the_round_comes_to_counts_and_not_each_host() -> None:
    """A reference that fails alone is no fault of ours, and says so in the conclusion."""
    checks = [host("a", ok=True), host("b", ok=False), together(ok=True, detail="all but b")]
    judged = judge(checks)
    assert (judged.state, judged.sentences) == (State.OK, ("all but b",))


def test_the_worst_comes_first() -> None:
    checks = [
        together(ok=True, detail="fine"),
        together(ok=False, detail="no file left", reason=Reason.LOCAL),
        together(ok=False, detail="filtered", reason=Reason.FILTERED),
    ]
    judged = judge(checks)
    assert judged.state is State.CRITICAL
    assert judged.sentences == ("filtered", "no file left", "fine")


def test_what_this_host_could_not_do_is_unknown() -> None:
    assert judge([queue(None, ok=False, reason=Reason.LOCAL)]).state is State.UNKNOWN


def test_nothing_to_look_at_is_unknown() -> None:
    assert judge([]).state is State.UNKNOWN


@pytest.mark.parametrize(
    ("minutes", "state"),
    [(None, State.OK), (5, State.OK), (11, State.WARNING), (61, State.CRITICAL)],
)
def test_the_age_of_the_oldest_mail_has_thresholds(minutes: float | None, state: State) -> None:
    found = judge([queue(minutes)], parse_range("10m"), parse_range("1h"))
    assert found.state is state


def test_the_plugin_has_a_short_line_details_and_performance_data() -> None:
    long = "port 25 times out towards all 4 hosts of 3 destinations from 203.0.113.11: filtered"
    checks = [
        host("a", ok=False),
        host("b", ok=True, port=443),
        together(ok=False, detail=long, reason=Reason.FILTERED),
    ]
    state, text = plugin(checks, "egress", None, None)
    first, *rest = text.splitlines()
    line, _, perf = first.partition(" | ")
    assert state is State.CRITICAL
    assert line.startswith("MAIL EGRESS CRITICAL - port 25 times out towards")
    assert len(line) <= 80
    assert perf == (
        "'a mx.a.example:25 203.0.113.11'=U;;;0; 'b mx.b.example:443 203.0.113.11'=0.0123s;;;0;"
    )
    assert rest == [long, "a mx.a.example:25: a, port 25: timed out"]


def test_a_queue_s_performance_data_holds_its_thresholds() -> None:
    _, text = plugin([queue(2)], "queue", parse_range("10m"), parse_range("1h"))
    assert text == ("MAIL QUEUE OK - ok | 'deferred'=7;;;0; 'deferred_oldest'=120s;600;3600;0;")


def test_a_bar_in_what_a_host_says_begins_no_performance_data() -> None:
    _, text = plugin([together(ok=False, detail="a|b\nc")], "egress", None, None)
    assert text.splitlines()[0] == "MAIL EGRESS CRITICAL - a/b c"
