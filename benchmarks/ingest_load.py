"""Agents that send batches: ``python -m benchmarks.ingest_load``, a :class:`Load` on its input."""

import asyncio
import gzip
import sys
import time
from collections.abc import Sequence

import aiohttp
import msgspec

from agent.app import loop_factory
from benchmarks.ingest import BATCH, Load, Sent, events_of
from probes.contract.wire import BATCH_TYPE, BatchHeader, Ingested, encode_batch

_LEVEL = 1


def bodies(agent: str, epoch: str, count: int, events: Sequence[bytes]) -> list[bytes]:
    """``count`` batches of an epoch, gzipped; the events come again after a while."""
    found = []
    for number in range(count):
        at = number * BATCH % (len(events) - BATCH + 1)
        header = BatchHeader(
            version=1,
            agent=agent,
            epoch=epoch,
            first_seq=number * BATCH + 1,
            count=BATCH,
            sent_at_ns=time.time_ns(),
        )
        plain = encode_batch(header, events[at : at + BATCH])
        found.append(gzip.compress(plain, _LEVEL))
    return found


class Sender:
    """Sends for all agents, each of them one batch at a time, as they do."""

    def __init__(self, load: Load, session: aiohttp.ClientSession) -> None:
        self._load = load
        self._session = session
        self.waits_s: list[float] = []

    async def send(self, agent: str, batches: Sequence[bytes], due_s: Sequence[float]) -> None:
        """Send an agent's batches: each when it is due, the earlier ones answered."""
        headers = {
            "Authorization": f"Bearer {self._load.listening.tokens[agent]}",
            "Content-Type": BATCH_TYPE,
            "Content-Encoding": "gzip",
        }
        for body, at_s in zip(batches, due_s, strict=True):
            now_s = time.monotonic()
            if at_s > now_s:
                await asyncio.sleep(at_s - now_s)
            # From when it was due: an answer that was late holds up the next one, too.
            begun_s = at_s or now_s
            async with self._session.post(
                self._load.listening.url, data=body, headers=headers
            ) as response:
                answer = await response.read()
                self.waits_s.append(time.monotonic() - begun_s)
            if response.status != 200:
                raise RuntimeError(f"{response.status}: {answer[:500]!r}")
            if answer and msgspec.json.decode(answer, type=Ingested).accepted != BATCH:
                raise RuntimeError(f"not all were accepted: {answer[:500]!r}")


async def send_all(load: Load) -> Sent:
    """Make the batches, then send them."""
    agents = sorted(load.listening.tokens)[: load.agents]
    each = -(-load.batches // load.agents)
    revision = load.listening.revision
    made = {agent: bodies(agent, load.epoch, each, events_of(agent, revision)) for agent in agents}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        sender = Sender(load, session)
        start_s, used_s = time.monotonic(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for number, agent in enumerate(agents):
                due_s = [
                    start_s + (turn * load.agents + number) / load.per_second
                    if load.per_second
                    else 0.0
                    for turn in range(each)
                ]
                group.create_task(sender.send(agent, made[agent], due_s))
        seconds, cpu_s = time.monotonic() - start_s, time.process_time() - used_s
    size = sum(len(body) for many in made.values() for body in many)
    return Sent(each * load.agents, size, seconds, cpu_s, sender.waits_s)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        sent = runner.run(send_all(msgspec.json.decode(sys.stdin.buffer.read(), type=Load)))
    sys.stdout.buffer.write(msgspec.json.encode(sent))
