"""Running the system's own commands, with errors that say what the command said."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.servers.requirements import SYSTEM_PATH


class CommandError(Exception):
    """A command failed. The text holds the command, its exit status and its output."""


class NotReadyError(Exception):
    """Something that was awaited did not happen in time."""


def environment() -> dict[str, str]:
    """The environment that servers and tools run in: this one with the sbin directories found."""
    return os.environ | {"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"}


def run(command: Sequence[str | Path], *, timeout: float = 60, text: str | None = None) -> str:
    """Run a command to its end and return what it wrote.

    `text` goes to its standard input. Output goes through no pipe that a daemon could inherit and
    keep open. Raises CommandError when it fails or takes longer than `timeout` seconds.
    """
    shown = " ".join(str(word) for word in command)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            status = subprocess.run(
                [str(word) for word in command],
                input=(text or "").encode(),
                stdout=out,
                stderr=err,
                env=environment(),
                timeout=timeout,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"{shown}: still running after {timeout:g} s") from error
        out.seek(0)
        err.seek(0)
        output, errors = out.read().decode(errors="replace"), err.read().decode(errors="replace")
    if status != 0:
        raise CommandError(f"{shown}: exit {status}: {(errors + output).strip()}")
    return output


def wait_until(ready: Callable[[], bool], what: str, *, timeout: float = 15) -> None:
    """Poll `ready` until it is true. Raises NotReadyError naming `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            raise NotReadyError(f"{what}: not within {timeout:g} s")
        time.sleep(0.02)


def tail(path: Path, lines: int = 40) -> str:
    """The last lines of a log file; empty when there is none."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
