"""What a benchmark's process is asked to do, and how it is started: JSON in, JSON out."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

REPOSITORY = Path(__file__).resolve().parent.parent


class Home(msgspec.Struct, frozen=True):
    """A relay, and a mailbox that its mail comes home to."""

    relay: str
    relay_port: int
    imap: str
    imap_port: int
    address: str
    user: str
    password: str


class Job(msgspec.Struct, frozen=True):
    """Send canaries and read them back for ``seconds``, after ``warm_s`` that do not count.

    ``per_second`` canaries by the plan; else as many as come home while ``in_air`` are out at any
    time. Arrived mails are left for ``keep_s`` seconds. ``state`` is an empty directory.
    """

    home: Home
    state: str
    seconds: float
    warm_s: float = 2.0
    per_second: float = 0.0
    in_air: int = 0
    keep_s: float = 0.0
    commands_per_minute: float = 1_000_000.0


class Done(msgspec.Struct, frozen=True):
    """What the process has done in the time that counted; ``cpu_s`` is its own, all threads."""

    canaries: int
    seconds: float
    cpu_s: float
    commands: int


def command(module: str, *arguments: str) -> list[str]:
    """The command line of a benchmark's process."""
    return [sys.executable, "-m", f"benchmarks.{module}", *arguments]


def run_job(module: str, job: Job) -> Done:
    """Run a job in a process of its own.

    Raises:
        subprocess.CalledProcessError: when it failed; it has said why on standard error.
    """
    done = subprocess.run(
        command(module),
        input=msgspec.json.encode(job),
        stdout=subprocess.PIPE,
        check=True,
        cwd=REPOSITORY,
        timeout=job.seconds + job.warm_s + 60,
    )
    return msgspec.json.decode(done.stdout, type=Done)


class Witness:
    """A process that writes lines until it is stopped; ready when it has written the first."""

    def __init__(self, output: Path, module: str, *arguments: str, text: str = "") -> None:
        self._output = output
        with output.open("wb") as out:
            self._process = subprocess.Popen(
                command(module, *arguments), stdin=subprocess.PIPE, stdout=out, cwd=REPOSITORY
            )
        if self._process.stdin is not None:
            self._process.stdin.write(text.encode())
            self._process.stdin.close()

    def wait_ready(self, timeout_s: float = 20.0) -> None:
        """Return when it has begun. Raises RuntimeError when it does not."""
        end = time.monotonic() + timeout_s
        while not self._output.stat().st_size:
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{self._process.args!r} did not begin")
            time.sleep(0.02)

    def stop(self) -> list[dict[str, Any]]:
        """End it; the lines that it wrote, without the first."""
        self._process.terminate()
        self._process.wait()
        lines = self._output.read_bytes().splitlines()
        return [msgspec.json.decode(line) for line in lines[1:]]


def read_lines(file: Path, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """The events of those kinds in a file that an agent wrote."""
    events = (msgspec.json.decode(line)["event"] for line in file.read_bytes().splitlines())
    return [event for event in events if event["kind"] in kinds]


def run_text(arguments: Sequence[str]) -> str:
    """What a short process prints.

    Raises:
        subprocess.CalledProcessError: when it failed; it has said why on standard error.
    """
    done = subprocess.run(
        arguments, stdout=subprocess.PIPE, check=True, cwd=REPOSITORY, timeout=120
    )
    return done.stdout.decode()
