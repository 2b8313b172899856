"""Says in the log when relays and mailboxes begin to suffer from something, and when they end."""

from collections.abc import Iterable

import structlog

from agent.standing.blame import Change
from agent.standing.condition import Sign
from agent.standing.ledger import Ledger

log = structlog.get_logger(__name__)


def tell(changes: Iterable[Change], ledger: Ledger) -> None:
    """One line for each change; ``ledger`` knows how many canaries are still overdue."""
    for change in changes:
        words: dict[str, object] = {change.kind: change.name}
        if change.kind == "relay":
            words["overdue"] = ledger.overdue(change.name)
        if change.before is not None:
            words |= {"before": in_words(change.before), "lasted_s": round(change.lasted_s, 1)}
        if change.now is None:
            log.info("canaries come home again", **words)
            continue
        words |= {"what": str(change.now.what), "stage": str(change.now.stage)}
        if change.now.reason:
            words["reason"] = str(change.now.reason)
        log.warning("canaries go wrong", **words)


def in_words(sign: Sign) -> str:
    """A trouble in a few words, such as ``unreachable at connect: timeout``."""
    if sign is None:
        return "none"
    where = f" at {sign.stage}" if sign.stage else ""
    why = f": {sign.reason}" if sign.reason else ""
    return f"{sign.what}{where}{why}"
