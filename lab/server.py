"""What the two SMTP servers of a relay node have in common: the relay and its destination."""

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from lab.board import Board
from lab.dialogue import Dialogue
from lab.directory import Directory
from lab.faults import ClockSkew, Fault, PortClosed, Side
from lab.listener import Listener, Mode
from lab.received import NS_PER_S, Client, QueueIds, received_field
from lab.smtpd import DropConnection, LabSmtp, SmtpdOptions, Transaction
from lab.truth import Pulse, Truth
from probes.contract.stages import Stage


class MailServer(ABC):
    """An SMTP server with a listener of its own; the fault board decides who reaches it and how.

    It is the policy of its connections (``lab.smtpd.Policy``). ``clock`` gives ns since the epoch.
    """

    side: ClassVar[Side]
    """Which of a relay node's servers it is."""
    filtered_by: ClassVar[type[Fault]]
    """The fault that keeps new connections from it."""

    def __init__(
        self,
        relay: str,
        host: str,
        options: SmtpdOptions,
        *,
        board: Board,
        directory: Directory,
        truth: Truth,
        pulse: Pulse,
        clock: Callable[[], int],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.hostname = options.hostname
        self._relay = relay
        self._options = options
        self._board = board
        self._directory = directory
        self._truth = truth
        self._pulse = pulse
        self._clock = clock
        self._ids = QueueIds()
        self._dialogue = Dialogue(relay, self.side, board=board, directory=directory, clock=clock)
        self._listener = Listener(host, self._protocol, tls=tls)

    @property
    def host(self) -> str:
        """The address that it accepts mail on."""
        return self._listener.host

    @property
    def port(self) -> int:
        """The port that it accepts mail on."""
        return self._listener.port

    def start(self) -> None:
        """Listen."""
        self._listener.start()

    async def close(self) -> None:
        """Stop listening and end every connection."""
        await self._listener.close()

    def refresh(self) -> None:
        """Look at the fault board again."""
        if self._board.find(self.filtered_by, relay=self._relay):
            mode = Mode.FILTERED
        elif self._board.find(PortClosed, relay=self._relay, at=self.side):
            mode = Mode.CLOSED
        else:
            mode = Mode.OPEN
        self._listener.set_mode(mode)

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
        await self._take_over(client, deal, content, queue_id, now_ns)
        if dropped:
            raise DropConnection
        return f"250 2.0.0 Ok: queued as {queue_id}"

    @abstractmethod
    async def _take_over(
        self, client: Client, deal: Transaction, content: bytes, queue_id: str, now_ns: int
    ) -> None:
        """Do with a message for each of its recipients what this server does with mail."""

    def _received(self, client: Client, queue_id: str, recipient: str, now_ns: int) -> bytes:
        """The Received field of this server, by its own clock."""
        skew = self._board.find(ClockSkew, relay=self._relay, at=self.side)
        return received_field(
            client,
            by=self.hostname,
            queue_id=queue_id,
            recipient=recipient,
            at_ns=now_ns + round(skew.seconds * NS_PER_S) if skew else now_ns,
        )

    def _protocol(self, listener: Listener) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = LabSmtp(self, self._options, listener.opened)
        return protocol
