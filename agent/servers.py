"""The agent's ports on the real network: the probes, fed with secrets under the agent's policy."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from agent.assignment import Assignment
from agent.clock import Clock
from agent.mailbox.arrivals import HEADER_FIELDS
from agent.policy.addresses import denied
from agent.policy.models import PolicyFile
from agent.policy.secrets import Secrets
from probes.contract.config.models import ImapTls, Relay
from probes.contract.errors import SecretError
from probes.contract.stages import Reason, Result, Stage
from probes.imap import FolderSession, ImapFailure, ImapTarget
from probes.smtp import Mail, SendReport, SmtpTarget, send


class SmtpServers:
    """Sends canaries to the relays of an assignment."""

    def __init__(
        self, assignment: Assignment, policy: PolicyFile, secrets: Secrets, clock: Clock
    ) -> None:
        self._assignment = assignment
        self._ca_file = policy.ca_file
        self._secrets = secrets
        self._clock = clock

    async def send(self, relay: Relay, mail: Mail, on_data_sent: Callable[[], None]) -> SendReport:
        """One attempt on a fresh connection; a secret that may not be used sends nothing."""
        try:
            target = self._target(relay)
        except SecretError as error:
            return SendReport(
                result=Result.UNSENT, stage=Stage.AUTH, reason=Reason.SECRET, detail=str(error)
            )
        clock = self._clock
        return await send(
            target, mail, wall_ns=lambda: clock.now().wall_ns, on_data_sent=on_data_sent
        )

    def _target(self, relay: Relay) -> SmtpTarget:
        grant = None
        if relay.auth is not None:
            grant = self._secrets.grant(relay.auth.secret, relay.host, relay.port)
        return SmtpTarget(
            host=relay.host,
            port=relay.port,
            tls=relay.tls,
            helo=self._assignment.sender.helo,
            user=None if relay.auth is None else relay.auth.user,
            password=None if grant is None else grant.secret,
            source_address=relay.source_address,
            timeouts=self._assignment.timeouts,
            ca_file=self._ca_file,
            allow_plaintext_auth=grant is not None and grant.unverified,
        )


class ImapServers:
    """Opens the mailboxes of an assignment."""

    def __init__(
        self, assignment: Assignment, policy: PolicyFile, secrets: Secrets, clock: Clock
    ) -> None:
        self._assignment = assignment
        self._policy = policy
        self._secrets = secrets
        self._clock = clock

    async def open(self, mailbox: str, folder: str) -> FolderSession:
        """Connect, log in and select.

        Raises:
            ImapFailure: with the stage and the reason; also when the policy forbids it.
        """
        clock = self._clock
        return await FolderSession.open(
            self._target(mailbox),
            folder,
            header_fields=HEADER_FIELDS,
            permits=self._permits,
            clock=lambda: clock.now().boot_ns,
        )

    def _target(self, mailbox: str) -> ImapTarget:
        imap = self._assignment.mailboxes[mailbox].imap
        try:
            grant = self._secrets.grant(imap.secret, imap.host, imap.port)
        except SecretError as error:
            raise ImapFailure(Stage.AUTH, Reason.SECRET, str(error)) from None
        if imap.tls is ImapTls.NONE and not grant.unverified:
            raise ImapFailure(
                Stage.AUTH,
                Reason.POLICY,
                f"secret {imap.secret}: found tls: none, allowed without TLS is only a secret that "
                "the agent's policy marks 'unverified: true'",
            )
        return ImapTarget(
            host=imap.host,
            port=imap.port,
            tls=imap.tls,
            user=imap.user,
            secret=grant.secret,
            auth=imap.auth,
            ca_file=self._policy.ca_file,
            verify=not grant.unverified,
        )

    def _permits(self, address: IPv4Address | IPv6Address) -> bool:
        return denied(str(address), self._policy.addresses) is None
