"""One relay node: accepts mail, queues it, and delivers it to its destination over TCP."""

import random
from collections.abc import Callable

from lab.board import Board
from lab.destination import Destination
from lab.directory import Directory
from lab.dsn import Action, Report, build_dsn
from lab.faults import DelayNotice, Duplicate, InboundFiltered, Lose, Side, WrongEgress
from lab.outbound import Attempted, End, Route, deliver
from lab.queue import Entry, MailQueue
from lab.received import NS_PER_S, Client, date_field, header_value
from lab.server import MailServer
from lab.smtpd import Recipient, SmtpdOptions, Transaction
from lab.specs import RelaySpec
from lab.truth import Acceptance, Bounced, Loss, Pulse, Truth
from probes.contract.config.models import RelayTls


class Relay(MailServer):
    """A relay and its destination. ``host``, ``port`` and ``egress`` are what a config names."""

    side = Side.RELAY
    filtered_by = InboundFiltered

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
        implicit = spec.tls is RelayTls.IMPLICIT
        options = SmtpdOptions(
            hostname=spec.hostname or f"{spec.name}.lab.example",
            dsn=True,
            starttls=None if implicit else spec.tls_context,
            require_starttls=spec.tls is RelayTls.STARTTLS,
            users=spec.users,
        )
        super().__init__(
            spec.name,
            host,
            options,
            board=board,
            directory=directory,
            truth=truth,
            pulse=pulse,
            clock=clock,
            tls=spec.tls_context if implicit else None,
        )
        self.spec = spec
        self.name = spec.name
        self.egress = egress
        self.destination = destination
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
    def queue(self) -> list[Entry]:
        """What was accepted and is not delivered yet, the oldest first."""
        return self._queue.entries

    def flush(self) -> None:
        """Try every deferred message now."""
        self._queue.flush()

    def start(self) -> None:
        """Listen, the destination too."""
        self.destination.start()
        super().start()

    async def close(self) -> None:
        """Stop all; what is in the queue is forgotten."""
        await super().close()
        await self._queue.close()
        await self.destination.close()

    def refresh(self) -> None:
        """Look at the fault board again; the destination and the queue too."""
        super().refresh()
        self.destination.refresh()
        self._queue.refresh()

    async def _take_over(
        self, client: Client, deal: Transaction, content: bytes, queue_id: str, now_ns: int
    ) -> None:
        for recipient in deal.recipients:
            self._accept(client, deal, recipient, content, queue_id, now_ns)

    def _accept(
        self,
        client: Client,
        deal: Transaction,
        recipient: Recipient,
        content: bytes,
        queue_id: str,
        now_ns: int,
    ) -> None:
        field = self._received(client, queue_id, recipient.address, now_ns)
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
