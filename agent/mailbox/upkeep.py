"""What a folder needs now and then: what is deleted in it, and that nothing else is.

Mails that were accounted for in an earlier session are known by their UIDs only, and what lies
under a UID now may be another mail: the account was restored, or is another one. So they are looked
at once more before they are deleted.

A canary that its sender no longer knows of (its state was lost, or a single shot gave up waiting)
would lie in the mailbox for ever. Any agent that can verify it removes it once it is older than
canaries are remembered, when nobody waits for it any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from agent.mailbox.arrivals import Fields, read_fields
from agent.mailbox.bounces import may_be_bounce
from agent.ports import FolderSession
from probes.contract.token import HEADER, KeyRing, Token, verify
from probes.headers.block import values
from probes.imap import Message

FIRST_AFTER_S = 3600.0
EVERY_S = 86400.0
MORE_AFTER_S = 60.0
# The search goes over the days just past remembering, so that its cost stays that of a few days'
# mail however full the mailbox is; daily sweeps leave nothing behind them. It goes in slices, so
# that thousands of mails that nobody here can verify keep no check waiting and hide no orphan.
_WINDOW = timedelta(days=7)
_AT_MOST = 500


def _token(fields: Fields, ring: KeyRing) -> Token | None:
    """The genuine token of a mail that has one."""
    found = values(fields, HEADER.lower())
    return verify(found[0], ring) if found else None


def ours(
    messages: list[Message], ring: KeyRing, *, agent: str, mailbox: str, takes_bounces: bool
) -> list[int]:
    """The UIDs of those messages that this agent may delete without knowing more of them; pure.

    They are its own canaries to this mailbox; and in the bounce mailbox what looks like a bounce.
    """
    found = []
    for message in messages:
        fields = read_fields(message)
        token = _token(fields, ring)
        if token is None:
            mine = takes_bounces and may_be_bounce(fields)
        else:
            mine = token.path.agent == agent and token.path.mailbox == mailbox
        if mine:
            found.append(message.uid)
    return found


def orphans(messages: list[Message], ring: KeyRing, *, now_ns: int, remember_s: float) -> list[int]:
    """The UIDs of those messages that are verified canaries older than is remembered; pure.

    They must be so by two clocks: their sender's, and their server's, which dated their coming.
    """
    before_ns = now_ns - round(remember_s * 1e9)
    found = []
    for message in messages:
        token = _token(read_fields(message), ring)
        came_ns = message.internaldate_ns
        if token is not None and came_ns is not None and max(token.sent_ns, came_ns) < before_ns:
            found.append(message.uid)
    return found


class ServerClock:
    """What the mails of a folder prove of their server's clock: that it is at least so late.

    All that came while the agent watched bounds how far its own clock may be ahead of the server's
    without anything being destroyed for its age.
    """

    def __init__(self) -> None:
        self._ahead_ns: int | None = None

    def note(self, messages: Sequence[Message]) -> None:
        """These have come, each at the latest when it was seen there."""
        for message in messages:
            if message.internaldate_ns is not None:
                ahead_ns = message.internaldate_ns - message.there_ns
                known_ns = ahead_ns if self._ahead_ns is None else self._ahead_ns
                self._ahead_ns = max(ahead_ns, known_ns)

    def at_most_ns(self, wall_ns: int, boot_ns: int) -> int:
        """That wall time, or what the server's clock shows at least if that is earlier."""
        return wall_ns if self._ahead_ns is None else min(wall_ns, boot_ns + self._ahead_ns)


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did. ``after`` is the UID to go on after; 0 when it came to the end."""

    removed: int
    after: int


async def sweep(
    session: FolderSession, ring: KeyRing, *, now_ns: int, remember_s: float, after: int = 0
) -> Swept:
    """Delete orphans of the last days from the folder: a slice of the mails that may be some.

    Raises:
        ImapFailure: as the session's commands.
    """
    end = datetime.fromtimestamp(now_ns / 1e9 - remember_s, tz=UTC).date() + timedelta(days=1)
    hits = await session.search_header(HEADER, end - _WINDOW, end)
    left = sorted(uid for uid in hits if uid > after)
    chosen = left[:_AT_MOST]
    if not chosen:
        return Swept(0, 0)
    messages = await session.fetch_some(chosen)
    old = orphans(messages, ring, now_ns=now_ns, remember_s=remember_s)
    if old:
        await session.delete(old)
    return Swept(len(old), chosen[-1] if len(left) > len(chosen) else 0)
