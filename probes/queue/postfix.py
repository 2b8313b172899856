"""What ``postqueue -j`` prints: one JSON object a line (postqueue(1), Postfix 3.1 and later)."""

from collections.abc import Callable

import msgspec

from probes.queue.lines import Line
from probes.queue.model import Mail

QUEUES = ("active", "deferred", "hold", "incoming", "maildrop")
"""The queues that are listed (showq(8)); told of when they are empty, too."""

_NEXT_RECIPIENT = b'}, {"address": '


class PostfixListing:
    """Reads the lines, and gives each mail to ``take`` and each that it cannot read to ``skip``.

    A mail whose line is not whole is given with the recipients that were seen, and skipped, too.
    """

    def __init__(self, take: Callable[[Mail], None], skip: Callable[[], None]) -> None:
        self._take = take
        self._skip = skip
        self._decode = msgspec.json.Decoder(Mail).decode

    def line(self, line: Line) -> None:
        """Read one line."""
        text = line.text
        if not line.whole:
            self._skip()
            # Inside a JSON string a quote is escaped, so this stands between recipients only.
            head, found, _ = text.rpartition(_NEXT_RECIPIENT)
            if not found:
                return
            text = head + b"}]}"
        mail = self._mail(text)
        if mail is not None:
            self._take(mail)
        elif line.whole and text.strip():
            self._skip()

    def end(self) -> None:
        """Nothing: a mail is one line."""

    def _mail(self, text: bytes) -> Mail | None:
        if not text.startswith(b"{"):
            return None
        try:
            return self._decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        try:
            # Without SMTPUTF8, an address may be in any encoding.
            return self._decode(text.decode("utf-8", "replace"))
        except msgspec.DecodeError:
            return None
