"""What was seen in one round from one source, seen from all sides: pure.

A *host* is a host at the mail port; it is *reached* when a mail server greeted, even if only to
refuse. A *control* is one of the other ports. Looks that this host itself prevented say nothing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from probes.contract.checks import EgressPattern, EgressSeen, Finding
from probes.contract.stages import Reason, Stage

REFUSALS = frozenset({Reason.REPLY_4XX, Reason.REPLY_5XX})
"""What a mail server says that takes no mail from here."""

_OURS = frozenset({Reason.LOCAL, Reason.POLICY, Reason.INTERRUPTED})

Way = tuple[Stage | None, Reason | None]
"""How a look failed."""


@dataclass(frozen=True)
class Look:
    """One finding about one host and port."""

    finding: Finding
    seen: EgressSeen

    @property
    def host(self) -> tuple[str, int]:
        """What it is a look at."""
        return self.seen.host.lower(), self.seen.port

    @property
    def destination(self) -> str:
        """The destination's name."""
        return self.finding.target or self.seen.host

    @property
    def greeted(self) -> bool:
        """Whether anything like a mail server began to speak."""
        return self.seen.code is not None

    @property
    def reached(self) -> bool:
        """Whether a host greeted, or a control took the connection."""
        return self.finding.ok or (self.greeted and self.finding.reason in REFUSALS)

    @property
    def tried(self) -> bool:
        """Whether it got as far as a connection attempt."""
        return self.finding.stage is not Stage.EGRESS_RESOLVE


@dataclass(frozen=True)
class Round:
    """All that was seen from one source."""

    source: str | None
    looks: Sequence[Look]

    @cached_property
    def mail(self) -> list[Look]:
        """The looks at the mail port that say something."""
        return [one for one in self.looks if not one.seen.control and not _is_ours(one)]

    @cached_property
    def controls(self) -> list[Look]:
        """The looks at other ports that say something."""
        return [one for one in self.looks if one.seen.control and not _is_ours(one)]

    @cached_property
    def ours(self) -> list[Look]:
        """The looks that this host prevented."""
        return [one for one in self.looks if _is_ours(one)]

    @cached_property
    def tried(self) -> list[Look]:
        """The looks at the mail port that were connection attempts."""
        return [one for one in self.mail if one.tried]

    @cached_property
    def down(self) -> list[Look]:
        """The looks at destinations none of whose hosts were reached."""
        up = {one.destination for one in self.mail if one.reached}
        return [one for one in self.mail if one.destination not in up]

    @property
    def pattern(self) -> EgressPattern:
        """The counts."""
        return EgressPattern(
            reached=hosts(one for one in self.mail if one.reached),
            tried=hosts(self.mail),
            controls_reached=hosts(one for one in self.controls if one.reached),
            controls_tried=hosts(self.controls),
            failed=destinations(self.down),
        )


def _is_ours(look: Look) -> bool:
    return look.finding.reason in _OURS


def hosts(looks: Iterable[Look]) -> int:
    """How many hosts, or controls, these are about."""
    return len({one.host for one in looks})


def destinations(looks: Iterable[Look]) -> list[str]:
    """The destinations that these are about, each once, in their order."""
    return list(dict.fromkeys(one.destination for one in looks))


def ways(looks: Iterable[Look]) -> list[tuple[Way, int]]:
    """How the failed ones failed, the most frequent way first, and how many of them each."""
    failed = [one.finding for one in looks if not one.finding.ok]
    return Counter((one.stage, one.reason) for one in failed).most_common()
