"""The header and the lines of a batch."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.ingest.batch import MAX_SEQ, read_batch
from collector.ingest.inflate import BodyError, BodyTooLargeError
from probes.contract.wire import MAX_BATCH_EVENTS, encode_batch
from tests.collector.ingest.made import body, header, raw_body

GOOD = msgspec.to_builtins(header(2))


@given(st.lists(st.binary().map(lambda line: line.replace(b"\n", b"")), min_size=1, max_size=20))
def test_what_an_agent_encodes_is_read_back(events: list[bytes]) -> None:
    head = header(len(events), first=7)
    assert read_batch(encode_batch(head, events)) == (head, events)


@pytest.mark.parametrize("plain", [b"", b"{}", b"x" * 5000 + b"\n", b" " * 4097 + b"\n"])
def test_without_a_header_line_there_is_no_batch(plain: bytes) -> None:
    with pytest.raises(BodyError, match="line 1: found no header"):
        read_batch(plain)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"\n", "truncated"),
        (b"[]\n", "Expected `object`"),
        (b"{}\n", "missing required field `version`"),
        (b"\xff\n", "malformed"),
        (b'{"version":1,"agent":"\xff"}\n', "decode"),
        (b"[" * 4000 + b"\n", "found"),
        (raw_body({**GOOD, "count": "2"}, []), "Expected `int`, got `str` - at `$.count`"),
        (raw_body({**GOOD, "first_seq": 1.5}, []), "at `$.first_seq`"),
    ],
)
def test_a_header_that_is_none_is_refused(line: bytes, found: str) -> None:
    with pytest.raises(BodyError) as caught:
        read_batch(line)
    assert str(caught.value).startswith("line 1: found ")
    assert found in str(caught.value)


def test_everything_wrong_in_a_header_is_told_at_once() -> None:
    wrong: dict[str, Any] = {
        "version": 2,
        "agent": "SFO\n",
        "epoch": "e/1",
        "count": 0,
        "first_seq": 0,
        "sent_at_ns": -1,
    }
    with pytest.raises(BodyError) as caught:
        read_batch(raw_body(wrong, []))
    told = str(caught.value).splitlines()
    assert [line.split(": ")[1] for line in told] == [
        "version",
        "agent",
        "epoch",
        "count",
        "first_seq",
        "sent_at_ns",
    ]
    assert all(", allowed is " in line for line in told)


@pytest.mark.parametrize(
    "change",
    [
        {"first_seq": MAX_SEQ - MAX_BATCH_EVENTS + 1},
        {"first_seq": 10**30},
        {"first_seq": -(10**300)},
        {"count": 10**300},
        {"version": 10**300},
        {"sent_at_ns": 1 << 63},
        {"agent": "a" * 3000},
        {"epoch": ""},
        {"epoch": "e" * 65},
        {"epoch": "e\n"},
    ],
)
def test_values_out_of_range_are_refused_in_few_words(change: dict[str, Any]) -> None:
    line = b",".join(
        b'"%s":%s' % (key.encode(), str(value).encode() if isinstance(value, int)
                      else msgspec.json.encode(value))
        for key, value in {**GOOD, **change}.items()
    )  # fmt: skip
    with pytest.raises(BodyError, match=f"line 1: {next(iter(change))}: found ") as caught:
        read_batch(b"{" + line + b"}\na\nb\n")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("said", "sent"), [(2, 1), (2, 3), (1, 2), (10_000, 1)])
def test_the_count_must_be_that_of_the_lines(said: int, sent: int) -> None:
    with pytest.raises(BodyError, match=f"count: found {said}, allowed is the {sent} that follow"):
        read_batch(raw_body(header(said), [b"{}"] * sent))


def test_a_batch_that_was_cut_short_is_refused() -> None:
    with pytest.raises(BodyError, match="last line: found no line end"):
        read_batch(body([b"{}", b"{}"])[:-1])


def test_too_many_events_are_refused() -> None:
    head, events = read_batch(body([b""] * MAX_BATCH_EVENTS))
    assert head.count == len(events) == MAX_BATCH_EVENTS
    with pytest.raises(BodyTooLargeError, match=f"found {MAX_BATCH_EVENTS + 1} events"):
        read_batch(raw_body(header(1), [b""] * (MAX_BATCH_EVENTS + 1)))


def test_millions_of_line_ends_are_counted_and_not_cut_apart() -> None:
    with pytest.raises(BodyTooLargeError, match="found 20000000 events"):
        read_batch(raw_body(header(1), []) + b"\n" * 20_000_000)


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_batch_or_refused(data: bytes, with_header: bool) -> None:
    if with_header:
        data = raw_body(header(2), [data])
    refused: list[str] = []
    try:
        head, events = read_batch(data)
    except BodyError as error:
        refused = str(error).splitlines()
    else:
        assert head.count == len(events)
    assert all("allowed" in line for line in refused)
