"""The collector's systemd unit: accepted by systemd, hardened, and in step with the collector."""

import json
import os
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from collector.web.server import ServerOptions
from probes.contract.units import parse_duration
from tests.collector.collectors import RunningCollector
from tests.collector.config.services import customer, site_files
from tests.deploy.syscalls import Trace, allowed
from tests.deploy.test_syscalls import systemd_sets, tracing
from tests.deploy.unit import COLLECTOR, ROOT, program, settings

ANALYZE = ("systemd-analyze", "systemd")
HARDENED = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "User": "mailcanary-collector",
    "StateDirectory": "mailcanary-collector",
    "StateDirectoryMode": "0700",
    "UMask": "0077",
    "MemoryDenyWriteExecute": "yes",
    "SystemCallArchitectures": "native",
    "Restart": "on-failure",
    "RestartPreventExitStatus": "2",
    "ExecReload": "kill -HUP $MAINPID",
    "ReadWritePaths": "-/etc/mailcanary-collector/customers.d",
}


def test_it_is_hardened_and_bounded() -> None:
    unit = settings(COLLECTOR)
    assert {key: unit[key] for key in HARDENED} == {key: [v] for key, v in HARDENED.items()}
    assert unit["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]
    assert unit["MemoryMax"]
    # The time of boot is in /proc/stat, and the metrics need it.
    assert "ProcSubset" not in unit


def test_it_is_given_the_time_that_it_takes_to_stop() -> None:
    [timeout] = settings(COLLECTOR)["TimeoutStopSec"]
    readers_s = 10.0
    assert parse_duration(timeout) > ServerOptions().shutdown_s + readers_s + 3


def test_the_command_line_is_one_that_the_collector_understands(tmp_path: Path) -> None:
    [line] = settings(COLLECTOR)["ExecStart"]
    command, *arguments = shlex.split(line.replace("${STATE_DIRECTORY}", str(tmp_path)))
    assert command == "/opt/mailcanary/bin/mailcanary"
    arguments = [text.replace("/etc/mailcanary-collector", str(tmp_path)) for text in arguments]
    done = subprocess.run(
        [sys.executable, "-m", "mailcanary", *arguments],
        check=False, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    # Understood, and refused only for the settings, which are not there.
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"{tmp_path}/collector.yaml: found no such file")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with a program that is there."""
    copy = tmp_path / COLLECTOR.name
    copy.write_text(COLLECTOR.read_text().replace("/opt/mailcanary/bin/mailcanary", "/bin/true"))
    return copy


def test_systemd_finds_nothing_wrong_with_it(installed: Path) -> None:
    command = [program(*ANALYZE), "verify", "--man=no", str(installed)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_it_little_exposed(installed: Path) -> None:
    command = [program(*ANALYZE), "security", "--offline=true", "--threshold=15", str(installed)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def _call(collector: RunningCollector, method: str, path: str, token: str, body: object) -> None:
    request = urllib.request.Request(  # noqa: S310 - loopback
        collector.url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            **({"If-None-Match": "*"} if method == "PUT" else {}),
        },
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        assert answer.read()


@pytest.mark.slow
def test_what_a_collector_does_is_allowed(tmp_path: Path) -> None:
    trace = tmp_path / "strace"
    collector = RunningCollector(tmp_path, site_files(tmp_path), tracing(trace))
    lines: list[str] = []
    for name in ("first", "second"):
        collector.start()
        try:
            token = collector.token("operator", name)
            _call(collector, "PUT", f"/api/v1/customers/{name}", token, customer(name))
            os.kill(collector.program.pid, signal.SIGHUP)
            for path in ("/metrics", "/api/v1/health"):
                _call(collector, "GET", path, token, None)
        finally:
            code = collector.program.stop()
        assert code == 0
        lines += trace.read_text().splitlines()
    found, unit = Trace.of(lines), settings(COLLECTOR)
    assert {"bind", "rename"} <= found.names, "the trace is not a collector's"
    assert found.names - allowed(unit["SystemCallFilter"], systemd_sets()) == set()
    assert found.families <= set(unit["RestrictAddressFamilies"][0].split())
    assert found.executable_writes() == []
