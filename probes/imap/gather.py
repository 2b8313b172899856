"""The messages of one FETCH reply, told apart from whatever else comes with it."""

from probes.imap.items import FetchReply
from probes.imap.model import Message, ProtocolError
from probes.imap.replies import internaldate_ns
from probes.imap.view import FolderView

MAX_UNANNOUNCED = 1000
"""Messages in one reply, a batch expected: beyond, the server's counts are not to be trusted."""

_HEADER = b"BODY[HEADER.FIELDS"


class Gathering:
    """Takes the FETCH responses that come while messages ``first`` to ``last`` are asked for.

    Only a response with the header asked for counts, and moves the cursor: servers also send flags
    that another client changed, and the last message where a range lies beyond it.
    """

    def __init__(self, view: FolderView, first: int, last: int) -> None:
        self._view = view
        self._first = first
        self._last = last
        self._found: dict[int, Message] = {}
        self._seen: set[int] = set()
        self.reached = 0
        """The highest sequence number seen: so many messages, no more, have UIDs up to its own."""

    def take(self, reply: FetchReply) -> None:
        """Take in one response.

        Raises:
            ProtocolError: when it has the header but no UID, or there are far too many.
        """
        key = next((key for key in reply.items if key.startswith(_HEADER)), None)
        if key is None:
            return
        uid = reply.number(b"UID")
        header = reply.items[key]
        if uid is None or isinstance(header, list):
            raise ProtocolError("a FETCH response without UID or header")
        if not self._first <= uid <= self._last:
            return
        self._view.saw(reply.sequence)
        self._seen.add(uid)
        self.reached = max(self.reached, reply.sequence)
        if len(self._seen) > MAX_UNANNOUNCED:
            raise ProtocolError("far more messages than it announced")
        if header is not None and header.strip():
            given = reply.items.get(b"INTERNALDATE")
            when = internaldate_ns(given) if isinstance(given, bytes) else None
            self._found.setdefault(
                uid, Message(uid, when, header, self._view.there_ns(reply.sequence))
            )

    @property
    def messages(self) -> list[Message]:
        """Those that hold at least one of the fields, by UID, each once."""
        return [self._found[uid] for uid in sorted(self._found)]

    @property
    def count(self) -> int:
        """How many are there, with or without our fields."""
        return len(self._seen)

    def first(self, max_bytes: int) -> tuple[list[Message], int]:
        """The first messages, with headers of about ``max_bytes`` in all, and the UID behind them.

        That is :attr:`next_uid` when those are all.
        """
        messages = self.messages
        total = 0
        for number, message in enumerate(messages[:-1], 1):
            total += len(message.header)
            if total >= max_bytes:
                return messages[:number], message.uid + 1
        return messages, self.next_uid

    @property
    def next_uid(self) -> int:
        """The UID behind all that are there, with or without our fields."""
        return max(self._seen, default=self._first - 1) + 1
