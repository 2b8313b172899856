"""A line for each change, and the words in it."""

import structlog
from structlog.testing import capture_logs

from agent.standing.blame import Change
from agent.standing.condition import Trouble
from agent.standing.ledger import Ledger
from agent.standing.telling import in_words, tell

OVERDUE = Trouble("overdue", "transit")
TIMEOUT = Trouble("unreachable", "connect", "timeout")


def test_what_is_said_when_it_begins_changes_and_ends() -> None:
    structlog.reset_defaults()
    changes = [
        Change("relay", "r1", None, TIMEOUT, 0.0),
        Change("relay", "r1", TIMEOUT, OVERDUE, 61.04),
        Change("relay", "r1", OVERDUE, None, 300.0),
        Change("mailbox", "acme/inbox", None, OVERDUE, 0.0),
    ]
    with capture_logs() as lines:
        tell(changes, Ledger())
    wrong, right = "canaries go wrong", "canaries come home again"
    assert lines == [
        {"event": wrong, "log_level": "warning", "relay": "r1", "overdue": 0,
         "what": "unreachable", "stage": "connect", "reason": "timeout"},
        {"event": wrong, "log_level": "warning", "relay": "r1", "overdue": 0,
         "what": "overdue", "stage": "transit", "before": "unreachable at connect: timeout",
         "lasted_s": 61.0},
        {"event": right, "log_level": "info", "relay": "r1", "overdue": 0,
         "before": "overdue at transit", "lasted_s": 300.0},
        {"event": wrong, "log_level": "warning", "mailbox": "acme/inbox",
         "what": "overdue", "stage": "transit"},
    ]  # fmt: skip


def test_a_trouble_in_words() -> None:
    assert in_words(None) == "none"
    assert in_words(Trouble("unsent")) == "unsent"
    assert in_words(OVERDUE) == "overdue at transit"
    assert in_words(TIMEOUT) == "unreachable at connect: timeout"
