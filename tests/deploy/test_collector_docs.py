"""The commands that the pages tell are commands that there are, with their options."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import mailcanary
from tests.deploy.unit import ROOT

PAGES = ("README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")))
_SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)
_INLINE = re.compile(r"`(mailcanary [^`\[]+)`")
_PROGRAM = re.compile(r"(?:^|[ /])mailcanary (?P<rest>[a-z].*)")


def told(page: Path) -> list[str]:
    """What a page has one type after ``mailcanary``, comments and redirections taken off."""
    text = page.read_text(encoding="utf-8")
    lines = [
        line for block in _SHELL.findall(text) for line in block.replace("\\\n", " ").splitlines()
    ] + [" ".join(found.split()) for found in _INLINE.findall(text)]
    found = (_PROGRAM.search(line.partition(" #")[0]) for line in lines)
    return [re.split(r" [>&|]", match["rest"])[0] for match in found if match]


COMMANDS = [(page, line) for page in PAGES for line in told(ROOT / page)]


def _options(command: Any) -> set[str]:
    return {name for param in command.params for name in (*param.opts, *param.secondary_opts)}


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_a_command_of_the_docs_is_one(page: str, line: str) -> None:
    name, *words = shlex.split(line)
    assert name in mailcanary.COMMANDS, f"{page}: mailcanary {line}"
    command: Any = mailcanary.load(name)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, f"{page}: mailcanary {line}"
        command = command.commands[words.pop(0)]
    unknown = {word for word in words if word.startswith("--")} - _options(command)
    assert unknown == set(), f"{page}: mailcanary {line}"


def test_the_pages_tell_commands() -> None:
    names = ("agent", "collector", "deploy", "probe", "rollups", "run", "shipping")
    assert {page for page, _ in COMMANDS} > {"README.md", *(f"docs/{name}.md" for name in names)}
    assert any(line.startswith("log backup") for _, line in COMMANDS)
