"""Writing a command's result to standard output, which may not take it."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from probes.contract.errors import ConfigError, MailcanaryError, Problem


@contextlib.contextmanager
def to_stdout() -> Iterator[None]:
    """For what prints a result: it is out, or there is an error, when this ends.

    Raises:
        MailcanaryError: standard output does not take it; a disk may be full. A reader that has
            gone is no error of anybody's: that stays a ``BrokenPipeError``, which ends a command.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is left in the buffer would be tried again, and fail again, at the very end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        reason = (error.strerror or str(error)).lower()
        raise MailcanaryError(
            f"standard output: found {reason}, allowed is one that takes what is written"
        ) from None


def problem_as_json(problem: Problem) -> dict[str, Any]:
    """A problem of a file as programs get it; ``line`` is ``None`` where there is none."""
    return {
        "file": problem.file,
        "line": problem.line or None,
        "path": problem.path,
        "found": problem.found,
        "allowed": problem.allowed,
    }


def refusal_as_json(error: MailcanaryError) -> dict[str, Any]:
    """Why there is no result: all of it as ``error``, each problem of a file by itself too."""
    problems = error.problems if isinstance(error, ConfigError) else []
    return {"error": str(error), "problems": [problem_as_json(problem) for problem in problems]}
