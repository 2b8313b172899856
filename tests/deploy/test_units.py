"""The systemd units: accepted by systemd, hardened, and in step with the commands they start."""

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.app import _STOP_WITHIN_S
from collector.web.server import ServerOptions
from probes.contract.units import parse_duration
from tests.deploy.unit import AGENT, COLLECTOR, ROOT, program, settings

ANALYZE = ("systemd-analyze", "systemd")

HARDENED = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "StateDirectoryMode": "0700",
    "MemoryDenyWriteExecute": "yes",
    "SystemCallArchitectures": "native",
    "Restart": "on-failure",
    "RestartPreventExitStatus": "2",
}

_READERS_S = 10.0
"""What the collector's readers of the log get on top of its server's time."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit, and what is its own."""

    file: Path
    own: dict[str, str]
    """Settings that the other one has not."""
    stops_within_s: float
    """What the program takes to stop, at the most."""
    etc: str
    """The directory of its configuration, and the file there without which it refuses to run."""
    wanted: str


UNITS = [
    Unit(
        AGENT,
        {
            "DynamicUser": "yes",
            "StateDirectory": "mailcanary",
            "LoadCredential": "signing-key:/etc/mailcanary/secrets/signing-key",
        },
        _STOP_WITHIN_S,
        "/etc/mailcanary",
        "mailcanary.yaml",
    ),
    Unit(
        COLLECTOR,
        {
            "User": "mailcanary-collector",
            "StateDirectory": "mailcanary-collector",
            "UMask": "0077",
            "ExecReload": "kill -HUP $MAINPID",
            "RestartForceExitStatus": "SIGHUP",
            # It ends the rollup's process itself, in order; only what is left is killed.
            "KillMode": "mixed",
            "ReadWritePaths": "-/etc/mailcanary-collector/customers.d",
        },
        ServerOptions().shutdown_s + _READERS_S,
        "/etc/mailcanary-collector",
        "collector.yaml",
    ),
]


@pytest.fixture(params=UNITS, ids=lambda unit: unit.file.stem)
def unit(request: pytest.FixtureRequest) -> Unit:
    """Each of the units."""
    found = request.param
    assert isinstance(found, Unit)
    return found


def test_it_is_hardened_and_bounded(unit: Unit) -> None:
    found, told = settings(unit.file), HARDENED | unit.own
    assert {key: found[key] for key in told} == {key: [value] for key, value in told.items()}
    assert found["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]
    assert found["MemoryMax"]


def test_what_it_reads_is_not_hidden_from_it(unit: Unit) -> None:
    # The agent reads the boot's id below /proc/sys, the collector its time in /proc/stat.
    assert "ProcSubset" not in settings(unit.file)


def test_it_is_given_the_time_that_it_takes_to_stop(unit: Unit) -> None:
    [timeout] = settings(unit.file)["TimeoutStopSec"]
    assert parse_duration(timeout) > unit.stops_within_s + 3


def test_the_command_line_is_understood(unit: Unit, tmp_path: Path) -> None:
    [line] = settings(unit.file)["ExecStart"]
    command, *arguments = shlex.split(line.replace("${STATE_DIRECTORY}", str(tmp_path)))
    assert command == "/opt/mailcanary/bin/mailcanary"
    arguments = [text.replace(unit.etc, str(tmp_path)) for text in arguments]
    done = subprocess.run(
        [sys.executable, "-m", "mailcanary", *arguments],
        check=False, capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "COLUMNS": "1000"},
    )  # fmt: skip
    # Understood, and refused only for the file that is not there.
    assert done.returncode == 2, done.stderr
    assert f"{tmp_path}/{unit.wanted}: " in done.stderr
    assert "no such file" in done.stderr


@pytest.fixture
def installed(unit: Unit, tmp_path: Path) -> Path:
    """The unit with a program that is there."""
    copy = tmp_path / unit.file.name
    copy.write_text(unit.file.read_text().replace("/opt/mailcanary/bin/mailcanary", "/bin/true"))
    return copy


def test_systemd_finds_nothing_wrong_with_it(installed: Path) -> None:
    command = [program(*ANALYZE), "verify", "--man=no", str(installed)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_it_little_exposed(installed: Path) -> None:
    command = [program(*ANALYZE), "security", "--offline=true", "--threshold=15", str(installed)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
