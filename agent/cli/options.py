"""Options that several of the agent's commands take, and how a wrong one is told: by its name."""

import os
import stat
from pathlib import Path
from typing import Annotated

import typer

from probes.contract.units import parse_duration_between


def refused(option: str, found: str, allowed: str) -> typer.BadParameter:
    """The error for an option that cannot be used: its name, what was found, what is allowed."""
    return typer.BadParameter(f"found {found}, allowed is {allowed}", param_hint=option)


def seconds(text: str, option: str, least_s: float, most_s: float) -> float:
    """The seconds in an option's ``text``; a bare number means seconds too.

    Raises:
        typer.BadParameter: it is no duration, or not from ``least_s`` to ``most_s``.
    """
    bare = text.replace(".", "", 1)
    number = bare.isascii() and bare.isdigit() and not text.startswith(".")
    try:
        return parse_duration_between(f"{text}s" if number else text, least_s, most_s)
    except ValueError as error:
        # What was found is told as it was written, without the unit that was added here.
        _, _, allowed = str(error).partition(", allowed is ")
        raise refused(option, repr(text), f"{allowed}, or seconds") from None


def readable(path: Path, option: str) -> Path:
    """A file that an option names; what is in it is judged elsewhere.

    Raises:
        typer.BadParameter: it is missing, no file, or not to be read by this user.
    """
    allowed = "a readable file"
    try:
        # Not opened: what is behind a file that is none, a pipe, say, may take its time.
        if stat.S_ISDIR(path.stat().st_mode):
            raise refused(option, f"the directory {path}", allowed)
    except OSError as error:
        raise refused(
            option, f"{path}: {(error.strerror or str(error)).lower()}", allowed
        ) from None
    if not os.access(path, os.R_OK):
        raise refused(option, f"{path}: permission denied", allowed)
    return path


def config_file(path: Path | None) -> Path | None:
    """Judges what --config names, if it names anything."""
    return None if path is None else readable(path, "--config")


def _policy(path: Path | None) -> Path | None:
    return None if path is None else readable(path, "--policy")


ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config",
        metavar="FILE",
        callback=config_file,
        readable=False,  # judged by the callback, whose words say what is allowed
        help="The configuration; customers.d beside it is read too.",
    ),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        metavar="FILE",
        callback=_policy,
        readable=False,
        help="The policy; policy.yaml beside the configuration.",
    ),
]
AgentName = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="AGENT",
        envvar="MAILCANARY_AGENT",
        help="As which of its agents; the only one if there is one.",
    ),
]
