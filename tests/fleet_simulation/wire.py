"""The network between an agent and the collector: it delays, loses, repeats and makes things up."""

import asyncio
import random
from collections.abc import Callable

import aiohttp
import msgspec

from agent.shipper.client import read_ingested
from agent.shipper.failures import ShipError, of_error
from probes.contract.wire import Ingested, ProblemDetails
from tests.fleet_simulation.sink import Answer, Sink
from tests.fleet_simulation.world import World

ANSWER_S = 15.0
STOPPED_S = 240.0
"""An agent whose token is refused asks again at most this often."""
_MANY = 4000
_NONSENSE: tuple[Answer, ...] = (
    Answer(200, None, b"<html>Please log in</html>"),
    Answer(200, None, b"{}"),
    Answer(200, None, b'{"epoch":"e","high_water":99999999,"accepted":1,"duplicates":0}'),
    Answer(204, None, b""),
    Answer(302, None, b""),
    Answer(400, None, b"<html>The plain HTTP request was sent to HTTPS port</html>"),
    Answer(404, None, b"not found"),
    Answer(413, None, b"<html>413 Request Entity Too Large</html>"),
    Answer(422, None, b'{"detail":"?"}'),
    Answer(500, None, b""),
    Answer(502, "never", b"<html>Bad Gateway</html>"),
    Answer(599, "Thu, 01 Jan 1970 00:00:00 GMT", b"\xff"),
)


class Line:
    """What an agent's shipper has for a collector; implements :class:`agent.shipper.ship.Takes`."""

    def __init__(self, agent: str, world: World, sink: Callable[[], Sink | None]) -> None:
        self._agent = agent
        self._world = world
        self._sink = sink
        self._rng = random.Random(f"{world.scenario.seed} line {agent}")  # noqa: S311 - repeats
        self._not_before_s = 0.0
        self._last: Answer | None = None
        self.takes_s = 0.0
        """By how much longer than usual each request takes."""
        self.asked_s: list[float] = []
        self.under_way: set[asyncio.Task[Answer]] = set()

    def forget(self) -> None:
        """Another life begins: it knows of no ``Retry-After``."""
        self._not_before_s = 0.0

    async def post_events(self, body: bytes) -> Ingested:
        """Ask once, as the client does."""
        now_s = self._world.loop.time()
        self.asked_s.append(now_s)
        if now_s < self._not_before_s:
            self._world.violate(f"{self._agent} asks {self._not_before_s - now_s} s too soon")
        if len(self.asked_s) > _MANY:
            raise RuntimeError(f"{self._agent} asks without end")
        asked = self._world.loop.create_task(self._carry(body))
        self.under_way.add(asked)
        asked.add_done_callback(self._settled)
        try:
            answer = await asyncio.wait_for(asyncio.shield(asked), ANSWER_S)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._world.trace(f"{self._agent}: {type(error).__name__}")
            failure = of_error(error)
            assert failure is not None
            raise ShipError(failure) from None
        self._world.trace(f"{self._agent}: answer {answer.status} {answer.body[:120]!r}")
        self._heed(answer)
        return read_ingested(
            answer.status, answer.retry_after, answer.body, self._world.loop.time()
        )

    def _heed(self, answer: Answer) -> None:
        """When the agent may ask again."""
        after_s = 0.0
        if answer.retry_after is not None and answer.retry_after.isdigit():
            after_s = float(answer.retry_after)
        if answer.status in (401, 404):
            after_s = STOPPED_S
        self._not_before_s = self._world.loop.time() + after_s

    def _settled(self, task: "asyncio.Task[Answer]") -> None:
        self.under_way.discard(task)
        if not task.cancelled():
            task.exception()

    async def _carry(self, body: bytes) -> Answer:
        """Take a request there and its answer back, whatever becomes of who asked."""
        rng, what = self._rng, self._world.spell(f"net-{self._agent}")
        await asyncio.sleep(self.takes_s + rng.uniform(0.0005, 0.03))
        if what == "refused":
            raise ConnectionRefusedError(111, "Connection refused")
        if what == "lost":
            await asyncio.sleep(rng.choice((0.1, 3600.0)))
            raise aiohttp.ServerDisconnectedError
        made_up = self._made_up(what)
        if made_up is not None:
            return made_up
        if what == "slow":
            await asyncio.sleep(rng.choice((1.0, 5.0, 30.0)) * rng.random())
        if what == "dup":
            copy = self._world.loop.create_task(self._late(body, rng.choice((0.0, 1.0, 20.0))))
            self.under_way.add(copy)
            copy.add_done_callback(self._settled)
        if what == "damaged":
            body = self._damaged(body)
        answer = await self._ask(body)
        if what == "answer-lost":
            await asyncio.sleep(rng.choice((0.0, 3600.0)))
            raise aiohttp.ServerDisconnectedError
        if what == "cut":
            if rng.random() < 0.5:
                raise aiohttp.ClientPayloadError("cut short")
            answer = Answer(answer.status, None, answer.body[: rng.randrange(len(answer.body))])
        if what == "slow":
            await asyncio.sleep(rng.choice((1.0, 5.0, 30.0)) * rng.random())
        await asyncio.sleep(rng.uniform(0.0005, 0.03))
        self._last = answer
        return answer

    def _made_up(self, what: str | None) -> Answer | None:
        """What somebody answers who is not the collector."""
        rng = self._rng
        if what == "busy":
            after = rng.choice((None, "0", "1", "7", "20"))
            return Answer(rng.choice((429, 503)), after, b"")
        if what == "unauthorised":
            problem = ProblemDetails(title="Unauthorized", status=401)
            return Answer(401, None, msgspec.json.encode(problem))
        if what == "nonsense":
            return rng.choice(_NONSENSE)
        if what == "cached":
            # The answer to an earlier question; this one goes no further.
            return self._last
        return None

    def _damaged(self, body: bytes) -> bytes:
        at = self._rng.randrange(len(body))
        if self._rng.random() < 0.5:
            return body[:at]
        return body[:at] + bytes([body[at] ^ 0x55]) + body[at + 1 :]

    async def _late(self, body: bytes, most_s: float) -> Answer:
        """A copy of a request that comes when it comes; nobody hears its answer."""
        await asyncio.sleep(self._rng.uniform(0.0, most_s))
        self._world.trace(f"{self._agent}: an old request comes again")
        return await self._ask(body)

    async def _ask(self, body: bytes) -> Answer:
        sink = self._sink()
        if sink is None:
            raise ConnectionRefusedError(111, "Connection refused")
        served = sink.process.start(sink.serve(self._agent, body))
        await asyncio.wait({served})
        if served.cancelled() or not sink.process.alive:
            raise aiohttp.ServerDisconnectedError
        answer: Answer = served.result()
        return answer
