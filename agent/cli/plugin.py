"""The command line as a Nagios plugin: its exit codes, and one line whatever goes wrong."""

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from probes.contract.errors import MailcanaryError

_UNKNOWN = 3


def as_plugin(command: typer.Typer, args: Sequence[str]) -> NoReturn:
    """Run a command as a plugin: whatever goes wrong in it itself is UNKNOWN, in one line.

    Exit codes 1 and 2 mean WARNING and CRITICAL there, so neither a wrong option nor a fault of
    ours may end with one; nor may help and version pass for an OK, say the plugins' guidelines.
    """
    try:
        # Not standalone, it gives the command's exit code and raises what it would have printed.
        code = command(args, standalone_mode=False)
    except BaseException as error:  # noqa: BLE001 - a monitoring system reads the one line
        with contextlib.suppress(OSError):
            sys.stdout.write(f"MAIL UNKNOWN - {_in_one_line(error)}\n")
            sys.stdout.flush()
            sys.exit(_UNKNOWN)
        # Nobody reads it: then the exit code is all there is to say, which a second try at the
        # very end would spoil.
        os._exit(_UNKNOWN)
    told = {"--help", "-h", "--version", "-V"}.intersection(args)
    sys.exit(_UNKNOWN if told or not isinstance(code, int) else code)


def _in_one_line(error: BaseException) -> str:
    """An error's text, each of its lines separated from the next, without the bar of perfdata."""
    if isinstance(error, MailcanaryError):
        text = str(error)
    else:
        # What is wrong with the command line formats itself.
        tell = getattr(error, "format_message", None)
        text = tell() if tell is not None else f"{type(error).__name__}: {error}"
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return "; ".join(line for line in lines if line).replace("|", "/")
