"""File systems of a few kilobytes, for tests of what happens when they are full."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.servers.requirements import verdict


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[Path]:
    """A file system of that size (in mount's words, such as ``512k``) on a new directory.

    The test is skipped where this process may not mount, or fails where nothing may be skipped.
    """
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        decision, message = verdict(["the right to mount a tmpfs"], os.environ)
        if decision == "fail":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def fill(disk: Path) -> Path:
    """Leave no room on the disk; the file that takes it."""
    filler = disk / "filler"
    # Others may write meanwhile, so how much room there is cannot be asked before.
    with filler.open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(4096))
    return filler
