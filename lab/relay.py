"""One relay node: accepts mail, queues it, and delivers it to its destination over TCP."""

import asyncio
import random
from collections.abc import Callable

from lab.board import Board
from lab.destination import Destination
from lab.dialogue import Dialogue
from lab.directory import Directory
from lab.dsn import Action, Report, build_dsn
from lab.faults import (
    ClockSkew,
    DelayNotice,
    Duplicate,
    InboundFiltered,
    Lose,
    PortClosed,
    Side,
    WrongEgress,
)
from lab.listener import Listener, Mode
from lab.outbound import Attempted, End, Route, deliver
from lab.queue import Entry, MailQueue
from lab.received import (
    NS_PER_S,
    Client,
    QueueIds,
    date_field,
    header_value,
    received_field,
)
from lab.smtpd import DropConnection, LabSmtp, Recipient, SmtpdOptions, Transaction
from lab.specs import RelaySpec
from lab.truth import Acceptance, Bounced, Loss, Pulse, Truth
from probes.contract.config.models import RelayTls
from probes.contract.stages import Stage


class Relay:
    """A relay and its destination. ``host``, ``port`` and ``egress`` are what a config names."""

    def __init__(
        self,
        spec: RelaySpec,
        *,
        host: str,
        egress: str,
        destination: Destination,
        board: Board,
        directory: Directory,
        truth: Truth,
        pulse: Pulse,
        clock: Callable[[], int],
        rng: random.Random,
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.hostname = spec.hostname or f"{spec.name}.lab.example"
        self.egress = egress
        self.destination = destination
        self._board = board
        self._directory = directory
        self._truth = truth
        self._pulse = pulse
        self._clock = clock
        self._ids = QueueIds()
        self._dialogue = Dialogue(
            spec.name, Side.RELAY, board=board, directory=directory, clock=clock
        )
        self._options = SmtpdOptions(
            hostname=self.hostname,
            dsn=True,
            starttls=spec.tls_context if spec.tls is not RelayTls.IMPLICIT else None,
            require_starttls=spec.tls is RelayTls.STARTTLS,
            users=spec.users,
        )
        implicit = spec.tls_context if spec.tls is RelayTls.IMPLICIT else None
        self._listener = Listener(host, self._protocol, tls=implicit)
        self._queue = MailQueue(
            spec.name,
            board=board,
            pulse=pulse,
            retry=spec.retry,
            concurrency=spec.concurrency,
            rng=rng,
            attempt=self._attempt,
        )

    @property
    def host(self) -> str:
        """The address that the relay accepts mail on."""
        return self._listener.host

    @property
    def port(self) -> int:
        """The port that the relay accepts mail on."""
        return self._listener.port

    @property
    def queue(self) -> list[Entry]:
        """What was accepted and is not delivered yet, the oldest first."""
        return self._queue.entries

    def flush(self) -> None:
        """Try every deferred message now."""
        self._queue.flush()

    def start(self) -> None:
        """Listen, the destination too."""
        self.destination.start()
        self._listener.start()

    async def close(self) -> None:
        """Stop all; what is in the queue is forgotten."""
        await self._listener.close()
        await self._queue.close()
        await self.destination.close()

    def refresh(self) -> None:
        """Look at the fault board again."""
        if self._board.find(InboundFiltered, relay=self.name):
            mode = Mode.FILTERED
        elif self._board.find(PortClosed, relay=self.name, at=Side.RELAY):
            mode = Mode.CLOSED
        else:
            mode = Mode.OPEN
        self._listener.set_mode(mode)
        self.destination.refresh()
        self._queue.refresh()

    async def before(
        self, stage: Stage, client: Client, deal: Transaction | None, recipient: str | None
    ) -> str | None:
        """The policy's word before a reply."""
        return await self._dialogue.before(stage, client, deal, recipient)

    async def message(self, client: Client, deal: Transaction, content: bytes) -> str:
        """Take a message over; the reply names its queue id, as Postfix does."""
        refusal, dropped = await self._dialogue.at_final_dot(client, deal)
        if refusal is not None:
            return refusal
        now_ns = self._clock()
        queue_id = self._ids.next(now_ns)
        for recipient in deal.recipients:
            self._take_over(client, deal, recipient, content, queue_id, now_ns)
        if dropped:
            raise DropConnection
        return f"250 2.0.0 Ok: queued as {queue_id}"

    def _take_over(
        self,
        client: Client,
        deal: Transaction,
        recipient: Recipient,
        content: bytes,
        queue_id: str,
        now_ns: int,
    ) -> None:
        skew = self._board.find(ClockSkew, relay=self.name, at=Side.RELAY)
        stamped_ns = now_ns + round(skew.seconds * NS_PER_S) if skew else now_ns
        field = received_field(
            client,
            by=self.hostname,
            queue_id=queue_id,
            recipient=recipient.address,
            at_ns=stamped_ns,
        )
        self._enqueue(
            Entry(
                queue_id=queue_id,
                sender=deal.sender,
                recipient=recipient.address,
                mailbox=self._directory.name(recipient.address),
                message_id=header_value(content, "Message-ID"),
                content=field + content,
                accepted_ns=now_ns,
                notify=recipient.notify,
                ret=deal.ret,
                envid=deal.envid,
                orcpt=recipient.orcpt,
            )
        )

    def _enqueue(self, entry: Entry) -> None:
        self._truth.acceptances.append(
            Acceptance(
                relay=self.name,
                queue_id=entry.queue_id,
                message_id=entry.message_id,
                sender=entry.sender,
                recipient=entry.recipient,
                accepted_ns=entry.accepted_ns,
            )
        )
        if self._board.find(Lose, relay=self.name, mailbox=entry.mailbox) is not None:
            self._truth.losses.append(
                Loss(self.name, entry.queue_id, entry.message_id, entry.recipient, self._clock())
            )
            self._pulse.beat()
            return
        self.destination.accepted_at[entry.queue_id] = entry.accepted_ns
        self._queue.put(entry)

    async def _attempt(self, entry: Entry) -> bool:
        """One delivery attempt; whether the entry is done with."""
        copies = self._board.find(Duplicate, relay=self.name, mailbox=entry.mailbox)
        attempted = await self._deliver(entry)
        if attempted.end is End.DELIVERED:
            for _ in range(copies.copies if copies else 0):
                await self._deliver(entry)
            return True
        entry.reason = attempted.text
        if attempted.end is End.FAILED:
            self._notify(entry, "failed", attempted)
            return True
        age_s = entry.age_s(self._clock())
        if age_s >= self.spec.lifetime:
            self._notify(entry, "failed", attempted)
            return True
        warn_after = self._warn_after(entry)
        if warn_after is not None and age_s >= warn_after and not entry.warned:
            entry.warned = True
            self._notify(entry, "delayed", attempted)
        return False

    def _warn_after(self, entry: Entry) -> float | None:
        notice = self._board.find(DelayNotice, relay=self.name, mailbox=entry.mailbox)
        return notice.after if notice is not None else self.spec.delay_warning

    async def _deliver(self, entry: Entry) -> Attempted:
        wrong = self._board.find(WrongEgress, relay=self.name)
        route = Route(
            host=self.destination.host,
            port=self.destination.port,
            name=self.destination.hostname,
            source=wrong.address if wrong else self.egress,
            helo=self.hostname,
            connect_timeout=self.spec.connect_timeout,
            reply_timeout=self.spec.reply_timeout,
        )
        return await deliver(route, entry.sender, entry.recipient, entry.content)

    def _notify(self, entry: Entry, action: Action, attempted: Attempted) -> None:
        """Send a DSN to the sender, unless there is none or it wants none (RFC 3461 4.1)."""
        wanted = {"failed": "FAILURE", "delayed": "DELAY"}[action]
        now_ns = self._clock()
        self._truth.bounces.append(
            Bounced(
                self.name,
                entry.queue_id,
                entry.message_id,
                entry.recipient,
                action,
                attempted.status,
                now_ns,
            )
        )
        self._pulse.beat()
        if not entry.sender or (entry.notify is not None and wanted not in entry.notify):
            return
        until_ns = entry.accepted_ns + round(self.spec.lifetime * NS_PER_S)
        report = Report(
            action=action,
            reporting_mta=self.hostname,
            queue_id=entry.queue_id,
            sender=entry.sender,
            recipient=entry.recipient,
            status=attempted.status,
            text=attempted.text,
            remote_mta=attempted.remote.partition("[")[0],
            diagnostic=attempted.diagnostic,
            arrival_ns=entry.accepted_ns,
            at_ns=now_ns,
            retry_until_ns=until_ns if action == "delayed" else None,
            envid=entry.envid,
            orcpt=entry.orcpt,
            full=action == "failed" and entry.ret != "HDRS",
        )
        self._send_dsn(entry.sender, build_dsn(report, entry.content), now_ns)

    def _send_dsn(self, recipient: str, content: bytes, now_ns: int) -> None:
        queue_id = self._ids.next(now_ns)
        field = (
            f"Received: by {self.hostname} (mailcanary lab)\r\n\tid {queue_id};"
            f" {date_field(now_ns)}\r\n"
        ).encode()
        self._enqueue(
            Entry(
                queue_id=queue_id,
                sender="",
                recipient=recipient,
                mailbox=self._directory.name(recipient),
                message_id=header_value(content, "Message-ID"),
                content=field + content,
                accepted_ns=now_ns,
            )
        )

    def _protocol(self, listener: Listener) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = LabSmtp(self, self._options, listener.opened)
        return protocol
