"""The mail server that a relay delivers to; it puts the mail into the mailboxes."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

from lab.board import Board
from lab.directory import Directory
from lab.faults import Junk, OutboundFiltered, Side, Verdicts
from lab.mailboxes import Mailbox
from lab.received import (
    NS_PER_S,
    Client,
    authentication_results_field,
    header_value,
    sender_domain,
)
from lab.server import MailServer
from lab.smtpd import SmtpdOptions, Transaction
from lab.truth import Delivery, Pulse, Truth
from probes.contract.stages import Stage

_QUEUE_ID = re.compile(r"\bid ([0-9A-F]+)\b")


class Destination(MailServer):
    """The next hop of one relay: a listener of its own, the mailboxes of all.

    Its own listener is what makes a relay's outbound filter: filtering the destination filters
    exactly that relay.
    """

    side = Side.DESTINATION
    filtered_by = OutboundFiltered

    def __init__(
        self,
        relay: str,
        host: str,
        *,
        board: Board,
        directory: Directory,
        truth: Truth,
        pulse: Pulse,
        clock: Callable[[], int],
    ) -> None:
        super().__init__(
            relay,
            host,
            SmtpdOptions(hostname=f"mx-{relay}.lab.example"),
            board=board,
            directory=directory,
            truth=truth,
            pulse=pulse,
            clock=clock,
        )
        self.accepted_at: dict[str, int] = {}
        """When the relay accepted what it has in its queue, by queue id; the relay keeps it."""

    async def before(
        self, stage: Stage, client: Client, deal: Transaction | None, recipient: str | None
    ) -> str | None:
        """The policy's word before a reply: faults first, then whether the recipient exists."""
        reply = await super().before(stage, client, deal, recipient)
        if reply is None and stage is Stage.RCPT and self._directory.find(recipient) is None:
            return f"550 5.1.1 <{recipient}>: Recipient address rejected: User unknown"
        return reply

    async def _take_over(
        self, client: Client, deal: Transaction, content: bytes, queue_id: str, now_ns: int
    ) -> None:
        for recipient in deal.recipients:
            mailbox = self._directory.find(recipient.address)
            if mailbox is not None:
                await self._deliver(mailbox, client, deal.sender, content, queue_id, now_ns)

    async def _deliver(
        self,
        mailbox: Mailbox,
        client: Client,
        sender: str,
        content: bytes,
        queue_id: str,
        now_ns: int,
    ) -> None:
        name = mailbox.name
        verdicts = self._board.find(Verdicts, relay=self._relay, mailbox=name) or Verdicts()
        junk = self._board.find(Junk, relay=self._relay, mailbox=name) is not None
        folder = mailbox.spec.junk if junk else mailbox.spec.inbox
        fields = authentication_results_field(
            mailbox.spec.authserv_id,
            spf=verdicts.spf,
            dkim=verdicts.dkim,
            dmarc=verdicts.dmarc,
            mail_from=sender,
            header_domain=sender_domain(content, sender),
        ) + self._received(client, queue_id, mailbox.address, now_ns)
        stamped = f"Return-Path: <{sender}>\r\n".encode("ascii", "replace") + fields + content
        await mailbox.append(stamped, folder, datetime.fromtimestamp(now_ns // NS_PER_S, UTC))
        self._record(mailbox, folder, client, content)

    def _record(self, mailbox: Mailbox, folder: str, client: Client, content: bytes) -> None:
        # The relay's own Received field is the topmost one; it names the relay's queue id.
        found = _QUEUE_ID.search(header_value(content, "Received") or "")
        queue_id = found[1] if found else ""
        self._truth.deliveries.append(
            Delivery(
                relay=self._relay,
                mailbox=mailbox.name,
                folder=folder,
                message_id=header_value(content, "Message-ID"),
                queue_id=queue_id,
                accepted_ns=self.accepted_at.get(queue_id, 0),
                delivered_ns=self._clock(),
                egress=client.address,
            )
        )
        self._pulse.beat()
