"""The texts that make up one configuration, handed in by whoever may read files."""

from dataclasses import dataclass
from typing import Literal

from probes.contract.errors import ConfigError, Problem

CUSTOMERS = "customers.d"
"""The directory beside the main file that holds one file for each customer."""

Role = Literal["main", "customer"]


@dataclass(frozen=True, slots=True)
class Source:
    """One file's text. ``name`` is how messages call the file: as the user gave it.

    A ``main`` source holds the whole mapping; a ``customer`` source (a file in ``customers.d``)
    holds one item of ``customers``. ``unreadable`` says why a file gave no text: it is a source all
    the same, so that nothing that it may hold is called missing.
    """

    name: str
    text: str
    role: Role = "main"
    unreadable: Problem | None = None


def text_of(name: str, data: bytes, most: int) -> str:
    """The text of a file's ``data``, without a byte order mark; ``name`` is how messages call it.

    Whoever reads the file stops one byte past ``most``, so that no file is too large to be told so.

    Raises:
        ConfigError: there are more than ``most`` bytes, or one that is no UTF-8, with its line.
    """
    if len(data) > most:
        raise ConfigError([Problem(name, 0, "", "a huge file", f"at most {most} bytes")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"the byte 0x{data[error.start]:02x}, which is no UTF-8"
        raise ConfigError([Problem(name, line, "", found, "UTF-8 text")]) from None
