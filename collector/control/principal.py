"""Who asks: what a token stands for. A leaf module."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The three sorts of token."""

    AGENT = "agent"
    CUSTOMER = "customer"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose token came with a request.

    ``name`` is the agent's or the customer's; an operator's is what the token was called.
    """

    kind: Kind
    name: str
    token_id: str

    @property
    def signature(self) -> str:
        """How the audit trail names who did something."""
        return f"{self.kind}:{self.name}/{self.token_id}"

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"
