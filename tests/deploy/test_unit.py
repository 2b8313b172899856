"""The systemd unit: accepted by systemd, hardened, and in step with the command that it starts."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from agent.app import _STOP_WITHIN_S
from probes.contract.units import parse_duration
from tests.deploy.unit import ROOT, UNIT, program, settings

ANALYZE = ("systemd-analyze", "systemd")

HARDENED = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "DynamicUser": "yes",
    "StateDirectory": "mailcanary",
    "StateDirectoryMode": "0700",
    "MemoryDenyWriteExecute": "yes",
    "SystemCallArchitectures": "native",
    "Restart": "on-failure",
    "RestartPreventExitStatus": "2",
}


def test_it_is_hardened_and_bounded() -> None:
    unit = settings()
    assert {key: unit[key] for key in HARDENED} == {key: [v] for key, v in HARDENED.items()}
    assert unit["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]
    assert unit["MemoryMax"]
    assert unit["LoadCredential"] == ["signing-key:/etc/mailcanary/secrets/signing-key"]


def test_what_the_agent_reads_is_not_hidden_from_it() -> None:
    assert "ProcSubset" not in settings()


def test_it_is_given_the_time_that_it_takes_to_stop() -> None:
    [timeout] = settings()["TimeoutStopSec"]
    assert parse_duration(timeout) > _STOP_WITHIN_S + 3


def test_the_command_line_is_one_that_the_agent_understands(tmp_path: Path) -> None:
    [line] = settings()["ExecStart"]
    command, *arguments = shlex.split(line.replace("${STATE_DIRECTORY}", str(tmp_path)))
    assert command == "/opt/mailcanary/bin/mailcanary"
    arguments = [text.replace("/etc/mailcanary", str(tmp_path)) for text in arguments]
    done = subprocess.run(
        [sys.executable, "-m", "mailcanary", *arguments],
        check=False, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    # Understood, and refused only for the configuration, which is not there.
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"{tmp_path}/mailcanary.yaml: found no such file")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with a program that is there."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/mailcanary/bin/mailcanary", "/bin/true"))
    return copy


def test_systemd_finds_nothing_wrong_with_it(installed: Path) -> None:
    command = [program(*ANALYZE), "verify", "--man=no", str(installed)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_it_little_exposed(installed: Path) -> None:
    command = [program(*ANALYZE), "security", "--offline=true", "--threshold=15", str(installed)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
