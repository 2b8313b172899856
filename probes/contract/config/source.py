"""The texts that make up one configuration, handed in by whoever may read files."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["main", "customer"]


@dataclass(frozen=True, slots=True)
class Source:
    """One file's text. ``name`` is how messages call the file: as the user gave it.

    A ``main`` source holds the whole mapping; a ``customer`` source (a file in ``customers.d``)
    holds one item of ``customers``.
    """

    name: str
    text: str
    role: Role = "main"
