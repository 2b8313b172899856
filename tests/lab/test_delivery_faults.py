"""Faults between a relay and the mailbox: each shown, and shown to be gone once cleared."""

from email.message import Message
from email.parser import BytesParser
from email.policy import SMTP as SMTP_POLICY
from email.utils import parsedate_to_datetime

import pytest

from lab.estate import Estate
from lab.faults import (
    Bounce,
    ClockSkew,
    DelayNotice,
    Drop,
    Duplicate,
    Greylist,
    Hold,
    Junk,
    Lose,
    OutboundFiltered,
    PortClosed,
    Refuse,
    Reorder,
    Side,
    SlowPath,
    Tarpit,
    Verdicts,
    WrongEgress,
)
from lab.queue import State
from lab.specs import RelaySpec, Retry
from probes.contract.stages import Stage
from tests.lab.clients import BOUNCES, INBOX, delivered, message_ids, only_message, send


async def deferred(estate: Estate, relay: str) -> str:
    """Wait until the relay's only mail is deferred; returns the reason."""
    queue_of = estate.relays[relay]
    await estate.until(lambda: [entry.state for entry in queue_of.queue] == [State.DEFERRED])
    return queue_of.queue[0].reason


async def messages(estate: Estate, mailbox: str = INBOX) -> list[Message]:
    contents = await estate.mailboxes[mailbox].contents()
    parser = BytesParser(policy=SMTP_POLICY)
    return [parser.parsebytes(content) for content in contents.values()]


async def test_outbound_filtered_accepts_and_delivers_when_the_filter_is_gone(
    estate: Estate,
) -> None:
    relay = estate.relays["a"]
    filtered = await estate.order(OutboundFiltered(), relays=["a"])
    reply = await send(relay, "stuck@x")
    assert reply.startswith("2.0.0 Ok: queued as ")
    reason = await deferred(estate, "a")
    next_hop = f"mx-a.lab.example[{relay.destination.host}]:{relay.destination.port}"
    assert reason == f"connect to {next_hop}: Connection timed out"
    (entry,) = relay.queue
    assert entry.message_id == "<stuck@x>"
    assert entry.age_s(entry.accepted_ns + 2_500_000_000) == 2.5
    await send(estate.relays["b"], "other@x")
    await delivered(estate, 1)
    assert message_ids(estate) == ["other@x"]
    await filtered.clear()
    await delivered(estate, 2)
    assert message_ids(estate) == ["other@x", "stuck@x"]
    await estate.until(lambda: relay.queue == [])


async def test_the_destination_refuses_connections(estate: Estate) -> None:
    closed = await estate.order(PortClosed(Side.DESTINATION), relays=["a"])
    await send(estate.relays["a"], "1@x")
    assert (await deferred(estate, "a")).endswith(": Connection refused")
    await closed.clear()
    await delivered(estate, 1)


async def test_the_destination_defers(estate: Estate) -> None:
    fault = Refuse(451, "4.3.0", "busy", stage=Stage.MAIL, at=Side.DESTINATION)
    busy = await estate.order(fault, relays=["a"])
    await send(estate.relays["a"], "1@x")
    reason = await deferred(estate, "a")
    assert reason.endswith("said: 451 4.3.0 busy (in reply to MAIL FROM command)")
    await busy.clear()
    await delivered(estate, 1)


async def test_the_destination_greylists(estate: Estate) -> None:
    grey = await estate.order(Greylist(retry_after=3600.0), relays=["a"])
    await send(estate.relays["a"], "1@x")
    assert "450 4.2.0 Greylisted" in await deferred(estate, "a")
    await grey.clear()
    await delivered(estate, 1)
    await estate.order(Greylist(retry_after=1e-9), relays=["a"])
    await send(estate.relays["a"], "2@x")
    await delivered(estate, 2)
    await send(estate.relays["a"], "3@x")
    await delivered(estate, 3)
    assert message_ids(estate) == ["1@x", "2@x", "3@x"]


async def test_the_destination_is_a_tarpit() -> None:
    spec = RelaySpec(name="a", reply_timeout=0.1, retry=Retry(0.01, 1.0, 0.01))
    async with Estate([spec], [INBOX]) as estate:
        tarpit = await estate.order(Tarpit({Stage.RCPT: 3600.0}, at=Side.DESTINATION))
        await send(estate.relays["a"], "1@x")
        reason = await deferred(estate, "a")
        assert reason.startswith("timeout in the RCPT TO command with mx-a.lab.example[")
        await tarpit.clear()
        await delivered(estate, 1)


async def test_a_reply_lost_behind_the_relay_makes_a_duplicate(estate: Estate) -> None:
    dropping = await estate.order(Drop(at=Side.DESTINATION), relays=["a"])
    await send(estate.relays["a"], "twice@x")
    assert "lost connection" in await deferred(estate, "a")
    await dropping.clear()
    await estate.until(lambda: estate.relays["a"].queue == [])
    ids = message_ids(estate)
    assert len(ids) >= 2
    assert set(ids) == {"twice@x"}


async def test_hold_until_released(estate: Estate) -> None:
    held = await estate.order(Hold(), relays=["a"], mailboxes=[INBOX])
    for number in (1, 2):
        await send(estate.relays["a"], f"{number}@x")
    await send(estate.relays["a"], "free@x", rcpt="other@acme.example")
    await delivered(estate, 1)
    queue_of = estate.relays["a"]
    await estate.until(
        lambda: [entry.state for entry in queue_of.queue] == [State.HOLD, State.HOLD]
    )
    await held.clear()
    await delivered(estate, 3)
    assert sorted(message_ids(estate)) == ["1@x", "2@x", "free@x"]


async def test_lose(estate: Estate) -> None:
    losing = await estate.order(Lose(), relays=["a"])
    assert (await send(estate.relays["a"], "lost@x")).startswith("2.0.0 Ok")
    (loss,) = estate.truth.losses
    assert (loss.relay, loss.message_id) == ("a", "<lost@x>")
    assert estate.relays["a"].queue == []
    await losing.clear()
    await send(estate.relays["a"], "kept@x")
    await delivered(estate, 1)
    assert message_ids(estate) == ["kept@x"]


async def test_duplicate(estate: Estate) -> None:
    doubling = await estate.order(Duplicate(copies=2), relays=["a"])
    await send(estate.relays["a"], "thrice@x")
    await delivered(estate, 3)
    await doubling.clear()
    await send(estate.relays["a"], "once@x")
    await delivered(estate, 4)
    assert message_ids(estate) == ["thrice@x"] * 3 + ["once@x"]
    assert len(await estate.mailboxes[INBOX].contents()) == 4


async def test_reorder(estate: Estate) -> None:
    reordering = await estate.order(Reorder(window=3, flush_after=3600.0), relays=["a"])
    for number in range(4):
        await send(estate.relays["a"], f"{number}@x")
    await delivered(estate, 3)
    assert message_ids(estate) == ["2@x", "1@x", "0@x"]
    await reordering.clear()
    await delivered(estate, 4)
    assert [message["Message-ID"] for message in await messages(estate)] == [
        "<2@x>",
        "<1@x>",
        "<0@x>",
        "<3@x>",
    ]


async def test_slow_path(estate: Estate) -> None:
    slow = await estate.order(SlowPath(latency=0.05, jitter=0.01), relays=["a"])
    await send(estate.relays["a"], "slow@x")
    await delivered(estate, 1)
    await slow.clear()
    (record,) = estate.truth.deliveries
    assert record.delivered_ns - record.accepted_ns >= 50_000_000


async def test_junk(estate: Estate) -> None:
    junk = await estate.order(Junk(), relays=["a"], mailboxes=[INBOX])
    await send(estate.relays["a"], "spam@x")
    await send(estate.relays["b"], "ham@x")
    await delivered(estate, 2)
    await junk.clear()
    await send(estate.relays["a"], "fine@x")
    await delivered(estate, 3)
    assert {(record.message_id, record.folder) for record in estate.truth.deliveries} == {
        ("<spam@x>", "Junk"),
        ("<ham@x>", "INBOX"),
        ("<fine@x>", "INBOX"),
    }
    assert (await only_message(estate.mailboxes[INBOX], "Junk"))["Message-ID"] == "<spam@x>"


async def test_verdicts(estate: Estate) -> None:
    failing = await estate.order(Verdicts(spf="fail", dkim=None, dmarc="fail"), relays=["a"])
    await send(estate.relays["a"], "fail@x")
    await delivered(estate, 1)
    await failing.clear()
    await send(estate.relays["a"], "pass@x")
    await delivered(estate, 2)
    first, second = [message["Authentication-Results"] for message in await messages(estate)]
    assert "spf=fail" in first
    assert "dmarc=fail" in first
    assert "dkim" not in first
    assert "dkim=pass" in second


@pytest.mark.parametrize(("side", "index"), [(Side.RELAY, 1), (Side.DESTINATION, 0)])
async def test_clock_skew(estate: Estate, side: Side, index: int) -> None:
    skewed = await estate.order(ClockSkew(86400.0, at=side), relays=["a"])
    await send(estate.relays["a"], "1@x")
    await delivered(estate, 1)
    await skewed.clear()
    await send(estate.relays["a"], "2@x")
    await delivered(estate, 2)

    def ahead(message: Message) -> float:
        times = [
            parsedate_to_datetime(field.rpartition(";")[2])
            for field in message.get_all("Received", [])
        ]
        return (times[index] - times[1 - index]).total_seconds()

    wrong, right = await messages(estate)
    assert 86390 <= ahead(wrong) <= 86410
    assert -10 <= ahead(right) <= 10


async def test_wrong_egress(estate: Estate) -> None:
    wrong = await estate.order(WrongEgress("127.29.7.7"), relays=["a"])
    await send(estate.relays["a"], "1@x")
    await delivered(estate, 1)
    await wrong.clear()
    await send(estate.relays["a"], "2@x")
    await delivered(estate, 2)
    first, second = [message.get_all("Received", [])[0] for message in await messages(estate)]
    assert "(unknown [127.29.7.7])" in first
    assert f"(unknown [{estate.relays['a'].egress}])" in second
    assert [record.egress for record in estate.truth.deliveries] == [
        "127.29.7.7",
        estate.relays["a"].egress,
    ]


def report_of(dsn: Message) -> dict[str, str]:
    """The fields of a DSN's machine-readable part."""
    groups = [part for part in dsn.walk() if part.get_content_type() == "message/delivery-status"]
    return {
        name: str(value)
        for group in groups[0].walk()
        if group is not groups[0]
        for name, value in group.items()
    }


async def test_bounce_with_a_dsn(estate: Estate) -> None:
    bouncing = await estate.order(Bounce(), relays=["a"], mailboxes=[INBOX])
    await send(estate.relays["a"], "bounced@x", notify="FAILURE,DELAY")
    await delivered(estate, 1)
    (record,) = estate.truth.deliveries
    assert record.mailbox == BOUNCES
    (bounced,) = estate.truth.bounces
    assert (bounced.message_id, bounced.action) == ("<bounced@x>", "failed")
    dsn = await only_message(estate.mailboxes[BOUNCES])
    assert dsn["Return-Path"] == "<>"
    report = report_of(dsn)
    assert report["Action"] == "failed"
    assert report["Status"] == "5.1.1"
    assert report["Final-Recipient"] == "rfc822; inbox@acme.example"
    assert report["Original-Envelope-Id"] == "env+1"
    assert report["Remote-MTA"] == "dns; mx-a.lab.example"
    assert report["Diagnostic-Code"] == "smtp; 550 5.1.1 User unknown"
    assert "Message-ID: <bounced@x>" in dsn.as_string()
    await bouncing.clear()
    await send(estate.relays["a"], "fine@x")
    await delivered(estate, 2)


async def test_a_delayed_dsn_once_and_the_mail_after_it(estate: Estate) -> None:
    filtered = await estate.order(OutboundFiltered(), relays=["a"])
    await estate.order(DelayNotice(after=0.0), relays=["a"])
    await send(estate.relays["a"], "late@x", notify="DELAY")
    await estate.until(lambda: len(estate.truth.bounces) == 1)
    await estate.until(lambda: max(entry.attempts for entry in estate.relays["a"].queue) > 2)
    await filtered.clear()
    await delivered(estate, 2)
    assert {record.mailbox for record in estate.truth.deliveries} == {INBOX, BOUNCES}
    report = report_of(await only_message(estate.mailboxes[BOUNCES]))
    assert (report["Action"], report["Status"]) == ("delayed", "4.4.1")
    assert "Will-Retry-Until" in report
    assert [bounce.action for bounce in estate.truth.bounces] == ["delayed", "delayed"], (
        "one for the mail and, unsent, one for the DSN, which was stuck behind it"
    )


async def test_mail_that_is_too_old_is_given_up() -> None:
    spec = RelaySpec(name="a", connect_timeout=0.2, retry=Retry(0.01, 1.0, 0.01), lifetime=0.0)
    async with Estate([spec], [INBOX]) as estate:
        closed = await estate.order(PortClosed(Side.DESTINATION))
        await send(estate.relays["a"], "old@x")
        await estate.until(lambda: len(estate.truth.bounces) == 2)
        await closed.clear()
        assert [bounce.status for bounce in estate.truth.bounces] == ["4.4.1", "4.4.1"]
        assert estate.relays["a"].queue == []


async def test_an_unknown_recipient_bounces_without_any_fault(estate: Estate) -> None:
    await send(estate.relays["a"], "who@x", rcpt="nobody@acme.example")
    await delivered(estate, 1)
    report = report_of(await only_message(estate.mailboxes[BOUNCES]))
    assert report["Status"] == "5.1.1"


async def test_a_bounce_to_nobody_ends_quietly(estate: Estate) -> None:
    await send(estate.relays["a"], "who@x", rcpt="x@acme.example", sender="nobody@acme.example")
    await estate.until(lambda: len(estate.truth.bounces) == 2)
    await estate.until(lambda: estate.relays["a"].queue == [])
    assert estate.truth.deliveries == []
