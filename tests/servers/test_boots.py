"""Another boot: its id and its clocks, for the process itself and for nobody else."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers.boots import BOOT_ID, Boot, clocks_can_be_shifted

pytestmark = pytest.mark.servers

TELL = f"""
import os, time
print(open({str(BOOT_ID)!r}).read().strip())
print(os.getpid(), time.clock_gettime(time.CLOCK_BOOTTIME), time.time())
"""


@pytest.mark.parametrize("age_s", [10, 40_000_000])
def test_a_process_in_another_boot_has_its_id_and_clocks(tmp_path: Path, age_s: int) -> None:
    """A machine that has just started, and one that has run for a year."""
    boot = Boot.new(tmp_path, age_s)
    before = time.time()
    process = subprocess.Popen(
        boot.command([sys.executable, "-c", TELL]), stdout=subprocess.PIPE, text=True
    )
    identity, told = process.communicate()[0].splitlines()
    pid, boot_s, wall_s = told.split()
    assert (identity, int(pid)) == (boot.id, process.pid)
    assert before <= float(wall_s) <= time.time()
    if clocks_can_be_shifted():
        assert age_s <= float(boot_s) < age_s + 120
    assert BOOT_ID.read_text().strip() != boot.id
