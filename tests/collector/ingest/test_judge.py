"""Each event by itself: taken, or refused for a reason."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.ingest.judge import MAX_DETAIL, judge
from collector.log.engine import Batch
from collector.log.pending import check_batch
from collector.log.rows import pack
from probes.contract.events import decode, encode
from probes.contract.names import Path
from probes.contract.wire import MAX_BATCH_EVENTS, MAX_EVENT_BYTES, Refusal, RefusalReason
from tests.collector.ingest.made import (
    ALLOWED,
    GOLDEN,
    NOW_NS,
    PATH,
    check,
    golden,
    header,
    intent,
    lines,
)

OWN = ("action", "complaint", "config", "tick")
REPORTED = sorted(file.stem for file in GOLDEN.glob("*.json") if file.stem not in OWN)


def judged(*events: bytes, first: int = 1) -> Batch:
    batch = judge(header(len(events), first), events, ALLOWED.allows, ALLOWED.sits, NOW_NS)
    check_batch(batch)
    return batch


def refusal(event: bytes) -> Refusal:
    batch = judged(event)
    assert not batch.items
    (letter,) = batch.dead
    assert letter.refusal.seq == 1
    return letter.refusal


def taken(event: bytes) -> str:
    batch = judged(event)
    assert [letter.refusal for letter in batch.dead] == []
    (item,) = batch.items
    assert item.body == event
    return item.kind


@pytest.mark.parametrize("name", REPORTED)
def test_what_agents_report_is_taken_byte_for_byte(name: str) -> None:
    event = golden(name)
    agent = msgspec.json.decode(event).get("agent", "sfo")
    batch = judge(header(1, agent=agent), [event], ALLOWED.allows, ALLOWED.sits, NOW_NS)
    assert [letter.refusal for letter in batch.dead] == []
    assert batch.items == [(1, name.partition("-")[0], event)]


@pytest.mark.parametrize("name", OWN)
def test_what_only_the_collector_writes_is_refused(name: str) -> None:
    found = refusal(golden(name))
    assert found.reason is RefusalReason.WRONG_KIND
    assert found.detail == f"found {name}, allowed is what agents report"


def test_good_and_bad_ones_keep_their_numbers() -> None:
    batch = judged(*lines(1, 2), b"garbage", *lines(3, 3), b"", first=41)
    assert (batch.first_seq, batch.last_seq) == (41, 45)
    assert [item.seq for item in batch.items] == [41, 42, 44]
    assert [letter.refusal.seq for letter in batch.dead] == [43, 45]
    letter = batch.dead[0]
    assert (letter.source, letter.epoch, letter.body) == ("sfo", "e1", b"garbage")
    assert letter.ingested_at_ns == batch.ingested_at_ns == NOW_NS


def test_events_of_another_agent_are_refused() -> None:
    for event in (intent(path=Path("fra", "relay-a1", "acme/inbox")), check("fra")):
        found = refusal(encode(event))
        assert found.reason is RefusalReason.WRONG_AGENT
        assert found.detail == "found an event of fra, allowed is sfo"


@pytest.mark.parametrize("mailbox", ["other/inbox", "acme", "", "acme/inbox\n"])
def test_events_of_a_path_that_was_never_assigned_are_refused(mailbox: str) -> None:
    relay = "relay-a1" if mailbox != "acme/inbox\n" else "relay-a1\n"
    found = refusal(encode(intent(path=Path("sfo", relay, mailbox))))
    assert found.reason is RefusalReason.NOT_ASSIGNED
    assert "\n" not in found.detail


def test_the_longest_event_is_taken_and_a_longer_one_refused() -> None:
    event = encode(intent())[:-1] + b',"x":"'
    longest = event + b"x" * (MAX_EVENT_BYTES - len(event) - 2) + b'"}'
    assert taken(longest) == "intent"
    batch = judged(longest + b" ")
    assert batch.dead[0].refusal.reason is RefusalReason.TOO_LARGE
    # It can never be taken in, and is not worth the room of thousands that can.
    assert batch.dead[0].body == longest[:4096]


def big(field: str, value: str) -> bytes:
    document = json.loads(golden("arrival"))
    mark = 9_007_199_254_740_881
    document[field] = mark
    return json.dumps(document).encode().replace(str(mark).encode(), value.encode())


@pytest.mark.parametrize("field", ["path_seq", "mailbox_seq", "sent_ns", "seen_ns", "uid"])
@pytest.mark.parametrize(
    "value",
    ["9223372036854775808", "-9223372036854775809", "18446744073709551616", "9" * 300, "9" * 9000],
)
def test_numbers_that_nobody_can_keep_are_refused(field: str, value: str) -> None:
    assert taken(big(field, "9223372036854775807")) == "arrival"
    assert refusal(big(field, value)).reason is RefusalReason.INVALID


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e999", "1.5", "1e3", '"1"', "null", "01", "true"]
)
def test_numbers_that_are_none_are_refused(value: str) -> None:
    assert refusal(big("sent_ns", value)).reason is RefusalReason.INVALID


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", '"1"', "null"])
def test_durations_that_are_none_are_refused(value: str) -> None:
    event = golden("intent").replace(b'"deadline_s":60.0', b'"deadline_s":' + value.encode())
    assert event != golden("intent")
    assert refusal(event).reason is RefusalReason.INVALID


INTENT = encode(intent())[:-1]


@pytest.mark.parametrize(
    "event",
    [
        b"",
        b" ",
        b"\xff",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b'{"kind":null}',
        INTENT,
        INTENT + b"}}",
        b"\xef\xbb\xbf" + INTENT + b"}",
        b"\0" + INTENT + b"}",
        INTENT + b',"x":"\xff"}',
        INTENT + b',"\xff":1}',
        INTENT + b',"x":"\xed\xa0\x80"}',
        INTENT + b',"x":"\\ud800"}',
        INTENT + b',"x":"\0"}',
        INTENT + b',"x":NaN}',
        INTENT + b',"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        INTENT + b',"kind":"arrival"}',
        INTENT + b',"kind":"tick"}',
        b'{"kind":"\\ud800"}',
        b'{"kind":"storm","x":"\xff"}',
        b'{"kind":"storm","x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
    ],
)
def test_what_is_no_event_is_refused(event: bytes) -> None:
    assert refusal(event).reason is RefusalReason.INVALID


def test_of_a_field_that_comes_twice_the_last_one_counts_for_all() -> None:
    other = b',"path":{"agent":"fra","relay":"relay-a1","mailbox":"acme/inbox"}}'
    assert refusal(INTENT + other).reason is RefusalReason.WRONG_AGENT
    mine = b'{"path":{"agent":"fra","relay":"x","mailbox":"y"},' + encode(intent())[1:]
    assert taken(mine) == "intent"
    assert msgspec.to_builtins(decode(mine))["path"]["agent"] == "sfo"


def test_fields_and_words_of_a_later_version_are_kept() -> None:
    assert taken(INTENT + ',"später":{"x":[1,"é"]}}'.encode()) == "intent"
    later = golden("submission").replace(b'"result":"accepted"', b'"result":"teleported"')
    assert later != golden("submission")
    assert taken(later) == "submission"


@pytest.mark.parametrize(
    "event",
    [
        b'{"kind":"storm"}',
        b'{"kind":"storm","agent":"sfo","path":null}',
        b'{"kind":"storm","agent":["of","several"],"path":"a|b|c"}',
        b'{"kind":"storm","path":{"agent":"sfo","relay":"relay-a1","mailbox":"acme/inbox"}}',
        b'{"kind":"storm","big":123456789012345678901234567890}',
        '{"kind":"wëtter"}'.encode(),
        b'{"kind":"' + b"k" * 64 + b'"}',
    ],
)
def test_a_kind_that_is_not_known_is_kept(event: bytes) -> None:
    assert taken(event) == json.loads(event)["kind"]


def test_a_kind_that_is_not_known_is_the_agents_own_all_the_same() -> None:
    def storm(**fields: Any) -> RefusalReason:
        return refusal(json.dumps({"kind": "storm", **fields}).encode()).reason

    path = {"agent": "sfo", "relay": "relay-a1", "mailbox": "acme/inbox"}
    assert storm(agent="fra") is RefusalReason.WRONG_AGENT
    assert storm(path={**path, "agent": "fra"}) is RefusalReason.WRONG_AGENT
    assert storm(agent="sfo", path={**path, "agent": "fra"}) is RefusalReason.WRONG_AGENT
    assert storm(agent="fra", path=path) is RefusalReason.WRONG_AGENT
    assert storm(path={**path, "mailbox": "other/inbox"}) is RefusalReason.NOT_ASSIGNED


@pytest.mark.parametrize("kind", ["", "k" * 65, "a\0b", "a\nb", "\u200b", "k" * 100_000])
def test_a_kind_that_is_no_word_is_refused(kind: str) -> None:
    found = refusal(json.dumps({"kind": kind}).encode())
    assert found.reason is RefusalReason.INVALID
    assert found.detail.isprintable()


def test_an_answer_of_nothing_but_refusals_is_one_that_agents_read() -> None:
    worst = [
        json.dumps({"kind": "check", "agent": text, "probe": "", "at_ns": 1, "ok": True}).encode()
        for text in ("\\" * 500, '"' * 500, "\0" * 500, "\U0001f4a3" * 500, "'\"" * 500)
    ]
    batch = judged(*(worst * (MAX_BATCH_EVENTS // len(worst))), first=(1 << 62))
    refused = [letter.refusal for letter in batch.dead]
    assert len(refused) == MAX_BATCH_EVENTS
    assert max(len(one.detail) for one in refused) == MAX_DETAIL
    assert len(msgspec.json.encode(refused)) < (4 << 20) - 1000


@pytest.mark.parametrize("relay", ["relay-b2", "", None, "\x1b[2J"])
def test_a_check_of_a_relay_on_which_its_agent_never_sat_is_refused(relay: str | None) -> None:
    found = refusal(encode(check(relay=relay)))
    assert found.reason is RefusalReason.NOT_ASSIGNED
    assert found.detail.endswith("allowed is one on which sfo sits")
    assert taken(encode(check())) == "check"


def test_another_agents_check_is_refused_wherever_that_sits() -> None:
    assert refusal(encode(check(agent="fra"))).reason is RefusalReason.WRONG_AGENT


def test_an_agents_paths_are_asked_for_once_in_a_batch() -> None:
    asked: list[Path] = []

    def allows(path: Path) -> bool:
        asked.append(path)
        return True

    judge(header(50), lines(1, 50), allows, ALLOWED.sits, NOW_NS)
    assert asked == [PATH]


@given(st.lists(st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"")), min_size=1))
def test_any_lines_make_a_batch_that_the_log_takes(events: list[bytes]) -> None:
    batch = judged(*events)
    assert len(batch.items) + len(batch.dead) == len(events)
    for letter in batch.dead:
        msgspec.json.encode(letter.refusal)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([*REPORTED, *OWN]), st.data())
def test_an_event_with_any_field_changed_is_taken_whole_or_refused(
    name: str, data: st.DataObject
) -> None:
    document = json.loads(golden(name))
    field = data.draw(st.sampled_from(sorted(document)))
    document[field] = data.draw(JSON)
    event = json.dumps(document, ensure_ascii=data.draw(st.booleans())).encode(
        "utf-8", "surrogatepass"
    )
    batch = judged(event)
    if batch.items:
        # It is what everybody can read, and what the log can hold.
        assert msgspec.json.decode(event.decode())["kind"] == batch.items[0].kind
        pack(1, 1, 1, batch.items)
