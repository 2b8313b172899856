"""The estate: a round trip, its configuration, its truth, and what it refuses."""

import asyncio

import pytest

from lab.estate import Estate, loopback
from lab.extras import LabError
from lab.faults import Drop, Hold, ImapDown, InboundFiltered, Lose, Refuse
from lab.specs import AgentSpec, MailboxSpec, RelaySpec
from probes.contract.config.models import Config, RelayTls
from probes.contract.stages import Stage
from tests.lab.clients import (
    INBOX,
    RCPT,
    SENDER,
    delivered,
    message_ids,
    only_message,
    send,
    send_blocking,
)


async def test_a_round_trip(estate: Estate) -> None:
    relay = estate.relays["a"]
    reply = await send(relay, "trip@x")
    await delivered(estate, 1)
    (accepted,) = estate.truth.acceptances
    (record,) = estate.truth.deliveries
    assert reply == f"2.0.0 Ok: queued as {accepted.queue_id}"
    assert (accepted.relay, accepted.sender, accepted.recipient) == ("a", SENDER, RCPT)
    assert (record.relay, record.mailbox, record.folder) == ("a", INBOX, "INBOX")
    assert record.message_id == accepted.message_id == "<trip@x>"
    assert record.queue_id == accepted.queue_id
    assert record.accepted_ns == accepted.accepted_ns <= record.delivered_ns
    assert record.egress == relay.egress
    message = await only_message(estate.mailboxes[INBOX])
    outer, inner = message.get_all("Received", [])
    assert f"from a.lab.example (unknown [{relay.egress}])" in outer
    assert "by mx-a.lab.example (mailcanary lab) with ESMTP id" in outer
    assert f"for <{RCPT}>;" in outer
    assert "from agent.example (unknown [127.0.0.1])" in inner
    assert f"by a.lab.example (mailcanary lab) with ESMTP id {record.queue_id}" in inner
    assert message["Authentication-Results"].split() == [
        "mx.acme.example;",
        "spf=pass",
        f"smtp.mailfrom={SENDER};",
        "dkim=pass",
        "header.d=monitor.example;",
        "dmarc=pass",
        "header.from=monitor.example",
    ]
    assert message["Return-Path"] == f"<{SENDER}>"
    assert message.get_payload() == "Hello\r\n..two dots\r\n"


async def test_the_standard_librarys_client(estate: Estate) -> None:
    code, _ = await asyncio.to_thread(send_blocking, estate.relays["b"], "std@x")
    assert code == 250
    await delivered(estate, 1)
    assert message_ids(estate) == ["std@x"]


async def test_the_configuration_is_valid_and_complete() -> None:
    relays: list[RelaySpec | str] = [
        RelaySpec(name="r1", labels={"provider": "aws"}, capacity=600.0, users={"u": "relay-pw"}),
        "r2",
    ]
    mailboxes: list[MailboxSpec | str] = [
        MailboxSpec(name="acme/inbox", labels={"mx": "lab"}),
        "bolt/in",
    ]
    agents: list[AgentSpec | str] = [AgentSpec(name="sfo", labels={"site": "sfo"}), "fra"]
    async with Estate(relays, mailboxes, agents) as estate:
        config = Config.model_validate(
            estate.config_document(interval="2s", timeouts={"connect": "3s"})
        )
        first = config.relays[0]
        assert (first.host, first.port) == ("127.20.0.1", estate.relays["r1"].port)
        assert [str(address) for address in first.egress] == ["127.21.0.1"]
        assert first.labels == {"provider": "aws"}
        assert first.tls is RelayTls.NONE
        assert config.defaults.interval == 2.0
        assert config.timeouts.connect == 3.0
        sender = config.agents[0].sender
        assert sender is not None
        assert (sender.address, sender.bounces) == (
            "canary-sfo@monitor.example",
            "monitor/sfo-bounces",
        )
        assert [customer.name for customer in config.customers] == ["acme", "bolt", "monitor"]
        assert [len(customer.canaries) for customer in config.customers] == [1, 1, 0]
        named = {box.imap.secret for customer in config.customers for box in customer.mailboxes} | {
            relay.auth.secret for relay in config.relays if relay.auth
        }
        assert named == set(estate.secrets)
        assert estate.secrets["r1"] == "relay-pw"
        assert estate.secrets["acme/inbox"] == estate.mailboxes["acme/inbox"].password


def test_addresses_follow_from_the_order_and_are_known_before_the_start() -> None:
    assert [loopback(20, index) for index in (0, 249, 250)] == [
        "127.20.0.1",
        "127.20.0.250",
        "127.20.1.1",
    ]
    estate = Estate(["a", "b"], ["acme/inbox"])
    assert estate.relays["b"].host == "127.20.0.2"
    assert estate.relays["b"].destination.host == "127.22.0.2"
    assert estate.mailboxes["acme/inbox"].host == "127.23.0.1"


async def test_names_twice_and_malformed_are_refused() -> None:
    with pytest.raises(LabError, match="relay a is there twice"):
        Estate(["a", "a"], [])
    with pytest.raises(LabError, match="mailbox acme/inbox is there twice"):
        Estate([], ["acme/inbox", "acme/inbox"])
    with pytest.raises(LabError, match="must be customer/mailbox"):
        Estate([], ["inbox"])
    with pytest.raises(ValueError, match="needs a tls_context"):
        RelaySpec(name="a", tls=RelayTls.IMPLICIT)


async def test_orders_that_make_no_sense_are_refused(estate: Estate) -> None:
    with pytest.raises(LabError, match="no relay c; there are a, b"):
        await estate.order(Lose(), relays=["a", "c"])
    with pytest.raises(LabError, match="no mailbox acme/none"):
        await estate.order(Lose(), mailboxes=["acme/none"])
    with pytest.raises(LabError, match="InboundFiltered concerns whole connections"):
        await estate.order(InboundFiltered(), mailboxes=[INBOX])
    with pytest.raises(LabError, match="ImapDown concerns mailboxes"):
        await estate.order(ImapDown(), relays=["a"])
    for fault in (Refuse(stage=Stage.MAIL), Drop(stage=Stage.BANNER)):
        with pytest.raises(LabError, match="no recipient"):
            await estate.order(fault, mailboxes=[INBOX])
    assert estate.faults == ()


async def test_what_is_in_force_is_known(estate: Estate) -> None:
    hold = await estate.order(Hold(), relays=["a"])
    lose = await estate.order(Lose(), relays="b", mailboxes=INBOX)
    assert [order.fault for order in estate.faults] == [Hold(), Lose()]
    assert estate.faults[1].relays == frozenset({"b"})
    await hold.clear()
    await hold.clear()
    assert [order.fault for order in estate.faults] == [Lose()]
    await estate.clear()
    assert list(estate.faults) == []
    await lose.clear()


async def test_an_estate_that_was_never_started_can_be_closed() -> None:
    before = asyncio.all_tasks()
    await Estate(["a"], [INBOX]).close()
    assert asyncio.all_tasks() == before


async def test_ten_relays_and_six_mailboxes_carry_a_burst() -> None:
    relays = [f"r{n}" for n in range(10)]
    mailboxes = [f"acme/m{n}" for n in range(6)]
    async with Estate(relays, mailboxes) as estate:
        await asyncio.gather(
            *(
                send(estate.relays[f"r{n % 10}"], f"{n}@x", rcpt=f"m{n % 6}@acme.example")
                for n in range(120)
            )
        )
        await delivered(estate, 120)
        assert sorted(message_ids(estate)) == sorted(f"{n}@x" for n in range(120))
        await estate.until(lambda: not any(relay.queue for relay in estate.relays.values()))
