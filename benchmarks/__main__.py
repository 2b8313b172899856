"""Runs the benchmarks that are named, or all: ``python -m benchmarks [NAME...] [--json]``.

Each name is a module here with a function ``run() -> Iterable[Figure]``. A benchmark that needs
what this machine lacks raises :class:`benchmarks.figures.Unavailable` and is skipped by its reason.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Sequence

from benchmarks.figures import Figure, Unavailable

BENCHMARKS = {
    "cli": "mailcanary --help",
    "plan": "plan 1,000 customers x 100 relays",
    "schedule": "100,000 paths: send-time error and CPU",
    "growth": "collector and agents from 1 to 100,000 paths, and how soon a change is in force",
    "rollup": "events a second that the rollup counts",
    "catch_up": "how soon an agent that was cut off for an hour has told of it",
    "ingest": "events a second into one collector process over HTTP",
    "queue": "what reading a queue of 50,000 mails in Postfix costs, and a list of a million",
    "roundtrips": "CPU and memory per canary, through Postfix and Dovecot",
    "accuracy": "observed delays against inotify, through Postfix and Dovecot",
}
"""Names and what they measure, in the order in which they run."""


def main(arguments: Sequence[str]) -> int:
    """0: all named benchmarks ran; 1: one was unavailable here; 2: wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        epilog="benchmarks: " + "; ".join(f"{name}: {what}" for name, what in BENCHMARKS.items()),
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones; default: all")
    parser.add_argument(
        "--sizes", metavar="SIZE,…", help="of growth: paths, and x agents; default: all that it has"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line per figure")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(BENCHMARKS)}")
    missing = 0
    for name in options.names or BENCHMARKS:
        try:
            chosen = {} if name != "growth" or not options.sizes else {"sizes": options.sizes}
            figures = importlib.import_module(f"benchmarks.{name}").run(**chosen)
        except Unavailable as reason:
            missing += 1
            print(f"{name}: not run, {reason}", file=sys.stderr)
            continue
        for figure in figures:
            print(json.dumps(figure.as_json()) if options.json else line(figure), flush=True)
    # Naming one that cannot run is an error; running all leaves out what the machine lacks.
    return 1 if missing and options.names else 0


def line(figure: Figure) -> str:
    """A figure for people."""
    text = f"{figure.name:<36} {figure.value:>12.4g} {figure.unit:<14}"
    if figure.baseline_value is not None:
        text += f" {figure.baseline}: {figure.baseline_value:.4g}"
    elif figure.baseline:
        text += f" {figure.baseline}"
    if figure.ratio is not None:
        text += f" (x{figure.ratio:.3g})"
    return text.rstrip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
