"""Two plain readers to compare with: ``python -m benchmarks.readers idle|poll HOST PORT USER``.

Written with aioimaplib, as its documentation has it. Each writes a line per canary that it has
seen, ``{"canary", "wall_ns", "boot_ns", "commands"}``, the time being that of the complete FETCH
reply and ``commands`` all that it has sent so far. The password comes on standard input.
"""

import asyncio
import re
import sys
import time
from collections.abc import Iterable

import aioimaplib
import msgspec

POLL_S = 10.0
_RENEW_S = 240.0
# aioimaplib calls itself for each line of a reply, until Python's limit.
_BATCH = 100
_ID = re.compile(rb"\bid=([0-9a-f]{32});")
_UID = re.compile(rb"\bUID (\d+)\b")


def canaries(lines: Iterable[bytes | bytearray]) -> list[tuple[int, str]]:
    """UID and canary of each mail in a FETCH reply that holds one."""
    found: list[tuple[int, str]] = []
    uid: int | None = None
    for line in lines:
        if isinstance(line, bytearray):
            match = _ID.search(line)
            if match is not None and uid is not None:
                found.append((uid, match[1].decode()))
        elif match := _UID.search(line):
            uid = int(match[1])
    return found


class PlainReader:
    """Follows one INBOX from where it ends now."""

    def __init__(self, host: str, port: int) -> None:
        self._client = aioimaplib.IMAP4(host, port)
        self._next_uid = 1
        self.commands = 0

    async def open(self, user: str, password: str) -> None:
        """Log in and find the end of the INBOX."""
        await self._client.wait_hello_from_server()
        await self._client.login(user, password)
        await self._client.select("INBOX")
        await self._look()

    async def follow(self, *, idle: bool) -> None:
        """Report what comes, for ever."""
        while True:
            if idle:
                waiting = await self._client.idle_start(timeout=_RENEW_S)
                await self._client.wait_server_push()
                self._client.idle_done()
                await waiting
            else:
                await asyncio.sleep(POLL_S)
                await self._client.noop()
            self.commands += 1
            for canary in await self._look():
                line = {
                    "canary": canary,
                    "wall_ns": time.time_ns(),
                    "boot_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
                    "commands": self.commands,
                }
                write(line)

    async def _look(self) -> list[str]:
        items = "(UID BODY.PEEK[HEADER.FIELDS (Mailcanary)])"
        seen: list[str] = []
        while True:
            wanted = f"{self._next_uid}:{self._next_uid + _BATCH - 1}"
            reply = await self._client.uid("fetch", wanted, items)
            self.commands += 1
            found = [(uid, c) for uid, c in canaries(reply.lines) if uid >= self._next_uid]
            seen += [canary for _, canary in found]
            if found:
                self._next_uid = found[-1][0] + 1
            if len(found) < _BATCH:
                return seen


def write(line: object) -> None:
    """One line on standard output, at once."""
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


async def _main() -> None:
    kind, host, port, user = sys.argv[1:]
    reader = PlainReader(host, int(port))
    await reader.open(user, sys.stdin.readline().rstrip("\n"))
    write({})
    await reader.follow(idle=kind == "idle")


if __name__ == "__main__":
    asyncio.run(_main())
