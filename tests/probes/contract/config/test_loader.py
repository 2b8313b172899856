"""What a sound configuration gives, and what hostile or unusual YAML costs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.contract.config.fields import Labels
from probes.contract.config.loader import config_revision, parse_config
from probes.contract.config.source import Source
from probes.contract.errors import ConfigError, Problem

MAIN = """\
version: 1
relays:
  - &relay
    name: relay-a1
    host: relay-a1.example.net
    egress: [203.0.113.11, "2001:db8::11"]
    labels: &mx {pool: mx, zone: a}
  - <<: *relay
    name: relay-a2
    host: relay-a2.example.net
    egress: []
    labels: {<<: *mx, zone: b}
agents:
  - name: sfo
    sender: {address: sfo@monitor.example, helo: sfo.monitor.example, bounces: monitor/bounces}
"""
MONITOR = """\
name: monitor
mailboxes:
  - name: bounces
    address: bounces@monitor.example
    imap: {host: imap.monitor.example, user: bounces, secret: monitor/bounces}
"""
ACME = """\
name: acme
objective: {delivered: 99.5%, within: 1m30s}
mailboxes:
  - name: inbox
    address: canary@acme.example
    imap: {host: imap.acme.example, user: canary, secret: acme/imap}
canaries:
  - {relays: {pool: mx}, interval: 30s}
"""


def _labels(relay: int, *sources: Source) -> Labels:
    return parse_config(sources).relays[relay].labels


def test_main_and_customer_files_make_one_config() -> None:
    config = parse_config(
        [
            Source("customers.d/monitor.yaml", MONITOR, "customer"),
            Source("mailcanary.yaml", MAIN),
            Source("customers.d/acme.yaml", ACME, "customer"),
        ]
    )
    assert [customer.name for customer in config.customers] == ["monitor", "acme"]
    assert config.customers[1].objective.delivered == 0.995
    assert config.customers[1].objective.within == 90.0
    assert str(config.relays[0].egress[1]) == "2001:db8::11"


def test_merge_keys_give_what_the_mapping_does_not_say_itself() -> None:
    sources = (Source("m", MAIN), Source("c", MONITOR, "customer"))
    assert _labels(1, *sources) == {"pool": "mx", "zone": "b"}
    assert _labels(0, *sources) == {"pool": "mx", "zone": "a"}


def test_a_problem_in_merged_text_points_to_the_line_that_holds_it() -> None:
    text = MAIN.replace("    host: relay-a1", "    port: 0\n    host: relay-a1")
    with pytest.raises(ConfigError) as caught:
        parse_config([Source("m", text), Source("c", MONITOR, "customer")])
    where = [(problem.line, problem.path) for problem in caught.value.problems]
    assert where == [(5, "relays[0].port"), (5, "relays[1].port")]


@pytest.mark.parametrize("roles", [[], ["customer"], ["main", "main"]])
def test_exactly_one_main_file(roles: list[str]) -> None:
    texts = {"main": MAIN, "customer": MONITOR}
    sources = [
        Source(f"{role}-{index}", texts[role], "main" if role == "main" else "customer")
        for index, role in enumerate(roles)
    ]
    with pytest.raises(ConfigError, match="main files, allowed is exactly one"):
        parse_config(sources)


def test_an_unreadable_customer_file_makes_no_reference_dangle() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config([Source("m", MAIN), Source("c", MONITOR + "  bad", "customer")])
    assert [problem.file for problem in caught.value.problems] == ["c"]


def test_a_faulty_relay_hides_behind_no_label() -> None:
    text = MAIN.replace("    host: relay-a1.example.net\n", "").replace("zone: b", "zone: [b]")
    with pytest.raises(ConfigError) as caught:
        parse_config([Source("m", text), Source("c", MONITOR, "customer"), Source("a", ACME)][:2])
    assert [problem.path for problem in caught.value.problems] == [
        "relays[0]",
        "relays[1].labels.zone",
    ]


def test_a_budget_that_is_used_up_exactly_holds() -> None:
    text = MAIN.replace("    labels: &mx", "    max_per_minute: 3\n    labels: &mx")
    acme = ACME.replace("interval: 30s", "interval: 20s")
    sources = [Source("m", text), Source("c", MONITOR, "customer"), Source("a", acme, "customer")]
    assert parse_config(sources).relays[0].max_per_minute == 3


def test_revision_changes_with_the_meaning_only() -> None:
    one = parse_config([Source("m", MAIN), Source("c", MONITOR, "customer")])
    same = parse_config([Source("x", "# hello\n" + MAIN), Source("c", MONITOR, "customer")])
    text = MAIN.replace("zone: a", "zone: c")
    other = parse_config([Source("m", text), Source("c", MONITOR, "customer")])
    assert config_revision(one) == config_revision(same) != config_revision(other)
    assert len(config_revision(one)) == 12


def test_text_may_begin_with_a_version_directive_and_hold_quoted_words() -> None:
    text = "%YAML 1.1\n---\n" + MAIN.replace("zone: a", "zone: 'no'").replace(
        "zone: b", 'zone: "1"'
    )
    config = parse_config([Source("m", text), Source("c", MONITOR, "customer")])
    assert [relay.labels["zone"] for relay in config.relays] == ["no", "1"]


YAML_WORDS = (
    """version relays customers : - [ ] { } &a *a , !!int ' " 1 no << ? | > # % --- ... é"""
)
YAML_ALPHABET = st.sampled_from(
    [*YAML_WORDS.split(), "\n", " ", "  ", "\t", "\x00", ": ", "- "],
)


def _problems(*sources: Source) -> list[Problem] | None:
    """The problems of ``sources``; ``None`` for a sound configuration."""
    try:
        parse_config(sources)
    except ConfigError as error:
        return error.problems
    return None


@settings(deadline=None)
@given(st.lists(YAML_ALPHABET, max_size=40).map("".join))
def test_any_text_gives_a_config_or_problems(text: str) -> None:
    assert _problems(Source("m", text)) != []
    assert _problems(Source("m", MAIN), Source("c", text, "customer")) != []


@settings(deadline=None)
@given(
    st.integers(0, len(MAIN) - 1), st.sampled_from(["", ":", "]", "\n", " ", "[", "x", "&", "*"])
)
def test_one_changed_character_never_crashes_the_reader(at: int, put: str) -> None:
    text = MAIN[:at] + put + MAIN[at + 1 :]
    problems = _problems(Source("m", text), Source("c", MONITOR, "customer"))
    assert problems is None or {problem.file for problem in problems} <= {"m", "c"}
