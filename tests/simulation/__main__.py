"""``python -m tests.simulation --seeds 0-5000 [--trace]``: many schedules, one line per failure."""

import argparse
import sys
import time
from typing import Any

from tests.simulation.report import SCHEDULES
from tests.simulation.seeds import Schedules


def _seeds(text: str) -> range:
    first, dash, last = text.partition("-")
    return range(int(first), int(last if dash else first) + 1)


def run(prog: str, schedules: Schedules[Any]) -> int:
    """Run what the command line says; gives 1 when a schedule ended wrongly."""
    parser = argparse.ArgumentParser(prog=prog)
    parser.add_argument("--seeds", type=_seeds, default=range(1000), metavar="FIRST-LAST")
    parser.add_argument("--trace", action="store_true", help="print everything that happened")
    options = parser.parse_args()
    began, failed = time.monotonic(), 0
    for failure in schedules.failures(options.seeds):
        failed += 1
        text = str(failure) if options.trace else f"seed {failure.seed}: {failure.findings[0]}"
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    took_s = time.monotonic() - began
    sys.stdout.write(f"{len(options.seeds)} schedules in {took_s:.0f} s, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run("python -m tests.simulation", SCHEDULES))
