"""Lines for a policy: they read back as the rules that they stand for."""

import pytest

from agent.doctor.rules import Rule, indentation, lacking, lines
from agent.policy.load import parse_policy
from agent.policy.models import PolicyFile

HEAD = "version: 1\nkeys: {current: {id: k1, secret: signing-key}}\n"


def _policy(*rules: str) -> PolicyFile:
    return parse_policy("policy.yaml", "\n".join([HEAD, "secrets:", *rules, ""]))


@pytest.mark.parametrize("name", ["acme/imap", "relay-a1", "null", "on", "1", "2026-01-01", "1e3"])
@pytest.mark.parametrize("host", ["imap.acme.example", "192.0.2.1", "2001:db8::1"])
def test_the_lines_are_the_rules(name: str, host: str) -> None:
    empty = parse_policy("policy.yaml", HEAD)
    rule = lacking(empty, name, host, 993, in_the_clear=False)
    assert rule is not None
    assert lacking(_policy(*lines([rule])), name, host, 993, in_the_clear=False) is None


def test_one_line_for_each_secret_and_the_clear_apart() -> None:
    rules = [
        Rule("relays", "a1:25"),
        Rule("relays", "a2:25"),
        Rule("relays", "a2:25"),
        Rule("relays", "local:25", unverified=True),
    ]
    written = lines(rules, "")
    assert written == [
        '- {secret: relays, to: ["a1:25", "a2:25"]}',
        '- {secret: relays, to: ["local:25"], unverified: true}',
    ]
    first, second = _policy(*written).secrets
    assert (first.to, first.unverified) == (("a1:25", "a2:25"), False)
    assert (second.to, second.unverified) == (("local:25",), True)


def test_a_host_is_compared_as_the_policy_does() -> None:
    policy = _policy('  - {secret: a/b, to: ["IMAP.acme.example:993"]}')
    assert lacking(policy, "a/b", "imap.ACME.example", 993, in_the_clear=True) is None
    assert lacking(policy, "a/b", "imap.acme.example", 143, in_the_clear=True) is not None
    assert lacking(policy, "a/c", "imap.acme.example", 993, in_the_clear=True) is not None


@pytest.mark.parametrize(
    ("text", "indent"),
    [
        ("secrets:\n- {secret: a}\n", ""),
        ("version: 1\nsecrets:  # mine\n\n  # first\n  - {secret: a}\n", "  "),
        ("secrets:\n    - secret: a\n", "    "),
        ("secrets: []\n# secrets:\n#   - {secret: a}\n", None),
        ("secrets:\naddresses: {}\n", None),
        ("", None),
    ],
)
def test_lines_are_indented_like_those_there_are(text: str, indent: str | None) -> None:
    assert indentation(text) == indent
