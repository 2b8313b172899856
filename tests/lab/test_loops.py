"""The estate works, and closes without a trace, on asyncio's loop and on uvloop's."""

import asyncio
import gc
import ssl
from collections.abc import Callable

import pytest
import trustme
import uvloop

from lab.estate import Estate
from lab.faults import (
    Hold,
    ImapDown,
    ImapHung,
    InboundFiltered,
    OutboundFiltered,
    PortClosed,
    Tarpit,
)
from lab.specs import MailboxSpec, RelaySpec
from probes.contract.config.models import RelayTls
from probes.contract.stages import Stage
from tests.lab.clients import INBOX, RCPT, SENDER, client, delivered, imap, mail, send, tls_client
from tests.lab.conftest import quick_relay

Loops = pytest.mark.parametrize(
    "loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


async def every_kind_of_loose_end() -> None:
    """Close an estate while everything is busy, stuck, filtered or hung."""
    async with Estate([quick_relay(name) for name in "abcdefg"], [INBOX, "acme/other"]) as estate:
        relays = estate.relays
        await send(relays["a"], "1@x")
        idle = await imap(estate.mailboxes[INBOX])
        await idle.idle_start(timeout=30)
        hung = await imap(estate.mailboxes["acme/other"])
        early = client(relays["b"])
        await early.connect()
        await estate.order(InboundFiltered(), relays=["b"])
        await estate.order(OutboundFiltered(), relays=["c"])
        await send(relays["c"], "stuck@x")
        await estate.order(PortClosed(), relays=["d"])
        await estate.order(Hold(), relays=["e"])
        await send(relays["e"], "held@x")
        await estate.order(Tarpit({Stage.MAIL: 3600.0}), relays=["f"])
        stuck = asyncio.create_task(send(relays["f"], "tarpit@x", patience=30.0))
        await estate.order(ImapHung(), mailboxes=["acme/other"])
        parked_reader, parked = await asyncio.open_connection(
            estate.mailboxes["acme/other"].host, estate.mailboxes["acme/other"].port
        )
        late = asyncio.create_task(hung.noop())
        await estate.until(lambda: bool(relays["c"].queue) and relays["c"].queue[0].attempts > 1)
        await estate.order(ImapDown(), mailboxes=[INBOX])
    late.cancel()  # aioimaplib does not tell a pending command that its connection is lost
    await asyncio.gather(stuck, late, return_exceptions=True)
    assert await parked_reader.read() == b""
    parked.close()
    early.close()


async def faults_come_and_go() -> None:
    async with Estate([quick_relay("a")], [INBOX]) as estate:
        for round_, fault in enumerate((InboundFiltered(), OutboundFiltered(), PortClosed())):
            handle = await estate.order(fault)
            if isinstance(fault, OutboundFiltered):
                await send(estate.relays["a"], f"{round_}@x")
                await handle.clear()
            else:
                with pytest.raises((TimeoutError, OSError)):
                    async with asyncio.timeout(0.2):
                        await asyncio.open_connection(
                            estate.relays["a"].host, estate.relays["a"].port
                        )
                await handle.clear()
                await send(estate.relays["a"], f"{round_}@x")
            await delivered(estate, round_ + 1)


async def tls_of_both_kinds() -> None:
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.20.0.1", "127.20.0.2").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    kinds = (RelayTls.STARTTLS, RelayTls.IMPLICIT)
    relays = [RelaySpec(name=kind, tls=kind, tls_context=serving) for kind in kinds]
    async with Estate(relays, [MailboxSpec(name=INBOX)]) as estate:
        for kind in kinds:
            async with tls_client(estate.relays[kind], trusting) as smtp:
                await smtp.sendmail(SENDER, [RCPT], mail(f"{kind}@x"))
        left_open = tls_client(estate.relays[RelayTls.STARTTLS], trusting)
        await left_open.connect()
        await delivered(estate, 2)
    left_open.close()


@Loops
@pytest.mark.parametrize(
    "scenario", [every_kind_of_loose_end, faults_come_and_go, tls_of_both_kinds]
)
def test_on_both_loops(loop_factory: LoopFactory, scenario: Callable[[], object]) -> None:
    async def run() -> None:
        before = asyncio.all_tasks()
        await scenario()  # type: ignore[misc]  # a coroutine function from the list above
        ours = {task for task in asyncio.all_tasks() - before if "lab" in repr(task.get_coro())}
        assert ours == set()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())
    # What was left open would warn as it is collected, and a warning is an error.
    gc.collect()
