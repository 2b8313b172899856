"""``python -m tests.fleet_simulation --seeds 0-5000 [--trace]``: one line per failing schedule."""

import sys

from tests.fleet_simulation.report import SCHEDULES
from tests.simulation.__main__ import run

if __name__ == "__main__":
    sys.exit(run("python -m tests.fleet_simulation", SCHEDULES))
