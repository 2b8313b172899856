"""docs/probe.md is held to the command: its options, and what a monitoring system would run."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

import mailcanary
from agent.cli.probe import NAGIOS_S, times
from agent.shot.thresholds import parse_range
from tests.agent.processes import ROOT

PAGE = (ROOT / "docs" / "probe.md").read_text()
COMMAND = mailcanary.load("probe")
CONFIG = str(ROOT / "examples" / "small.yaml")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def nagios_lines() -> Iterator[str]:
    """The commands of Nagios and NRPE, with the arguments of the services that use them."""
    text = "\n".join(blocks("nagios"))
    lines = dict(re.findall(r"command_name +(\S+)\s+command_line +(.*)", text))
    for use in re.findall(r"check_command +(.*)", text):
        name, *arguments = use.strip().split("!")
        line = lines.pop(name)
        for number, argument in enumerate(arguments, 1):
            line = line.replace(f"$ARG{number}$", argument)
        yield line
    # check_nrpe's own line names what the other side runs.
    assert list(lines) == ["check_mailcanary_nrpe"]
    yield from re.findall(r"^command\[check_mailcanary\]=(.*)", text, re.MULTILINE)


def icinga_lines() -> Iterator[str]:
    """The command of Icinga, once with the service's variables and once with all of them."""
    (text,) = blocks("icinga2")
    (listed,) = re.findall(r"command = \[(.*)\]", text)
    command = shlex.join(re.findall(r'"([^"]+)"', listed))
    keys = re.findall(r'"(--[a-z]+)" = .*?\$(\w+)\$', text)
    assert keys
    values = {"config": "x", "policy": CONFIG, "name": "sfo", "relays": "relay-a1"}
    values |= {"mailboxes": "acme/inbox", "wait": "20", "timeout": "30"}
    values |= {"warning": "10", "critical": "15"}
    every = [f"{key} {values[name.removeprefix('mailcanary_')]}" for key, name in keys]
    yield " ".join([command, *every])
    # A service sets no variable that the command has not.
    known = {name for _, name in keys}
    assert set(re.findall(r"vars\.(mailcanary_\w+) = ", text)) <= known


def mrpe_lines() -> Iterator[str]:
    """The command of Checkmk, as its agent takes a line apart."""
    for text in blocks("mrpe"):
        for line in text.splitlines():
            found = re.fullmatch(r"\S+ (?:\(interval=\d+\) )?(.*)", line)
            assert found is not None
            # The agent puts it into quotes of this sort itself.
            assert "'" not in line
            yield found[1]


LINES = [*nagios_lines(), *icinga_lines(), *mrpe_lines()]


def parse(line: str) -> dict[str, Any]:
    """What the command makes of a command line; raises where it would refuse it."""
    before, _, after = line.partition("mailcanary probe ")
    assert before.endswith("/"), line
    arguments = shlex.split(after)
    arguments[arguments.index("--config") + 1] = CONFIG
    with COMMAND.make_context("probe", arguments) as context:
        return context.params


def test_all_systems_are_there() -> None:
    assert len(LINES) == 4


@pytest.mark.parametrize("line", LINES)
def test_every_definition_s_command_line_is_taken(line: str) -> None:
    params = parse(line)
    assert params["nagios"] is True
    limits = times(params["wait"], params["timeout"], nagios=True)
    assert limits.limit_s is not None
    assert limits.limit_s <= NAGIOS_S
    for option in ("warning", "critical"):
        threshold = parse_range(params[option])
        # A canary that is not seen must become critical before the wait is over.
        assert threshold.end_s < limits.wait(60.0)


def test_every_option_is_in_the_table_and_no_other() -> None:
    first_cells = " ".join(re.findall(r"^\| (`-.*?) \|", PAGE, re.MULTILINE))
    told = set(re.findall(r"`(--?[a-zA-Z]+)`", first_cells))
    real = {name for param in COMMAND.params for name in param.opts if name.startswith("-")}
    assert told == real | {"--help", "-h"}


def test_the_synopsis_has_every_long_option() -> None:
    synopsis = PAGE.partition("```\n")[2].partition("```")[0]
    told = set(re.findall(r"--[a-z]+", synopsis))
    real = {name for param in COMMAND.params for name in param.opts if name.startswith("--")}
    assert told == real - {"--version"}
