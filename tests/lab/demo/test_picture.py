"""The demo's figures, from events alone."""

from itertools import count

from lab.demo.picture import SEEN_AT, Picture
from probes.contract.events import (
    Arrival,
    Expiry,
    Heartbeat,
    Intent,
    Interval,
    MailboxHealth,
    SpoolHealth,
    Submission,
)
from probes.contract.names import Path
from probes.contract.outcome import Outcome
from probes.contract.stages import Result

S = 1_000_000_000
BOX = "acme/inbox"


class Fleet:
    """Makes the events of a fleet of two relays; the clock is the caller's."""

    def __init__(self) -> None:
        self.picture = Picture(["good", "bad"])
        self._ids = count(1)

    def send(self, relay: str, at_s: float) -> str:
        number = next(self._ids)
        canary = f"{number:032x}"
        path = Path("sfo", relay, BOX)
        at_ns = round(at_s * S)
        self.picture.take(
            Intent(
                canary=canary,
                path=path,
                path_seq=number,
                mailbox_seq=number,
                stream_epoch="e",
                due_ns=at_ns,
                at_ns=at_ns,
                deadline_s=2.0,
                loss_after_s=60.0,
            )
        )
        self.picture.take(
            Submission(
                canary=canary,
                path=path,
                sent_ns=at_ns,
                at_ns=at_ns + 10_000_000,
                result=Result.ACCEPTED,
                phases={"connect": 0.001, "data": 0.001, "accept": 0.001},
            )
        )
        return canary

    def arrive(self, canary: str, delay_s: float, uid: int) -> None:
        relay = self.picture.canaries[canary].relay
        sent_ns = self.picture.canaries[canary].due_by_ns - 2 * S
        self.picture.take(
            Arrival(
                canary=canary,
                path=Path("sfo", relay, BOX),
                path_seq=int(canary, 16),
                mailbox_seq=int(canary, 16),
                stream_epoch="e",
                sent_ns=sent_ns,
                seen_ns=sent_ns + round(delay_s * S),
                delay=Interval(delay_s - 0.01, delay_s),
                clock="boottime",
                folder="INBOX",
                junk=False,
                uidvalidity=1,
                uid=uid,
            )
        )

    def checked(self, at_s: float) -> None:
        self.picture.take(
            Heartbeat(
                agent="sfo",
                at_ns=round(at_s * S),
                version="0",
                boot_id="b",
                started_ns=0,
                in_flight=0,
                lag_s=0.0,
                spool=SpoolHealth(epoch="e", last_seq=0, depth=0, bytes=0, dropped=0),
                mailboxes={BOX: MailboxHealth(state="ok", watermark_ns=round(at_s * S))},
                counters={},
            )
        )


def test_a_relay_is_hit_once_several_canaries_are_overdue_by_a_complete_check() -> None:
    fleet = Fleet()
    for number in range(SEEN_AT):
        fleet.send("bad", 100 + number)
        fleet.arrive(fleet.send("good", 100 + number), 0.2, uid=number + 1)
    # The deadline has passed by the clock, but nobody has looked into the mailbox since.
    fleet.checked(101.0)
    assert fleet.picture.judge(200 * S) == []
    fleet.checked(102.5)
    assert fleet.picture.judge(200 * S) == []
    assert fleet.picture.relays["bad"].state == "waiting"
    fleet.checked(104.0)
    assert fleet.picture.judge(201 * S) == ["bad"]
    assert fleet.picture.relays["bad"].state == "hit"
    assert fleet.picture.relays["good"].state == "ok"
    assert fleet.picture.first_seen_ns == {"bad": 201 * S}
    # Seen once, it is no news any more.
    assert fleet.picture.judge(202 * S) == []


def test_mail_that_comes_home_late_is_late_and_overtaken() -> None:
    fleet = Fleet()
    stuck = fleet.send("bad", 100)
    fleet.arrive(fleet.send("good", 101), 0.2, uid=1)
    fleet.arrive(stuck, 30.0, uid=2)
    fleet.picture.judge(140 * S)
    bad, good = fleet.picture.relays["bad"], fleet.picture.relays["good"]
    assert (bad.late, bad.reordered, bad.overdue) == (1, 1, 0)
    assert (good.late, good.reordered) == (0, 0)
    assert fleet.picture.pending == 0


def test_a_canary_that_is_given_up_is_lost() -> None:
    fleet = Fleet()
    canary = fleet.send("bad", 100)
    fleet.picture.take(
        Expiry(canary=canary, path=Path("sfo", "bad", BOX), at_ns=0, lost=True, watermark_ns=0)
    )
    fleet.picture.judge(200 * S)
    assert fleet.picture.relays["bad"].lost == 1
    assert [verdict.outcome for verdict in fleet.picture.verdicts()] == [Outcome.LOST]


def test_events_about_canaries_of_nobody_knows_when_are_passed_over() -> None:
    fleet = Fleet()
    fleet.picture.take(
        Expiry(canary="f" * 32, path=Path("sfo", "bad", BOX), at_ns=0, lost=True, watermark_ns=0)
    )
    assert fleet.picture.verdicts() == []
