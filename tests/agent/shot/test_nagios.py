"""What a Nagios, Icinga or Checkmk site reads of a shot."""

import pytest

from agent.shot.nagios import State, Thresholds, plugin
from agent.shot.shoot import Flown, Shot
from probes.contract.events import (
    Arrival,
    Bounce,
    CanaryEvent,
    Expiry,
    Intent,
    Interval,
    MailboxHealth,
    Submission,
)
from probes.contract.names import Path
from probes.contract.outcome import tell
from probes.contract.stages import Reason, Result, Stage

BOX = "acme/inbox"
LIMITS = Thresholds(warning_s=5.0, critical_s=10.0)
READ = {BOX: MailboxHealth(state="ok", watermark_ns=1)}
DOWN = {BOX: MailboxHealth(state="down", watermark_ns=None, detail="INBOX: auth: wrong | password")}


def path(relay: str) -> Path:
    return Path("sfo", relay, BOX)


def flown(relay: str, *events: CanaryEvent) -> Flown:
    intent = Intent(
        canary="c",
        path=path(relay),
        path_seq=1,
        mailbox_seq=1,
        stream_epoch="e",
        due_ns=0,
        at_ns=0,
        deadline_s=10.0,
        loss_after_s=60.0,
    )
    found = Flown(path(relay), tell([intent, *events]))
    for event in events:
        if isinstance(event, Submission):
            found.submission = event
        elif isinstance(event, Arrival):
            found.arrival = event
        elif isinstance(event, Bounce):
            found.bounce = event
    return found


def sent(relay: str, result: Result = Result.ACCEPTED, detail: str | None = None) -> Submission:
    stage = None if result is Result.ACCEPTED else Stage.CONNECT
    return Submission(
        canary="c",
        path=path(relay),
        sent_ns=0,
        at_ns=1,
        result=result,
        stage=stage,
        reason=None if stage is None else Reason.TIMEOUT,
        detail=detail,
    )


def seen(relay: str, lo: float, hi: float, *, junk: bool = False, uid: int = 1) -> Arrival:
    return Arrival(
        canary="c",
        path=path(relay),
        path_seq=1,
        mailbox_seq=1,
        stream_epoch="e",
        sent_ns=0,
        seen_ns=1,
        delay=Interval(lo, hi),
        clock="boottime",
        folder="INBOX",
        junk=junk,
        uidvalidity=1,
        uid=uid,
    )


def said(*canaries: Flown, mailboxes: dict[str, MailboxHealth] | None = None) -> tuple[State, str]:
    return plugin(Shot(canaries, READ if mailboxes is None else mailboxes, 1.0), LIMITS)


def test_all_home_in_time() -> None:
    state, text = said(flown("a1", sent("a1"), seen("a1", 0.1, 0.2)))
    assert state is State.OK
    assert text == (
        "MAIL OK - 1 of 1 canaries came home in time | "
        "'a1/acme/inbox'=0.200s;5;10;0 delivered=1;;;0;1"
    )


@pytest.mark.parametrize(
    ("arrivals", "state"),
    [
        ([seen("a1", 4.9, 5.1)], State.OK),
        ([seen("a1", 5.1, 5.2)], State.WARNING),
        ([seen("a1", 9.9, 10.1)], State.WARNING),
        ([seen("a1", 10.1, 10.2)], State.CRITICAL),
        ([seen("a1", 0.1, 0.2, junk=True)], State.WARNING),
        ([seen("a1", 0.1, 0.2), seen("a1", 0.3, 0.4, uid=2)], State.WARNING),
    ],
)
def test_a_delay_counts_by_what_it_is_at_least(arrivals: list[Arrival], state: State) -> None:
    assert said(flown("a1", sent("a1"), *arrivals))[0] is state


def test_a_slow_canary_came_home_all_the_same() -> None:
    state, text = said(flown("a1", sent("a1"), seen("a1", 6.0, 6.1)))
    assert state is State.WARNING
    assert text.startswith("MAIL WARNING - 1 of 1 canaries came home in time; a1 to acme/inbox: ")
    assert text.endswith("delivered=1;;;0;1")


@pytest.mark.parametrize(
    ("canary", "words"),
    [
        (
            flown("a1", sent("a1", Result.UNREACHABLE, "connect: timed out after 10 s")),
            "unreachable at connect: timed out after 10 s",
        ),
        (flown("a1", sent("a1")), "accepted, not seen in the mailbox (transit)"),
        (
            flown(
                "a1",
                sent("a1"),
                Bounce(
                    canary="c",
                    path=path("a1"),
                    seen_ns=1,
                    action="failed",
                    status="5.1.1",
                    diagnostic="no such user",
                    remote_mta=None,
                    reporting_mta=None,
                ),
            ),
            "bounced: 5.1.1 no such user",
        ),
        (
            flown(
                "a1",
                sent("a1"),
                Expiry(canary="c", path=path("a1"), at_ns=1, lost=True, watermark_ns=1),
            ),
            "accepted, not seen",
        ),
    ],
)
def test_what_did_not_come_home_is_critical_and_says_why(canary: Flown, words: str) -> None:
    state, text = said(canary)
    assert state is State.CRITICAL
    assert words in text
    assert "'a1/acme/inbox'=U;5;10;0" in text


def test_silence_is_unknown_while_nobody_reads_the_mailbox() -> None:
    state, text = said(flown("a1", sent("a1")), mailboxes=DOWN)
    assert state is State.UNKNOWN
    assert "mailbox down: INBOX: auth: wrong / password" in text
    assert text.count("|") == 1


def test_a_known_fault_outweighs_what_cannot_be_told() -> None:
    broken = flown("a1", sent("a1", Result.UNREACHABLE, "connect: refused"))
    assert said(flown("a2", sent("a2")), broken, mailboxes=DOWN)[0] is State.CRITICAL


def test_a_folder_that_is_not_read_is_a_warning_though_all_came_home() -> None:
    state, text = said(flown("a1", sent("a1"), seen("a1", 0.1, 0.2)), mailboxes=DOWN)
    assert state is State.WARNING
    assert "mailbox acme/inbox down" in text


def test_no_canary_is_unknown() -> None:
    assert said()[0] is State.UNKNOWN


def test_many_faults_are_cut_in_the_first_line_and_listed_below_it() -> None:
    names = [f"a{number}" for number in range(6)]
    lost = [flown(name, sent(name, Result.UNREACHABLE, "connect: refused")) for name in names]
    first, *rest = said(*lost)[1].splitlines()
    assert "and 3 more" in first
    assert [line.partition(" ")[0] for line in rest] == ["a3", "a4", "a5"]


def test_what_was_still_being_sent_is_not_called_accepted() -> None:
    state, text = plugin(Shot((flown("relay-a1"),), READ, 1.0), LIMITS)
    assert state is State.CRITICAL
    assert "accepted" not in text
    assert "still being sent" in text
