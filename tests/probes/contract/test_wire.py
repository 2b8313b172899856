"""What agents and collector say to each other: the batch's form, and two clocks compared."""

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.contract.wire import (
    MAX_BATCH_EVENTS,
    WIRE_VERSION,
    BatchHeader,
    Ingested,
    ProblemDetails,
    Refusal,
    RefusalReason,
    encode_batch,
    read_clock,
)

HEADER = BatchHeader(version=1, agent="sfo", epoch="e1", first_seq=1, count=2, sent_at_ns=5)


def test_a_batch_is_its_header_and_its_events_each_on_a_line() -> None:
    assert encode_batch(HEADER, [b'{"a":1}', b""]) == (
        b'{"version":1,"agent":"sfo","epoch":"e1","first_seq":1,"count":2,"sent_at_ns":5}\n'
        b'{"a":1}\n\n'
    )


def test_a_count_that_is_not_that_of_the_events_is_refused() -> None:
    with pytest.raises(ValueError, match="count 2: allowed is the number of events, 1"):
        encode_batch(HEADER, [b"{}"])


def test_an_event_of_two_lines_is_refused() -> None:
    with pytest.raises(ValueError, match="line end"):
        encode_batch(HEADER, [b"{}", b"{\n}"])


def test_an_answer_of_a_later_version_is_read() -> None:
    answer = Ingested(
        epoch="e1",
        high_water=2,
        accepted=1,
        duplicates=0,
        refused=[Refusal(seq=2, reason=RefusalReason.INVALID, detail="x")],
        received_at_ns=1,
        answered_at_ns=2,
    )
    document = {**msgspec.to_builtins(answer), "later": [1]}
    assert msgspec.json.decode(msgspec.json.encode(document), type=Ingested) == answer


@given(
    offset_ns=st.integers(-(10**15), 10**15),
    legs=st.tuples(st.integers(0, 10**11), st.integers(0, 10**11)),
    work_ns=st.integers(0, 10**11),
)
def test_the_true_offset_lies_within_half_the_round_trip(
    offset_ns: int, legs: tuple[int, int], work_ns: int
) -> None:
    sent = 1_800_000_000_000_000_000
    received = sent - offset_ns + legs[0]
    answered = received + work_ns
    got = sent + sum(legs) + work_ns
    reading = read_clock(sent, received, answered, got)
    assert reading.round_trip_s == pytest.approx(sum(legs) / 1e9)
    assert abs(reading.offset_s - offset_ns / 1e9) <= sum(legs) / 2e9 + 1e-9


def test_a_clock_that_was_set_meanwhile_gives_no_negative_round_trip() -> None:
    assert read_clock(100, 0, 200, 150).round_trip_s == 0.0


PAGE = (Path(__file__).parents[3] / "docs" / "wire.md").read_text(encoding="utf-8")


def first_cells(heading: str) -> list[str]:
    """The words in the first column of the table under a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`) \|", section, flags=re.MULTILINE)
    return [word.strip("`") for row in rows for word in row.split(", ")]


def test_the_page_tells_every_field_and_reason() -> None:
    assert first_cells("A batch of events") == [
        field.name for field in msgspec.structs.fields(BatchHeader)
    ]
    told = first_cells("The answer")
    assert ["epoch", *told] == [field.name for field in msgspec.structs.fields(Ingested)]
    assert first_cells("Events that are refused") == list(RefusalReason)


def test_the_pages_examples_are_what_they_are_said_to_be() -> None:
    blocks = re.findall(r"```(?:json)?\n(.*?)```", PAGE, flags=re.DOTALL)
    header = msgspec.json.decode(blocks[0].splitlines()[0], type=BatchHeader)
    assert header.version == WIRE_VERSION
    assert 1 <= header.count == len(blocks[0].splitlines()) - 1 <= MAX_BATCH_EVENTS
    answer = msgspec.json.decode(blocks[1], type=Ingested)
    assert answer.high_water == header.first_seq + header.count - 1
    assert answer.accepted + len(answer.refused) == header.count
    problem = msgspec.json.decode(blocks[2].partition("\n\n")[2], type=ProblemDetails)
    assert len(problem.errors) == 2
