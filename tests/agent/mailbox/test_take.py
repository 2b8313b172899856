"""What a batch of mails gives: arrivals, bounces, and counts of the rest."""

from collections import Counter
from dataclasses import replace

import pytest

from agent.clock import Moment
from agent.mailbox.take import Find, Where, take
from probes.contract.errors import SpoolError
from probes.contract.events import Arrival, Bounce, Expiry, Interval
from probes.contract.names import Path
from probes.contract.secret import Secret
from probes.contract.stages import Reason
from probes.contract.token import HEADER, Key
from probes.imap import ImapFailure, ImapStage, Message
from tests.agent.fakes import (
    UNSEEN_NS,
    HandClock,
    InlineSpool,
    bounce_mail,
    canary_mail,
    dsn,
    flight,
    other_mail,
)
from tests.agent.mailbox.benches import Bench

WHERE = Where("INBOX", junk=False, uidvalidity=7)


@pytest.fixture
def bench(inline_spool: InlineSpool, clock: HandClock) -> Bench:
    """A mailbox."""
    return Bench(inline_spool, clock)


@pytest.fixture
def home(inline_spool: InlineSpool, clock: HandClock) -> Bench:
    """A mailbox to which bounces come."""
    return Bench(inline_spool, clock, takes_bounces=True)


class Mails:
    """Whole mails by UID."""

    def __init__(self, *wholes: bytes) -> None:
        self.wholes = dict(enumerate(wholes, start=1))
        self.asked: list[int] = []

    async def fetch(self, uid: int) -> bytes | None:
        """The mail, if it is there."""
        self.asked.append(uid)
        return self.wholes.get(uid)


async def taken(
    bench: Bench,
    *messages: Message,
    where: Where = WHERE,
    mails: Mails | None = None,
    before: Moment | None = None,
) -> tuple[list[Find], Counter[str]]:
    """What the batch gives, seen now."""
    there_ns = bench.clock.now().boot_ns
    shown = [replace(message, there_ns=there_ns) for message in messages]
    fetch = (mails or Mails()).fetch
    return await take(bench.watch, bench.reader, where, shown, before, fetch)


async def test_an_empty_batch_asks_nobody(bench: Bench) -> None:
    assert await taken(bench) == ([], Counter())
    assert bench.spool.runs == 0


async def test_a_canary_in_the_air_has_arrived(bench: Bench, clock: HandClock) -> None:
    made = bench.fly(1)
    before = clock.advance(1)
    clock.advance(1)
    finds, counts = await taken(bench, canary_mail(made, 4), before=before)
    [(uid, event)] = finds
    assert uid == 4
    assert isinstance(event, Arrival)
    assert (event.canary, event.clock, event.delay) == (made.canary, "boottime", Interval(1.0, 2.0))
    assert +counts == {"canaries_arrived": 1}
    # Known from memory: the spool was not asked.
    assert bench.spool.runs == 0


async def test_a_lost_canary_that_turns_up_still_has_its_boot_clock(
    bench: Bench, clock: HandClock
) -> None:
    made = bench.fly(1)
    clock.advance(100)
    expiry = Expiry(canary=made.canary, path=made.path, at_ns=1, lost=True, watermark_ns=1)
    await bench.spool.run(lambda store: store.end_wait(expiry))
    bench.air.forget(made)
    clock.step(3600)
    [(_, event)], _ = await taken(bench, canary_mail(made, 4))
    assert isinstance(event, Arrival)
    assert (event.clock, event.delay) == ("boottime", Interval(0.0, 100.0))


async def test_a_second_copy_of_one_that_is_home_is_an_arrival_by_the_wall_clock(
    bench: Bench, clock: HandClock
) -> None:
    made = flight(1, sent=clock.now()).numbered(1, 1, "e1")
    clock.advance(5)
    [(_, event)], counts = await taken(bench, canary_mail(made, 9))
    assert isinstance(event, Arrival)
    assert (event.clock, event.delay) == ("wall", Interval(0.0, 6.0))
    assert counts["canaries_arrived"] == 1


async def test_two_copies_in_one_batch_are_two_arrivals(bench: Bench) -> None:
    made = bench.fly(1)
    finds, _ = await taken(bench, canary_mail(made, 4), canary_mail(made, 5))
    assert [uid for uid, _ in finds] == [4, 5]
    assert all(isinstance(e, Arrival) and e.clock == "boottime" for _, e in finds)


async def test_in_a_renumbered_folder_only_the_awaited_are_news(
    bench: Bench, clock: HandClock
) -> None:
    awaited = bench.fly(1)
    counted = flight(2, sent=clock.now()).numbered(1, 1, "e1")
    where = Where("INBOX", junk=False, uidvalidity=8, known_only_below=10)
    finds, counts = await taken(
        bench,
        canary_mail(counted, 3),
        canary_mail(awaited, 4),
        canary_mail(counted, 10),
        where=where,
    )
    assert [uid for uid, _ in finds] == [4, 10]
    assert counts["canaries_arrived"] == 2


async def test_what_is_not_ours_is_only_counted(bench: Bench, clock: HandClock) -> None:
    made = bench.fly(1)
    forger = Key("k1", Secret("not the signing key of them", "k1"))
    stranger = Key("zz", Secret("another agent's signing key", "zz"))
    elsewhere = flight(3, sent=clock.now(), path=Path("sfo", "relay-a1", "zeta/inbox"))
    broken = Message(7, None, f"{HEADER}: v=1; id=nonsense\r\n\r\n".encode(), UNSEEN_NS)
    finds, counts = await taken(
        bench,
        other_mail(1),
        canary_mail(made, 2, key=forger),
        canary_mail(made, 3, key=stranger),
        canary_mail(elsewhere.numbered(1, 1, "e1"), 4),
        broken,
    )
    assert finds == []
    assert +counts == {
        "other_mail": 1,
        "canaries_forged": 1,
        "canaries_foreign": 1,
        "canaries_replayed": 1,
        "canaries_malformed": 1,
    }


async def test_an_old_canary_is_no_arrival_unless_it_is_still_known(
    bench: Bench, clock: HandClock
) -> None:
    known = bench.fly(1)
    unknown = flight(2, sent=clock.now()).numbered(1, 1, "e1")
    clock.step(7200)
    finds, counts = await taken(bench, canary_mail(known, 1), canary_mail(unknown, 2))
    [(uid, event)] = finds
    assert isinstance(event, Arrival)
    assert (uid, event.clock, event.delay) == (1, "boottime", Interval(0.0, 0.0))
    assert +counts == {"canaries_arrived": 1, "canaries_replayed": 1}


async def test_bounces_count_only_where_they_come_home(bench: Bench) -> None:
    made = bench.fly(1)
    mails = Mails(dsn(made))
    finds, counts = await taken(bench, bounce_mail(mails.wholes[1], 1), mails=mails)
    assert (finds, counts, mails.asked) == ([], {"other_mail": 1}, [])


async def test_a_bounce_names_its_canary(home: Bench) -> None:
    made = home.fly(1)
    mails = Mails(dsn(made))
    [(uid, event)], counts = await taken(home, bounce_mail(mails.wholes[1], 1), mails=mails)
    assert uid == 1
    assert isinstance(event, Bounce)
    assert (event.canary, event.path, event.status) == (made.canary, made.path, "5.1.1")
    assert +counts == {"bounces": 1}


async def test_a_bounce_with_an_envelope_id_alone_must_be_of_a_canary_that_is_known(
    home: Bench, clock: HandClock
) -> None:
    known, unknown = home.fly(1), flight(2, sent=clock.now()).numbered(1, 1, "e1")
    mails = Mails(dsn(known, header=False), dsn(unknown, header=False))
    finds, counts = await taken(
        home, *(bounce_mail(whole, uid) for uid, whole in mails.wholes.items()), mails=mails
    )
    assert [uid for uid, _ in finds] == [1]
    assert (counts["bounces"], counts["bounces_foreign"]) == (1, 1)


async def test_a_bounce_with_an_envelope_id_alone_is_believed_after_the_wait_was_over(
    home: Bench,
) -> None:
    made = home.fly(1)
    over = Expiry(canary=made.canary, path=made.path, at_ns=1, lost=True, watermark_ns=None)
    await home.spool.run(lambda store: store.end_wait(over))
    bare = dsn(made, header=False)
    finds, counts = await taken(home, bounce_mail(bare, 1), mails=Mails(bare))
    assert [event.canary for _, event in finds if isinstance(event, Bounce)] == [made.canary]
    assert +counts == {"bounces": 1}


async def test_other_bounces_and_vanished_ones_are_foreign(home: Bench) -> None:
    made = home.fly(1)
    report = dsn(made, header=False, envelope=False)
    mails = Mails(report, b"Return-Path: <>\r\n\r\nnot a report at all")
    messages = [bounce_mail(report, uid) for uid in (1, 2, 3)]
    finds, counts = await taken(home, *messages, mails=mails)
    assert mails.asked == [1, 2, 3]
    assert (finds, counts["bounces_foreign"]) == ([], 3)


async def test_finds_are_in_the_order_of_their_uids(home: Bench) -> None:
    made, other = home.fly(1), home.fly(2)
    mails = Mails(dsn(made))
    finds, _ = await taken(
        home, bounce_mail(mails.wholes[1], 1), canary_mail(other, 2), mails=mails
    )
    assert [uid for uid, _ in finds] == [1, 2]


async def test_a_spool_that_cannot_be_asked_takes_nothing(bench: Bench, clock: HandClock) -> None:
    made = flight(1, sent=clock.now()).numbered(1, 1, "e1")
    bench.spool.problem = "disk full"
    with pytest.raises(SpoolError, match="disk full"):
        await taken(bench, canary_mail(made, 1))


async def test_a_bounce_that_cannot_be_read_takes_nothing(home: Bench) -> None:
    made = home.fly(1)
    failure = ImapFailure(ImapStage.FETCH, Reason.TIMEOUT, "no answer")

    async def fetch(_uid: int) -> bytes | None:
        raise failure

    with pytest.raises(ImapFailure, match="no answer"):
        await take(home.watch, home.reader, WHERE, [bounce_mail(dsn(made), 1)], None, fetch)


# --- floods ---------------------------------------------------------------------------------


async def test_of_one_canary_that_comes_a_thousand_times_a_few_are_told(bench: Bench) -> None:
    made, other = bench.fly(1), bench.fly(2)
    finds, counts = [], Counter[str]()
    for batch in range(10):
        uids = range(1 + 100 * batch, 101 + 100 * batch)
        found, counted = await taken(bench, *(canary_mail(made, uid) for uid in uids))
        finds += found
        counts += counted
    assert [uid for uid, _ in finds] == list(range(1, 1001))
    assert [uid for uid, event in finds if event is not None] == list(range(1, 11))
    assert (counts["canaries_arrived"], counts["copies_not_told"]) == (1000, 990)
    [(_, event)], _ = await taken(bench, canary_mail(other, 2000))
    assert isinstance(event, Arrival)


async def test_a_batch_that_is_taken_again_gives_the_same_again(bench: Bench) -> None:
    made = bench.fly(1)
    batch = [canary_mail(made, uid) for uid in range(1, 31)]
    first, _ = await taken(bench, *batch)
    again, _ = await taken(bench, *batch)
    assert again == first
    junk = Where("Junk", junk=True, uidvalidity=7)
    [(_, event)], _ = await taken(bench, batch[0], where=junk)
    assert event is None


async def test_a_bounce_that_names_many_recipients_is_one_event(home: Bench) -> None:
    made = home.fly(1)
    head, _, rest = dsn(made).partition(b"Final-Recipient")
    group, _, tail = rest.partition(b"\r\n--b1")
    whole = head + (b"Final-Recipient" + group + b"\r\n\r\n") * 50 + b"\r\n--b1" + tail
    whole = whole.replace(b"Action: failed", b"Action: delayed", 20)
    mails = Mails(whole)
    finds, counts = await taken(home, bounce_mail(whole, 1), mails=mails)
    actions = [event.action for _, event in finds if isinstance(event, Bounce)]
    assert (actions, counts["bounces"]) == (["delayed", "failed"], 2)


async def test_of_one_bounce_that_comes_again_and_again_a_few_are_told(home: Bench) -> None:
    made = home.fly(1)
    mails = Mails(*[dsn(made, action="delayed")] * 30, dsn(made))
    finds, counts = await taken(
        home, *(bounce_mail(whole, uid) for uid, whole in mails.wholes.items()), mails=mails
    )
    assert [uid for uid, _ in finds] == list(range(1, 32))
    assert [uid for uid, event in finds if event is not None] == [*range(1, 11), 31]
    assert counts["copies_not_told"] == 20


async def test_bounces_are_read_within_the_command_budget(home: Bench) -> None:
    made = home.fly(1)
    mails = Mails(*[dsn(made)] * 3)
    spent = home.watch.budget.spent
    await taken(
        home, *(bounce_mail(whole, uid) for uid, whole in mails.wholes.items()), mails=mails
    )
    assert home.watch.budget.spent - spent == 3
