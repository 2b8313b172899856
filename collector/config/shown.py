"""A customer's file as plain data to be shown, however it was written."""

from collections.abc import Sequence
from typing import Any

from collector.config.customer_files import CustomerFile
from probes.contract.config.document import read
from probes.contract.config.messages import describe
from probes.contract.errors import MailcanaryError, Problem

MAX_SHOWN = 4 << 20
"""Characters of one that an operator wrote by hand, with its aliases written out."""


class BrokenError(MailcanaryError):
    """A customer's file cannot be shown; ``etag`` is what whoever replaces it has to name."""

    def __init__(self, problems: Sequence[Problem], etag: str) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
        self.etag = etag


def shown(file: CustomerFile) -> dict[str, Any]:
    """What the file says.

    Raises:
        BrokenError: that cannot be read, or is too much.
    """
    document = read(file.source)
    data = document.data
    if not document.readable:
        raise BrokenError(document.problems, file.etag)
    if not isinstance(data, dict):
        problem = document.problem((), describe(data), "a mapping")
        raise BrokenError([problem], file.etag)
    size = _written_out(data, {})
    if size > MAX_SHOWN:
        found = f"{size} characters with all aliases written out"
        raise BrokenError([document.problem((), found, f"at most {MAX_SHOWN}")], file.etag)
    return data


def _written_out(data: object, known: dict[int, int]) -> int:
    """About how many characters ``data`` has when each alias is written out; at most 64 deep."""
    if isinstance(data, str):
        return len(data) + 3
    if not isinstance(data, dict | list):
        return 8
    size = known.get(id(data))
    if size is None:
        inner = data if isinstance(data, list) else [*data.keys(), *data.values()]
        known[id(data)] = size = 2 + sum(_written_out(one, known) for one in inner)
    return size
