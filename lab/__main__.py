"""``python -m lab DIR``: an estate to try the commands on, until it is interrupted.

Writes ``mailcanary.yaml``, ``policy.yaml`` and the secrets into DIR, then takes orders from
standard input, one a line: a fault and its relays or mailboxes (``OutboundFiltered relay-2``), or
``clear``.
"""

import argparse
import asyncio
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lab import faults
from lab.estate import Estate
from lab.extras import LabError

SIGNING_KEY = "signing-key"


class PlaceError(LabError):
    """The lab was given a directory that it cannot use."""

    exit_code = 2


def policy(document: Mapping[str, Any]) -> dict[str, Any]:
    """The agent's policy for a lab's configuration: its secrets may go to its own mailboxes."""
    rules = [
        {
            "secret": mailbox["imap"]["secret"],
            "to": [f"{mailbox['imap']['host']}:{mailbox['imap']['port']}"],
            "unverified": True,
        }
        for customer in document["customers"]
        for mailbox in customer["mailboxes"]
    ]
    return {
        "version": 1,
        "keys": {"current": {"id": "lab", "secret": SIGNING_KEY}},
        "sources": {"directory": "secrets"},
        "secrets": rules,
        "addresses": {"allow": ["127.0.0.0/8"]},
    }


def write(directory: Path, document: Mapping[str, Any], values: Mapping[str, str]) -> None:
    """Write the configuration, the policy and the secrets.

    Raises:
        PlaceError: they cannot be written there.
    """
    try:
        _write(directory, document, values)
    except OSError as error:
        raise PlaceError(
            f"{error.filename or directory}: found {(error.strerror or str(error)).lower()}, "
            "allowed is a directory that can be made and written to"
        ) from None


def _write(directory: Path, document: Mapping[str, Any], values: Mapping[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "mailcanary.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    (directory / "policy.yaml").write_text(yaml.safe_dump(policy(document), sort_keys=False))
    for name, value in {**values, SIGNING_KEY: secrets.token_urlsafe(32)}.items():
        file = directory / "secrets" / name
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
        file.write_text(value + "\n")


async def obey(estate: Estate, line: str) -> str:
    """Carry out one order; gives what to say of it."""
    name, *subjects = line.split() or [""]
    if name == "clear":
        await estate.clear()
        return "all faults are gone"
    kind = getattr(faults, name, None)
    if not (isinstance(kind, type) and issubclass(kind, faults.Fault)):
        return f"found {name!r}, allowed is clear, or a fault of lab/faults.py and its subjects"
    chosen = {"mailboxes" if "/" in "".join(subjects) else "relays": subjects or None}
    try:
        await estate.order(kind(), **chosen)
    except (LabError, TypeError) as error:
        return str(error)
    return f"{name} on {' '.join(subjects) or 'all'}"


async def run(directory: Path, relays: int) -> None:
    """Run the estate until standard input ends, then until it is interrupted."""
    names = [f"relay-{number}" for number in range(1, relays + 1)]
    async with Estate(names, ["acme/inbox", "globex/inbox"], agents=("lab",)) as estate:
        document = estate.config_document(interval="4s", deadline="10s", loss_after="1m")
        write(directory, document, estate.secrets)
        print(f"mailcanary probe --config {directory}/mailcanary.yaml", flush=True)  # noqa: T201
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(await obey(estate, line), flush=True)  # noqa: T201 - this is its user interface
        await asyncio.Event().wait()


def relay_count(text: str) -> int:
    """A number of relays from the command line.

    Raises:
        argparse.ArgumentTypeError: saying what was found and what is allowed.
    """
    if text.isascii() and text.isdigit() and 1 <= len(text) <= 3 and 1 <= int(text) <= 200:
        return int(text)
    raise argparse.ArgumentTypeError(f"found {text!r}, allowed is a whole number from 1 to 200")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--relays", type=relay_count, default=4, help="1 to 200; 4")
    arguments = parser.parse_args()
    try:
        asyncio.run(run(arguments.directory, arguments.relays))
    except KeyboardInterrupt:
        sys.exit(0)
    except LabError as error:
        parser.exit(error.exit_code, f"{error}\n")


if __name__ == "__main__":
    main()
