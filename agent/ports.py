"""What the agent needs of the outside world; ``app.py`` fills these with the probes.

The simulation brings servers of its own that fail to order; everything between is the same code.
"""

import asyncio
from collections.abc import Callable, Collection
from datetime import date
from typing import Protocol

from probes.contract.config.models import Relay
from probes.imap import Batch, FolderState, ImapFailure, Message
from probes.smtp import Mail, SendReport


class Smtp(Protocol):
    """Hands one mail to one relay."""

    async def send(
        self, relay: Relay, mail: Callable[[], Mail], on_data_sent: Callable[[], None]
    ) -> SendReport:
        """One attempt on a fresh connection; raises nothing for what network or server do.

        ``mail`` is called when the attempt begins, at most once: the send time is taken then. It is
        not called when nothing is sent for want of a secret or of this host's own means.
        """


class FolderSession(Protocol):
    """One connection that has one folder selected; see :class:`probes.imap.FolderSession`."""

    @property
    def state(self) -> FolderState:
        """The folder as it was selected."""

    @property
    def has_idle(self) -> bool:
        """Whether the server offers IDLE."""

    @property
    def dead(self) -> ImapFailure | None:
        """Why the session has ended; ``None`` while it goes on, also after a refusal."""

    async def fetch_from(self, uid: int) -> Batch:
        """The messages from that UID on; their times and the batch's are of the boot clock."""

    async def notice(self) -> None:
        """Let the server announce what has come: messages fetched later are dated by that."""

    async def idle(self, timeout_s: float, wake: asyncio.Event) -> bool:
        """Wait for the server to push, ``wake`` to be set, or the time to pass."""

    async def delete(self, uids: Collection[int]) -> bool:
        """Delete those messages, and no other."""

    async def fetch_whole(self, uid: int, max_bytes: int) -> bytes | None:
        """The message's first ``max_bytes`` bytes."""

    async def search_header(self, field: str, since: date, before: date | None = None) -> list[int]:
        """UIDs of messages that have that field and came from ``since`` to before ``before``."""

    async def fetch_some(self, uids: Collection[int]) -> list[Message]:
        """Those of the messages that are there and hold a field that was asked for."""

    async def quota(self) -> float | None:
        """The used share of the mailbox's quota; ``None`` when the server tells none."""

    async def close(self) -> None:
        """End the connection."""


class Imap(Protocol):
    """Opens mailboxes' folders."""

    async def open(self, mailbox: str, folder: str) -> FolderSession:
        """Connect, log in and select.

        Raises:
            ImapFailure: with the stage and the reason.
        """
