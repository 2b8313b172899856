"""A start with another configuration: what was sent before is judged by what it was sent under."""

from pathlib import Path
from typing import Any

import pytest

from agent.clock import NEVER
from agent.mailbox.account import fingerprint
from agent.spool.store import Cursor
from agent.watching import moved
from lab.estate import Estate
from lab.faults import OutboundFiltered
from probes.contract.config.models import Folders, Mailbox
from probes.contract.events import Expiry, Intent
from tests.agent.fakes import INBOX, assignment
from tests.agent.labs import Seen, flying, quick_relay

A1, BOX, OTHER = "relay-a1", "acme/inbox", "acme/other"


async def sent_and_stopped(lab: Estate, state: Path, seen: Seen, **words: Any) -> set[str]:
    """Send two canaries that their relay accepts and keeps, and stop; gives their ids."""
    await lab.order(OutboundFiltered(), relays=[A1])
    async with flying(lab, state, seen, **words) as agent:
        await lab.until(lambda: len(lab.truth.acceptances) >= 2)
        agent.stop_sending()
    return {event.canary for event in seen.of(Intent)}


def mailbox(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A mailbox of a configuration's only customer."""
    [found] = [box for box in document["customers"][0]["mailboxes"] if box["name"] == name]
    return dict(found)


async def test_their_terms_are_those_that_they_were_sent_under(tmp_path: Path) -> None:
    seen = Seen()
    async with Estate([quick_relay(A1)], [BOX]) as lab:
        sent = await sent_and_stopped(
            lab, tmp_path, seen, interval="200ms", deadline="1s", loss_after="2s"
        )
        # By the new terms they would be waited for for an hour.
        async with flying(
            lab, tmp_path, seen, interval="1h", deadline="30m", loss_after="1h", remember="2h"
        ):
            await seen.until(lambda: sent <= {event.canary for event in seen.of(Expiry)})
    assert all(event.lost for event in seen.of(Expiry))


async def test_a_mailbox_that_is_another_now_calls_none_of_them_lost(tmp_path: Path) -> None:
    seen = Seen()
    async with Estate([quick_relay(A1)], [BOX, OTHER]) as lab:
        words: dict[str, Any] = {"interval": "200ms", "deadline": "1s", "loss_after": "2s"}
        document = lab.config_document(**words)
        boxes = document["customers"][0]["mailboxes"]
        inbox, other = mailbox(document, "inbox"), mailbox(document, "other")
        document["customers"][0]["mailboxes"] = [inbox]
        sent = await sent_and_stopped(lab, tmp_path, seen, document=document)
        assert boxes != [inbox]
        inbox["imap"] = other["imap"]
        async with flying(lab, tmp_path, seen, document=document) as agent:
            agent.stop_sending()
            await seen.until(lambda: sent <= {event.canary for event in seen.of(Expiry)})
    ends = {event.canary: event for event in seen.of(Expiry)}
    assert [ends[canary].lost for canary in sent] == [False] * len(sent)
    assert all("moved to another account" in ends[canary].detail for canary in sent)


BEFORE: Mailbox = assignment().mailboxes[INBOX]


def known(config: Mailbox, *folders: str) -> dict[tuple[str, str], Cursor]:
    """What the spool says of folders that were read."""
    account = fingerprint(config.imap)
    return {(INBOX, folder): Cursor(1, 1, NEVER, account) for folder in folders}


def but(**folders: Any) -> Mailbox:
    """The mailbox with other folders."""
    return BEFORE.model_copy(update={"folders": Folders(**folders)})


@pytest.mark.parametrize(
    ("cursors", "now", "is_moved"),
    [
        ({}, BEFORE, False),
        (known(BEFORE, "INBOX", "Junk"), BEFORE, False),
        (known(BEFORE, "INBOX"), but(inbox="INBOX", junk="Spam"), False),
        (known(BEFORE, "INBOX", "Old"), BEFORE, False),
        (known(BEFORE, "INBOX"), but(inbox="Canaries"), True),
        (
            known(BEFORE, "INBOX"),
            BEFORE.model_copy(
                update={"imap": BEFORE.imap.model_copy(update={"user": "somebody-else"})}
            ),
            True,
        ),
    ],
)
def test_which_mailboxes_are_others(
    cursors: dict[tuple[str, str], Cursor], now: Mailbox, is_moved: bool
) -> None:
    assert moved({INBOX: now}, cursors) == ({INBOX} if is_moved else set())
