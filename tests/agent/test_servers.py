"""The agent's ports on real servers: what its policy forbids never leaves it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
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
from probes.contract.config.models import Config
from probes.contract.stages import Reason, Result, Stage
from probes.contract.token import HEADER
from probes.imap import ImapFailure
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

    def smtp(self, policy: PolicyFile | None = None) -> SmtpServers:
        """The relays."""
        rules = policy or self.policy
        return SmtpServers(self.assignment, rules, self.secrets(rules), SystemClock())

    def imap(self, policy: PolicyFile | None = None, *, command_s: float = 5.0) -> ImapServers:
        """The mailboxes."""
        rules = policy or self.policy
        vault = self.secrets(rules)
        return ImapServers(self.assignment, rules, vault, SystemClock(), command_s=command_s)

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
    report = await bench.smtp().send(relay, MAIL, lambda: dots.append(1))
    assert (report.result, dots) == (Result.ACCEPTED, [1])
    assert "auth" in report.phases


async def test_a_secret_that_may_not_go_there_sends_nothing(bench: Bench) -> None:
    dots: list[int] = []
    relay = bench.assignment.relays["relay-a1"]
    report = await bench.smtp(bench.without(secrets=())).send(relay, MAIL, lambda: dots.append(1))
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
