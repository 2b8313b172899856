"""What is wrong with a shot's canaries, in words: a line each, and in a few words for many."""

from collections.abc import Sequence

from agent.shot.shoot import Flown, Shot
from probes.contract.events import MailboxHealth
from probes.contract.outcome import Outcome

NAMED = 3
"""Relays, mailboxes or paths of one fault that are named in a summary at most."""


STARTING = MailboxHealth(state="starting", watermark_ns=None)


def printable(text: str) -> str:
    """``text`` with what cannot be printed written out, as ``\\x1b``; line ends are spaces.

    Servers' texts are cleaned where they are read. This is for what slips through there: a terminal
    or a status page does as it is told by what is printed on it.
    """
    if text.isprintable():
        return text
    spaced = " ".join(text.split())
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in spaced)


def health(flown: Flown, shot: Shot) -> MailboxHealth:
    """How the reading of the canary's mailbox goes."""
    return shot.mailboxes.get(flown.path.mailbox, STARTING)


def waits_unread(flown: Flown, shot: Shot) -> bool:
    """Whether nothing can be told of a canary but that its mailbox is not being read."""
    waits = flown.begun and flown.verdict.outcome is Outcome.PENDING
    return waits and health(flown, shot).state != "ok"


def unread(name: str, found: MailboxHealth, shot: Shot) -> str:
    """In what state a mailbox is that is not read, and why."""
    detail = found.detail or f"not read within {shot.waited_s:.3g} s"
    return printable(f"mailbox {name} {found.state}: {detail}")


def why(flown: Flown, shot: Shot) -> str:
    """What is wrong with a canary that is not OK."""
    text = printable(_why(flown, shot))
    queue_id = None if flown.submission is None else flown.submission.queue_id
    return f"{text} (queue id {printable(queue_id)})" if queue_id else text


def _why(flown: Flown, shot: Shot) -> str:
    verdict, submission = flown.verdict, flown.submission
    if flown.home and verdict.delay is not None:
        return " ".join([f"{verdict.outcome} after {verdict.delay.hi:.3g} s", *_extras(flown)])
    if flown.bounce is not None and verdict.outcome is Outcome.BOUNCED:
        return f"bounced: {flown.bounce.status or ''} {flown.bounce.diagnostic or ''}".strip()
    if submission is not None and submission.detail:
        return f"{verdict.outcome} at {submission.detail}"
    if not flown.begun:
        return "not sent: nothing of it was on the disk when the wait was over"
    if waits_unread(flown, shot):
        return unread(flown.path.mailbox, health(flown, shot), shot)
    waited = f"after {shot.waited_s:.3g} s"
    if submission is None:
        # Nothing was accepted yet, as far as anybody knows.
        return f"still being sent {waited}: the relay has not answered to the end"
    return f"accepted, not seen in the mailbox {waited} (transit)"


def _extras(flown: Flown) -> list[str]:
    said = (("in junk", flown.verdict.junk), ("twice", flown.verdict.duplicates))
    return [word for word, found in said if found]


def _word(flown: Flown) -> str:
    """What is wrong, in a word or two: canaries of the same word are told together."""
    verdict, submission = flown.verdict, flown.submission
    if flown.home:
        return " ".join(_extras(flown)) or "slow"
    if verdict.outcome is not Outcome.PENDING:
        stage = None if submission is None else submission.stage
        # Out of reach is a relay at no other stage than these two.
        plain = stage is None or verdict.outcome is Outcome.UNREACHABLE
        return verdict.outcome if plain else f"{verdict.outcome} at {stage}"
    if not flown.begun:
        return "not sent"
    return "still being sent" if submission is None else "not seen"


def in_brief(bad: Sequence[Flown], shot: Shot, named: int = NAMED) -> list[str]:
    """What is wrong with which, in a few words for each fault, the most frequent first.

    More than ``named`` names of a fault are counted. Canaries of which nothing can be told are left
    to what there is to say of their mailboxes.
    """
    alike: dict[str, list[Flown]] = {}
    for flown in bad:
        if not waits_unread(flown, shot):
            alike.setdefault(_word(flown), []).append(flown)
    faults = sorted(alike.items(), key=lambda fault: -len(fault[1]))
    return [f"{_subject(found, shot.flown, named)} {word}" for word, found in faults]


def _subject(found: Sequence[Flown], every: Sequence[Flown], named: int) -> str:
    """Those canaries as relays, or as mailboxes, where it is all of those; else as paths."""
    if len(found) == len(every) > 1:
        return "all"
    others = [flown.path for flown in every if flown not in found]
    relays = dict.fromkeys(flown.path.relay for flown in found)
    if not {path.relay for path in others} & set(relays):
        return _names(list(relays), named)
    mailboxes = dict.fromkeys(flown.path.mailbox for flown in found)
    if not {path.mailbox for path in others} & set(mailboxes):
        return f"to {_names(list(mailboxes), named)}"
    return _names([f"{flown.path.relay} to {flown.path.mailbox}" for flown in found], named)


def _names(names: Sequence[str], named: int) -> str:
    more = len(names) - named
    return ", ".join(names[:named]) + (f" and {more} more" if more > 0 else "")
