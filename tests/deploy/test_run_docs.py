"""The options of what runs an agent stand in the docs, all of them and no others, with defaults."""

import re
from typing import Any

import pytest

import mailcanary
from tests.deploy.unit import ROOT

_ROW = re.compile(r"^\| (?P<options>`--[^|]*) \| (?P<text>[^|]*) \|$", re.MULTILINE)
_UNSAID = {"--help", "-h"}
_UNITS = {"--max-unread-s": " seconds"}


def params(command: str) -> dict[str, Any]:
    """The parameters of a command by their option."""
    loaded: Any = mailcanary.load(command)
    return {param.opts[0]: param for param in loaded.params if param.opts[0] not in _UNSAID}


def rows(page: str) -> dict[str, str]:
    """The options of a page's tables, and what is said of each."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return {
        option: match["text"]
        for match in _ROW.finditer(text)
        for option in re.findall(r"`(--[a-z-]+)`", match["options"])
    }


def test_the_page_has_all_options_of_run_and_no_other() -> None:
    assert rows("run.md").keys() == params("run").keys()


def test_the_pages_have_all_options_of_an_agent_and_no_other() -> None:
    assert rows("agent.md").keys() | rows("shipping.md").keys() == params("agent").keys()


@pytest.mark.parametrize(("command", "page"), [("run", "run.md"), ("agent", "agent.md")])
def test_the_defaults_are_those_of_the_command(command: str, page: str) -> None:
    known = params(command)
    for option, text in rows(page).items():
        default = getattr(known[option].default, "value", known[option].default)
        if "above" in text or option == "--config":
            continue
        _, _, said = text.rpartition("; ")
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        if default is not None:
            assert said.strip("`") == shown + _UNITS.get(option, ""), option


def test_the_caps_of_the_page_are_the_commands_defaults() -> None:
    """The table of caps says how many; an option without a default follows from the relays."""
    text = (ROOT / "docs" / "agent.md").read_text(encoding="utf-8")
    for option, param in params("agent").items():
        if option.startswith("--max-") and param.default is not None:
            (row,) = re.findall(rf"^ *\| (.*) \| `{option}` \|", text, re.MULTILINE)
            assert f"{param.default:,.0f} " in row, option


def test_run_says_of_what_an_agent_has_besides_why_it_has_not() -> None:
    text = (ROOT / "docs" / "run.md").read_text(encoding="utf-8")
    missing = params("agent").keys() - params("run").keys()
    assert missing == {"--collector", "--token-file", "--ca-file", "--events"}
    assert [option for option in missing if f"`{option}`" not in text] == []
    assert "](docs/run.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
