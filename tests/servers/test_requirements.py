"""A machine without the servers skips their tests and says why; CI fails in place of skipping."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.requirements import REQUIRE_VARIABLE, missing_requirements, verdict

ROOT = Path(__file__).parents[2]


def find_all(program: str) -> str | None:
    return f"/usr/sbin/{program}"


def no_error() -> str | None:
    return None


def never_asked() -> str | None:
    raise AssertionError("namespaces were tried though something else is missing")


def test_a_machine_with_everything_lacks_nothing() -> None:
    assert missing_requirements(0, find_all, no_error) == []


def test_every_lack_is_named_with_its_package() -> None:
    lacks = missing_requirements(1000, lambda _: None, never_asked)
    assert lacks == [
        "root (this is uid 1000)",
        "postfix (Debian package postfix)",
        "postqueue (Debian package postfix)",
        "dovecot (Debian package dovecot-imapd)",
        "nft (Debian package nftables)",
        "ip (Debian package iproute2)",
        "/usr/lib/dovecot/lmtp (Debian package dovecot-lmtpd)",
    ]


def test_root_in_a_container_without_the_right_to_make_namespaces() -> None:
    lacks = missing_requirements(0, find_all, lambda: "Operation not permitted")
    assert lacks == ["network namespaces (Operation not permitted)"]


def test_nothing_missing_runs() -> None:
    assert verdict([], {REQUIRE_VARIABLE: "1"}) == ("run", "")


@pytest.mark.parametrize("environment", [{}, {REQUIRE_VARIABLE: ""}, {REQUIRE_VARIABLE: "0"}])
def test_something_missing_skips_with_what(environment: dict[str, str]) -> None:
    assert verdict(["nft", "ip"], environment) == ("skip", "needs nft, ip")


def test_something_missing_fails_where_servers_are_required() -> None:
    decision, message = verdict(["nft"], {REQUIRE_VARIABLE: "1"})
    assert decision == "fail"
    assert "needs nft" in message


CONFTEST = """
import tests.conftest
from tests.conftest import pytest_runtest_setup

tests.conftest.machine_lacks = lambda: ("a server",)
"""

TESTS = """
import pytest

@pytest.mark.servers
def test_on_servers():
    raise AssertionError("ran without its server")

def test_of_another_kind():
    pass
"""


def run_marked_test(directory: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run a marked and an unmarked test in a pytest of their own, on a machine lacking a server."""
    (directory / "pytest.ini").write_text("[pytest]\nmarkers =\n    servers: needs servers\n")
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_marked.py").write_text(TESTS)
    inherited = {name: value for name, value in os.environ.items() if name != REQUIRE_VARIABLE}
    inherited.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider"],
        cwd=directory,
        env=inherited | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_the_marker_skips(tmp_path: Path) -> None:
    status, output = run_marked_test(tmp_path, {})
    assert status == pytest.ExitCode.OK, output
    assert "1 passed, 1 skipped" in output
    assert "needs a server" in output


def test_the_marker_fails_where_servers_are_required(tmp_path: Path) -> None:
    status, output = run_marked_test(tmp_path, {REQUIRE_VARIABLE: "1"})
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "1 passed, 1 error" in output
    assert "needs a server" in output
