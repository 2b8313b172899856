"""``mailcanary token``, beside a collector that runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from collector.control.principal import Kind, Principal
from collector.control.tokens import FRESH_S, Tokens
from tests.collector.control.stores import HandClock, control_store


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mailcanary", "token", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


async def test_made_listed_and_revoked_while_the_collector_runs(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path))
    clock = HandClock()
    async with control_store(tmp_path) as store:
        tokens = Tokens(store, clock.wall_ns, clock.monotonic)
        made = _run("create", "--kind", "agent", "--name", "sfo", *state)
        assert (made.returncode, made.stdout.count("\n")) == (0, 1)
        text = made.stdout.strip()
        who = await tokens.verify(text)
        assert who is not None
        assert who == Principal(Kind.AGENT, "sfo", who.token_id)
        assert text not in made.stderr

        listed = _run("list", "--json", *state)
        [info] = json.loads(listed.stdout)
        assert (info["id"], info["kind"], info["name"]) == (who.token_id, "agent", "sfo")
        assert text[-43:] not in listed.stdout

        revoked = _run("revoke", who.token_id, *state)
        assert "revoked" in revoked.stdout
        clock.advance(FRESH_S)
        assert await tokens.verify(text) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "--kind", "agent", "--name", "No"), "found the name 'No'"),
        (("create", "--kind", "agent", "--name", "a", "--expires", "soon"), "found 'soon'"),
        (("create", "--kind", "king", "--name", "a"), "king"),
        (("list",), "found no control.sqlite3, allowed is a collector's state directory"),
        (("revoke", "nope"), "found no control.sqlite3"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = _run(*arguments, "--state", str(tmp_path))
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_id_that_is_none_is_told(tmp_path: Path) -> None:
    _run("create", "--kind", "operator", "--name", "ann", "--state", str(tmp_path))
    done = _run("revoke", "nope", "--state", str(tmp_path))
    assert done.returncode == 2
    assert "found no token with the id 'nope'" in done.stderr


def test_a_misspelt_directory_is_not_made(tmp_path: Path) -> None:
    assert _run("list", "--state", str(tmp_path / "misspelt")).returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_an_expiry_is_kept_and_shown(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path))
    made = _run(
        "create", "--kind", "operator", "--name", "ann", "--expires", "90d", "--json", *state
    )
    info = json.loads(made.stdout)
    assert info["expires_ns"] - info["created_ns"] == 90 * 86400 * 10**9
    assert "good until" in _run("list", *state).stdout
