"""The one sentence in which a round is told to who is woken by it: pure."""

from collections.abc import Iterable, Sequence

from probes.contract.stages import Reason, Stage
from probes.egress.evidence import REFUSALS, Look, Round, Way, destinations, hosts, ways

NO_CONTROLS = "without controls a filter cannot be told from a dead network, add some such as 443"
CLOSED_CONTROLS = "the controls are closed, so a filter cannot be told, choose ports that are open"
ONE_HOST = "with one host a filter cannot be told from a mail server that is down, add others"
ONE_OWNER = (
    "with one destination a filter cannot be told from mail servers that are down, add others"
)
UNPROVEN_CONTROLS = (
    "no control has worked from here yet, so neither a filter nor a dead network can be told, see "
    "whether they are open"
)
ANSWERED = "not filtered, mail servers do answer"

_SHOWN = 5

_CONNECT, _BANNER = Stage.EGRESS_CONNECT, Stage.EGRESS_BANNER
_VERBS: dict[Way, str] = {
    (_CONNECT, Reason.TIMEOUT): "times out",
    (_CONNECT, Reason.REFUSED): "is refused",
    (_CONNECT, Reason.RESET): "is reset",
    (_CONNECT, Reason.UNREACHABLE): "is unreachable",
    (_BANNER, Reason.SILENT): "takes connections and stays silent",
    (_BANNER, Reason.CLOSED): "takes connections and closes them",
    (_BANNER, Reason.RESET): "takes connections and resets them",
    (_BANNER, Reason.PROTOCOL): "is answered without a proper SMTP greeting",
    (_BANNER, Reason.TIMEOUT): "is answered too slowly",
    (_BANNER, Reason.REPLY_4XX): "is answered with a refusal for now",
    (_BANNER, Reason.REPLY_5XX): "is answered with a refusal",
}


def nothing_seen(seen: Round) -> str:
    """Nothing at the mail port says anything."""
    first = next((one.finding.detail for one in seen.ours if one.finding.detail), None)
    return f"nothing could be seen {_whence(seen)}: {first or 'no host was tried'}"


def unresolved(seen: Round) -> str:
    """No host was found in the DNS."""
    names = _listed(destinations(seen.mail))
    first = next((one.finding.detail for one in seen.mail if one.finding.detail), "no address")
    return f"no host of {names} is found {_whence(seen)}, so nothing was tried: {first}"


def posed(seen: Round, name: str) -> str:
    """Something greets as the same for all."""
    answered = [one for one in seen.mail if one.greeted]
    where = f"{_all_hosts(answered)} {_whence(seen)}"
    return f"{_port(answered)} is answered by {name[:100]!r} in the place of {where}: intercepted"


def all_failed(seen: Round, verdict: str) -> str:
    """No host is reached; ``verdict`` says what that means."""
    return f"{_fails(seen)}{_beside(seen)}: {verdict}{_unseen(seen)}"


def network(seen: Round) -> str:
    """Neither a host nor a control is reached."""
    said = _how(seen.controls)
    same = said == _how(seen.tried)
    alike = "so is" if said.startswith("is ") else "so does"
    how = alike if same else "the controls fail, too:"
    rest = "" if same else f" {said}"
    return f"{_fails(seen)}, and {how} {_control(seen.controls)}{rest}: network{_unseen(seen)}"


def single_destinations(seen: Round) -> str:
    """Some destinations are reached, some are not."""
    up = len(destinations(seen.mail)) - len(destinations(seen.down))
    others = "1 other destination is" if up == 1 else f"{up} other destinations are"
    names = _listed(destinations(seen.down))
    down = f"{_port(seen.down)} {_how(seen.down)} towards {names} {_whence(seen)}"
    return f"{down}, while {others} reached: destination{_unseen(seen)}"


def refused(seen: Round, refusing: Sequence[Look]) -> str:
    """Every destination is reached, and takes no mail."""
    first = refusing[0]
    said = f"{first.seen.code} {first.seen.banner or ''}".strip()[:120]
    where = f"{_all_hosts(refusing)} {_whence(seen)}"
    return f"{_port(refusing)} {_how(refusing)} by {where}, such as {said!r}: refused, not filtered"


def reached(seen: Round) -> str:
    """Nothing is wrong, or nothing that matters."""
    counts = seen.pattern
    if counts.reached == counts.tried:
        where = _all_hosts(seen.mail)
    else:
        where = f"{counts.reached} of {counts.tried} hosts"
    text = f"{_port(seen.mail)} works towards {where} {_whence(seen)}"
    spare = [one for one in seen.mail if not one.reached and one not in seen.down]
    if spare:
        text += (
            f"; not towards {_listed(one.seen.host for one in spare)}, which others stand in for"
        )
    if seen.down:
        names = _listed(destinations(seen.down))
        text += f"; {_how(seen.down)} towards the reference {names} alone, no fault of this host"
    refusing = [one.seen.host for one in seen.mail if one.finding.reason in REFUSALS]
    if refusing:
        verb = "refuses" if len(set(refusing)) == 1 else "refuse"
        text += f"; {_listed(refusing)} {verb} mail from here"
    if seen.controls and not counts.controls_reached:
        text += f"; {_control(seen.controls)} works towards none, so a filter could not be told"
    return text + _unseen(seen)


def _fails(seen: Round) -> str:
    if hosts(seen.tried) == 1:
        only = seen.tried[0]
        where = f"{only.seen.host} ({only.destination}), the only host tried,"
    else:
        where = _all_hosts(seen.tried)
    return f"{_port(seen.tried)} {_how(seen.tried)} towards {where} {_whence(seen)}"


def _beside(seen: Round) -> str:
    """What the controls say."""
    works = [one for one in seen.controls if one.reached]
    if not works:
        return f", and {_control(seen.controls)} {_how(seen.controls)}" if seen.controls else ""
    part = hosts(works) < hosts(seen.controls)
    share = f" in {hosts(works)} of {hosts(seen.controls)} cases" if part else ""
    return f", while {_control(works)} works{share}"


def _unseen(seen: Round) -> str:
    """What could not be looked at."""
    unresolved = hosts(seen.mail) - hosts(seen.tried) if seen.tried else 0
    parts = [f"; {unresolved} more without an address"] if unresolved > 0 else []
    if seen.ours:
        first = next((one.finding.detail for one in seen.ours if one.finding.detail), "no reason")
        parts.append(f"; {len(seen.ours)} looks were prevented here: {first}")
    return "".join(parts)


def _how(looks: Iterable[Look]) -> str:
    """How they fail, in one phrase; in the words for many where they fail in different ways."""
    found = ways(looks)
    if len(found) == 1:
        return _verb(found[0][0])
    return "fails (" + ", ".join(f"{_verb(way)}: {count}" for way, count in found) + ")"


def _verb(way: Way) -> str:
    stage, reason = way
    if stage is Stage.EGRESS_RESOLVE:
        return "cannot be tried for want of an address"
    return _VERBS.get(way) or f"fails ({reason or 'unknown'})"


def _port(looks: Iterable[Look]) -> str:
    return "port " + " or ".join(map(str, sorted({one.seen.port for one in looks})))


def _control(looks: Iterable[Look]) -> str:
    return " or ".join(map(str, sorted({one.seen.port for one in looks})))


def _all_hosts(looks: Sequence[Look]) -> str:
    count, owners = hosts(looks), len(destinations(looks))
    if count == 1:
        return f"{looks[0].seen.host} ({looks[0].destination})"
    return f"all {count} hosts of {owners} destination{'s' if owners > 1 else ''}"


def _listed(names: Iterable[str]) -> str:
    all_names = list(dict.fromkeys(names))
    more = len(all_names) - _SHOWN
    return ", ".join(all_names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _whence(seen: Round) -> str:
    return f"from {seen.source or 'this host'}"
