"""The texts that make up one configuration, handed in by whoever may read files."""

from dataclasses import dataclass
from typing import Literal

from probes.contract.errors import Problem

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
