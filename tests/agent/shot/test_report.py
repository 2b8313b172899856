"""A shot's table, its bars, and its JSON."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agent.shot.nagios import judge, plugin
from agent.shot.report import as_json, bar, legend, parts, table, widths
from agent.shot.shoot import Shot
from probes.contract.events import MailboxHealth
from probes.contract.stages import SUBMISSION_STAGES, Result
from tests.agent.shot.test_nagios import BOX, LIMITS, READ, flown, seen, sent, shot

SECONDS = st.lists(st.floats(0, 100), max_size=12)


@given(seconds=SECONDS, width=st.integers(1, 100))
def test_the_parts_of_a_bar_fill_it_exactly_and_none_is_negative(
    seconds: list[float], width: int
) -> None:
    columns = widths(seconds, width, sum(seconds))
    assert len(columns) == len(seconds)
    assert all(count >= 0 for count in columns)
    if sum(seconds) > 0:
        assert sum(columns) == width


def test_transit_is_what_the_phases_leave_of_the_delay() -> None:
    submission = sent("a1")
    submission.phases.update({"connect": 0.25, "accept": 0.5, "unheard-of": 9.0})
    canary = flown("a1", submission, seen("a1", 1.9, 2.0))
    assert parts(canary) == {"connect": 0.25, "accept": 0.5, "transit": 1.25}
    assert bar(canary, 2.0, 8).plain == "C..─────"


def test_every_sign_of_a_bar_is_in_the_legend_and_stands_for_one_stage() -> None:
    submission = sent("a1")
    submission.phases.update(dict.fromkeys(SUBMISSION_STAGES, 0.1))
    canary = flown("a1", submission, seen("a1", 1.9, 2.0))
    text = legend(shot(canary), 1000).plain
    signs = dict.fromkeys(bar(canary, 2.0, 40).plain)
    assert len(signs) == len(SUBMISSION_STAGES) + 1
    assert all(text.count(f"  {sign} ") == 1 for sign in signs)
    assert text.startswith("The longest bar is 2,000 ms:  ")


def test_the_legend_has_the_stages_of_its_bars_and_breaks_between_them() -> None:
    submission = sent("a1")
    submission.phases.update({"connect": 0.25, "accept": 0.5})
    text = legend(shot(flown("a1", submission, seen("a1", 1.9, 2.0))), 50).plain
    assert text.splitlines() == [
        "The longest bar is 2,000 ms:  C connect",
        "  . accept (final dot)  ─ transit",
    ]
    assert legend(shot(flown("a1")), 80).plain == "No canary got as far as a bar."
    refused = sent("a1", Result.UNREACHABLE, "connect: refused")
    refused.phases["connect"] = 0.0012
    quick = legend(shot(flown("a1", refused)), 80).plain
    assert quick == "The longest bar is 1.2 ms:  C connect"


@pytest.mark.parametrize("width", [80, 100, 130, 200])
@pytest.mark.parametrize("lines", [True, False])
def test_names_outcomes_and_reasons_are_whole_at_every_width(width: int, lines: bool) -> None:
    found = shot(
        flown("relay-a1", sent("relay-a1"), seen("relay-a1", 1.0, 1.2)),
        flown("relay-a2", sent("relay-a2", Result.UNREACHABLE, "connect: timed out")),
    )
    out = io.StringIO()
    Console(file=out, width=width).print(table(found, judge(found, LIMITS), width, lines=lines))
    shown = out.getvalue()
    for text in ("relay-a1", "relay-a2", "acme/inbox", "delivered", "unreachable", "1,200 ms"):
        assert text in shown
    assert "connect: timed out" in " ".join(shown.split())
    assert "…" not in shown
    assert [line[0] for line in shown.splitlines() if "acme" in line] == ["r"] * shown.count("acme")


def test_the_json_has_every_event_and_verdict() -> None:
    found = Shot((flown("a1", sent("a1"), seen("a1", 1.0, 1.2)),), READ, 1.23456)
    result = json.loads(json.dumps(as_json(found, judge(found, LIMITS))))
    (canary,) = result["canaries"]
    assert (result["state"], result["home"], result["cut"]) == ("ok", 1, None)
    assert (canary["state"], canary["why"]) == ("ok", None)
    assert canary["path"] == {"agent": "sfo", "relay": "a1", "mailbox": "acme/inbox"}
    assert canary["verdict"]["outcome"] == "delivered"
    assert canary["submission"]["result"] == "accepted"
    assert canary["arrival"]["delay"] == {"lo": 1.0, "hi": 1.2}
    assert canary["bounce"] is None
    assert result["mailboxes"]["acme/inbox"]["state"] == "ok"
    assert result["waited_s"] == 1.235


HOSTILE = "550 \x1b]0;owned\x07 go \u202e away\r\nMAIL OK"


def test_nothing_that_a_server_said_steers_the_terminal_or_the_plugin() -> None:
    down = {BOX: MailboxHealth(state="down", watermark_ns=None, detail=HOSTILE)}
    refused = sent("a1", Result.REJECTED, HOSTILE)
    waiting = flown("a2", sent("a2"))
    fired = shot(flown("a1", refused), waiting, mailboxes=down)
    out = io.StringIO()
    console = Console(file=out, width=200)
    console.print(table(fired, judge(fired, LIMITS), 200, lines=False))
    texts = [out.getvalue(), plugin(fired, LIMITS)[1]]
    for text in texts:
        assert r"550 \x1b]0;owned\x07 go \u202e away MAIL OK" in text
        assert all(line.isprintable() for line in text.split("\n"))
