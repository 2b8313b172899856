"""What the server has told about itself and the selected folder, whenever it told it."""

from collections import deque
from collections.abc import Callable, Sequence

from probes.imap.model import ProtocolError
from probes.imap.replies import Code, capabilities, code_number, response_code

_SIGHTS = 64
"""Announcements that are kept apart: more than come while one check's mail is written down."""


class FolderView:
    """Keeps the counts right through replies and through what comes unasked.

    The pair ``bound_uid`` and ``settled`` bounds the work of the next check: at most ``settled``
    messages, those below ``bound_uid``, are known, so that from any UID on there are at most
    :meth:`at_most` messages.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.capabilities: frozenset[str] = frozenset()
        self.exists = 0
        self.uidvalidity: int | None = None
        self.uidnext: int | None = None
        self.news = False
        """An EXISTS came that no check has looked into yet."""
        self._sights: deque[tuple[int, int]] = deque(maxlen=_SIGHTS)
        self.bound_uid = 0
        self.settled = 0

    def settle(self, uid: int, settled: int) -> None:
        """From now on: the first ``settled`` messages of the folder have UIDs below ``uid``."""
        self.bound_uid = uid
        self.settled = settled
        self.uidnext = max(self.uidnext or 1, uid)

    def at_most(self, uid: int) -> int:
        """How many messages there can be at ``uid`` and above, as far as has been announced."""
        return min(self.exists, max(0, self.bound_uid - uid) + max(0, self.exists - self.settled))

    def note_capabilities(self, text: bytes) -> None:
        """Note what the text of a greeting, or of a login's reply, may name in passing."""
        code = response_code(text)
        if code is not None and code.name == b"CAPABILITY":
            self._code(code)

    def saw(self, sequence: int) -> None:
        """A message with this sequence number is there; it may not have been announced."""
        if sequence > self.exists:
            self.exists = sequence
            self._sights.append((sequence, self._clock()))

    def there_ns(self, sequence: int) -> int:
        """When the message that has this sequence number now had surely come.

        That is when the count that includes it was told first, as far as that is remembered.
        """
        for count, at_ns in self._sights:
            if sequence <= count:
                return at_ns
        return self._clock()

    def take(self, parts: Sequence[bytes]) -> bytes:
        """Note one untagged response; its kind in upper case, such as ``EXISTS`` or ``SEARCH``.

        Raises:
            ProtocolError: when the UIDVALIDITY changes while the folder is selected, or a number
                that must be there is not.
        """
        words = parts[0].split(b" ", 3)
        kind = words[1].upper() if len(words) > 1 else b""
        if kind.isdigit():
            kind = words[2].upper() if len(words) > 2 else b""
            self._count(kind, words[1])
        elif kind == b"OK":
            code = response_code(parts[0][5:])
            if code is not None:
                self._code(code)
        elif kind == b"CAPABILITY":
            self.capabilities = capabilities(parts[0][13:])
        return kind

    def _count(self, kind: bytes, number: bytes) -> None:
        if kind not in (b"EXISTS", b"EXPUNGE"):
            return
        if len(number) > 10:
            raise ProtocolError(f"an {kind.decode()} beyond 32 bits")
        if kind == b"EXISTS":
            self._exists(int(number))
        else:
            self._expunged(int(number))

    def _exists(self, count: int) -> None:
        if count < self.exists:
            # Without an EXPUNGE nobody knows which ones are gone, nor what is counted how now.
            self._sights.clear()
        if not self._sights or count > self._sights[-1][0]:
            self._sights.append((count, self._clock()))
        self.exists = count
        self.settled = min(self.settled, count)
        self.news = True

    def _expunged(self, sequence: int) -> None:
        self.exists = max(0, self.exists - 1)
        # Whether it was a settled one is not worth following; less is on the safe side.
        self.settled = max(0, self.settled - 1)
        # Those behind it move up by one, and so do the counts that included it.
        for index in range(len(self._sights) - 1, -1, -1):
            count, at_ns = self._sights[index]
            if count < sequence:
                break
            self._sights[index] = (count - 1, at_ns)
        while self._sights and self._sights[0][0] <= 0:
            self._sights.popleft()

    def _code(self, code: Code) -> None:
        if code.name == b"UIDVALIDITY":
            value = code_number(code)
            if self.uidvalidity not in (None, value):
                raise ProtocolError("the UIDVALIDITY changed while the folder was selected")
            self.uidvalidity = value
        elif code.name == b"UIDNEXT":
            self.uidnext = max(self.uidnext or 1, code_number(code))
        elif code.name == b"CAPABILITY":
            self.capabilities = capabilities(code.argument)
