"""What a Nagios, Icinga or Checkmk site reads of a shot."""

import pytest

from agent.shot.nagios import LINE, State, judge, plugin, summary
from agent.shot.shoot import Flown, Shot
from agent.shot.thresholds import Thresholds, parse_range, up_to
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
LIMITS = Thresholds(up_to(5.0), up_to(10.0), wait_s=15.0)
READ = {BOX: MailboxHealth(state="ok", watermark_ns=1)}
DOWN = {BOX: MailboxHealth(state="down", watermark_ns=None, detail="INBOX: auth: wrong | password")}


def path(relay: str, mailbox: str = BOX) -> Path:
    return Path("sfo", relay, mailbox)


def flown(relay: str, *events: CanaryEvent, mailbox: str = BOX) -> Flown:
    intent = Intent(
        canary="c",
        path=path(relay, mailbox),
        path_seq=1,
        mailbox_seq=1,
        stream_epoch="e",
        due_ns=0,
        at_ns=0,
        deadline_s=10.0,
        loss_after_s=60.0,
    )
    found = Flown(path(relay, mailbox), tell([intent, *events]), deadline_s=10.0, begun=True)
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


def shot(
    *canaries: Flown, mailboxes: dict[str, MailboxHealth] | None = None, waited_s: float = 15.0
) -> Shot:
    return Shot(canaries, READ if mailboxes is None else mailboxes, waited_s)


def said(
    *canaries: Flown, mailboxes: dict[str, MailboxHealth] | None = None, waited_s: float = 15.0
) -> tuple[State, str]:
    return plugin(shot(*canaries, mailboxes=mailboxes, waited_s=waited_s), LIMITS)


def test_all_home_in_time() -> None:
    state, text = said(flown("a1", sent("a1"), seen("a1", 0.1, 0.2)))
    assert state is State.OK
    assert text == (
        "MAIL OK - 1 of 1 home, the slowest after 0.2 s | "
        "'delivered'=1;;;0;1 'a1/acme/inbox'=0.200s;5;10;0;"
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
    first, detail = text.splitlines()
    assert first.startswith("MAIL WARNING - 1 of 1 home; a1 slow | 'delivered'=1;;;0;1 ")
    assert detail == "a1 to acme/inbox: delivered after 6.1 s"


@pytest.mark.parametrize(
    ("canary", "words"),
    [
        (
            flown("a1", sent("a1", Result.UNREACHABLE, "connect: timed out after 10 s")),
            "unreachable at connect: timed out after 10 s",
        ),
        (flown("a1", sent("a1")), "accepted, not seen in the mailbox after 15 s (transit)"),
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
    assert "'a1/acme/inbox'=U;5;10;0;" in text


def test_silence_is_unknown_while_nobody_reads_the_mailbox() -> None:
    state, text = said(flown("a1", sent("a1")), mailboxes=DOWN)
    assert state is State.UNKNOWN
    assert "mailbox acme/inbox down: INBOX: auth: wrong / password" in text
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


def test_a_line_has_eighty_columns_and_the_rest_is_listed_below_it() -> None:
    names = [f"a{number}" for number in range(6)]
    faults = [sent(name, Result.UNREACHABLE, "connect: refused") for name in names[:3]]
    faults += [sent(name, Result.REJECTED, "rcpt: 550 no") for name in names[3:]]
    lost = [flown(event.path.relay, event) for event in faults]
    home = [flown("b1", sent("b1"), seen("b1", 0.1, 0.2))]
    first, *rest = said(*home, *lost)[1].splitlines()
    line, _, perf = first.partition(" | ")
    assert line == "MAIL CRITICAL - 1 of 7 home; a0, a1, a2 unreachable; more below"
    assert len(line) <= LINE
    assert perf.count("=") == 8
    assert [line.partition(" ")[0] for line in rest] == names
    whole = summary(judge(shot(*home, *lost), LIMITS), shot(*home, *lost), None)
    assert whole.endswith("; a0, a1, a2 unreachable; a3, a4, a5 rejected at connect")


@pytest.mark.parametrize(
    ("unreachable", "unseen", "line"),
    [
        (8, 0, "1 of 9 home; relay-0, relay-1 and 6 more unreachable; b1 in junk"),
        (3, 0, "1 of 4 home; relay-0, relay-1, relay-2 unreachable; b1 in junk"),
        (8, 4, "1 of 13 home; relay-0 and 7 more unreachable; more below"),
    ],
)
def test_names_give_way_to_faults(unreachable: int, unseen: int, line: str) -> None:
    home = flown("b1", sent("b1"), seen("b1", 0.1, 0.2, junk=True))
    lost = [flown(f"c{number}", sent(f"c{number}")) for number in range(unseen)]
    names = [f"relay-{number}" for number in range(unreachable)]
    bad = [flown(name, sent(name, Result.UNREACHABLE, "connect: refused")) for name in names]
    first = said(home, *lost, *bad)[1].partition(" | ")[0]
    assert first == f"MAIL CRITICAL - {line}"
    assert len(first) <= LINE


def test_faults_are_told_by_what_they_have_in_common() -> None:
    relays, boxes = ("a1", "a2", "a3", "a4", "a5"), ("acme/inbox", "bolt/inbox")
    read = dict.fromkeys(boxes, READ[BOX])

    def line(bad: set[tuple[str, str]]) -> str:
        canaries = [
            flown(relay, sent(relay), *([] if (relay, box) in bad else [home]), mailbox=box)
            for relay in relays
            for box in boxes
            for home in [seen(relay, 0.1, 0.2)]
        ]
        found = shot(*canaries, mailboxes=read)
        return summary(judge(found, LIMITS), found, None).partition("; ")[2]

    assert line({("a1", box) for box in boxes}) == "a1 not seen"
    assert line({(relay, "bolt/inbox") for relay in relays}) == "to bolt/inbox not seen"
    assert line({("a1", "bolt/inbox")}) == "a1 to bolt/inbox not seen"
    assert line({(relay, box) for relay in relays for box in boxes}) == "all not seen"
    assert line({(r, b) for r in relays[:4] for b in boxes}) == "a1, a2, a3 and 1 more not seen"


def test_what_was_still_being_sent_is_not_called_accepted() -> None:
    state, text = said(flown("relay-a1"))
    assert state is State.CRITICAL
    assert "accepted" not in text
    assert "still being sent" in text


@pytest.mark.parametrize(
    ("waited_s", "state"),
    [(4.9, State.UNKNOWN), (5.0, State.WARNING), (9.9, State.WARNING), (10.0, State.CRITICAL)],
)
def test_silence_counts_by_how_long_it_has_lasted(waited_s: float, state: State) -> None:
    found, text = said(flown("a1", sent("a1")), waited_s=waited_s)
    assert found is state
    assert "0 of 1 home" in text
    assert "'delivered'=0;;;0;1" in text


def test_a_canary_that_was_never_sent_says_nothing_of_its_path() -> None:
    waiting = flown("a1")
    waiting.begun = False
    state, text = said(waiting)
    assert state is State.UNKNOWN
    assert "a1 to acme/inbox: not sent" in text


@pytest.mark.parametrize(
    ("waited_s", "state"), [(3.0, State.UNKNOWN), (7.0, State.UNKNOWN), (10.0, State.CRITICAL)]
)
def test_what_ended_the_waiting_is_told_and_only_what_is_certain(
    waited_s: float, state: State
) -> None:
    cut = Shot((flown("a1", sent("a1")),), READ, waited_s, "timed out after 12 s")
    found, text = plugin(cut, LIMITS)
    assert found is state
    assert text.startswith(f"MAIL {state.name} - timed out after 12 s, 0 of 1 home; ")


def test_ranges_alert_as_the_plugins_guidelines_say() -> None:
    home = flown("a1", sent("a1"), seen("a1", 0.1, 0.2))
    for warning, critical, state in (
        ("1:", None, State.WARNING),
        (None, "@0:1", State.CRITICAL),
        ("@0.15:1", "@5:6", State.OK),  # it may have been 0.1 s
    ):
        ranges = (None if text is None else parse_range(text) for text in (warning, critical))
        assert plugin(shot(home), Thresholds(next(ranges), next(ranges), 15.0))[0] is state
    _, text = plugin(shot(home), Thresholds(None, parse_range("@5:6"), wait_s=15.0))
    assert "'a1/acme/inbox'=0.200s;;@5:6;0;" in text


def test_a_path_is_judged_by_its_own_deadline_unless_the_options_say_otherwise() -> None:
    slow = flown("a1", sent("a1"), seen("a1", 12.0, 12.1))
    patient = flown("a2", sent("a2"), seen("a2", 12.0, 12.1))
    patient.deadline_s = 60.0
    judged = judge(shot(slow, patient), Thresholds(None, None, wait_s=65.0))
    assert [state for state, _ in judged.paths] == [State.CRITICAL, State.OK]
