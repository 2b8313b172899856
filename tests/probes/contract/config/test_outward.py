"""Warnings about checks that are allowed and hardly meant; their problems stand in ``bad/``."""

from textwrap import dedent

import pytest

from probes.contract.config.loader import Checked, check_documents

SOUND = """\
version: 1
relays:
  - {name: relay-a1, host: relay-a1.example.net, labels: {pool: mx}}
  - {name: relay-a2, host: relay-a2.example.net, labels: {pool: mx}}
agents:
  - {name: on-relay-a1, on_relay: relay-a1}
  - {name: on-relay-a2, on_relay: relay-a2, sources: [10.0.0.5]}
destinations:
  - {name: bigmail, domain: bigmail.example, controls: [443], labels: {mx: bigmail}}
  - {name: othermail, hosts: [mx1.othermail.example, 192.0.2.25]}
  - {name: ours, hosts: [reference.monitor.example], reference: true}
checks:
  - {probe: egress, relays: {pool: mx}}
  - {probe: queue, relays: [relay-a1, relay-a2], interval: 5s, timeout: 5s}
"""


def checked(text: str, *edits: tuple[str, str]) -> Checked:
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return check_documents([("f", text)])


def warned(*edits: tuple[str, str]) -> list[str]:
    return [str(warning) for warning in checked(SOUND, *edits).warnings]


def test_agents_on_relays_need_no_sender() -> None:
    assert checked(SOUND) == (checked(SOUND).config, [], [])
    assert checked(SOUND).config is not None


def test_relays_without_an_agent_are_named() -> None:
    assert warned(("on_relay: relay-a2, sources: [10.0.0.5]", "labels: {site: sfo}")) == [
        f"f:{line}: checks[{index}].relays: found relays on which no agent sits: relay-a2, "
        "allowed is without a warning an agent with on_relay for each"
        for index, line in enumerate((13, 14))
    ]


def test_of_many_relays_without_an_agent_three_are_named() -> None:
    more = "".join(f"  - {{name: r{n}, host: r{n}.example.net}}\n" for n in range(7))
    (one,) = warned(("agents:\n", f"{more}agents:\n"), ("relays: {pool: mx}", "relays: all"))
    assert "no agent sits: r0, r1, r2 and 4 more, allowed" in one


@pytest.mark.parametrize(
    "edit",
    [
        ("on_relay: relay-a2", "on_relay: Relay-A2"),
        ("on_relay: relay-a2", "on_relay: [relay-a2]"),
        ("on_relay: relay-a2", "on_relay: 5"),
        ("{name: relay-a2,", "{name: Relay-A2,"),
        ("  - {name: on-relay-a2, on_relay: relay-a2, sources: [10.0.0.5]}", "  - 5"),
    ],
)
def test_nobody_is_missed_who_may_be_a_faulty_part(edit: tuple[str, str]) -> None:
    found = checked(SOUND, edit)
    assert found.problems
    assert found.warnings == []


def test_without_controls_no_filter_can_be_told() -> None:
    text = (
        "f:13: checks[0].destinations: found destinations without controls: a filter looks like a "
        "network that is down, allowed is without a warning one with controls, such as "
        "controls: [443]"
    )
    assert warned((", controls: [443]", "")) == [text]


def test_one_destination_alone_tells_little() -> None:
    text = (
        "f:13: checks[0].destinations: found bigmail alone: a filter looks like a destination "
        "that is down, allowed is without a warning two or more, of different owners"
    )
    for chosen in ("bigmail", "[bigmail]", "{mx: bigmail}"):
        assert warned(
            (
                "{pool: mx}}\n  - {probe: q",
                f"{{pool: mx}}, destinations: {chosen}}}\n  - {{probe: q",
            )
        ) == [text]


@pytest.mark.parametrize(
    ("destinations", "edit"),
    [
        ("[bigmail, ours]", ("name: ours", "name: OURS")),
        ("{mx: bigmail}", ("reference: true", "labels: {mx: 5}")),
        ("[bigmail, ours]", ("name: ours", "nam: OURS")),
        ("{mx: bigmail}", ("controls: [443]", "controls: [https]")),
        ("all", ("controls: [443]", "controls: https")),
        ("[bigmail, nowhere]", ("name: ours", "name: theirs")),
    ],
)
def test_what_may_be_there_to_compare_with_is_not_missed(
    destinations: str, edit: tuple[str, str]
) -> None:
    rule = "{probe: egress, relays: {pool: mx}"
    found = checked(SOUND, (rule, f"{rule}, destinations: {destinations}"), edit)
    assert found.problems
    text = [str(warning) for warning in found.warnings]
    assert not any("without controls" in one for one in text)
    assert "controls: [443]" in edit[0] or text == []


def test_a_timeout_within_which_tcp_tries_once_is_too_short_for_others_hosts() -> None:
    short = ("{probe: egress, ", "{probe: egress, timeout: 2999ms, ")
    text = (
        "f:13: checks[0].timeout: found timeout 2s999ms: one lost packet looks like a filter, "
        "allowed is without a warning 3s or more"
    )
    assert warned(short) == [text]
    assert warned(("{probe: egress, ", "{probe: egress, timeout: 3s, ")) == []
    assert warned(("timeout: 5s", "timeout: 1s")) == []


def fleet(relays: int, interval: str) -> str:
    """A fleet with an agent on each relay, all of which look at two destinations."""
    lines = ["version: 1", "relays:"]
    lines += [f"  - {{name: r{n}, host: r{n}.example.net}}" for n in range(relays)]
    lines += ["agents:", *(f"  - {{name: on-r{n}, on_relay: r{n}}}" for n in range(relays))]
    rest = """\
        destinations:
          - {name: bigmail, domain: bigmail.example, controls: [443]}
          - {name: ours, hosts: [reference.monitor.example], reference: true}
        checks:
        """
    rules = f"  - {{probe: egress, interval: {interval}}}\n  - {{probe: queue}}\n"
    return "\n".join(lines) + "\n" + dedent(rest) + rules


def test_a_fleet_that_looks_too_often_at_somebodys_host_is_told_so() -> None:
    assert checked(fleet(300, "30s")).warnings == []
    found = checked(fleet(301, "30s"))
    assert found.problems == []
    allowed = "allowed is without a warning up to 600: a longer interval, fewer relays"
    what = "found 602 connections a minute to each of its hosts"
    assert [str(warning) for warning in found.warnings] == [
        f"f:607: destinations[0]: {what}, {allowed}",
        f"f:608: destinations[1]: {what}, {allowed}",
    ]
    assert checked(fleet(301, "soon")).warnings == []


def test_overlaps_of_a_fleet_are_one_problem() -> None:
    rule = "  - {probe: egress, interval: 30s}\n"
    found = checked(fleet(300, "30s"), (rule, rule * 3))
    assert [str(problem) for problem in found.problems] == [
        f"f:{line}: checks[{index}]: found egress from r0 towards bigmail and 599 more, which the "
        "rule in line 608 looks at as well, allowed is one rule with all destinations"
        for index, line in ((1, 609), (2, 610))
    ]


def test_a_relay_looks_outward_by_one_rule() -> None:
    """What is filtered is told of all destinations together."""
    apart = [f"  - {{probe: egress, relays: relay-a1, destinations: d{n}}}\n" for n in (1, 2)]
    hosts = "".join(
        f"  - {{name: d{n}, hosts: [mx{n}.example], controls: [443]}}\n" for n in (1, 2)
    )
    text = (
        "version: 1\nrelays: [{name: relay-a1, host: h}]\n"
        "agents: [{name: node, on_relay: relay-a1}]\n"
        f"destinations:\n{hosts}checks:\n{''.join(apart)}"
    )
    assert [str(problem) for problem in check_documents([("f", text)]).problems] == [
        (
            "f:9: checks[1]: found egress from relay-a1, which the rule in line 8 looks out from "
            "as well, allowed is one rule with all destinations"
        )
    ]
