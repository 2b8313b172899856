"""The floor: the same protocol steps with the same two libraries and nothing else.

``python -m benchmarks.floor_process``, a :class:`Job` on its input. Mails go out with aiosmtplib, a
fresh connection for each; they are read with aioimaplib by NOOP, UID FETCH of the fields that the
agent fetches, UID STORE and UID EXPUNGE in batches. Nothing is signed, parsed, measured or kept.
"""

import asyncio
import secrets
import sys
import time

import aioimaplib
import aiosmtplib
import msgspec

from agent.app import loop_factory
from agent.mailbox.arrivals import HEADER_FIELDS
from agent.mailbox.cadence import INBOX
from benchmarks.fleet import HELO, SENDER
from benchmarks.job import Done, Home, Job
from benchmarks.readers import canaries
from probes.contract.message import Addresses, build_message
from probes.contract.names import Path
from probes.contract.secret import Secret
from probes.contract.token import Key, Token

_CLEAN_AT = 50
_ITEMS = f"(UID INTERNALDATE BODY.PEEK[HEADER.FIELDS ({' '.join(HEADER_FIELDS)})])"
_PLACE = "0" * 32


def template(address: str) -> bytes:
    """A canary as long as a real one; its id is to be put in."""
    token = Token(_PLACE, Path("bench", "relay-00", "acme/inbox"), "0" * 12, 1, 1, time.time_ns())
    key = Key("floor", Secret("x" * 32))
    return build_message(token, key, Addresses(SENDER, address))


class Floor:
    """Keeps ``in_air`` canaries out."""

    def __init__(self, home: Home, in_air: int) -> None:
        self._home = home
        self._room = asyncio.Semaphore(in_air)
        self._template = template(home.address)
        self._out: set[str] = set()
        self._next_uid = 1
        self._client = aioimaplib.IMAP4(home.imap, home.imap_port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stale = True
        self.home_count = 0
        self.commands = 0

    async def send(self) -> None:
        """Send for ever."""
        while True:
            await self._room.acquire()
            task = asyncio.create_task(self._send_one())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send_one(self) -> None:
        canary = secrets.token_hex(16)
        self._out.add(canary)
        client = aiosmtplib.SMTP(
            hostname=self._home.relay,
            port=self._home.relay_port,
            local_hostname=HELO,
            start_tls=False,
        )
        await client.connect()
        message = self._template.replace(_PLACE.encode(), canary.encode())
        await client.sendmail(SENDER, [self._home.address], message)
        await client.quit()

    async def read(self) -> None:
        """Read for ever."""
        client = self._client
        await client.wait_hello_from_server()
        await client.login(self._home.user, self._home.password)
        await client.select("INBOX")
        garbage: list[int] = []
        while True:
            began = time.monotonic()
            reply = await client.noop()
            self.commands += 1
            if self._stale or any(line.endswith(b"EXISTS") for line in reply.lines):
                garbage += await self._fetch()
            if len(garbage) >= _CLEAN_AT:
                chosen = ",".join(map(str, garbage))
                await client.uid("store", chosen, r"+FLAGS.SILENT (\Deleted)")
                await client.uid("expunge", chosen)
                self.commands += 2
                garbage = []
                self._stale = True
            await asyncio.sleep(max(0.0, INBOX.floor_s + began - time.monotonic()))

    async def _fetch(self) -> list[int]:
        reply = await self._client.uid("fetch", f"{self._next_uid}:4294967294", _ITEMS)
        self.commands += 1
        # aioimaplib drops an EXISTS that comes with another reply than NOOP's.
        self._stale = len(reply.lines) > 1
        uids = []
        for uid, canary in canaries(reply.lines):
            uids.append(uid)
            self._next_uid = max(self._next_uid, uid + 1)
            if canary in self._out:
                self._out.remove(canary)
                self.home_count += 1
                self._room.release()
        return uids


async def work(job: Job) -> Done:
    """Run for as long as the job lasts."""
    floor = Floor(job.home, job.in_air)
    tasks = [asyncio.create_task(floor.read()), asyncio.create_task(floor.send())]
    stopped = asyncio.create_task(asyncio.sleep(job.warm_s))
    await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
    home, spent = floor.home_count, floor.commands
    began, cpu = time.monotonic(), time.process_time()
    stopped = asyncio.create_task(asyncio.sleep(job.seconds))
    await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()
        task.cancel()
    return Done(
        canaries=floor.home_count - home,
        seconds=time.monotonic() - began,
        cpu_s=time.process_time() - cpu,
        commands=floor.commands - spent,
    )


def main() -> None:
    """Do the job on standard input."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        done = runner.run(work(job))
    sys.stdout.buffer.write(msgspec.json.encode(done))


if __name__ == "__main__":
    main()
