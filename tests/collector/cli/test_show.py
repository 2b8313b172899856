"""``mailcanary show`` against a real server."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.collector.rollup.histories import PATHS, canary_id
from tests.collector.web.test_series import serving


@asynccontextmanager
async def collector(directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    async with serving(directory) as client:
        monkeypatch.setenv("MAILCANARY_COLLECTOR", str(client._base_url))
        monkeypatch.setenv("MAILCANARY_TOKEN", "operator-ann")
        monkeypatch.setenv("COLUMNS", "200")
        yield


async def run(*arguments: str) -> tuple[int, str, str]:
    """The command in a process of its own: its output must not mix with the server's."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import mailcanary; mailcanary.main()",
        "show",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("path", str(PATHS[0])), 2),
        (("relay", "relay-a"), 3),
        (("customer", "zenith"), 1),
    ],
)
async def test_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, str], count: int
) -> None:
    async with collector(tmp_path, monkeypatch):
        code, out, _ = await run(*words, "--json")
        assert code == 0
        answer = json.loads(out)
        assert [point["figures"]["canaries"] for point in answer["points"]] == [count]
        code, out, _ = await run(*words, "--last", "7d")
        assert code == 0
        assert "2025-10-09 00:00:00" in out
        assert "delivered" in out


async def test_a_canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(tmp_path, monkeypatch):
        code, out, _ = await run("canary", canary_id(2))
        assert code == 0
        assert "lost, transit" in out
        assert "result: accepted" in out
        assert "relay:provider=aws" in out
        code, out, _ = await run("canary", canary_id(2), "--json")
        assert json.loads(out)["canary"]["verdict"]["outcome"] == "lost"


async def test_what_cannot_be_had_is_said_and_the_token_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with collector(tmp_path, monkeypatch):
        for words in (("canary", "nothing"), ("relay", "none", "--json")):
            code, _, err = await run(*words)
            assert code == (1 if words[0] == "canary" else 0)
            assert "operator-ann" not in err
        code, out, _ = await run("relay", "none")
        assert (code, out) == (0, "no canaries of relay none\n")
        assert (await run("relay", "relay-a", "--last", "soon"))[0] == 2
        token = tmp_path / "token"
        token.write_text("customer-zenith\n")
        code, _, err = await run("canary", canary_id(2), "--token-file", str(token))
        assert code == 1
        assert "zenith" not in err
        monkeypatch.setenv("MAILCANARY_TOKEN", "")
        code, _, err = await run("relay", "relay-a")
        assert (code, "found no token" in err) == (1, True)
    monkeypatch.setenv("MAILCANARY_TOKEN", "operator-ann")
    code, _, err = await run("relay", "relay-a")
    assert code == 1
    assert "Cannot connect" in err
