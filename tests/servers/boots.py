"""A reboot, as far as a process can tell: another boot id, and a boot clock that began anew.

The kernel itself does it. A mount namespace has another file in the place of the boot's id, and a
time namespace (time_namespaces(7)) shifts the clocks that count from the boot. The wall clock is
the same in all of them.
"""

import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

from tests.servers.process import environment

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# The shell replaces itself by the command, so the process id is the command's own.
_IN_ITS_PLACE = f'mount --bind "$0" {BOOT_ID} && exec "$@"'


@dataclass(frozen=True)
class Boot:
    """A boot of its own for processes; `clocks` are the words that shift theirs, for unshare(1)."""

    id: str
    id_file: Path
    clocks: tuple[str, ...]

    @classmethod
    def new(cls, directory: Path, age_s: int) -> Self:
        """The machine as it would be `age_s` seconds after a reboot; `directory` keeps its id.

        Where the kernel has no time namespaces only the id is another one.
        """
        identity = str(uuid.uuid4())
        file = directory / f"boot-{identity}"
        file.write_text(identity + "\n")
        return cls(identity, file, _clocks(age_s) if clocks_can_be_shifted() else ())

    def command(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` in this boot, under its own process id."""
        words = ["unshare", *self.clocks, "--mount", "sh", "-c", _IN_ITS_PLACE, str(self.id_file)]
        return [*words, *command]


def _clocks(age_s: int) -> tuple[str, ...]:
    """What has unshare(1) begin the clocks anew: either says `age_s` seconds now."""
    monotonic_s, boot_s = int(time.monotonic()), int(time.clock_gettime(time.CLOCK_BOOTTIME))
    return ("--time", f"--monotonic={age_s - monotonic_s}", f"--boottime={age_s - boot_s}")


@cache
def clocks_can_be_shifted() -> bool:
    """Whether a command that `unshare` starts in its own process gets clocks of its own.

    It takes Linux 6.3; before, only a child did.
    """
    year_s = 31_536_000
    command = ["unshare", *_clocks(2 * year_s), "cat", "/proc/uptime"]
    told = subprocess.run(command, capture_output=True, check=False, env=environment())
    return told.returncode == 0 and float(told.stdout.split()[0]) > year_s
