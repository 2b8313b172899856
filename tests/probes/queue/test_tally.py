"""What a listing adds up to, and how little of it is kept."""

import itertools
import random
import tracemalloc
from collections import Counter

import msgspec
import pytest

from probes.contract.checks import QueuedCanary, QueueDepth, QueueGroup
from probes.contract.stages import Reason, Stage
from probes.contract.units import NS_PER_S
from probes.contract.wire import MAX_EVENT_BYTES
from probes.queue.model import MAX_SIZE, Mail, Recipient
from probes.queue.tally import EVERYWHERE_ELSE, Bounds, Tally

TIMED_OUT = "connect to mx1.example[192.0.2.1]:25: Connection timed out"
REFUSED = "connect to mx1.example[192.0.2.1]:25: Connection refused"
GREY = "host mx1.example[192.0.2.1] said: 450 4.2.0 Greylisted (in reply to RCPT TO command)"
CANARY = "canary@monitor.example"
T0 = 1_760_000_000


def mail(
    *recipients: tuple[str, str | None],
    at_s: int = T0,
    size: int = 100,
    sender: str = "x@y.example",
    queue: str = "deferred",
    queue_id: str = "ID",
) -> Mail:
    return Mail(queue, queue_id, at_s, size, sender, [Recipient(*each) for each in recipients])


def test_depths_and_groups() -> None:
    tally = Tally(frozenset(), ("active", "deferred"))
    tally.take(mail(("a@B.example", TIMED_OUT), ("b@b.example", TIMED_OUT), at_s=T0 + 5))
    tally.take(mail(("c@b.example", TIMED_OUT.replace("mx1", "mx2")), at_s=T0 + 9))
    tally.take(mail(("c@d.example", None), ("nobody", "?\x1b[31m"), at_s=T0 + 7, size=11))
    seen = tally.seen(complete=True)
    assert seen.queues == {
        "active": QueueDepth(count=0, bytes=0, oldest_ns=None),
        "deferred": QueueDepth(count=3, bytes=211, oldest_ns=(T0 + 5) * NS_PER_S),
    }
    first, *others = seen.groups
    assert first == QueueGroup(
        queue="deferred",
        domain="b.example",
        stage=Stage.EGRESS_CONNECT,
        reason=Reason.TIMEOUT,
        text=TIMED_OUT,
        count=3,
        oldest_ns=(T0 + 5) * NS_PER_S,
        newest_ns=(T0 + 9) * NS_PER_S,
    )
    assert [(g.domain, g.stage, g.reason, g.text) for g in others] == [
        ("", None, Reason.OTHER, "?\N{REPLACEMENT CHARACTER}[31m"),
        ("d.example", None, None, None),
    ]
    assert (seen.canaries, seen.more_groups, seen.complete) == ([], 0, True)


def test_canaries_are_known_by_their_sender() -> None:
    tally = Tally(frozenset({CANARY}))
    tally.take(mail(("a@b.example", TIMED_OUT), sender=CANARY.upper(), queue_id="4XyZ", at_s=T0))
    tally.take(mail(("a@b.example", None), sender="", at_s=T0))
    (canary,) = tally.seen(complete=True).canaries
    assert canary == QueuedCanary(
        queue_id="4XyZ",
        queue="deferred",
        arrived_ns=T0 * NS_PER_S,
        sender=CANARY.upper(),
        recipient="a@b.example",
        stage=Stage.EGRESS_CONNECT,
        reason=Reason.TIMEOUT,
        text=TIMED_OUT,
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_oldest_canaries_are_listed(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same in every run
    times = [T0 + chance.randrange(100) for _ in range(500)]
    tally = Tally(frozenset({CANARY}), bounds=Bounds(listed_canaries=20))
    for number, at_s in enumerate(times):
        tally.take(mail(("a@b.example", GREY), sender=CANARY, at_s=at_s, queue_id=str(number)))
    seen = tally.seen(complete=True)
    assert [each.arrived_ns // NS_PER_S for each in seen.canaries] == sorted(times)[:20]
    assert seen.more_canaries == 480


def test_put_off_are_those_that_were_tried_and_not_greylisted() -> None:
    tally = Tally(frozenset({CANARY}))
    for text, at_s in [
        (REFUSED, T0),
        (TIMED_OUT, T0 + 2),
        (TIMED_OUT, T0 + 1),
        (GREY, 5),
        (None, 6),
    ]:
        tally.take(mail(("a@b.example", text), sender=CANARY, at_s=at_s))
    tally.take(mail(("a@b.example", REFUSED), at_s=1))
    most, other = tally.put_off()
    assert (most.why, most.count, most.oldest_s) == (
        (Stage.EGRESS_CONNECT, Reason.TIMEOUT),
        2,
        T0 + 1,
    )
    assert (other.why[1], other.count) == (Reason.REFUSED, 1)


@pytest.mark.parametrize("order", list(itertools.permutations(["many", "few", "grey"])))
def test_no_recipient_is_lost_whatever_is_not_listed(order: tuple[str, ...]) -> None:
    """The largest group is found although it may begin when the table is full."""
    parts = {
        "many": [f"u{n}@many.example" for n in range(300)],
        "few": [f"u@d{n}.example" for n in range(2_000)],
        "grey": [f"u@g{n}.example" for n in range(500)],
    }
    tally = Tally(frozenset(), bounds=Bounds(groups=50, listed_groups=10))
    for part in order:
        for address in parts[part]:
            tally.take(mail((address, GREY if part == "grey" else TIMED_OUT)))
    seen = tally.seen(complete=True)
    assert seen.groups[0].domain == "many.example"
    assert seen.groups[0].count == 300
    counts: Counter[Reason | None] = Counter()
    for group in seen.groups:
        counts[group.reason] += group.count
    assert counts == {Reason.TIMEOUT: 2_300, Reason.GREYLISTED: 500}
    listed = [group for group in seen.groups if group.domain != EVERYWHERE_ELSE]
    assert len(listed) == 10
    assert seen.more_groups == 2_501 - 10


def test_a_hostile_listing_does_not_grow_memory() -> None:
    tally = Tally(frozenset({CANARY}))

    def fill(first: int, count: int) -> None:
        for n in range(first, first + count):
            tally.take(
                mail(
                    (f"u@{n}{'x' * 300}.example", f"{n} {'y' * 3_000}"),
                    queue=f"q{n}",
                    sender=CANARY,
                    at_s=T0 - n,
                    size=MAX_SIZE,
                )
            )

    tracemalloc.start()
    try:
        fill(0, 3_000)
        before = tracemalloc.get_traced_memory()[0]
        fill(3_000, 12_000)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 500_000
    assert tally.mails == 15_000


def test_what_is_listed_fits_in_an_event() -> None:
    tally = Tally(frozenset({CANARY}))
    wide = "\N{GRINNING FACE}" * 400
    for n in range(3_000):
        texts = (TIMED_OUT, GREY, REFUSED, "?")
        tally.take(
            mail(
                (f"{n}{wide}@{n}{wide}", f"{texts[n % 4]}{wide}"),
                queue=f"{n % 16}{wide}",
                queue_id=wide,
                sender=CANARY,
            )
        )
    assert len(msgspec.json.encode(tally.seen(complete=True))) < MAX_EVENT_BYTES * 0.9
