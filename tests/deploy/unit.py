"""The systemd units as the tests of them read them, and the programs that these tests need."""

import os
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from tests.servers.requirements import verdict

ROOT = Path(__file__).parents[2]
AGENT = ROOT / "deploy" / "mailcanary-agent.service"
COLLECTOR = ROOT / "deploy" / "mailcanary-collector.service"


def settings(unit: Path) -> dict[str, list[str]]:
    """Every setting of a unit with its values, continuation lines joined."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for line in unit.read_text().replace("\\\n", " ").splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found[key].append(value)
    return dict(found)


def demand(lacks: list[str]) -> None:
    """Skip the test when something is lacking, or fail it where nothing may be skipped."""
    decision, message = verdict(lacks, os.environ)
    if decision == "fail":
        pytest.fail(message, pytrace=False)
    if decision == "skip":
        pytest.skip(message)


def program(name: str, package: str) -> str:
    """The path of a program that the test needs, from that Debian package."""
    path = shutil.which(name)
    demand([] if path else [f"{name} (Debian package {package})"])
    return str(path)
