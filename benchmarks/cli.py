"""How long ``mailcanary --help`` takes, from the start of the process to its end."""

import subprocess
import sys
from collections.abc import Sequence
from time import perf_counter

from benchmarks.figures import Figure, compared
from benchmarks.job import REPOSITORY
from benchmarks.samples import median

TIMES = 15
AIM_S = 0.3

_HELP = (
    "-c",
    "import sys; sys.argv = ['mailcanary', '--help']; import mailcanary; mailcanary.main()",
)
_TYPER = ("-c", "import typer")
_NOTHING = ("-c", "pass")


def run(times: int = TIMES) -> list[Figure]:
    """Its shortest and its median time, in seconds, beside Python and Typer alone."""
    taken: dict[tuple[str, str], list[float]] = {_HELP: [], _TYPER: [], _NOTHING: []}
    for _ in range(times):
        # In turns, so that a neighbour's load falls on all of them.
        for arguments, durations in taken.items():
            durations.append(seconds(arguments))
    helped = taken[_HELP]
    return [
        compared("cli.help", median(helped), "s", "aim: below", AIM_S),
        compared(
            "cli.help_beside_typer", median(helped), "s", "import typer", median(taken[_TYPER])
        ),
        compared(
            "cli.help_beside_python", median(helped), "s", "python -c pass", median(taken[_NOTHING])
        ),
        compared("cli.help_min", min(helped), "s", "import typer", min(taken[_TYPER])),
    ]


def seconds(arguments: Sequence[str]) -> float:
    """One run of Python with those arguments."""
    start = perf_counter()
    subprocess.run(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True, cwd=REPOSITORY
    )
    return perf_counter() - start
