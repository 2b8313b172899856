"""The agent's ports on the real network: the probes, fed with secrets under the agent's policy."""

from collections.abc import Callable
from dataclasses import replace

from agent.assignment import Assignment
from agent.clock import Clock
from agent.mailbox.arrivals import HEADER_FIELDS
from agent.policy.models import PolicyFile
from agent.policy.secrets import Secrets
from agent.policy.targets import imap_target, permits, smtp_target
from probes.contract.config.models import Relay
from probes.contract.errors import SecretError
from probes.contract.stages import Reason, Result, Stage
from probes.imap import FolderSession
from probes.smtp import Mail, SendReport, send


class SmtpServers:
    """Sends canaries to the relays of an assignment."""

    def __init__(
        self, assignment: Assignment, policy: PolicyFile, secrets: Secrets, clock: Clock
    ) -> None:
        self._assignment = assignment
        self._policy = policy
        self._secrets = secrets
        self._clock = clock

    async def send(self, relay: Relay, mail: Mail, on_data_sent: Callable[[], None]) -> SendReport:
        """One attempt on a fresh connection; a secret that may not be used sends nothing."""
        try:
            target = smtp_target(
                relay,
                self._assignment.sender.helo,
                self._assignment.timeouts,
                self._policy,
                self._secrets,
            )
        except SecretError as error:
            return SendReport(
                result=Result.UNSENT, stage=Stage.AUTH, reason=Reason.SECRET, detail=str(error)
            )
        clock = self._clock
        return await send(
            target, mail, wall_ns=lambda: clock.now().wall_ns, on_data_sent=on_data_sent
        )


class ImapServers:
    """Opens the mailboxes of an assignment. ``command_s`` is how long a server may take to answer;
    the timeouts of the configuration are about relays."""

    def __init__(
        self,
        assignment: Assignment,
        policy: PolicyFile,
        secrets: Secrets,
        clock: Clock,
        *,
        command_s: float = 30.0,
    ) -> None:
        self._assignment = assignment
        self._policy = policy
        self._secrets = secrets
        self._clock = clock
        self._command_s = command_s

    async def open(self, mailbox: str, folder: str) -> FolderSession:
        """Connect, log in and select.

        Raises:
            ImapFailure: with the stage and the reason; also when the policy forbids it.
        """
        clock = self._clock
        target = imap_target(self._assignment.mailboxes[mailbox].imap, self._policy, self._secrets)
        return await FolderSession.open(
            replace(target, command_timeout_s=self._command_s),
            folder,
            header_fields=HEADER_FIELDS,
            permits=permits(self._policy),
            clock=lambda: clock.now().boot_ns,
        )
