"""A canary is overdue by a clock that nobody sets, wherever that clock tells."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.contract.events import Heartbeat, Intent, MailboxHealth, SpoolHealth, Submission
from probes.contract.names import Path
from probes.contract.overdue import Instant, overdue_s, seconds_between, sent_at, watermark_of
from probes.contract.stages import Result

PATH = Path("sfo", "relay-a1", "acme/inbox")
WALL_NS = 1_760_000_000_000_000_000
S = 1_000_000_000


@dataclass
class Machine:
    """An agent's clocks over true time, which is counted in nanoseconds from its first boot."""

    now_ns: int = 0
    wall_off_ns: int = WALL_NS
    booted_ns: int = 0
    boot: int = 1

    def read(self) -> Instant:
        boot_ns = self.now_ns - self.booted_ns
        return Instant(self.now_ns + self.wall_off_ns, boot_ns, f"boot-{self.boot}")

    def live(self, steps: list[tuple[int, int]]) -> None:
        """Each time so many nanoseconds pass, and the wall clock is set by so many."""
        for wait_ns, step_ns in steps:
            self.now_ns += wait_ns
            self.wall_off_ns += step_ns

    def reboot(self) -> None:
        self.boot, self.booted_ns = self.boot + 1, self.now_ns


def beat(
    mark: Instant | None, *, boot_id: str = "boot-1", mailbox: str = PATH.mailbox
) -> Heartbeat:
    health = MailboxHealth(
        state="ok",
        watermark_ns=None if mark is None else mark.wall_ns,
        watermark_boot_ns=None if mark is None else mark.boot_ns,
    )
    return Heartbeat(
        agent="sfo",
        at_ns=WALL_NS,
        version="1",
        boot_id=boot_id,
        started_ns=WALL_NS,
        in_flight=0,
        lag_s=0.0,
        spool=SpoolHealth(epoch="e1", last_seq=0, depth=0, bytes=0, dropped=0),
        mailboxes={mailbox: health},
        counters={},
    )


def submission(sent: Instant) -> Submission:
    return Submission(
        canary="c",
        path=PATH,
        sent_ns=sent.wall_ns,
        at_ns=sent.wall_ns + S,
        result=Result.ACCEPTED,
        boot_id=sent.boot_id,
        sent_boot_ns=sent.boot_ns,
    )


def intent(at: Instant) -> Intent:
    return Intent(
        canary="c",
        path=PATH,
        path_seq=1,
        mailbox_seq=1,
        stream_epoch="e1",
        due_ns=0,
        at_ns=at.wall_ns,
        deadline_s=60.0,
        loss_after_s=1800.0,
        boot_id=at.boot_id,
        sent_boot_ns=at.boot_ns,
    )


steps = st.lists(st.tuples(st.integers(0, 200 * S), st.integers(-(10**16), 10**16)), max_size=5)


@given(steps=steps, deadline_s=st.integers(1, 600))
def test_a_wall_clock_that_is_set_both_ways_makes_no_canary_overdue(
    steps: list[tuple[int, int]], deadline_s: int
) -> None:
    machine = Machine()
    sent = machine.read()
    machine.live(steps)
    mark = machine.read()
    over = overdue_s(sent_at(submission(sent)), watermark_of(beat(mark), PATH.mailbox), deadline_s)
    assert over == machine.now_ns / 1e9 - deadline_s


@given(steps=steps, error_s=st.integers(0, 3))
def test_across_a_reboot_the_wall_clock_tells_with_its_error_taken_off(
    steps: list[tuple[int, int]], error_s: int
) -> None:
    machine = Machine()
    sent = machine.read()
    machine.live(steps)
    machine.reboot()
    mark = watermark_of(beat(machine.read(), boot_id="boot-2"), PATH.mailbox)
    over = overdue_s(sent_at(submission(sent)), mark, 60.0, wall_error_s=error_s)
    stepped_ns = sum(step_ns for _, step_ns in steps)
    assert over == pytest.approx((machine.now_ns + stepped_ns) / 1e9 - error_s - 60.0)


def test_an_agent_that_names_no_boot_is_read_by_its_wall_clock() -> None:
    """The fields are younger than the events; and an empty boot id is nobody's."""
    mark = Instant(WALL_NS + 100 * S, 7 * S, "boot-1")
    for sent in (Instant(WALL_NS), Instant(WALL_NS, None, "boot-1"), Instant(WALL_NS, 0, "")):
        assert seconds_between(sent, mark) == 100.0
        assert overdue_s(sent, mark, 60.0) == 39.0
    assert seconds_between(Instant(WALL_NS, 0, ""), Instant(WALL_NS + S, 9 * S, "")) == 1.0
    assert overdue_s(Instant(WALL_NS, 0, "boot-1"), Instant(WALL_NS + 90 * S), 60.0) == 29.0


def test_without_a_watermark_nothing_is_overdue() -> None:
    sent = sent_at(intent(Machine().read()))
    assert overdue_s(sent, watermark_of(beat(None), PATH.mailbox), 60.0) is None
    assert watermark_of(beat(Machine().read(), mailbox="acme/other"), PATH.mailbox) is None


def test_an_intent_stands_for_the_send_until_there_is_a_submission() -> None:
    machine = Machine()
    begun = machine.read()
    machine.now_ns += S
    sent = machine.read()
    machine.now_ns += 61 * S
    mark = machine.read()
    assert overdue_s(sent_at(intent(begun)), mark, 60.0) == 2.0
    assert overdue_s(sent_at(submission(sent)), mark, 60.0) == 1.0
