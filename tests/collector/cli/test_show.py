"""``mailcanary show`` against a real server."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from collector.rollup.reader import RollupReader
from collector.web.series import ROLLUP
from probes.contract.events import Event
from probes.contract.names import Path as MailPath
from tests.collector.memory_log import MemoryLog
from tests.collector.rollup.histories import PATHS, canary_id, intent, tick
from tests.collector.rollup.recount import rolled_up
from tests.collector.web.looking import looking
from tests.collector.web.rollups import serving
from tests.collector.web.servers import started


@asynccontextmanager
async def collector(
    directory: Path, monkeypatch: pytest.MonkeyPatch, events: Sequence[Event] = ()
) -> AsyncIterator[None]:
    """A collector that the command asks, with three canaries unless there are ``events``."""
    if events:
        log = MemoryLog(rolled_up(directory, events))
        served = started({ROLLUP: RollupReader(directory, log)})
    else:
        served = serving(directory)
    async with served as client:
        monkeypatch.setenv("MAILCANARY_COLLECTOR", str(client._base_url))
        monkeypatch.setenv("MAILCANARY_TOKEN", "operator-ann")
        monkeypatch.setenv("COLUMNS", "80")
        yield


async def run(*arguments: str, stdout: int = asyncio.subprocess.PIPE) -> tuple[int, str, str]:
    """The command in a process of its own: its output must not mix with the server's."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import mailcanary; mailcanary.main()",
        "show",
        *arguments,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, (out or b"").decode(), err.decode()


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
        assert f"{words[0]} {words[1]}, from 2025-10-09 00:00 UTC\n" in out
        assert "\n2025-10-09 " in out
        assert "delivered" in out
        assert max(map(len, out.splitlines())) <= 80


async def test_a_canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(tmp_path, monkeypatch):
        code, out, _ = await run("canary", canary_id(2))
        assert code == 0
        assert "lost, transit" in out
        assert "result: accepted" in out
        assert "relay:provider=aws" in out
        code, out, _ = await run("canary", canary_id(2), "--json")
        assert json.loads(out)["canary"]["verdict"]["outcome"] == "lost"


@pytest.mark.parametrize("columns", ["80", "120"])
async def test_without_a_name_those_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    async with collector(tmp_path, monkeypatch):
        monkeypatch.setenv("COLUMNS", columns)
        code, out, _ = await run("customer")
        assert code == 0
        rows = [line.split() for line in out.splitlines()[3:]]
        assert [row[:4] for row in rows] == [
            ["acme", "2", "50.0", "%"],
            ["zenith", "1", "100.0", "%"],
        ]
        assert max(map(len, out.splitlines())) <= int(columns)
        monkeypatch.setenv("MAILCANARY_TOKEN", "customer-zenith")
        code, out, _ = await run("relay", "--json", "--last", "30d")
        assert [it["key"] for it in json.loads(out)] == ["relay-a"]
        assert json.loads(out)[0]["points"][0]["figures"]["canaries"] == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("relay", "relay-b"),
            "found relay 'relay-b', of which there never was a canary; allowed is relay-a\n",
        ),
        (
            ("customer", "acm", "--json"),
            "found customer 'acm', of which there never was a canary; allowed is acme, zenith\n",
        ),
        (
            ("path", "sfo|relay-a|acme/other"),
            (
                "found path 'sfo|relay-a|acme/other', of which there never was a canary; "
                f"allowed is {PATHS[0]}, {PATHS[1]}\n"
            ),
        ),
        (
            ("canary", "nothing"),
            (
                "found canary 'nothing', allowed is the id of one that the collector knows, "
                "as its events name it\n"
            ),
        ),
    ],
)
async def test_a_name_that_is_not_known_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    async with collector(tmp_path, monkeypatch):
        assert await run(*words) == (1, "", told)


async def test_a_known_name_without_canaries_lately_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with collector(tmp_path, monkeypatch, [intent(1), tick(7300)]):
        code, out, _ = await run("relay", "relay-a")
        assert (code, out) == (0, "no canaries of relay relay-a in the last 1h\n")


async def test_of_many_names_the_near_ones_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than one page of paths.
    relays = [MailPath("sfo", f"node{n:04}", "acme/inbox") for n in range(1001)]
    sent = [intent(n, relay) for n, relay in enumerate(relays, 1)]
    async with collector(tmp_path, monkeypatch, [*sent, tick(30)]):
        code, out, err = await run("relay", "node1000x")
        assert (code, out) == (1, "")
        assert "allowed is node1000, " in err
        assert err.count("node") == 1 + 8
        assert err.endswith(" or another of 1001, as `mailcanary show relay` lists them\n")


async def test_before_the_first_canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(tmp_path, monkeypatch, [tick(30)]):
        assert await run("relay") == (0, "no relays: no canary has been sent yet\n", "")
        code, _, err = await run("relay", "relay-a")
        assert code == 1
        assert err.endswith("allowed is none yet: no canary has been sent\n")


@pytest.mark.parametrize("words", [("path",), ("path", "sfo")])
async def test_a_path_has_to_be_a_whole_one(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("MAILCANARY_COLLECTOR", "http://127.0.0.1:1")
    code, _, err = await run(*words)
    assert code == 2
    found = "no path" if len(words) == 1 else "'sfo'"
    assert f"found {found}, allowed is 'AGENT|RELAY|CUSTOMER/MAILBOX' in quotes" in err


async def test_a_terminal_gets_no_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    async with collector(tmp_path, monkeypatch):
        ours, theirs = os.openpty()
        try:
            code, _, _ = await run("relay", "relay-a", stdout=theirs)
            out = os.read(ours, 1 << 16).decode()
        finally:
            os.close(ours)
            os.close(theirs)
    assert code == 0
    assert "delivered" in out
    assert "\x1b" not in out


async def test_what_cannot_be_had_is_said_and_the_token_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with collector(tmp_path, monkeypatch):
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
    assert "operator-ann" not in err


async def test_checks_a_queue_and_a_canary_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with looking(tmp_path) as client:
        monkeypatch.setenv("MAILCANARY_COLLECTOR", str(client._base_url))
        monkeypatch.setenv("MAILCANARY_TOKEN", "operator-ann")
        monkeypatch.setenv("COLUMNS", "200")
        code, out, err = await run("checks")
        assert (code, err) == (0, "")
        assert "bad    relay-a  egress to bigmail at mx1.bigmail.example:25" in out
        assert "stale  relay-a  egress to bigmail at mx2.bigmail.example:25" in out
        code, out, _ = await run("checks", "--bad", "--relay", "relay-a", "--json")
        assert code == 0
        assert len(json.loads(out)) == 2
        code, out, _ = await run("queue", "relay-a")
        assert code == 0
        assert "38 for private.example in deferred: timeout: connect to mx.private.example" in out
        assert (
            f"{canary_id(1)}  waits in the deferred queue of relay-a since 08:54:20: connect" in out
        )
        assert "and 3 more" in out
        code, out, _ = await run("queue", "relay-a", "--json")
        assert json.loads(out)["more"] == 3
        code, _, err = await run("queue", "relay-b")
        assert (code, "'relay-b'" in err) == (1, True)
        code, out, _ = await run("canary", canary_id(1))
        assert code == 0
        assert (
            "waits in the deferred queue of relay-a since 08:54:20: "
            "connect to mx1.example[192.0.2.1]:25: Connection timed out\n" in out
        )
        monkeypatch.setenv("MAILCANARY_TOKEN", "customer-acme")
        code, _, err = await run("checks")
        assert (code, "not for that" in err) == (1, True)
