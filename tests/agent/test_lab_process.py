"""The agent as a process of its own: signals, kill -9, and what it must never tell."""

import asyncio
import base64
import fcntl
import os
import random
import signal
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.spool.writer import SpoolWriter
from lab.estate import Estate
from lab.faults import Hold, Tarpit
from lab.specs import RelaySpec
from probes.contract.events import CanaryEvent, Intent, Submission, decode
from probes.contract.outcome import Outcome, tell
from probes.contract.stages import Reason, Result, Stage
from tests.agent.labs import CANARY_EVENTS, quick_relay
from tests.agent.processes import ROOT, SIGNING_KEY, Site, lay_out, running
from tests.ports import free_port

A1, A2, BOX = "relay-a1", "relay-a2", "acme/inbox"


def estate() -> Estate:
    """Two relays and a mailbox."""
    return Estate([quick_relay(A1), quick_relay(A2)], [BOX])


def events(site: Site) -> list[CanaryEvent]:
    """The events about canaries in the file."""
    decoded = [decode(msgspec.json.encode(record["event"])) for record in site.records()]
    return [event for event in decoded if isinstance(event, CANARY_EVENTS)]


def each_once(site: Site) -> None:
    """Every event stands in the file once, in order, without a gap."""
    epochs = Counter(record["epoch"] for record in site.records())
    assert len(epochs) == 1
    seqs = [record["seq"] for record in site.records()]
    assert seqs == list(range(1, len(seqs) + 1))


# --- ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order(tmp_path: Path, number: int) -> None:
    async with estate() as lab:
        site = lay_out(lab, tmp_path, interval="200ms")
        async with running(site) as agent:
            await lab.until(lambda: len(lab.truth.deliveries) >= 4)
            began = time.monotonic()
            assert await agent.stopped(number) == 0
            assert time.monotonic() - began < 10
    assert [line["signal"] for line in agent.lines if line["event"] == "stopping"] == [
        signal.Signals(number).name
    ]
    assert not [line for line in agent.lines if line["level"] in ("error", "critical")]
    each_once(site)
    sent = [event for event in events(site) if isinstance(event, Submission)]
    assert {one.result for one in sent} == {Result.ACCEPTED}
    # Its lock is free, and all is where it belongs.
    spool = SpoolWriter.open(site.state)
    depth = await spool.run(lambda store: store.depth())
    spool.close()
    assert (depth.rows, depth.dropped) == (0, 0)


@pytest.mark.slow
async def test_a_canary_on_its_way_out_is_waited_for_but_not_for_ever(tmp_path: Path) -> None:
    async with estate() as lab:
        await lab.order(Tarpit({Stage.ACCEPT: 30.0}), relays=[A1])
        site = lay_out(lab, tmp_path, interval="1s", timeouts={"accept": "60s"})
        async with running(site) as agent:
            await agent.logged("agent started")
            await lab.until(lambda: any(mail.relay == A1 for mail in lab.truth.deliveries))
            began = time.monotonic()
            assert await agent.stopped() == 0
            assert 6 < time.monotonic() - began < 10
        hanging = {event.canary for event in events(site) if isinstance(event, Intent)} - {
            event.canary for event in events(site) if isinstance(event, Submission)
        }
        assert hanging
        async with running(site) as agent:
            await agent.logged("agent started")
            assert await agent.stopped() == 0
    each_once(site)
    told = {event.canary: event.reason for event in events(site) if isinstance(event, Submission)}
    assert {told[canary] for canary in hanging} == {Reason.INTERRUPTED}


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    called = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with silent, Estate([A1], [BOX]) as lab:
        port = silent.sockets[0].getsockname()[1]
        words: dict[str, Any] = {"interval": "300ms", "timeouts": {"banner": "60s"}}
        site = lay_out(lab, tmp_path, relay_port=port, **words)
        async with running(site) as agent:
            await called.wait()
            agent.process.send_signal(signal.SIGTERM)
            await agent.logged("stopping")
            began = time.monotonic()
            assert await agent.stopped() == 128 + signal.SIGTERM
            assert time.monotonic() - began < 3


@pytest.mark.slow
async def test_a_reader_that_reads_nothing_cannot_keep_it(tmp_path: Path) -> None:
    async with estate() as lab:
        site = lay_out(lab, tmp_path, interval="100ms")
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        async with running(site, stdout=writer) as agent:
            os.close(writer)
            await lab.until(lambda: len(lab.truth.deliveries) >= 20)
            began = time.monotonic()
            assert await agent.stopped() == 1
            assert time.monotonic() - began < 12
        os.close(reader)
    assert agent.lines[-1]["event"] == "could not stop in time: the process ends now"
    # What nobody read is still there.
    spool = SpoolWriter.open(site.state)
    depth = await spool.run(lambda store: store.depth())
    spool.close()
    assert depth.rows > 20


async def test_a_second_agent_on_the_same_state_is_refused(tmp_path: Path) -> None:
    async with estate() as lab:
        site = lay_out(lab, tmp_path, interval="300ms")
        async with running(site) as first:
            await first.logged("agent started")
            second = await asyncio.create_subprocess_exec(
                *first.arguments, stderr=asyncio.subprocess.PIPE, cwd=ROOT
            )
            _, text = await second.communicate()
            assert second.returncode == 1
            assert (
                f"lock held by process {first.process.pid}, allowed is one agent" in text.decode()
            )
            assert b"Traceback" not in text


# --- kill -9 --------------------------------------------------------------------------------


async def killed_and_restarted(site: Site, times: int) -> None:
    """Start the agent and kill it at a random moment, again and again."""
    rng = random.Random(20)  # noqa: S311 - moments to die at
    for life in range(times):
        async with running(site) as agent:
            # Every fourth time on its way up, else in the midst of its work.
            if life % 4:
                await agent.logged("agent started")
            await asyncio.sleep(rng.uniform(0.0, 1.2))
            agent.process.kill()
            await agent.ended()


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_killed_at_random_moments_it_accounts_for_every_intent_once(tmp_path: Path) -> None:
    async with estate() as lab:
        words: dict[str, Any] = {"interval": "100ms", "deadline": "1s", "loss_after": "3s"}
        site = lay_out(lab, tmp_path, **words)
        await killed_and_restarted(site, 20)
        # The last life sends nothing new: its schedule is hours away.
        lay_out(lab, tmp_path, **{**words, "interval": "1000h"})
        beats = heartbeats(site)
        async with running(site) as agent:
            async with asyncio.timeout(60):
                # A file tells nobody that it has grown. With its first heartbeat, all that the
                # lives before have left in the spool stands there.
                while heartbeats(site) == beats or pending(site):  # noqa: ASYNC110 - see above
                    await asyncio.sleep(0.5)
            assert await agent.stopped() == 0
        sent = Counter(entry.message_id for entry in lab.truth.acceptances if entry.sender)
        delivered = {entry.message_id for entry in lab.truth.deliveries}
    each_once(site)
    intents = Counter(event.canary for event in events(site) if isinstance(event, Intent))
    submissions = Counter(event.canary for event in events(site) if isinstance(event, Submission))
    assert len(intents) > 50
    assert set(intents.values()) == {1}
    assert set(submissions.values()) == {1}
    # No canary was sent twice, and none without its intent on the disk.
    assert set(sent.values()) == {1}
    known = set(intents)
    assert {(name or "").strip("<>").partition("@")[0] for name in sent} <= known
    outcomes = {canary: tell(story).verdict() for canary, story in stories(site).items()}
    assert {verdict.outcome for verdict in outcomes.values()} <= {
        Outcome.DELIVERED, Outcome.LATE, Outcome.UNKNOWN,
    }  # fmt: skip
    # Whatever reached the mailbox was seen there, once.
    home = {(name or "").strip("<>").partition("@")[0] for name in delivered}
    seen = {c for c, v in outcomes.items() if v.outcome is not Outcome.UNKNOWN}
    assert seen == home & known
    assert all(verdict.duplicates == 0 for verdict in outcomes.values())


def heartbeats(site: Site) -> int:
    """How many heartbeats stand in the file."""
    return sum(record["event"]["kind"] == "heartbeat" for record in site.records())


def pending(site: Site) -> bool:
    """Whether anything is not decided yet."""
    verdicts = [tell(story).verdict() for story in stories(site).values()]
    return any(verdict.outcome is Outcome.PENDING for verdict in verdicts)


def stories(site: Site) -> dict[str, list[CanaryEvent]]:
    """All events of each canary."""
    by_canary: dict[str, list[CanaryEvent]] = {}
    for event in events(site):
        by_canary.setdefault(event.canary, []).append(event)
    return by_canary


# --- secrets --------------------------------------------------------------------------------


def disguises(secret: str, user: str) -> set[bytes]:
    """The secret as it is, and as it goes over the wire."""
    plain = f"\0{user}\0{secret}".encode()
    xoauth2 = f"user={user}\1auth=Bearer {secret}\1\1".encode()
    encoded = {base64.b64encode(data) for data in (secret.encode(), plain, xoauth2)}
    return {secret.encode(), *encoded}


async def test_no_secret_is_in_anything_that_a_run_wrote(tmp_path: Path) -> None:
    relays = [
        RelaySpec(name=A1, users={"canary": "hunter2-the-relays-own"}),
        RelaySpec(name=A2, users={"canary": "what-the-relay-expects"}),
    ]
    wrong = {A2: "what-the-agent-has-instead", "acme/other": "not-the-mailboxes-password"}
    async with Estate(relays, [BOX, "acme/other"]) as lab:
        site = lay_out(lab, tmp_path, secrets=wrong, interval="200ms")
        port = free_port()
        options = ("--log-level", "debug", "--metrics", f"127.0.0.1:{port}")
        async with running(site, *options) as agent:
            await lab.order(Hold(), mailboxes=["acme/other"])
            await lab.until(lambda: len(lab.truth.deliveries) >= 5)
            url = f"http://127.0.0.1:{port}/metrics"
            answer = await asyncio.to_thread(urllib.request.urlopen, url)
            metrics = await asyncio.to_thread(answer.read)
            answer.close()
            spooled = b"".join(path.read_bytes() for path in site.state.iterdir())
            assert await agent.stopped() == 0
        values = {**lab.secrets, **wrong, "key": SIGNING_KEY, "x": "what-the-relay-expects"}
    assert b"mailcanary_agent_in_flight" in metrics
    # It did meet the refusals whose texts could have held them.
    results = {(e.path.relay, e.result) for e in events(site) if isinstance(e, Submission)}
    assert (A1, Result.ACCEPTED) in results
    assert (A2, Result.FAILED) in results
    written = {
        "events": site.events.read_bytes(),
        "log": site.log.read_bytes(),
        "spool": spooled + b"".join(path.read_bytes() for path in site.state.iterdir()),
        "metrics": metrics,
    }
    assert all(written.values())
    assert b"acme/other" in written["log"]
    for name, value in values.items():
        for user in ("canary", "inbox@acme.example", "other@acme.example"):
            for form in disguises(value, user):
                found = [where for where, data in written.items() if form in data]
                assert not found, f"secret {name} in {found}"
