"""How many bytes of bodies may be under way at once, beside those of batches (``ingest``)."""

import contextlib
from collections import Counter
from collections.abc import Iterator

from aiohttp import web

from collector.web.problems import overloaded

OF_ONE = 16 << 20
IN_ALL = 64 << 20


class Bodies:
    """Counts the bodies that are being read, for each of those who send them and in all.

    Used from one event loop.
    """

    def __init__(self, of_one: int = OF_ONE, in_all: int = IN_ALL) -> None:
        self._of_one = of_one
        self._in_all = in_all
        self._held: Counter[str] = Counter()

    @contextlib.contextmanager
    def hold(self, who: str, size: int) -> Iterator[None]:
        """Room for a body of at most ``size`` bytes of ``who``'s, until it has become something.

        Raises:
            Refused: 429 when it is too much of one sender, 503 when it is too much in all.
        """
        # One by itself is let in, whatever its size: its route has a bound for that.
        if self._held[who] and self._held[who] + size > self._of_one:
            raise overloaded("too many large bodies of yours are under way", status=429)
        if self._held and self._held.total() + size > self._in_all:
            raise overloaded("too many large bodies are under way")
        self._held[who] += size
        try:
            yield
        finally:
            self._held[who] -= size
            if not self._held[who]:
                del self._held[who]


BODIES: "web.AppKey[Bodies]" = web.AppKey("bodies", Bodies)
