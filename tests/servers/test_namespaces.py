"""Slots keep runs apart, and clear what a killed run has left."""

import signal
import subprocess
import sys

import pytest

from tests.servers.namespaces import ETC_DIRECTORY, Slot, hold_slot
from tests.servers.process import run

pytestmark = pytest.mark.servers

START_AND_HANG = """
import time
from tests.servers.estate import RelaySpec, ServerEstate

with ServerEstate(specs=[RelaySpec("relay-1")], site_count=1) as estate:
    estate.sites[0].resolve({"relay.example": ["192.0.2.1"]})
    print(estate.namespace_prefix, flush=True)
    time.sleep(600)
"""


def traces(slot: Slot) -> list[str]:
    """The namespaces, devices, directories and files in /etc of a slot that are there."""
    listed = (line.split() for line in run(["ip", "netns", "list"]).splitlines())
    found = [words[0] for words in listed if words and words[0].startswith(slot.prefix)]
    found += map(str, ETC_DIRECTORY.glob(f"{slot.prefix}*"))
    return found + [str(path) for path in (slot.device_path, slot.directory) if path.exists()]


def test_two_holders_have_different_slots() -> None:
    with hold_slot() as first, hold_slot() as second:
        assert first.number != second.number
        assert first.subnet != second.subnet


def test_a_killed_run_is_cleared_by_the_next_holder_of_its_slot() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", START_AND_HANG], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        prefix = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
    killed = Slot(int(prefix.removeprefix("mc").removesuffix("-")))
    assert len(traces(killed)) >= 6
    with hold_slot() as slot:
        # Unless another run on this machine was faster, and has cleared it for itself.
        if slot == killed:
            assert traces(killed) == []
