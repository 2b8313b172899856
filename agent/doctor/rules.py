"""The rules that the policy lacks, as lines to put into it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from agent.policy.models import PolicyFile, endpoint

_PLAIN = re.compile(r"[a-z][a-z0-9._/-]*")
_FIRST_RULE = re.compile(r"^secrets:[ \t]*(?:#.*)?\n(?:[ \t]*(?:#.*)?\n)*( *)- ", re.MULTILINE)
_NO_TEXT = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
"""Words that YAML, or the one or the other reader of it, takes for something else than text."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A secret, and an endpoint of the configuration's that it may not be sent to yet.

    ``unverified`` where the configuration asks for no TLS, without which it would stay here all
    the same.
    """

    secret: str
    to: str
    unverified: bool = False


def lacking(
    policy: PolicyFile, secret: str, host: str, port: int, *, in_the_clear: bool
) -> Rule | None:
    """The rule that would let the secret go there; ``None`` when there is one."""
    where = endpoint(host, port)
    if any(rule.secret == secret and where in rule.to for rule in policy.secrets):
        return None
    return Rule(secret, where, unverified=in_the_clear)


def lines(rules: Iterable[Rule], indent: str = "  ") -> list[str]:
    """The rules as lines of the policy's list ``secrets``, one for each secret."""
    merged: dict[tuple[str, bool], dict[str, None]] = {}
    for rule in rules:
        merged.setdefault((rule.secret, rule.unverified), {})[rule.to] = None
    return [
        indent + _line(_text(secret), [f'"{to}"' for to in ends], unverified=unverified)
        for (secret, unverified), ends in merged.items()
    ]


def indentation(policy: str) -> str | None:
    """How the rules in a policy's text are indented; ``None`` where there is no list of lines."""
    found = _FIRST_RULE.search(policy)
    return None if found is None else found[1]


def _line(secret: str, ends: list[str], *, unverified: bool) -> str:
    more = ", unverified: true" if unverified else ""
    return f"- {{secret: {secret}, to: [{', '.join(ends)}]{more}}}"


def _text(name: str) -> str:
    return name if _PLAIN.fullmatch(name) and name not in _NO_TEXT else f'"{name}"'
