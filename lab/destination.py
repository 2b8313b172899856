"""The mail server that a relay delivers to; it puts the mail into the mailboxes."""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime

from lab.board import Board
from lab.dialogue import Dialogue
from lab.directory import Directory
from lab.faults import ClockSkew, Junk, OutboundFiltered, PortClosed, Side, Verdicts
from lab.listener import Listener, Mode
from lab.mailboxes import Mailbox
from lab.received import (
    NS_PER_S,
    Client,
    QueueIds,
    authentication_results_field,
    header_value,
    received_field,
    sender_domain,
)
from lab.smtpd import DropConnection, LabSmtp, SmtpdOptions, Transaction
from lab.truth import Delivery, Pulse, Truth
from probes.contract.stages import Stage

_QUEUE_ID = re.compile(r"\bid ([0-9A-F]+)\b")


class Destination:
    """The next hop of one relay: a listener of its own, the mailboxes of all.

    Its own listener is what makes a relay's outbound filter: filtering the destination filters
    exactly that relay.
    """

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
        self._relay = relay
        self._board = board
        self._directory = directory
        self._truth = truth
        self._pulse = pulse
        self._clock = clock
        self._ids = QueueIds()
        self._dialogue = Dialogue(
            relay, Side.DESTINATION, board=board, directory=directory, clock=clock
        )
        self.hostname = f"mx-{relay}.lab.example"
        self._options = SmtpdOptions(hostname=self.hostname)
        self._listener = Listener(host, self._protocol)
        self.accepted_at: dict[str, int] = {}
        """When the relay accepted what it has in its queue, by queue id; the relay keeps it."""

    @property
    def host(self) -> str:
        """The address of the destination's SMTP server."""
        return self._listener.host

    @property
    def port(self) -> int:
        """Its port."""
        return self._listener.port

    def start(self) -> None:
        """Listen."""
        self._listener.start()

    async def close(self) -> None:
        """Stop listening and end every connection."""
        await self._listener.close()

    def refresh(self) -> None:
        """Look at the fault board again."""
        if self._board.find(OutboundFiltered, relay=self._relay):
            mode = Mode.FILTERED
        elif self._board.find(PortClosed, relay=self._relay, at=Side.DESTINATION):
            mode = Mode.CLOSED
        else:
            mode = Mode.OPEN
        self._listener.set_mode(mode)

    async def before(
        self, stage: Stage, client: Client, deal: Transaction | None, recipient: str | None
    ) -> str | None:
        """The policy's word before a reply: faults first, then whether the recipient exists."""
        reply = await self._dialogue.before(stage, client, deal, recipient)
        if reply is None and stage is Stage.RCPT and self._directory.find(recipient) is None:
            return f"550 5.1.1 <{recipient}>: Recipient address rejected: User unknown"
        return reply

    async def message(self, client: Client, deal: Transaction, content: bytes) -> str:
        """Put the message into the mailboxes of all recipients."""
        refusal, dropped = await self._dialogue.at_final_dot(client, deal)
        if refusal is not None:
            return refusal
        now_ns = self._clock()
        queue_id = self._ids.next(now_ns)
        for recipient in deal.recipients:
            mailbox = self._directory.find(recipient.address)
            if mailbox is not None:
                await self._deliver(mailbox, client, deal.sender, content, queue_id, now_ns)
        if dropped:
            raise DropConnection
        return f"250 2.0.0 Ok: queued as {queue_id}"

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
        skew = self._board.find(ClockSkew, relay=self._relay, at=Side.DESTINATION)
        stamped_ns = now_ns + round(skew.seconds * NS_PER_S) if skew else now_ns
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
        ) + received_field(
            client,
            by=self.hostname,
            queue_id=queue_id,
            recipient=mailbox.address,
            at_ns=stamped_ns,
        )
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

    def _protocol(self, listener: Listener) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = LabSmtp(self, self._options, listener.opened)
        return protocol
