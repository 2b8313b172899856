"""One interface for every probe that looks at something from the relay's own side."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from probes.contract.check_plan import CheckPlan
from probes.contract.checks import Finding

T = TypeVar("T")


class Probe(Protocol[T]):
    """One way to look at something; it keeps nothing of a look that the next one needs.

    A round of looks is what :meth:`targets` gives, each of them probed by itself and at the same
    time as the others, and what :meth:`conclude` makes of it all.
    """

    async def targets(self, plan: CheckPlan) -> Sequence[T]:
        """What a round looks at; a target that cannot be found is a target, too."""

    async def probe(self, target: T, deadline_s: float) -> Finding:
        """What one look came to, within ``deadline_s`` seconds.

        Nothing that the network, a host or a program does raises: it is in the finding, with its
        stage, its reason and the seconds that each part took. Cancelling ends the look.
        """

    def conclude(self, findings: Sequence[Finding]) -> Sequence[Finding]:
        """What the findings of a round say together; nothing where each one stands for itself."""
