"""What really happened in the estate, and a way to wait for it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A relay answered 250 to the final dot, for one recipient. A DSN has sender ``""``."""

    relay: str
    queue_id: str
    message_id: str | None
    sender: str
    recipient: str
    accepted_ns: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message was appended to a folder of a mailbox; each copy has a record of its own."""

    relay: str
    mailbox: str
    folder: str
    message_id: str | None
    queue_id: str
    accepted_ns: int
    delivered_ns: int
    egress: str
    """The address that the relay's connection came from."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A relay forgot a message that it had accepted."""

    relay: str
    queue_id: str
    message_id: str | None
    recipient: str
    lost_ns: int


@dataclass(frozen=True, slots=True)
class Bounced:
    """A relay reported by DSN that it failed to deliver (``failed``) or not yet (``delayed``)."""

    relay: str
    queue_id: str
    message_id: str | None
    recipient: str
    action: str
    status: str
    at_ns: int


@dataclass(slots=True)
class Truth:
    """The records, in the order in which things happened. Times are ns since the epoch, UTC."""

    acceptances: list[Acceptance] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    bounces: list[Bounced] = field(default_factory=list)


class Pulse:
    """Lets a coroutine wait until a condition on the estate's state holds, without polling."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def beat(self) -> None:
        """Something changed: conditions are looked at again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return as soon as ``condition`` holds."""
        while not condition():
            await self._changed.wait()
