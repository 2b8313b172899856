"""What the servers know of canaries, held against what the agent says of them."""

import re
from collections import Counter

from probes.contract.outcome import Outcome
from tests.servers.arrivals import Arrivals
from tests.servers.estate import MONITOR_DOMAIN, ServerEstate
from tests.servers.journal import Canary

FINAL = {Outcome.DELIVERED, Outcome.LATE, Outcome.UNKNOWN}
"""How canaries end that the relays take, whatever happens to the agent."""

# The wall clock, which files and inotify go by, may be adjusted against the clock of the boot.
CLOCKS_APART_NS = 5_000_000

_MESSAGE_ID = re.compile(rf"message-id=(<[0-9a-f]{{32}}@{re.escape(MONITOR_DOMAIN)}>)")


def assert_true(truth: Arrivals, canary: Canary) -> bool:
    """The interval of the delay holds the moment of arrival; False when nobody knows that."""
    moved = truth.of(canary.id)
    if moved is None:
        return False
    sent_ns, delay = canary.arrival.sent_ns, canary.arrival.delay
    assert sent_ns + delay.lo * 1e9 <= moved.not_after_ns + CLOCKS_APART_NS, (canary, moved)
    assert sent_ns + delay.hi * 1e9 >= moved.not_before_ns - CLOCKS_APART_NS, (canary, moved)
    return True


def accepted_ids(estate: ServerEstate) -> Counter[str]:
    """How often the relays took each canary."""
    return Counter(
        found
        for relay in estate.relays
        for found in _MESSAGE_ID.findall(relay.log.read_text(errors="replace"))
    )


def assert_accounted_for(canary: Canary, *, arrived: bool) -> None:
    """One intent and one end, whichever events were written before the kill."""
    assert len(canary.intents) == 1
    assert len(canary.submissions) <= 1
    assert len(canary.arrivals) == arrived
    assert len(canary.expiries) <= 1
    if not canary.submissions:
        # It was seen in its mailbox before its relay's last reply was written down.
        assert arrived
    elif not arrived:
        assert canary.was_interrupted
        assert canary.outcome is Outcome.UNKNOWN
