"""Relays that misbehave, each at every phase: the stage and the reason come out right."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from probes.contract.config.models import RelayTls
from probes.contract.events import Reply
from probes.contract.stages import Reason, Result, Stage
from probes.smtp import Mail, SendReport, send
from tests.probes.smtp.conftest import Serve, TargetOf
from tests.probes.smtp.scripted import Peer, Script

STAGES = [Stage.BANNER, Stage.EHLO, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.ACCEPT]
Fault = Callable[[Peer], Awaitable[None]]


def at(stage: Stage, fault: Fault) -> Script:
    """A relay that behaves up to ``stage``."""

    async def script(peer: Peer) -> None:
        await peer.up_to(stage)
        await fault(peer)

    return script


def ended(report: SendReport) -> tuple[Result, Stage | None, Reason | None]:
    return report.result, report.stage, report.reason


def broken(stage: Stage) -> Result:
    """After the final dot nobody can tell; before it the mail was not handed over."""
    return Result.UNKNOWN if stage is Stage.ACCEPT else Result.FAILED


async def closes(peer: Peer) -> None:
    peer.close()


async def resets(peer: Peer) -> None:
    peer.reset()


async def is_silent(peer: Peer) -> None:
    await peer.gone()


async def says_half_a_line(peer: Peer) -> None:
    await peer.raw(b"250 2.0")
    await peer.gone()


async def says_half_a_reply(peer: Peer) -> None:
    await peer.say("250-more to", "250-come")
    await peer.gone()


async def drips(peer: Peer) -> None:
    """Says something all the time, and never ends the reply."""
    while True:
        await peer.say("250-wait")
        await asyncio.sleep(0.01)


async def says_garbage(peer: Peer) -> None:
    await peer.raw(b"\x16\x03\x01\xff\xfe nothing like \x1b[31m SMTP\r\n")
    await peer.gone()


async def says_a_strange_code(peer: Peer) -> None:
    await peer.say("650 whatever")
    await peer.gone()


async def says_one_endless_line(peer: Peer) -> None:
    for _ in range(160):
        await peer.raw(b"2" * 65536)
    await peer.gone()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("fault", "reason", "text"),
    [
        (closes, Reason.CLOSED, "closed by the relay"),
        (says_garbage, Reason.PROTOCOL, "not a reply: "),
        (says_a_strange_code, Reason.PROTOCOL, "unexpected reply 650 whatever"),
        (says_one_endless_line, Reason.PROTOCOL, "not a reply: Response too long"),
    ],
)
async def test_broken_at_a_phase(
    serve: Serve,
    target: TargetOf,
    mail: Mail,
    stage: Stage,
    fault: Fault,
    reason: Reason,
    text: str,
) -> None:
    server = await serve(at(stage, fault))
    report = await send(target(server.port), mail)
    assert ended(report) == (broken(stage), stage, reason)
    assert report.detail is not None
    assert report.detail.startswith(f"{stage}: {text}")
    assert "\x1b" not in report.detail
    assert len(report.detail) < 400
    assert list(report.phases)[-1] == stage
    assert report.peer == "127.0.0.1"


@pytest.mark.parametrize("stage", STAGES)
async def test_reset_at_a_phase(serve: Serve, target: TargetOf, mail: Mail, stage: Stage) -> None:
    server = await serve(at(stage, resets))
    report = await send(target(server.port), mail)
    assert ended(report) == (broken(stage), stage, Reason.RESET)
    assert report.detail == f"{stage}: reset by the relay"


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fault", [is_silent, says_half_a_line, says_half_a_reply, drips])
async def test_time_runs_out_at_a_phase(
    serve: Serve, target: TargetOf, mail: Mail, stage: Stage, fault: Fault
) -> None:
    server = await serve(at(stage, fault))
    limit = {Stage.BANNER: "banner", Stage.ACCEPT: "accept"}.get(stage, "command")
    report = await send(target(server.port, **{limit: 0.2}), mail)
    assert ended(report) == (broken(stage), stage, Reason.TIMEOUT)
    assert report.detail == f"{stage}: timed out after 0.2 s"
    assert list(report.phases)[-1] == stage


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("reply", "result", "reason"),
    [
        ("450 4.2.0 greylisted", Result.DEFERRED, Reason.REPLY_4XX),
        ("421 4.3.2 shutting down", Result.DEFERRED, Reason.REPLY_4XX),
        ("550 5.1.1 unknown user", Result.REJECTED, Reason.REPLY_5XX),
        ("554 5.7.1 go away", Result.REJECTED, Reason.REPLY_5XX),
    ],
)
async def test_refused_at_a_phase(
    serve: Serve,
    target: TargetOf,
    mail: Mail,
    stage: Stage,
    reply: str,
    result: Result,
    reason: Reason,
) -> None:
    async def refuses(peer: Peer) -> None:
        await peer.say(reply)
        await peer.line()

    server = await serve(at(stage, refuses))
    report = await send(target(server.port), mail)
    assert ended(report) == (result, stage, reason)
    assert report.detail == f"{stage}: {reply}"
    code, text = reply.split(" ", 1)
    assert report.reply == Reply(int(code), text.split()[0], text)
    assert report.queue_id is None
    await server.finished()
    # After a 421 the relay is closing; else the client says goodbye.
    assert server.peers[0].heard[-1] == ("" if code == "421" else "QUIT")


async def test_a_refusal_in_many_lines(serve: Serve, target: TargetOf, mail: Mail) -> None:
    async def refuses(peer: Peer) -> None:
        await peer.say("550-5.7.1 Blocked,", "550-5.7.1 see", "550 5.7.1 https://x.example")
        await peer.line()

    server = await serve(at(Stage.RCPT, refuses))
    report = await send(target(server.port), mail)
    assert report.detail == "rcpt: 550 5.7.1 Blocked, see https://x.example"


@pytest.mark.parametrize("stage", STAGES[:-1])
async def test_a_reply_too_many_is_not_taken_for_the_next(
    serve: Serve, target: TargetOf, mail: Mail, stage: Stage
) -> None:
    """In one packet with a good reply comes a second one, that would answer what follows."""
    replies = {Stage.BANNER: "220 hi", Stage.DATA: "354 go on"}

    async def says_two(peer: Peer) -> None:
        await peer.say(replies.get(stage, "250 ok"), "250 2.0.0 Ok: queued as FORGED")
        await peer.gone()

    server = await serve(at(stage, says_two))
    report = await send(target(server.port), mail)
    assert report.result is Result.FAILED
    assert report.reason is Reason.PROTOCOL
    assert report.detail is not None
    assert "spoke unasked: '250 2.0.0 Ok: queued as FORGED'" in report.detail
    assert report.queue_id is None


async def test_a_goodbye_unasked_is_a_deferral(serve: Serve, target: TargetOf, mail: Mail) -> None:
    async def says_two(peer: Peer) -> None:
        await peer.say("250 ok", "421 4.3.2 shutting down")
        await peer.gone()

    server = await serve(at(Stage.MAIL, says_two))
    report = await send(target(server.port), mail)
    assert ended(report) == (Result.DEFERRED, Stage.RCPT, Reason.REPLY_4XX)
    assert report.reply == Reply(421, "4.3.2", "4.3.2 shutting down")


async def test_what_follows_the_acceptance_does_not_undo_it(
    serve: Serve, target: TargetOf, mail: Mail
) -> None:
    async def says_more(peer: Peer) -> None:
        await peer.say("250 2.0.0 Ok: queued as 1", "550 or not")
        await peer.gone()

    server = await serve(at(Stage.ACCEPT, says_more))
    report = await send(target(server.port), mail)
    assert (report.result, report.queue_id) == (Result.ACCEPTED, "1")


@pytest.mark.parametrize("fault", [closes, resets, says_garbage])
async def test_no_goodbye_does_not_undo_an_acceptance(
    serve: Serve, target: TargetOf, mail: Mail, fault: Fault
) -> None:
    async def accepts(peer: Peer) -> None:
        await peer.say("250 ok")
        await fault(peer)

    server = await serve(at(Stage.ACCEPT, accepts))
    report = await send(target(server.port), mail)
    assert report.result is Result.ACCEPTED
    assert (report.stage, report.reason, report.detail) == (None, None, None)


async def test_an_unanswered_quit_is_not_waited_for_long(
    serve: Serve, target: TargetOf, mail: Mail
) -> None:
    async def accepts(peer: Peer) -> None:
        await peer.say("250 ok")
        await peer.gone()

    server = await serve(at(Stage.ACCEPT, accepts))
    report = await send(target(server.port, command=0.2), mail)
    assert report.result is Result.ACCEPTED
    assert list(report.phases)[-1] == "accept"


@pytest.mark.parametrize("stage", STAGES)
async def test_cancelling_closes_the_connection(
    serve: Serve, target: TargetOf, mail: Mail, stage: Stage
) -> None:
    there = asyncio.Event()
    gone = asyncio.Event()

    async def waits(peer: Peer) -> None:
        there.set()
        await peer.gone()
        gone.set()

    server = await serve(at(stage, waits))
    task = asyncio.create_task(send(target(server.port), mail))
    await there.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone.wait()


async def test_cancelling_while_connecting(blackhole: int, target: TargetOf, mail: Mail) -> None:
    task = asyncio.create_task(send(target(blackhole), mail))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_callback_that_raises_is_the_callers_to_see(
    serve: Serve, target: TargetOf, mail: Mail
) -> None:
    gone = asyncio.Event()

    async def waits(peer: Peer) -> None:
        await peer.up_to(Stage.DATA)
        await peer.say("354 go on")
        await peer.gone()
        gone.set()

    def raises() -> None:
        raise RuntimeError("the caller's")

    server = await serve(waits)
    with pytest.raises(RuntimeError, match="the caller's"):
        await send(target(server.port), mail, on_data_sent=raises)
    await gone.wait()


async def test_an_outer_timeout_is_the_callers(serve: Serve, target: TargetOf, mail: Mail) -> None:
    server = await serve(at(Stage.RCPT, is_silent))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await send(target(server.port), mail)


async def test_many_at_once(serve: Serve, target: TargetOf, mail: Mail) -> None:
    async def script(peer: Peer) -> None:
        await peer.up_to(Stage.ACCEPT)
        await peer.accept()

    good = await serve(script)
    hung = await serve(at(Stage.EHLO, is_silent))
    targets = [target(good.port), target(hung.port, command=0.2)] * 25
    reports = await asyncio.gather(*(send(each, mail) for each in targets))
    assert [report.result for report in reports] == [Result.ACCEPTED, Result.FAILED] * 25


async def test_starttls_wanted_and_not_offered(serve: Serve, target: TargetOf, mail: Mail) -> None:
    server = await serve(at(Stage.MAIL, closes))
    report = await send(target(server.port, tls=RelayTls.STARTTLS), mail)
    assert ended(report) == (Result.FAILED, Stage.TLS, Reason.TLS_NOT_OFFERED)
    assert report.detail == "tls: STARTTLS is required and not offered"
