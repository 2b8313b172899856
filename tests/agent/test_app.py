"""The wiring: where events go, and what a start that cannot work says."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from socket import create_server

import pytest
import structlog
from structlog.testing import capture_logs

from agent.app import open_out, open_spool_patiently
from agent.events_file import EventsFile, EventsStdout
from agent.open_files import FewFiles, raise_files_limit
from agent.spool.schema import FILE_NAME
from lab.estate import Estate
from probes.contract.errors import SpoolError
from tests.agent.fakes import assignment
from tests.agent.processes import ROOT, Running, Site, lay_out, running
from tests.disks import fill, small_disk
from tests.ports import free_port


def test_events_go_to_a_file_to_standard_output_or_nowhere(tmp_path: Path) -> None:
    assert open_out(None) is None
    assert isinstance(open_out("-"), EventsStdout)
    out = open_out(str(tmp_path / "events"))
    assert isinstance(out, EventsFile)
    out.close()
    with pytest.raises(SpoolError, match="found No such file"):
        open_out(str(tmp_path / "no" / "events"))


def test_a_damaged_spool_is_said_loudly(tmp_path: Path) -> None:
    structlog.reset_defaults()
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    with capture_logs() as logs:
        spool = open_spool_patiently(tmp_path)
    spool.close()
    [line] = logs
    assert line["log_level"] == "critical"
    assert line["moved_to"] == str(tmp_path / f"{FILE_NAME}.damaged-1")
    assert line["epoch"] == spool.epoch


def test_what_waiting_does_not_mend_is_raised_at_once(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(SpoolError, match="allowed is a directory"):
        open_spool_patiently(tmp_path / "state")


@pytest.fixture
def files_limit() -> Iterator[tuple[int, int]]:
    """The limits of open files, put back in the end."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield limits
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_it_may_open_as_many_files_as_it_can_get(files_limit: tuple[int, int]) -> None:
    _, hard = files_limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard - 1 if hard > 0 else 1024, hard))
    assert raise_files_limit() == hard
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


@pytest.mark.parametrize(
    ("limit", "warned"),
    [(604, False), (603, True), (resource.RLIM_INFINITY, False)],
)
def test_too_few_files_are_warned_of(limit: int, warned: bool) -> None:
    structlog.reset_defaults()
    mine = assignment()
    assert sum(1 + (box.folders.junk is not None) for box in mine.mailboxes.values()) == 2
    with capture_logs() as logs:
        FewFiles(limit).look(mine, 500)
    assert [(line["wanted"], line["folders"]) for line in logs] == [(604, 2)] * warned


def test_looks_from_a_relay_need_files_too() -> None:
    structlog.reset_defaults()
    node = [{"name": "sfo", "on_relay": "relay-a1"}]
    mine = assignment(agents=node, checks=[{"probe": "queue"}])
    with capture_logs() as logs:
        FewFiles(400).look(mine, 100)
    assert [line["wanted"] for line in logs] == [456]


def test_an_assignment_that_grew_past_the_files_is_warned_of_once() -> None:
    structlog.reset_defaults()
    files, mine = FewFiles(603), assignment()
    with capture_logs() as logs:
        for sending in (499, 499, 500, 500, 501, 499, 500):
            files.look(mine, sending)
    assert [line["wanted"] for line in logs] == [604, 605, 604]


@pytest.fixture
async def lab() -> AsyncIterator[Estate]:
    """A relay and a mailbox."""
    async with Estate(["relay-a1"], ["acme/inbox"]) as estate:
        yield estate


def test_a_new_assignment_is_looked_at_too(tmp_path: Path) -> None:
    few = [sys.executable, "-m", "tests.agent.few_files", str(tmp_path)]
    child = subprocess.run(few, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    assert json.loads(child.stdout) == [108, 112]


async def refused(site: Site, *options: str) -> str:
    """Start an agent that ends by itself with exit code 1; what it said."""
    async with running(site, *options) as agent:
        assert agent.process.stderr is not None
        async with asyncio.timeout(20):
            text = (await agent.process.stderr.read()).decode()
            assert await agent.process.wait() == 1
    assert "Traceback" not in text
    return text


async def test_a_metrics_port_that_is_taken(lab: Estate, tmp_path: Path) -> None:
    site = lay_out(lab, tmp_path)
    with closing(create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        text = await refused(site, "--metrics", f"127.0.0.1:{port}")
    assert f"--metrics: found 127.0.0.1:{port}: Address already in use, allowed is" in text


async def test_a_signing_key_that_cannot_be_read(lab: Estate, tmp_path: Path) -> None:
    site = lay_out(lab, tmp_path)
    (tmp_path / "secrets" / "signing-key").unlink()
    assert "secret signing-key: found none, looked in" in await refused(site)


async def test_an_events_file_that_is_somebody_elses(lab: Estate, tmp_path: Path) -> None:
    site = lay_out(lab, tmp_path)
    site.events.write_text("a letter to my aunt")
    assert "found a last line that is no event" in await refused(site)
    assert site.events.read_text() == "a letter to my aunt"


async def test_events_that_cannot_be_handed_over_stay_in_the_spool(
    lab: Estate, tmp_path: Path
) -> None:
    site = lay_out(lab, tmp_path, interval="100ms")
    site.events.symlink_to("/dev/full")
    async with running(site) as agent:
        line = await agent.logged("events cannot be handed over, they stay in the spool")
        assert "No space left" in line["error"]
        await lab.until(lambda: len(lab.truth.deliveries) >= 5)
        assert await agent.stopped() == 0
    site.events.unlink()
    async with running(site) as agent:
        await agent.logged("agent started")
        assert await agent.stopped() == 0
    check(site, agent)
    assert len(site.records()) > 10


async def test_an_agent_whose_output_nobody_reads_ends_and_keeps_its_events(
    lab: Estate, tmp_path: Path
) -> None:
    site = lay_out(lab, tmp_path, interval="100ms")
    ours, theirs = os.pipe()
    async with running(site, stdout=theirs) as agent:
        os.close(theirs)
        await asyncio.to_thread(os.read, ours, 100)
        os.close(ours)
        assert agent.process.stderr is not None
        async with asyncio.timeout(20):
            text = (await agent.process.stderr.read()).decode()
            assert await agent.process.wait() == 1
    last = text.splitlines()[-1]
    assert last.startswith("--events: found standard output with nobody who reads it any more")
    assert "Traceback" not in text
    spool = open_spool_patiently(site.state)
    depth = await spool.run(lambda store: store.depth())
    spool.close()
    assert depth.rows > 0


# --- a full disk ----------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The state directory on a file system of 512 KiB."""
    with small_disk(tmp_path / "state", "512k") as directory:
        yield directory


async def test_a_full_disk_at_the_start_is_waited_for(
    lab: Estate, tmp_path: Path, disk: Path
) -> None:
    site = lay_out(lab, tmp_path)
    fill(disk)
    async with running(site) as agent:
        line = await agent.logged("the spool cannot be opened: trying again")
        assert "full" in line["error"] or "No space" in line["error"]
        assert await agent.stopped() == -signal.SIGTERM


async def spool_up(port: int) -> bool | None:
    """What Prometheus is told of the spool."""
    url = f"http://127.0.0.1:{port}/metrics"
    with await asyncio.to_thread(urllib.request.urlopen, url) as answer:
        for line in (await asyncio.to_thread(answer.read)).decode().splitlines():
            if line.startswith("mailcanary_agent_spool_up "):
                return float(line.split()[1]) == 1
    return None


async def test_a_disk_that_fills_up_stops_the_sending_and_not_the_agent(
    lab: Estate, tmp_path: Path, disk: Path
) -> None:
    site = lay_out(lab, tmp_path, interval="100ms")
    port = free_port()
    async with running(site, "--metrics", f"127.0.0.1:{port}") as agent:
        await lab.until(lambda: len(lab.truth.deliveries) >= 3)
        filler = fill(disk)
        await agent.logged("no canary is sent while the spool cannot be written")
        sent = len(lab.truth.acceptances)
        filler.unlink()
        await lab.until(lambda: len(lab.truth.acceptances) >= sent + 3)
        assert await spool_up(port) is not None
        assert await agent.stopped() == 0
    check(site, agent)


def check(site: Site, agent: Running) -> None:
    """Nothing is missing in the events."""
    assert not [line for line in agent.lines if line["level"] == "critical"]
    seqs = [record["seq"] for record in site.records()]
    assert seqs == list(range(1, len(seqs) + 1))
