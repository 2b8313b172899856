"""``mailcanary collector`` as its user starts it: signals, restarts, errors."""

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import trustme

from tests.collector.collectors import RunningCollector
from tests.collector.config.services import customer, site_files, write_yaml
from tests.servers.process import environment
from tests.servers.program import MAILCANARY


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[RunningCollector]:
    found = RunningCollector(tmp_path, site_files(tmp_path))
    found.start()
    yield found
    if found.program.is_running():
        found.program.kill()


def _get(collector: RunningCollector, path: str, token: str) -> Any:
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(collector.url + path, headers=headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)


def _customers(collector: RunningCollector, token: str) -> list[str]:
    names: list[str] = _get(collector, "/api/v1/customers", token)["customers"]
    return names


def test_it_serves_and_stops_in_order(collector: RunningCollector) -> None:
    token = collector.token("operator", "ann")
    assert _customers(collector, token) == ["acme", "globex"]
    assert collector.program.stop() == 0
    assert token not in collector.log.read_text()


def test_sighup_and_changed_files_are_seen(collector: RunningCollector, tmp_path: Path) -> None:
    token = collector.token("operator", "ann")
    write_yaml(tmp_path / "etc" / "customers.d" / "new.yaml", customer("new"))
    os.kill(collector.program.pid, signal.SIGHUP)
    collector.program.wait_for(lambda: "new" in _customers(collector, token), "the new customer")
    write_yaml(tmp_path / "etc" / "customers.d" / "next.yaml", customer("next"))
    collector.program.wait_for(lambda: "next" in _customers(collector, token), "the next one")


def _starting(directory: Path) -> tuple[RunningCollector, IO[str]]:
    """A collector that starts, and waits for its settings to be written to what is given."""
    settings = directory / "collector.yaml"
    os.mkfifo(settings)
    collector = RunningCollector(directory, site_files(directory), settings=settings)
    collector.program.start()
    return collector, settings.open("w")


def test_a_sighup_while_it_starts_is_answered_once_it_serves(tmp_path: Path) -> None:
    collector, settings = _starting(tmp_path)
    with settings:
        os.kill(collector.program.pid, signal.SIGHUP)
        settings.write("version: 1\n")
    try:
        collector.program.wait_for(
            lambda: "SIGHUP: reading the configuration" in collector.log.read_text(), "it is read"
        )
    finally:
        code = collector.program.stop()
    assert code == 0
    assert "Traceback" not in collector.log.read_text()


def test_a_sigterm_while_it_starts_stops_it_in_order(tmp_path: Path) -> None:
    collector, settings = _starting(tmp_path)
    with settings:
        assert collector.program.stop() == 0
    assert collector.log.read_text() == ""


def test_it_goes_on_after_kill_9_with_what_it_knew(
    collector: RunningCollector, tmp_path: Path
) -> None:
    token = collector.token("operator", "ann")
    revision = _get(collector, "/api/v1/health", token)["parts"]["config"]["detail"]["revision"]
    collector.program.kill()
    (tmp_path / "etc" / "mailcanary.yaml").write_text("version: [")
    collector.start()
    health = _get(collector, "/api/v1/health", token)
    assert health["status"] == "degraded"
    assert health["parts"]["config"]["detail"]["revision"] == revision
    assert "mailcanary.yaml:2" in health["parts"]["config"]["problems"][0]


def test_a_certificate_that_does_not_fit_leaves_the_one_in_use(tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("127.0.0.1")
    key, chain = tmp_path / "key.pem", tmp_path / "cert.pem"
    certificate.private_key_pem.write_to_path(key)
    certificate.cert_chain_pems[0].write_to_path(chain)
    settings = tmp_path / "collector.yaml"
    settings.write_text(f"version: 1\ntls: {{cert: {chain}, key: {key}}}\n")
    collector = RunningCollector(tmp_path, site_files(tmp_path), settings=settings)
    collector.start()
    try:
        chain.unlink()
        os.kill(collector.program.pid, signal.SIGHUP)
        collector.program.wait_for(
            lambda: "the certificate in use stays" in collector.log.read_text(), "it is told"
        )
    finally:
        code = collector.program.stop()
    assert code == 0
    assert f"tls: {chain}: found no such file" in collector.log.read_text()
    assert "Traceback" not in collector.log.read_text()


def test_what_it_keeps_is_for_its_owner_alone(collector: RunningCollector) -> None:
    assert collector.state.stat().st_mode & 0o777 == 0o700


def test_a_second_collector_on_the_same_state_says_who_has_it(collector: RunningCollector) -> None:
    done = subprocess.run(
        [*MAILCANARY, "collector", "--config", str(collector.main), "--state",
         str(collector.state)],
        capture_output=True, text=True, check=False, env=environment(), timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert str(collector.program.pid) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--listen", "here"], "allowed is ADDRESS:PORT"),
        (["--settings", "/nonexistent.yaml"], "no such file"),
        (["--log-level", "loud"], "found 'loud'"),
    ],
)
def test_wrong_options_are_said_in_one_line(options: list[str], text: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*MAILCANARY, "collector", "--state", str(tmp_path), *options],
        capture_output=True, text=True, check=False, env=environment(), timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert text in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_bad_configuration_is_told_as_check_tells_it(tmp_path: Path) -> None:
    main = site_files(tmp_path)
    main.write_text("version: 1\ntiger: 1\nlion: 2\n")
    done = subprocess.run(
        [*MAILCANARY, "collector", "--config", str(main), "--state", str(tmp_path / "state")],
        capture_output=True, text=True, check=False, env=environment(), timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "stays" not in done.stderr
    assert f"{main}:2: tiger" in done.stderr
    assert f"{main}:3: lion" in done.stderr


def test_a_port_that_is_taken_is_said(collector: RunningCollector, tmp_path: Path) -> None:
    listen = collector.url.removeprefix("http://")
    done = subprocess.run(
        [*MAILCANARY, "collector", "--config", str(collector.main), "--state",
         str(tmp_path / "other"), "--listen", listen],
        capture_output=True, text=True, check=False, env=environment(), timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert listen in done.stderr
    assert "Traceback" not in done.stderr
