"""What a folder needs now and then: what is deleted in it, and that nothing else is.

Mails that were accounted for in an earlier session are known by their UIDs only, and what lies
under a UID now may be another mail: the account was restored, or is another one. So they are looked
at once more before they are deleted.

A canary that its sender no longer knows of (its state was lost, or a single shot gave up waiting)
would lie in the mailbox for ever. Any agent that can verify it removes it once it is older than
canaries are remembered, when nobody waits for it any more.
"""

from datetime import UTC, datetime, timedelta

from agent.mailbox.arrivals import Fields, read_fields
from agent.mailbox.bounces import may_be_bounce
from agent.ports import FolderSession
from probes.contract.token import HEADER, KeyRing, Token, verify
from probes.headers.block import values
from probes.imap import Message

FIRST_AFTER_S = 3600.0
EVERY_S = 86400.0
# The search goes over the days just past remembering, so that its cost stays that of a few days'
# mail however full the mailbox is; daily sweeps leave nothing behind them.
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
    """The UIDs of those messages that are verified canaries older than is remembered; pure."""
    found = []
    for message in messages:
        for value in values(read_fields(message), HEADER.lower())[:1]:
            token = verify(value, ring)
            if token is not None and now_ns - token.sent_ns > remember_s * 1e9:
                found.append(message.uid)
    return found


async def sweep(session: FolderSession, ring: KeyRing, *, now_ns: int, remember_s: float) -> int:
    """Delete the orphans of the last days from the folder; gives how many.

    Raises:
        ImapFailure: as the session's commands.
    """
    end = datetime.fromtimestamp(now_ns / 1e9 - remember_s, tz=UTC).date() + timedelta(days=1)
    uids = await session.search_header(HEADER, end - _WINDOW, end)
    if not uids:
        return 0
    messages = await session.fetch_some(uids[:_AT_MOST])
    old = orphans(messages, ring, now_ns=now_ns, remember_s=remember_s)
    if old:
        await session.delete(old)
    return len(old)
