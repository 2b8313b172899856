"""How the faults on the board change the replies of an SMTP server, relay or destination."""

import asyncio
from collections.abc import Callable

from lab.board import Board
from lab.directory import Directory
from lab.faults import Drop, Greylist, Refuse, Side, Tarpit
from lab.received import Client
from lab.smtpd import DropConnection, Transaction
from probes.contract.stages import Stage


class Dialogue:
    """Answers ``before`` of a server's policy from the fault board."""

    def __init__(
        self,
        relay: str,
        side: Side,
        *,
        board: Board,
        directory: Directory,
        clock: Callable[[], int],
    ) -> None:
        self._relay = relay
        self._side = side
        self._board = board
        self._directory = directory
        self._clock = clock

    async def before(
        self, stage: Stage, client: Client, deal: Transaction | None, recipient: str | None
    ) -> str | None:
        """Wait as a tarpit orders, then return the refusal that is due, if any.

        Raises:
            DropConnection: when the connection is to be cut in place of this reply.
        """
        tarpit = self._board.find(Tarpit, relay=self._relay, at=self._side)
        if tarpit is not None and tarpit.delays.get(stage, 0.0) > 0.0:
            await asyncio.sleep(tarpit.delays[stage])
        mailbox = self._mailbox(deal, recipient)
        drops = self._board.find_all(Drop, relay=self._relay, mailbox=mailbox, at=self._side)
        if any(order.fault.stage is stage for order in drops):
            raise DropConnection
        if self._side is Side.DESTINATION and deal is not None and not deal.sender:
            return None
        for order in self._board.find_all(
            Refuse, relay=self._relay, mailbox=mailbox, at=self._side
        ):
            fault = order.fault
            if fault.stage is stage:
                return f"{fault.code} {fault.enhanced} {fault.text}"
        if stage is Stage.RCPT and deal is not None and recipient is not None:
            return self._greylisted(client, deal, recipient)
        return None

    async def at_final_dot(self, client: Client, deal: Transaction) -> tuple[str | None, bool]:
        """What is due at the final dot: a refusal, if any, and whether the reply gets lost.

        A message whose reply gets lost has been taken over.
        """
        try:
            return await self.before(Stage.ACCEPT, client, deal, None), False
        except DropConnection:
            return None, True

    def _mailbox(self, deal: Transaction | None, recipient: str | None) -> str | None:
        if recipient is None and deal is not None and len(deal.recipients) == 1:
            recipient = deal.recipients[0].address
        return self._directory.name(recipient)

    def _greylisted(self, client: Client, deal: Transaction, recipient: str) -> str | None:
        orders = self._board.find_all(
            Greylist,
            relay=self._relay,
            mailbox=self._directory.name(recipient),
            at=self._side,
        )
        if not orders:
            return None
        order = orders[0]
        fault = order.fault
        triplet = (self._relay, client.address, deal.sender, recipient)
        now = self._clock() / 1e9
        if now - order.memory.setdefault(triplet, now) >= fault.retry_after > 0.0:
            return None
        return f"{fault.code} {fault.enhanced} {fault.text}"
