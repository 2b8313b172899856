"""Faults of relays towards their clients: each shown, and shown to be gone once cleared."""

import aiosmtplib
import pytest

from lab.estate import Estate
from lab.faults import (
    Drop,
    Greylist,
    InboundFiltered,
    PortClosed,
    Refuse,
    Side,
    Tarpit,
)
from probes.contract.stages import Stage
from tests.lab.clients import (
    INBOX,
    client,
    delivered,
    message_ids,
    refused_with,
    send,
)


async def test_inbound_filtered_times_connections_out_and_spares_old_ones(estate: Estate) -> None:
    async with client(estate.relays["a"]) as early:
        filtered = await estate.order(InboundFiltered(), relays=["a"])
        with pytest.raises(aiosmtplib.SMTPConnectTimeoutError):
            await client(estate.relays["a"], timeout=0.2).connect()
        assert (await early.noop()).code == 250
    await send(estate.relays["b"], "other@x")
    await filtered.clear()
    await send(estate.relays["a"], "after@x")
    await delivered(estate, 2)


async def test_inbound_filtered_leaves_the_way_out_open(estate: Estate) -> None:
    relay = estate.relays["a"]
    async with client(relay) as early:
        await estate.order(InboundFiltered(), relays=["a"])
        await early.sendmail("a@b.example", ["inbox@acme.example"], b"Message-ID: <e@x>\r\n\r\n")
    await delivered(estate, 1)


async def test_closed_port_refuses(estate: Estate) -> None:
    closed = await estate.order(PortClosed(), relays=["a"])
    with pytest.raises(aiosmtplib.SMTPConnectError, match="Connect call failed"):
        await client(estate.relays["a"]).connect()
    await closed.clear()
    await send(estate.relays["a"], "after@x")


async def test_orders_overlap_and_each_is_cleared_alone(estate: Estate) -> None:
    closed = await estate.order(PortClosed(), relays=["a"])
    filtered = await estate.order(InboundFiltered())
    await closed.clear()
    with pytest.raises(aiosmtplib.SMTPConnectTimeoutError):
        await client(estate.relays["a"], timeout=0.2).connect()
    again = await estate.order(PortClosed(), relays=["a"])
    await filtered.clear()
    with pytest.raises(aiosmtplib.SMTPConnectError, match="Connect call failed"):
        await client(estate.relays["a"]).connect()
    await again.clear()
    await send(estate.relays["a"], "after@x")


@pytest.mark.parametrize(
    "stage", [Stage.BANNER, Stage.EHLO, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.ACCEPT]
)
@pytest.mark.parametrize(("code", "enhanced"), [(451, "4.7.1"), (554, "5.7.1"), (421, "4.3.2")])
async def test_refused_at_every_stage(
    estate: Estate, stage: Stage, code: int, enhanced: str
) -> None:
    fault = Refuse(code=code, enhanced=enhanced, text="not you", stage=stage)
    refusing = await estate.order(fault, relays=["a"])
    assert await refused_with(estate.relays["a"]) == f"{code} {enhanced} not you"
    await send(estate.relays["b"], "other@x")
    await refusing.clear()
    await send(estate.relays["a"], "after@x")
    await delivered(estate, 2)
    assert sorted(message_ids(estate)) == ["after@x", "other@x"]


async def test_refused_for_one_mailbox_only(estate: Estate) -> None:
    for stage in (Stage.RCPT, Stage.ACCEPT):
        refusing = await estate.order(Refuse(stage=stage), mailboxes=[INBOX])
        assert (await refused_with(estate.relays["a"])).startswith("550 5.7.1")
        await send(estate.relays["a"], "other@x", rcpt="other@acme.example")
        await refusing.clear()


@pytest.mark.parametrize(
    "stage", [Stage.BANNER, Stage.EHLO, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.ACCEPT]
)
async def test_tarpit_keeps_every_stage_waiting(estate: Estate, stage: Stage) -> None:
    stuck = await estate.order(Tarpit({stage: 3600.0}), relays=["a"])
    with pytest.raises(aiosmtplib.SMTPTimeoutError):
        await send(estate.relays["a"], "stuck@x", patience=0.1)
    await send(estate.relays["b"], "other@x")
    await stuck.clear()
    slow = await estate.order(Tarpit({stage: 0.01}), relays=["a"])
    await send(estate.relays["a"], "slow@x")
    await slow.clear()
    await send(estate.relays["a"], "after@x")
    await delivered(estate, 3)


@pytest.mark.parametrize(
    "stage", [Stage.BANNER, Stage.EHLO, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.ACCEPT]
)
async def test_the_connection_drops_at_every_stage(estate: Estate, stage: Stage) -> None:
    dropping = await estate.order(Drop(stage), relays=["a"])
    with pytest.raises((aiosmtplib.SMTPServerDisconnected, ConnectionError)):
        await send(estate.relays["a"], "dropped@x")
    await dropping.clear()
    await send(estate.relays["a"], "after@x")
    taken = ["dropped@x"] if stage is Stage.ACCEPT else []
    await delivered(estate, 1 + len(taken))
    assert sorted(message_ids(estate)) == ["after@x", *taken]


async def test_the_relay_greylists_its_clients(estate: Estate) -> None:
    relay = estate.relays["a"]
    grey = await estate.order(Greylist(retry_after=3600.0, at=Side.RELAY), relays=["a"])
    for _ in range(2):
        assert (await refused_with(relay)).startswith("450 4.2.0 Greylisted")
    await grey.clear()
    quick = await estate.order(Greylist(retry_after=1e-9, at=Side.RELAY), relays=["a"])
    assert (await refused_with(relay)).startswith("450 4.2.0")
    await send(relay, "passed@x")
    await quick.clear()
