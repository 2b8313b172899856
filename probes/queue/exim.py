"""What ``exim -bp`` prints (the Exim specification, section "Display of the message queue").

::

    25m  2.9K 0t5C6f-0000c8-00 <alice@wonderland.fict.example>
              red.king@looking-glass.fict.example
     7d   291 1xVsQw-0006bR-0e <> *** frozen ***
            D done@one.example
              a@b.example

Age (minutes, from 91 minutes on hours, from 73 hours on days), size, id, sender; then recipients,
those that are served already with a D; then an empty line. It gives no reasons. What waits for its
next try and what is just being delivered is not told apart.
"""

import re
from collections.abc import Callable

from probes.queue.lines import Line
from probes.queue.model import MAX_SIZE, Mail, Recipient

WAITING = "queue"
"""Exim has one queue: what was put off, and what is being delivered."""

FROZEN = "frozen"
"""What it has given up to try, until somebody has a look."""

QUEUES = (WAITING, FROZEN)

MAX_RECIPIENTS = 1_000
"""Of one mail, that are kept."""

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SCALES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

_HEAD = re.compile(
    r" {0,3}(?P<age>\d{1,6})(?P<unit>[smhdw])\s{1,8}(?P<size>\d{1,6}(?:\.\d)?)(?P<scale>[KMG]?) "
    r"(?P<id>[0-9A-Za-z]{6}-[0-9A-Za-z]{6,11}-[0-9A-Za-z]{2,4}) "
    r"<(?P<sender>.*)>(?: \(.{1,100}\))?(?P<frozen> \*\*\* frozen \*\*\*)?$"
)
_RECIPIENT = re.compile(r" {7}(?P<flag> [ D]|\+D) (?P<address>\S.*)$")


class EximListing:
    """Reads the lines, and gives each mail to ``take`` and each that it cannot read to ``skip``.

    ``now_s`` is the time, in seconds since 1970, that ages are counted back from. A mail with more
    recipients than are kept is given with those, and skipped, too.
    """

    def __init__(
        self, take: Callable[[Mail], None], skip: Callable[[], None], now_s: float
    ) -> None:
        self._take = take
        self._skip = skip
        self._now_s = now_s
        self._mail: Mail | None = None
        self._lost = False
        """In an entry that is skipped: what follows up to an empty line belongs to it."""

    def line(self, line: Line) -> None:
        """Read one line."""
        text = line.text.decode("utf-8", "replace").rstrip("\r")
        if not text.strip():
            self.end()
        elif line.whole and (found := _RECIPIENT.match(text)) and (self._mail or self._lost):
            if self._mail is not None and "D" not in found["flag"]:
                self._add(self._mail, found["address"])
        elif line.whole and (head := _HEAD.match(text)):
            self.end()
            self._mail = self._begin(head)
        else:
            self._lose()

    def end(self) -> None:
        """The entry ends here."""
        if self._mail is not None:
            self._take(self._mail)
        self._mail, self._lost = None, False

    def _lose(self) -> None:
        if not self._lost:
            self._skip()
        self._lost = True

    def _add(self, mail: Mail, address: str) -> None:
        if len(mail.recipients) == MAX_RECIPIENTS:
            self._lose()
            return
        # A mail that is frozen is not tried any more; why not, the listing does not say.
        mail.recipients.append(Recipient(address, FROZEN if mail.queue == FROZEN else None))

    def _begin(self, head: re.Match[str]) -> Mail:
        return Mail(
            queue=FROZEN if head["frozen"] else WAITING,
            queue_id=head["id"],
            arrived_s=max(0, int(self._now_s) - int(head["age"]) * _UNITS_S[head["unit"]]),
            size=min(MAX_SIZE, int(float(head["size"]) * _SCALES[head["scale"]])),
            sender=head["sender"],
            recipients=[],
        )
