"""The probe with real programs: what they print, how they end, and that none lives on."""

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from probes.contract.check_plan import CheckPlan
from probes.contract.checks import Finding
from probes.contract.config.models import ProbeKind
from probes.contract.stages import Reason, Stage
from probes.queue import QueueCommand, QueueProbe, QueueTarget

NOW_NS = 1_795_535_040_000_000_000
CANARY = "canary-test@monitor.example"
TARGET = QueueTarget("relay-a7", frozenset({CANARY}))
TIMED_OUT = "connect to mx1.example[192.0.2.1]:25: Connection timed out"
GREY = "host mx1.example[192.0.2.1] said: 450 4.2.0 Greylisted (in reply to RCPT TO command)"
LONG_S = 60.0
"""A deadline that no test reaches."""


def entry(text: str | None, *, sender: str = CANARY, at_s: int = 1_795_534_800) -> str:
    reason = "" if text is None else f', "delay_reason": "{text}"'
    return (
        f'{{"queue_name": "deferred", "queue_id": "7C301EA0AE", "arrival_time": {at_s}, '
        f'"message_size": 390, "forced_expire": false, "sender": "{sender}", '
        f'"recipients": [{{"address": "canary@acme.example"{reason}}}]}}\n'
    )


class Programs:
    """Scripts of a test's own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def script(self, text: str) -> QueueCommand:
        path = self._directory / "lists"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return QueueCommand("postfix", (str(path),))

    def prints(self, listing: str, then: str = "") -> QueueCommand:
        file = self._directory / "listing"
        file.write_text(listing)
        return self.script(f"cat {shlex.quote(str(file))}\n{then}")


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


async def look(
    command: QueueCommand | None, deadline_s: float = LONG_S, max_bytes: int = 4_000_000_000
) -> Finding:
    probe = QueueProbe(command, now_ns=lambda: NOW_NS, max_bytes=max_bytes)
    return await probe.probe(TARGET, deadline_s)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def test_the_target_is_the_queue_of_the_plans_relay() -> None:
    plan = CheckPlan(
        agent="node", relay="relay-a7", probe=ProbeKind.QUEUE, interval_s=60, timeout_s=10,
        canary_senders=frozenset({CANARY}),
    )  # fmt: skip
    probe = QueueProbe(None)
    assert await probe.targets(plan) == [TARGET]
    assert probe.conclude([await probe.probe(TARGET, LONG_S)]) == []


async def test_an_empty_queue_is_empty(programs: Programs) -> None:
    found = await look(programs.script("exit 0"))
    assert (found.ok, found.stage, found.reason, found.detail) == (True, None, None, None)
    assert found.target is None
    assert set(found.timings) == {"listing"}
    assert found.queue is not None
    assert found.queue.complete
    assert {name: depth.count for name, depth in found.queue.queues.items()} == {
        "active": 0, "deferred": 0, "hold": 0, "incoming": 0, "maildrop": 0,
    }  # fmt: skip


async def test_canaries_that_were_put_off_are_a_fault_with_the_reason_of_most(
    programs: Programs,
) -> None:
    refused = TIMED_OUT.replace("timed out", "refused")
    listing = entry(TIMED_OUT) + entry(refused) + entry(TIMED_OUT, at_s=1_795_534_900)
    found = await look(programs.prints(listing + entry(TIMED_OUT, sender="x@y.example")))
    assert (found.ok, found.stage, found.reason) == (False, Stage.EGRESS_CONNECT, Reason.TIMEOUT)
    assert found.detail == (
        f"3 canaries wait in deferred of relay-a7, the oldest for 4m, 2 of them: {TIMED_OUT}"
    )
    assert found.queue is not None
    assert len(found.queue.canaries) == 3
    assert found.queue.queues["deferred"].count == 4


@pytest.mark.parametrize("text", [None, GREY])
async def test_canaries_that_were_not_tried_or_greylisted_are_no_fault(
    programs: Programs, text: str | None
) -> None:
    found = await look(programs.prints(entry(text) + entry(TIMED_OUT, sender="x@y.example")))
    assert (found.ok, found.stage, found.reason) == (True, None, None)
    assert found.queue is not None
    assert [each.text for each in found.queue.canaries] == [text]


async def test_exim_has_its_own_form(programs: Programs) -> None:
    listing = f" 5m   291 1xVsQw-0006bR-0e <{CANARY}> *** frozen ***\n          a@b.example\n"
    found = await look(QueueCommand("exim", programs.prints(listing).argv))
    assert (found.ok, found.stage, found.reason) == (False, None, Reason.OTHER)
    assert found.detail == "1 canary waits in frozen of relay-a7, the oldest for 5m: frozen"


@pytest.mark.parametrize(
    ("script", "reason", "detail"),
    [
        (
            (
                "echo 'postqueue: fatal: Connect to the Postfix showq service: Permission "
                "denied' >&2\nexit 69"
            ),
            Reason.LOCAL,
            (
                "exit 69: postqueue: fatal: Connect to the Postfix showq service: Permission "
                "denied (it takes: postqueue needs its setgid bit, "
            ),
        ),
        (
            (
                "echo 'postqueue: fatal: User nobody(65534) is not allowed to view the mail "
                "queue' >&2\nexit 69"
            ),
            Reason.LOCAL,
            "authorized_mailq_users",
        ),
        (
            (
                "echo 'postqueue: fatal: Queue report unavailable - mail system is down (Connect "
                "to the Postfix showq service: No such file or directory)' >&2\nexit 69"
            ),
            Reason.REFUSED,
            "Postfix is not running: postqueue: fatal: Queue report unavailable",
        ),
        ("exit 3", Reason.LOCAL, ": exit 3"),
        ("kill -KILL $$", Reason.LOCAL, ": ended by signal 9"),
        ("yes | head -c 1000000 >&2; exit 1", Reason.LOCAL, ": exit 1: y"),
    ],
)
async def test_a_program_that_fails_says_why(
    programs: Programs, script: str, reason: Reason, detail: str
) -> None:
    found = await look(programs.script(script))
    assert (found.ok, found.stage, found.reason) == (False, Stage.QUEUE, reason)
    assert detail in (found.detail or "")
    assert found.queue is None


async def test_what_a_program_listed_before_it_failed_is_told(programs: Programs) -> None:
    found = await look(programs.prints(entry(TIMED_OUT), "exit 1"))
    assert (found.ok, found.stage, found.reason) == (False, Stage.QUEUE, Reason.LOCAL)
    assert "1 canary waits in deferred of relay-a7" in (found.detail or "")
    assert found.queue is not None
    assert (found.queue.complete, found.queue.queues["deferred"].count) == (False, 1)


async def test_a_postfix_that_does_not_run_is_told_though_root_can_list_its_queue(
    programs: Programs,
) -> None:
    warning = "postqueue: warning: Mail system is down -- accessing queue directly"
    found = await look(programs.prints(entry(TIMED_OUT), f"echo '{warning}' >&2"))
    assert (found.ok, found.stage, found.reason) == (False, Stage.QUEUE, Reason.REFUSED)
    assert found.queue is not None
    assert (found.queue.complete, found.queue.queues["deferred"].count) == (True, 1)


@pytest.mark.parametrize("argv", [("/nonexistent/postqueue", "-j"), ("/etc",), ("a\0b",)])
async def test_a_program_that_cannot_be_run_is_a_finding(argv: tuple[str, ...]) -> None:
    found = await look(QueueCommand("postfix", argv))
    assert (found.ok, found.stage, found.reason) == (False, Stage.QUEUE, Reason.LOCAL)
    assert "cannot be run: " in (found.detail or "")


async def test_no_program_at_all_is_a_finding_that_says_what_to_do() -> None:
    found = await look(None)
    assert (found.ok, found.stage, found.reason) == (False, Stage.QUEUE, Reason.LOCAL)
    assert "name the program in the agent's policy" in (found.detail or "")


async def test_another_form_is_told_from_an_empty_queue(programs: Programs) -> None:
    found = await look(programs.prints("Mail queue is empty\n"))
    assert (found.ok, found.stage, found.reason) == (False, Stage.QUEUE, Reason.PROTOCOL)
    assert "in the form of postqueue -j?" in (found.detail or "")
    assert found.queue is not None
    assert found.queue.unreadable == 1


async def test_single_lines_that_cannot_be_read_are_counted(programs: Programs) -> None:
    found = await look(programs.prints("junk\n" + entry(GREY)))
    assert (found.ok, found.detail) == (True, "1 entries could not be read, or not to their end")


async def test_nothing_of_the_agents_environment_is_passed_on(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILCANARY_SECRET", "hush")
    found = await look(programs.script('[ "$MAILCANARY_SECRET$LC_ALL" = C ] || exit 9'))
    assert found.ok


@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run])
def test_a_program_that_hangs_is_killed_with_what_it_started(
    programs: Programs, tmp_path: Path, loop: Callable[[Coroutine[Any, Any, Finding]], Finding]
) -> None:
    """Also when it takes no notice of SIGTERM, and its child holds the pipe."""
    file = tmp_path / "pids"
    script = f"trap '' TERM\nsleep 600 &\n(echo $$; echo $!) > {file}\nwait\nsleep 600"
    listing = programs.prints(entry(TIMED_OUT), script)
    found = loop(look(listing, deadline_s=0.5))
    # What a canary waits for is news, that the queue is long is not.
    assert (found.ok, found.stage, found.reason) == (False, Stage.EGRESS_CONNECT, Reason.TIMEOUT)
    assert "did not end in time; 1 mails were seen; 1 canary waits" in (found.detail or "")
    assert found.queue is not None
    assert (found.queue.complete, found.queue.queues["deferred"].count) == (False, 1)
    for pid in map(int, file.read_text().split()):
        assert not alive(pid)


async def test_cancelling_kills_and_reaps(programs: Programs, tmp_path: Path) -> None:
    pipe = tmp_path / "pids"
    os.mkfifo(pipe)
    command = programs.script(f"trap '' TERM\nsleep 600 &\n(echo $$; echo $!) > {pipe}\nwait")
    task = asyncio.create_task(look(command))
    leader, child = map(int, (await asyncio.to_thread(pipe.read_text)).split())
    assert alive(leader)
    assert os.getpgid(child) == leader != os.getpgid(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(child)
    # Reaped, and not only ended.
    with pytest.raises(ProcessLookupError):
        os.kill(leader, 0)


async def test_a_listing_without_end_is_cut(programs: Programs) -> None:
    line = shlex.quote(entry(GREY).rstrip())
    found = await look(programs.script(f"yes {line}"), max_bytes=3_000_000)
    assert (found.stage, found.reason) == (Stage.QUEUE, Reason.TIMEOUT)
    assert "printed without end" in (found.detail or "")
    assert found.queue is not None
    assert not found.queue.complete
    assert found.queue.queues["deferred"].count == pytest.approx(3_000_000 / len(entry(GREY)), 0.01)


async def test_others_on_the_loop_have_their_turns(programs: Programs) -> None:
    """While junk in the shortest lines is read."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    found = await look(programs.script("yes | head -c 1000000"))
    task.cancel()
    assert found.reason is Reason.PROTOCOL
    assert found.queue is not None
    assert found.queue.unreadable == 500_000
    assert turns > 50


MEMORY = """
import asyncio, sys
from pathlib import Path
from probes.queue import QueueCommand, QueueProbe, QueueTarget

async def main():
    probe = QueueProbe(QueueCommand("postfix", ("/bin/sh", "-c", sys.argv[1])))
    return await probe.probe(QueueTarget("r", frozenset()), 100.0)

asyncio.run(main())
# What getrusage says is also of the process that started this one.
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.parametrize(
    ("what", "size"),
    [
        ("yes {line} | head -c {size}", 100_000_000),
        ("head -c {size} /dev/zero", 100_000_000),
        # The shortest lines take the longest: the pipe has to wait.
        ("yes | head -c {size}", 8_000_000),
    ],
)
def test_memory_does_not_grow_with_the_listing(what: str, size: int) -> None:
    """Much in many lines, and in one, beside little of it: peak memory of a process."""

    def peak_kib(size: int) -> int:
        script = what.format(line=shlex.quote(entry(TIMED_OUT).rstrip()), size=size)
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, script], capture_output=True, check=True, timeout=100
        )
        return int(done.stdout)

    assert peak_kib(size) < peak_kib(100_000) + 4_096
