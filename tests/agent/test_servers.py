"""The agent's ports on real servers: what its policy forbids never leaves it."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from agent.assignment import Assignment, assign
from agent.clock import SystemClock
from agent.embedded import as_environment, trusting_policy
from agent.mailbox.arrivals import HEADER_FIELDS
from agent.policy.models import PolicyFile
from agent.policy.secrets import Secrets
from agent.servers import ImapServers, SmtpServers
from lab.estate import Estate
from lab.faults import ImapHung
from lab.specs import RelaySpec
from probes.contract.config.models import Config, Relay
from probes.contract.stages import Reason, Result, Stage
from probes.contract.token import HEADER
from probes.imap import FolderSession, ImapFailure
from probes.resolver import Endpoint, Lookups
from probes.smtp import Mail
from tests.agent.labs import KEY

BOX = "acme/inbox"
MAIL = Mail("canary-lab@monitor.example", "inbox@acme.example", b"Subject: a mail\r\n\r\nHello\r\n")


@dataclass
class Bench:
    """A lab, and an agent's servers in it."""

    lab: Estate
    assignment: Assignment
    policy: PolicyFile

    def secrets(self, policy: PolicyFile | None = None) -> Secrets:
        """The secrets under a policy."""
        return Secrets(policy or self.policy, as_environment(self.lab.secrets, KEY))

    def smtp(self, policy: PolicyFile | None = None, **options: Any) -> SmtpServers:
        """The relays."""
        rules = policy or self.policy
        return SmtpServers(self.assignment, rules, self.secrets(rules), SystemClock(), **options)

    def imap(self, policy: PolicyFile | None = None, **options: Any) -> ImapServers:
        """The mailboxes."""
        rules = policy or self.policy
        vault = self.secrets(rules)
        given = {"command_s": 5.0} | options
        return ImapServers(self.assignment, rules, vault, SystemClock(), **given)

    def by_name(self, *hosts: str) -> None:
        """Let the servers also be called ``localhost``, and the mailbox by these names, each a
        mailbox of its own."""
        mailbox = self.assignment.mailboxes[BOX]
        more_boxes = {
            host: mailbox.model_copy(
                update={"imap": mailbox.imap.model_copy(update={"host": host})}
            )
            for host in hosts
        }
        boxes = {**self.assignment.mailboxes, **more_boxes}
        self.assignment = replace(self.assignment, mailboxes=boxes)
        rules = []
        for rule in self.policy.secrets:
            ports = {to.rpartition(":")[2] for to in rule.to}
            more = [f"{host}:{port}" for host in ("localhost", *hosts) for port in sorted(ports)]
            rules.append(rule.model_copy(update={"to": (*rule.to, *more)}))
        self.policy = self.without(secrets=tuple(rules))

    def relay_by_name(self) -> Relay:
        """The relay, as ``localhost``."""
        return self.assignment.relays["relay-a1"].model_copy(update={"host": "localhost"})

    def without(self, **changes: Any) -> PolicyFile:
        """The policy, changed."""
        return self.policy.model_copy(update=changes)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A relay that wants a login, and a mailbox."""
    relays = [RelaySpec(name="relay-a1", users={"canary": "the relay's password"})]
    async with Estate(relays, [BOX]) as lab:
        config = Config.model_validate(lab.config_document())
        yield Bench(lab, assign(config), trusting_policy(config))


async def test_a_mail_goes_out_with_the_relays_secret(bench: Bench) -> None:
    dots: list[int] = []
    relay = bench.assignment.relays["relay-a1"]
    report = await bench.smtp().send(relay, lambda: MAIL, lambda: dots.append(1))
    assert (report.result, dots) == (Result.ACCEPTED, [1])
    assert "auth" in report.phases


async def test_a_secret_that_may_not_go_there_sends_nothing(bench: Bench) -> None:
    dots: list[int] = []
    relay = bench.assignment.relays["relay-a1"]
    report = await bench.smtp(bench.without(secrets=())).send(
        relay, lambda: MAIL, lambda: dots.append(1)
    )
    assert (report.result, report.stage, report.reason) == (
        Result.UNSENT,
        Stage.AUTH,
        Reason.SECRET,
    )
    assert "relay-a1" in (report.detail or "")
    assert "password" not in (report.detail or "")
    assert (report.attempts, report.phases, dots) == ([], {}, [])
    assert bench.lab.truth.acceptances == []


async def test_a_folder_is_opened_with_the_fields_that_arrivals_need(bench: Bench) -> None:
    session = await bench.imap().open(BOX, "INBOX")
    try:
        first = await session.fetch_from(session.state.uidnext)
        assert first.complete
        assert first.asked_ns <= SystemClock().now().boot_ns
    finally:
        await session.close()
    assert HEADER in HEADER_FIELDS


async def test_a_mailbox_in_the_clear_needs_the_policys_word(bench: Bench) -> None:
    rules = tuple(r.model_copy(update={"unverified": False}) for r in bench.policy.secrets)
    with pytest.raises(ImapFailure, match="unverified: true") as caught:
        await bench.imap(bench.without(secrets=rules)).open(BOX, "INBOX")
    assert (caught.value.stage, caught.value.reason) == (Stage.AUTH, Reason.POLICY)


async def test_a_mailbox_whose_secret_may_not_go_there_is_not_opened(bench: Bench) -> None:
    with pytest.raises(ImapFailure) as caught:
        await bench.imap(bench.without(secrets=())).open(BOX, "INBOX")
    assert caught.value.reason is Reason.SECRET


async def test_a_denied_address_is_not_connected_to(bench: Bench) -> None:
    denying = PolicyFile.model_validate(
        {**bench.policy.model_dump(mode="json"), "addresses": {"deny": ["127.0.0.0/8"]}}
    )
    with pytest.raises(ImapFailure) as caught:
        await bench.imap(denying).open(BOX, "INBOX")
    assert caught.value.reason is Reason.POLICY


async def test_a_server_that_does_not_answer_is_given_up(bench: Bench) -> None:
    await bench.lab.order(ImapHung(), mailboxes=[BOX])
    with pytest.raises(ImapFailure) as caught:
        await bench.imap(command_s=0.2).open(BOX, "INBOX")
    assert caught.value.reason is Reason.TIMEOUT


class Names:
    """A resolver for which names that begin with ``dead`` hang; all others are the relay's."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.let_go = threading.Event()
        self.hanging = threading.Semaphore(0)

    def __call__(self, host: str, family: int) -> Sequence[Endpoint]:
        if host.startswith("dead"):
            self.hanging.release()
            self.let_go.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        assert family in (socket.AF_UNSPEC, socket.AF_INET)
        return [Endpoint(socket.AF_INET, (self._address, 0))]


@pytest.fixture
def names(bench: Bench) -> Iterator[Names]:
    """Names that hang until the end of the test."""
    made = Names(bench.assignment.relays["relay-a1"].host)
    yield made
    made.let_go.set()


async def test_mailboxes_whose_names_hang_do_not_hold_up_relays(bench: Bench, names: Names) -> None:
    dead = [f"dead-{number}.test" for number in range(40)]
    bench.by_name(*dead)
    imap = bench.imap(lookups=Lookups("mailboxes", 2, names))
    opening = [asyncio.ensure_future(imap.open(host, "INBOX")) for host in dead]
    for _ in range(2):
        await asyncio.to_thread(names.hanging.acquire)
    relays = bench.smtp(lookups=Lookups("relays", 1, names))
    report = await relays.send(bench.relay_by_name(), lambda: MAIL, lambda: None)
    assert (report.result, report.detail) == (Result.ACCEPTED, None)
    # The loop's own threads are free too: what is written to disk goes through them.
    assert await asyncio.to_thread(lambda: True)
    for each in opening:
        each.cancel()
    await asyncio.gather(*opening, return_exceptions=True)


async def test_an_agent_behind_with_its_lookups_blames_no_relay(bench: Bench, names: Names) -> None:
    bench.by_name()
    lookups = Lookups("relays", 1, names)
    await lookups.begin("dead.test", socket.AF_UNSPEC, 60.0)
    report = await bench.smtp(lookups=lookups, patience_s=0.01).send(
        bench.relay_by_name(), lambda: MAIL, lambda: None
    )
    assert (report.result, report.stage, report.reason) == (
        Result.UNSENT,
        Stage.RESOLVE,
        Reason.LOCAL,
    )
    assert "busy" in (report.detail or "")


async def test_the_wait_for_a_thread_is_over_when_the_attempt_begins(
    bench: Bench, names: Names
) -> None:
    """The send time is taken then: mail does not wait for the agent's own threads."""
    bench.by_name()
    lookups = Lookups("relays", 1, names)
    await lookups.begin("dead.test", socket.AF_UNSPEC, 60.0)
    free: list[bool] = []

    def compose() -> Mail:
        free.append(names.let_go.is_set())
        return MAIL

    relays = bench.smtp(lookups=lookups, patience_s=60.0)
    sending = asyncio.ensure_future(relays.send(bench.relay_by_name(), compose, lambda: None))
    for _ in range(10):
        await asyncio.sleep(0)
    names.let_go.set()
    assert (await sending).result is Result.ACCEPTED
    assert free == [True]


async def test_folders_are_opened_a_few_at_a_time(bench: Bench, names: Names) -> None:
    bench.by_name("dead-1.test", "dead-2.test")
    lookups = Lookups("mailboxes", 4, names)
    imap = bench.imap(lookups=lookups, opening=2, opening_s=600.0)
    hanging = [
        asyncio.ensure_future(imap.open(host, "INBOX")) for host in ("dead-1.test", "dead-2.test")
    ]
    for _ in range(2):
        await asyncio.to_thread(names.hanging.acquire)
    third = asyncio.ensure_future(imap.open(BOX, "INBOX"))
    await (await bench.imap().open(BOX, "INBOX")).close()
    assert not third.done()
    hanging[0].cancel()
    await (await third).close()
    hanging[1].cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


async def test_servers_that_do_not_answer_make_room(bench: Bench, names: Names) -> None:
    bench.by_name("dead-1.test")
    lookups = Lookups("mailboxes", 4, names)
    imap = bench.imap(lookups=lookups, opening=1, opening_s=0.01)
    hanging = asyncio.ensure_future(imap.open("dead-1.test", "INBOX"))
    await asyncio.to_thread(names.hanging.acquire)
    for _ in range(3):
        session = await imap.open(BOX, "INBOX")
        assert isinstance(session, FolderSession)
        await session.close()
    assert not hanging.done()
    names.let_go.set()
    with pytest.raises(ImapFailure) as caught:
        await hanging
    assert caught.value.reason is Reason.NO_ADDRESS


async def test_another_assignment_holds_from_the_next_attempt_and_the_next_opening_on(
    bench: Bench,
) -> None:
    smtp, imap = bench.smtp(), bench.imap()
    session = await imap.open(BOX, "INBOX")
    before = bench.assignment
    moved = "acme/moved"
    assert before.sender is not None
    new = replace(
        before,
        sender=before.sender.model_copy(update={"helo": "new.monitor.example"}),
        mailboxes={moved: before.mailboxes[BOX]},
    )
    smtp.assign(new)
    imap.assign(new)
    # A connection that is open is not touched.
    assert (await session.fetch_from(1)).complete
    await session.close()
    with pytest.raises(KeyError):
        await imap.open(BOX, "INBOX")
    await (await imap.open(moved, "INBOX")).close()
    relay = before.relays["relay-a1"]
    assert (await smtp.send(relay, lambda: MAIL, lambda: None)).result is Result.ACCEPTED
