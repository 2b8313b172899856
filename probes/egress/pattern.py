"""What the looks of one round say together: pure, from findings to one finding per source."""

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from probes.contract.checks import Finding
from probes.contract.stages import Reason, Stage
from probes.egress import wording
from probes.egress.evidence import REFUSALS, Look, Round, Way, destinations, hosts, ways

Control = tuple[str | None, str, int]
"""A control as it is remembered: looked at from which source, its host, its port."""

# An enhanced status code (RFC 3463), with which refusals begin; it has dots, but is nobody's name.
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\s+")
# What something that stands in the place of the hosts does, and a filter does not.
_POSING = frozenset({Reason.SILENT, Reason.PROTOCOL, Reason.TIMEOUT})
# What comes back only where packets travel both ways.
_ANSWERED = frozenset({Reason.REFUSED, Reason.RESET})


@dataclass(frozen=True)
class Judgement:
    """What a round comes to; ``stage`` and ``reason`` are ``None`` where nothing is wrong."""

    stage: Stage | None
    reason: Reason | None
    detail: str


def conclude(findings: Sequence[Finding], proven: Container[Control] = ()) -> list[Finding]:
    """One finding for each source, in the order of the sources, without a target.

    Findings that are about no host are passed over. ``proven`` are controls that worked in rounds
    before: only where one of these fails, too, the network is dead; others may always be closed.
    """
    by_source: dict[str | None, list[Look]] = {}
    for finding in findings:
        if finding.egress is not None:
            by_source.setdefault(finding.source, []).append(Look(finding, finding.egress))
    return [_together(Round(source, looks), proven) for source, looks in by_source.items()]


def working(findings: Sequence[Finding]) -> list[Control]:
    """The controls that work."""
    return [
        (one.source, one.egress.host.lower(), one.egress.port)
        for one in findings
        if one.ok and one.egress is not None and one.egress.control
    ]


def _together(seen: Round, proven: Container[Control]) -> Finding:
    judged = _judge(seen, proven)
    return Finding(
        ok=judged.reason is None,
        source=seen.source,
        stage=judged.stage,
        reason=judged.reason,
        detail=judged.detail,
        pattern=seen.pattern,
    )


def _judge(seen: Round, proven: Container[Control]) -> Judgement:
    if not seen.mail:
        return Judgement(*_common(seen.ours), wording.nothing_seen(seen))
    posing = poser(seen)
    if posing is not None:
        detail = wording.posed(seen, posing)
        return Judgement(Stage.EGRESS_BANNER, Reason.INTERCEPTED, detail)
    if not any(one.reached for one in seen.mail):
        return _all_failed(seen, proven)
    return _some_reached(seen)


def _all_failed(seen: Round, proven: Container[Control]) -> Judgement:
    """No host was reached at the mail port: why, as far as the controls can tell."""
    stage, reason = _common(seen.tried or seen.mail)
    if not seen.tried:
        return Judgement(stage, reason, wording.unresolved(seen))
    if any(one.greeted for one in seen.tried):
        return Judgement(stage, reason, wording.all_failed(seen, wording.ANSWERED))
    if not seen.controls:
        return Judgement(stage, reason, wording.all_failed(seen, wording.NO_CONTROLS))
    if not any(one.reached for one in seen.controls):
        if _answered(seen.controls) and not _answered(seen.tried):
            return Judgement(stage, reason, wording.all_failed(seen, wording.CLOSED_CONTROLS))
        if not any((seen.source, *one.host) in proven for one in seen.controls):
            return Judgement(stage, reason, wording.all_failed(seen, wording.UNPROVEN_CONTROLS))
        return Judgement(Stage.EGRESS_CONNECT, Reason.NETWORK, wording.network(seen))
    if hosts(seen.tried) == 1:
        return Judgement(stage, reason, wording.all_failed(seen, wording.ONE_HOST))
    if len(destinations(seen.tried)) == 1 or len({one.seen.address for one in seen.tried}) == 1:
        return Judgement(stage, reason, wording.all_failed(seen, wording.ONE_OWNER))
    posing = all(_connected(one) and one.finding.reason in _POSING for one in seen.tried)
    cause = Reason.INTERCEPTED if posing else Reason.FILTERED
    return Judgement(stage, cause, wording.all_failed(seen, cause.value))


def _some_reached(seen: Round) -> Judgement:
    to_serve = [one for one in seen.down if not one.seen.reference]
    if to_serve:
        stage, _ = _common(seen.down)
        return Judgement(stage, Reason.DESTINATION, wording.single_destinations(seen))
    up = [one for one in seen.mail if one.reached]
    serving = [one for one in up if not one.seen.reference] or up
    if all(one.finding.reason in REFUSALS for one in serving):
        return Judgement(*_common(serving), wording.refused(seen, serving))
    return Judgement(None, None, wording.reached(seen))


def poser(seen: Round) -> str | None:
    """The name or text by which something greets in the place of every host.

    At least two hosts with different names, of different destinations and at different addresses,
    must have greeted alike, and as somebody else: a mail server begins with its own name (RFC 5321
    section 4.2). One that was tried and did not greet shows that nobody answers for all.
    """
    greeted = [one for one in seen.mail if one.greeted and one.reached]
    alike = {_name(one) for one in greeted}
    if len(alike) != 1 or len(greeted) < len(seen.tried):
        return None
    named = [one for one in greeted if not _is_address(one.seen.host)]
    name = alike.pop()
    apart = (
        {one.destination for one in named},
        {_owner(one.seen.host) for one in named},
        {one.seen.address for one in named},
    )
    if any(len(each) < 2 for each in apart) or not name:
        return None
    mine = any(_owner(one.seen.host) == _owner(name.split()[0]) for one in named)
    return None if mine else name


def _name(look: Look) -> str:
    """The name with which it greets, or all that it says if there is none at the beginning."""
    text = _ENHANCED.sub("", (look.seen.banner or "").lower(), count=1)
    first = text.split(" ", 1)[0]
    return first if "." in first.strip(".") and any(map(str.isalpha, first)) else text


def _owner(host: str) -> str:
    """Roughly whose a name is: hosts of one provider often greet with the name of another."""
    return ".".join(host.lower().strip("[].").split(".")[-2:])


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _connected(look: Look) -> bool:
    return look.finding.stage is Stage.EGRESS_BANNER


def _answered(looks: Iterable[Look]) -> bool:
    return any(one.finding.reason in _ANSWERED for one in looks)


def _common(looks: Iterable[Look]) -> Way:
    """The stage and reason that most of the failed ones have, the first one's of several."""
    found = ways(looks)
    return found[0][0] if found else (None, None)
