"""One IDLE, from the command to the reply to DONE (RFC 2177)."""

import asyncio

from probes.contract.stages import Reason
from probes.imap.model import ImapStage
from probes.imap.protocol import IdleRequest, ImapProtocol


async def idle_until(
    protocol: ImapProtocol,
    stirred: asyncio.Event,
    wake: asyncio.Event,
    timeout_s: float,
    limit_s: float,
) -> None:
    """Idle until one of the events is set or ``timeout_s`` is over.

    The server has ``limit_s`` to accept, and again to acknowledge DONE.

    Raises:
        ImapFailure: the connection has ended, or the server refused or ended the idling by itself.
    """
    request = IdleRequest(protocol.new_tag())
    whole_s = timeout_s + 2 * limit_s
    command = asyncio.ensure_future(protocol.run(ImapStage.IDLE, request, whole_s))
    accepted = asyncio.ensure_future(request.accepted.wait())
    events = [asyncio.ensure_future(event.wait()) for event in (stirred, wake)]
    try:
        if not await _first({command, accepted}, limit_s):
            protocol.die(Reason.TIMEOUT, f"IDLE not accepted within {limit_s:g} s")
        elif not command.done():
            await _first({command, *events}, timeout_s)
        asked_to_end = not command.done() and protocol.failure is None
        if asked_to_end:
            protocol.send("DONE")
            if not await _first({command}, limit_s):
                protocol.die(Reason.TIMEOUT, f"no reply to DONE within {limit_s:g} s")
        reply = await command
    finally:
        for task in (command, accepted, *events):
            task.cancel()
        await asyncio.gather(command, accepted, *events, return_exceptions=True)
    if reply.status != "OK":
        detail = f"the server answered NO: {protocol.said(reply.text)}"
        raise protocol.fail(ImapStage.IDLE, Reason.REFUSED, detail)
    if not asked_to_end:
        detail = f"the server ended IDLE by itself: {protocol.said(reply.text)}"
        raise protocol.fail(ImapStage.IDLE, Reason.PROTOCOL, detail)


async def _first(tasks: set[asyncio.Task[object]], timeout_s: float) -> bool:
    """Whether one of the tasks ended within the time."""
    done, _ = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    return bool(done)
