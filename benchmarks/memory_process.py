"""Holds many paths or flights, and prints how many bytes are resident.

``python -m benchmarks.memory_process paths|flights COUNT``
"""

import secrets
import sys
import time
from pathlib import Path as File

from agent.air import Air
from agent.clock import SystemClock
from agent.schedule import Schedule
from agent.spool.flight import Flight
from benchmarks.schedule import path_plans


def paths(count: int) -> object:
    """The plans and their schedule, as the agent holds them."""
    return Schedule(tuple(path_plans(count, 3600.0)), time.time_ns())


def flights(count: int) -> object:
    """Awaited canaries on as many paths as a customer's mailbox has."""
    clock, air = SystemClock(), Air()
    plans = path_plans(1000, 3600.0)
    for number in range(count):
        now = clock.now()
        path = plans[number % len(plans)].path
        flight = Flight(
            canary=secrets.token_hex(16),
            path=path,
            due_ns=now.wall_ns,
            sent=now,
            deadline_s=60.0,
            loss_after_s=1800.0,
            path_seq=number,
            mailbox_seq=number,
            stream_epoch="0123456789ab",
        )
        air.expect(flight, now, dot=now)
    return air


def main() -> None:
    """Make them, and measure."""
    kind, count = sys.argv[1], int(sys.argv[2])
    held = {"paths": paths, "flights": flights}[kind](count)
    for line in File("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            print(int(line.split()[1]) * 1024)
    del held


if __name__ == "__main__":
    main()
