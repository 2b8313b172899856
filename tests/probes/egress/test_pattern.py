"""What the looks of a round come to: by example, and what holds whatever was seen."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.contract.checks import EgressSeen, Finding
from probes.contract.stages import Reason, Stage
from probes.egress import EgressProbe, conclude
from probes.egress.pattern import working

CONNECT, BANNER, RESOLVE = Stage.EGRESS_CONNECT, Stage.EGRESS_BANNER, Stage.EGRESS_RESOLVE
SOURCE = "203.0.113.11"
REFUSALS = {Reason.REPLY_4XX, Reason.REPLY_5XX}
OK = (None, None)
TIMEOUT, REFUSED = (CONNECT, Reason.TIMEOUT), (CONNECT, Reason.REFUSED)
SILENT, CLOSED = (BANNER, Reason.SILENT), (BANNER, Reason.CLOSED)
NO_SMTP, SLOW = (BANNER, Reason.PROTOCOL), (BANNER, Reason.TIMEOUT)
REJECTS, DEFERS = (BANNER, Reason.REPLY_5XX), (BANNER, Reason.REPLY_4XX)
LOST, OURS = (RESOLVE, Reason.NO_ADDRESS), (CONNECT, Reason.LOCAL)
Way = tuple[Stage | None, Reason | None]


def seen(
    target: str, way: Way = OK, *, host: str = "", port: int = 25, source: str = SOURCE, **more: Any
) -> Finding:
    """One look; ``mx.TARGET.example`` greets with its own name unless ``banner`` says another."""
    host = host or f"mx.{target}.example"
    banner = more.pop("banner", None)
    code = more.pop("code", None)
    if port == 25 and way in (OK, REJECTS, DEFERS):
        code = code or {OK: 220, REJECTS: 554, DEFERS: 421}[way]
        banner = f"{host} ESMTP" if banner is None else banner
    stage, reason = way
    return Finding(
        ok=reason is None,
        target=target,
        source=source,
        stage=stage,
        reason=reason,
        detail=None if reason is None else f"{host}: {reason}",
        egress=EgressSeen(
            host=host,
            port=port,
            address=more.pop("address", f"192.0.2.{sum(host.encode()) % 250}"),
            control=port != 25,
            banner=banner,
            code=code,
            **more,
        ),
    )


def control(target: str, way: Way = OK, **more: Any) -> Finding:
    return seen(target, way, port=443, **more)


def told(*findings: Finding) -> Finding:
    """What they come to."""
    [finding] = conclude(findings)
    assert (finding.target, finding.source) == (None, SOURCE)
    assert finding.pattern is not None
    return finding


ALL = ("a", "b", "c")


@pytest.mark.parametrize(
    ("way", "stage", "reason", "how"),
    [
        (TIMEOUT, CONNECT, Reason.FILTERED, "times out"),
        (REFUSED, CONNECT, Reason.FILTERED, "is refused"),
        ((CONNECT, Reason.UNREACHABLE), CONNECT, Reason.FILTERED, "is unreachable"),
        (CLOSED, BANNER, Reason.FILTERED, "takes connections and closes them"),
        ((BANNER, Reason.RESET), BANNER, Reason.FILTERED, "takes connections and resets them"),
        (SILENT, BANNER, Reason.INTERCEPTED, "takes connections and stays silent"),
        (NO_SMTP, BANNER, Reason.INTERCEPTED, "is answered without a proper SMTP greeting"),
    ],
)
def test_the_mail_port_fails_everywhere_and_others_work(
    way: Way, stage: Stage, reason: Reason, how: str
) -> None:
    finding = told(*(seen(each, way) for each in ALL), *(control(each) for each in ALL))
    assert (finding.ok, finding.stage, finding.reason) == (False, stage, reason)
    assert finding.detail == (
        f"port 25 {how} towards all 3 hosts of 3 destinations from 203.0.113.11, "
        f"while 443 works: {reason}"
    )
    assert finding.pattern is not None
    assert (finding.pattern.reached, finding.pattern.tried) == (0, 3)
    assert (finding.pattern.controls_reached, finding.pattern.controls_tried) == (3, 3)
    assert finding.pattern.failed == ["a", "b", "c"]


def test_filtered_in_more_ways_than_one() -> None:
    finding = told(
        seen("a", TIMEOUT),
        seen("b", SILENT),
        seen("c", TIMEOUT),
        control("a"),
        control("b", TIMEOUT),
    )
    assert (finding.stage, finding.reason) == (CONNECT, Reason.FILTERED)
    assert finding.detail is not None
    assert "fails (times out: 2, takes connections and stays silent: 1)" in finding.detail
    assert "while 443 works in 1 of 2 cases" in finding.detail


def test_the_network_is_dead() -> None:
    proven = working([control("b"), control("c", TIMEOUT)])
    [finding] = conclude(
        [*(seen(each, TIMEOUT) for each in ALL), *(control(each, TIMEOUT) for each in ALL)], proven
    )
    assert (finding.stage, finding.reason) == (CONNECT, Reason.NETWORK)
    assert finding.detail == (
        "port 25 times out towards all 3 hosts of 3 destinations from 203.0.113.11, "
        "and so does 443: network"
    )


def test_the_probe_remembers_which_controls_have_worked() -> None:
    probe = EgressProbe()
    down = [*(seen(each, TIMEOUT) for each in ALL), control("a", TIMEOUT)]
    assert [one.reason for one in probe.conclude(down)] == [Reason.TIMEOUT]
    assert [one.ok for one in probe.conclude([*map(seen, ALL), control("a")])] == [True]
    assert [one.reason for one in probe.conclude(down)] == [Reason.NETWORK]
    elsewhere = [*(seen(each, TIMEOUT) for each in ALL), control("b", TIMEOUT)]
    assert [one.reason for one in probe.conclude(elsewhere)] == [Reason.TIMEOUT]


def test_controls_that_never_worked_tell_of_no_dead_network() -> None:
    """Many mail servers' firewalls drop what is sent to other ports."""
    finding = told(
        *(seen(each, TIMEOUT) for each in ALL), *(control(each, TIMEOUT) for each in ALL)
    )
    assert (finding.stage, finding.reason) == TIMEOUT
    assert finding.detail is not None
    assert "no control has worked from here yet" in finding.detail


def test_two_hosts_of_one_destination_that_fail_may_be_down() -> None:
    finding = told(
        seen("a", REFUSED, host="mx1.a.example"),
        seen("a", REFUSED, host="mx2.a.example"),
        control("a"),
    )
    assert (finding.stage, finding.reason) == REFUSED
    assert finding.detail is not None
    assert "with one destination a filter cannot be told" in finding.detail


def test_closed_controls_tell_nothing() -> None:
    finding = told(seen("a", TIMEOUT), seen("b", TIMEOUT), control("a", REFUSED))
    assert (finding.stage, finding.reason) == TIMEOUT
    assert finding.detail is not None
    assert "choose ports that are open" in finding.detail


def test_without_controls_a_filter_cannot_be_told() -> None:
    finding = told(seen("a", TIMEOUT), seen("b", TIMEOUT), seen("c", REFUSED))
    assert (finding.stage, finding.reason) == TIMEOUT
    assert finding.detail is not None
    assert "without controls a filter cannot be told" in finding.detail


def test_with_one_host_a_filter_cannot_be_told() -> None:
    finding = told(seen("a", TIMEOUT), control("a"))
    assert (finding.stage, finding.reason) == TIMEOUT
    assert finding.detail == (
        "port 25 times out towards mx.a.example (a), the only host tried, from 203.0.113.11, "
        "while 443 works: with one host a filter cannot be told from a mail server that is down, "
        "add others"
    )


def test_single_destinations_fail() -> None:
    finding = told(seen("a"), seen("b", TIMEOUT), seen("c"), *(control(each) for each in ALL))
    assert (finding.stage, finding.reason) == (CONNECT, Reason.DESTINATION)
    assert finding.pattern is not None
    assert finding.pattern.failed == ["b"]
    assert finding.detail == (
        "port 25 times out towards b from 203.0.113.11, while 2 other destinations are reached: "
        "destination"
    )


def test_a_destination_is_reached_by_any_of_its_hosts() -> None:
    finding = told(seen("a"), seen("a", TIMEOUT, host="mx2.a.example"), seen("b"))
    assert finding.ok
    assert finding.pattern is not None
    assert (finding.pattern.reached, finding.pattern.tried) == (2, 3)
    assert finding.pattern.failed == []
    assert finding.detail is not None
    assert "works towards 2 of 3 hosts" in finding.detail
    assert "not towards mx2.a.example" in finding.detail


def test_a_reference_that_fails_alone_is_no_fault() -> None:
    finding = told(seen("a"), seen("b"), seen("r", TIMEOUT, reference=True))
    assert finding.ok
    assert finding.pattern is not None
    assert finding.pattern.failed == ["r"]
    assert finding.detail is not None
    assert "times out towards the reference r alone, no fault of this host" in finding.detail


def test_all_but_the_reference_fail() -> None:
    finding = told(seen("a", TIMEOUT), seen("b", TIMEOUT), seen("r", reference=True))
    assert finding.reason is Reason.DESTINATION


def test_refused_by_all_is_reached_and_of_no_use() -> None:
    finding = told(seen("a", REJECTS), seen("b", REJECTS), control("a"))
    assert (finding.stage, finding.reason) == REJECTS
    assert finding.pattern is not None
    assert (finding.pattern.reached, finding.pattern.failed) == (2, [])
    assert finding.detail is not None
    assert "refused, not filtered" in finding.detail


def test_refused_by_one_is_told() -> None:
    finding = told(seen("a", REJECTS), seen("b"))
    assert finding.ok
    assert finding.detail is not None
    assert "mx.a.example refuses mail from here" in finding.detail


def test_all_is_well() -> None:
    finding = told(*(seen(each) for each in ALL), *(control(each) for each in ALL))
    assert (finding.ok, finding.stage, finding.reason) == (True, None, None)
    assert finding.detail == (
        "port 25 works towards all 3 hosts of 3 destinations from 203.0.113.11"
    )


def test_controls_that_never_work_are_told_in_good_time() -> None:
    finding = told(seen("a"), seen("b"), control("a", REFUSED))
    assert finding.ok
    assert finding.detail is not None
    assert "443 works towards none, so a filter could not be told" in finding.detail


@pytest.mark.parametrize(
    "banners",
    [
        ("proxy.isp.example ESMTP 1", "proxy.isp.example ESMTP 2", "PROXY.isp.example"),
        ("********", "********", "********"),
    ],
)
def test_something_answers_in_the_place_of_all(banners: tuple[str, ...]) -> None:
    greeted = [seen(each, banner=text) for each, text in zip(ALL, banners, strict=True)]
    finding = told(*greeted, control("a"))
    assert (finding.stage, finding.reason) == (BANNER, Reason.INTERCEPTED)
    assert finding.detail is not None
    assert "in the place of all 3 hosts of 3 destinations" in finding.detail


@pytest.mark.parametrize(
    "findings",
    [
        [seen("a", banner="mx.a.example"), seen("b", banner="mx.a.example")],
        [seen("a", banner="proxy.isp.example"), seen("b")],
        [seen("a", banner="x.example"), seen("a", banner="x.example", host="mx2.other.test")],
        [
            seen(each, host=f"mx{each}.provider.test", banner="out.provider.test")
            for each in ("a", "b")
        ],
        [seen(each, host=f"192.0.2.{each}", banner="x.test hello") for each in ("1", "2")],
        [seen(each, banner="x.test", address="192.0.2.1") for each in ("a", "b")],
        [seen(each, banner="") for each in ("a", "b")],
    ],
    ids=["own name", "one only", "one destination", "provider", "addresses", "one host", "nothing"],
)
def test_what_is_no_interception(findings: list[Finding]) -> None:
    assert told(*findings).ok


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5.7.1 service unavailable, listed", "5.7.1 you are listed"),
        ("4.7.0 try again", "4.7.0 not now"),
    ],
)
def test_refusals_that_begin_with_a_status_code_are_nobody_s_greeting(one: str, other: str) -> None:
    finding = told(seen("a", REJECTS, banner=one), seen("b", REJECTS, banner=other))
    assert (finding.stage, finding.reason) == REJECTS


def test_who_does_not_answer_for_all_is_no_interceptor() -> None:
    """Two domains at one provider, and a third that is down."""
    gateway = "gw.provider.test ESMTP"
    finding = told(seen("a", banner=gateway), seen("b", banner=gateway), seen("c", TIMEOUT))
    assert (finding.stage, finding.reason) == (CONNECT, Reason.DESTINATION)


def test_names_that_are_not_found() -> None:
    finding = told(seen("a", LOST), seen("b", LOST))
    assert (finding.stage, finding.reason) == LOST
    assert finding.detail is not None
    assert "no host of a, b is found" in finding.detail
    finding = told(seen("a", LOST), seen("b"))
    assert (finding.stage, finding.reason) == (RESOLVE, Reason.DESTINATION)


def test_what_this_host_prevented_says_nothing() -> None:
    finding = told(seen("a", OURS), seen("b", OURS), control("a", OURS))
    assert (finding.stage, finding.reason) == OURS
    finding = told(seen("a", OURS), seen("b"), control("a", OURS))
    assert finding.ok
    assert finding.pattern is not None
    assert (finding.pattern.reached, finding.pattern.tried) == (1, 1)
    assert finding.detail is not None
    assert "2 looks were prevented here" in finding.detail


def test_each_source_by_itself() -> None:
    findings = [seen("a"), seen("b"), seen("a", TIMEOUT, source="::1"), seen("b", source="::1")]
    first, second = conclude([*findings, Finding(ok=False, reason=Reason.LOCAL)])
    assert (first.source, first.ok) == (SOURCE, True)
    assert (second.source, second.reason) == ("::1", Reason.DESTINATION)


WAYS = [OK, TIMEOUT, REFUSED, SILENT, CLOSED, NO_SMTP, SLOW, REJECTS, DEFERS, LOST, OURS]
LOOKS = st.builds(
    seen,
    st.sampled_from(["a", "b", "c", "d"]),
    st.sampled_from(WAYS),
    host=st.sampled_from(["", "mx2.a.example", "mx.other.test", "192.0.2.7", "2001:db8::1"]),
    banner=st.sampled_from([None, "", "proxy.isp.example hi", "mx.a.example", "****", "ESMTP"]),
    code=st.sampled_from([None, None, 220]),
    reference=st.booleans(),
)
CONTROLS = st.builds(
    control,
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([OK, TIMEOUT, REFUSED, OURS]),
)


@given(mail=st.lists(LOOKS, max_size=7), controls=st.lists(CONTROLS, max_size=5))
def test_what_holds_whatever_was_seen(mail: list[Finding], controls: list[Finding]) -> None:
    found = conclude([*mail, *controls])
    assert len(found) == bool(mail or controls)
    for finding in found:
        pattern = finding.pattern
        assert pattern is not None
        assert finding.detail
        assert finding.detail.isprintable()
        assert finding.ok is (finding.reason is None) is (finding.stage is None)
        reached = [one for one in mail if one.ok or one.reason in REFUSALS]
        up = {one.target for one in reached}
        works = any(one.ok for one in controls)
        assert (pattern.reached == 0) is (not reached)
        assert pattern.reached <= pattern.tried <= len(mail)
        assert pattern.controls_reached <= pattern.controls_tried <= len(controls)
        assert not up & set(pattern.failed)
        match finding.reason:
            case Reason.FILTERED:
                assert not reached
                assert works
                assert pattern.tried > 1
            case Reason.NETWORK:
                assert not reached
                assert not works
                assert pattern.controls_tried
            case Reason.DESTINATION:
                assert reached
                assert pattern.failed
            case Reason.INTERCEPTED:
                assert pattern.reached > 1 or (works and pattern.tried > 1)
            case Reason.LOCAL:
                assert not pattern.tried
            case None:
                assert reached or not mail


@given(mail=st.lists(LOOKS, max_size=6), controls=st.lists(CONTROLS, max_size=4), data=st.data())
def test_the_order_makes_no_difference_to_what_is_wrong(
    mail: list[Finding], controls: list[Finding], data: st.DataObject
) -> None:
    looks = [*mail, *controls]
    shuffled = data.draw(st.permutations(looks))
    telling = {Reason.FILTERED, Reason.NETWORK, Reason.DESTINATION, Reason.INTERCEPTED, None}
    first = [one.reason for one in conclude(looks)]
    second = [one.reason for one in conclude(shuffled)]
    for one, other in zip(first, second, strict=True):
        assert one == other or not {one, other} & telling
