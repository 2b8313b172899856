"""From a relay's reply to a result."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.contract.events import Reply
from probes.contract.stages import SUBMISSION_STAGES, Reason, Result, Stage
from probes.smtp.replies import (
    DETAIL_LIMIT,
    TEXT_LIMIT,
    clean,
    enhanced_code,
    make_reply,
    one_line,
    verdict,
)

REPLYING = [stage for stage in SUBMISSION_STAGES if stage not in (Stage.RESOLVE, Stage.CONNECT)]
ASIDE = (Stage.TLS, Stage.AUTH)


@pytest.mark.parametrize(
    ("code", "text", "enhanced"),
    [
        (550, "5.1.1 unknown user", "5.1.1"),
        (250, "2.0.0 Ok", "2.0.0"),
        (250, "2.0.0: 4c6d7f Message accepted", "2.0.0"),
        (451, "4.7.650", "4.7.650"),
        (550, "4.7.1 of another class", None),
        (250, "2.0.0.1 is no status", None),
        (250, "2.0.0x", None),
        (250, "Ok 2.0.0", None),
        (220, "3.4.5 hello", None),
        (550, "5.1111.1 too long", None),
        (550, "", None),
    ],
)
def test_enhanced_code(code: int, text: str, enhanced: str | None) -> None:
    assert enhanced_code(code, text) == enhanced


@pytest.mark.parametrize("stage", REPLYING)
def test_refusals(stage: Stage) -> None:
    at = {code: verdict(stage, code) for code in (421, 450, 451, 550, 554)}
    aside = stage in ASIDE
    assert at[421] == (Result.DEFERRED, Reason.REPLY_4XX)
    assert at[450] == (Result.FAILED if aside else Result.DEFERRED, Reason.REPLY_4XX)
    assert at[550] == (Result.FAILED if aside else Result.REJECTED, Reason.REPLY_5XX)
    assert at[451] == at[450]
    assert at[554] == at[550]


@pytest.mark.parametrize("stage", REPLYING)
@pytest.mark.parametrize("code", [0, 25, 100, 199, 300, 600, 999])
def test_no_reply_at_all(stage: Stage, code: int) -> None:
    unsure = Result.UNKNOWN if stage is Stage.ACCEPT else Result.FAILED
    assert verdict(stage, code) == (unsure, Reason.PROTOCOL)


@pytest.mark.parametrize(
    ("stage", "good", "bad"),
    [
        (Stage.BANNER, 220, 250),
        (Stage.EHLO, 250, 354),
        (Stage.TLS, 220, 250),
        (Stage.AUTH, 235, 334),
        (Stage.MAIL, 250, 354),
        (Stage.RCPT, 251, 354),
        (Stage.DATA, 354, 250),
        (Stage.ACCEPT, 250, 354),
    ],
)
def test_success(stage: Stage, good: int, bad: int) -> None:
    assert verdict(stage, good) is None
    judged = verdict(stage, bad)
    assert judged is not None
    assert judged[1] is Reason.PROTOCOL


def test_wrong_credentials_are_told_apart() -> None:
    assert verdict(Stage.AUTH, 535) == (Result.FAILED, Reason.CREDENTIALS)
    assert verdict(Stage.AUTH, 334, (334,)) is None
    assert verdict(Stage.MAIL, 535) == (Result.REJECTED, Reason.REPLY_5XX)


@pytest.mark.parametrize(
    ("code", "text", "line"),
    [
        (550, "5.1.1 unknown user", "550 5.1.1 unknown user"),
        (550, "5.1.1 unknown\n5.1.1 user", "550 5.1.1 unknown user"),
        (550, "no\nno\nno", "550 no no no"),
        (421, "", "421"),
    ],
)
def test_one_line(code: int, text: str, line: str) -> None:
    assert one_line(make_reply(code, text)) == line


def test_a_long_reply_is_bounded() -> None:
    reply = make_reply(550, "x" * 100_000)
    assert len(reply.text) == TEXT_LIMIT
    assert len(one_line(reply)) == DETAIL_LIMIT


@given(st.binary(max_size=200))
def test_any_octets_become_text_for_json_and_terminal(octets: bytes) -> None:
    text = clean(octets.decode("utf-8", "surrogateescape"))
    assert not any(ord(char) < 32 and char != "\n" for char in text)
    assert "\x7f" not in text
    assert "\x9b" not in text
    reply = Reply(250, None, text)
    assert msgspec.json.decode(msgspec.json.encode(reply), type=Reply) == reply
