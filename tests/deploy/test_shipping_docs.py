"""The page about shipping says of failures what the agent does; its drop-in is a good one."""

import os
import re
import shlex
import ssl
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from agent.shipper.failures import _BY_STATUS, Fate, fate_of, of_error
from tests.deploy.unit import AGENT, ROOT, program

PAGE = (ROOT / "docs" / "shipping.md").read_text(encoding="utf-8")
DEPLOY = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| (?P<answer>[^|]+) \| `(?P<fate>[a-z]+)` \|$", re.MULTILINE)
ROWS = {match["answer"]: Fate(match["fate"]) for match in _ROW.finditer(PAGE)}


def test_the_statuses_of_the_page_are_those_of_the_agent() -> None:
    told = {
        int(status): fate
        for answer, fate in ROWS.items()
        if answer[0].isdigit()
        for status in answer.split(", ")
    }
    assert told == _BY_STATUS


def test_all_other_statuses_are_told_too() -> None:
    others = set(range(300, 600)) - _BY_STATUS.keys()
    assert {fate_of(status) for status in others if status < 500} == {ROWS["other below 500"]}
    assert {fate_of(status) for status in others if status >= 500} == {ROWS["other from 500 on"]}


def test_the_errors_of_the_page_are_those_of_the_agent() -> None:
    errors = (
        ConnectionRefusedError(),
        TimeoutError(),
        aiohttp.ClientPayloadError(),
        ssl.SSLCertVerificationError(),
        aiohttp.InvalidURL("http://"),
    )
    failures = [of_error(error) for error in errors]
    told = {
        match[1]: fate
        for answer, fate in ROWS.items()
        if (match := re.search(r"\(`(.*)`\)", answer))
    }
    assert told == {failure.kind: failure.fate for failure in failures if failure is not None}


@pytest.fixture
def drop_in() -> str:
    """What the page about deploying has one write for an agent of a collector."""
    [found] = [text for text in re.findall(r"```ini\n(.*?)```", DEPLOY, re.DOTALL) if "%d" in text]
    return str(found)


def test_the_agent_understands_the_command_line_of_the_drop_in(
    tmp_path: Path, drop_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = drop_in.replace("\\\n", " ").split("ExecStart=\nExecStart=")[1].splitlines()[0]
    credential = re.search(r"LoadCredential=(\w+):", drop_in)
    assert credential is not None
    assert f"%d/{credential[1]}" in line
    for found, put in (
        ("${STATE_DIRECTORY}", tmp_path),
        ("%d", tmp_path),
        ("/etc/mailcanary", tmp_path),
    ):
        line = line.replace(found, str(put))
    monkeypatch.setenv("MAILCANARY_AGENT", "sfo")
    _, *arguments = shlex.split(line)
    done = subprocess.run(
        [sys.executable, "-m", "mailcanary", *arguments],
        check=False, capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "COLUMNS": "1000"},
    )  # fmt: skip
    # Understood, and refused only for the policy, which is not there.
    assert done.returncode == 2, done.stderr
    assert f"value for --policy: found {tmp_path}/policy.yaml: no such file" in done.stderr


def test_systemd_finds_nothing_wrong_with_the_drop_in(tmp_path: Path, drop_in: str) -> None:
    for file, text in (
        (tmp_path / AGENT.name, AGENT.read_text(encoding="utf-8")),
        (tmp_path / f"{AGENT.name}.d" / "override.conf", drop_in),
    ):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text.replace("/opt/mailcanary/bin/mailcanary", "/bin/true"))
    command = [
        program("systemd-analyze", "systemd"), "verify", "--man=no", str(tmp_path / AGENT.name)
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
