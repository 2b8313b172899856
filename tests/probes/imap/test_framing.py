"""Responses are cut the same way whatever the pieces they come in."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.imap import framing
from probes.imap.framing import Framer
from probes.imap.model import ProtocolError

STREAM = (
    b"* 1 FETCH (UID 5 BODY[] {11}\r\nhe\r\na1 OK ))\r\n"
    b"* 2 FETCH (A {0}\r\n B {3+}\r\nxyz)\r\n"
    b"* OK a text that ends like a literal {5}\r\n"
    b"a1 OK and another {7}\r\n"
    b"+ {9}\r\n"
    b"\r\n"
)
RESPONSES = [
    [b"* 1 FETCH (UID 5 BODY[] {11}", b"he\r\na1 OK )", b")"],
    [b"* 2 FETCH (A {0}", b"", b" B {3+}", b"xyz", b")"],
    [b"* OK a text that ends like a literal {5}"],
    [b"a1 OK and another {7}"],
    [b"+ {9}"],
    [b""],
]


def test_whole() -> None:
    framer = Framer()
    assert framer.feed(STREAM) == RESPONSES
    assert not framer.inside


def test_single_bytes() -> None:
    framer = Framer()
    responses = [r for index in range(len(STREAM)) for r in framer.feed(STREAM[index : index + 1])]
    assert responses == RESPONSES


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_any_pieces(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    framer = Framer()
    responses = [
        response
        for start, end in itertools.pairwise(edges)
        for response in framer.feed(STREAM[start:end])
    ]
    assert responses == RESPONSES


def test_long_literal_is_read_but_not_kept() -> None:
    framer = Framer(keep_literal=4)
    assert framer.feed(b"* 1 FETCH (X {10}\r\n012345") == []
    assert framer.feed(b"6789)\r\n* 2 EXISTS\r\n") == [
        [b"* 1 FETCH (X {10}", b"0123", b")"],
        [b"* 2 EXISTS"],
    ]


def test_inside() -> None:
    framer = Framer()
    framer.feed(b"* 1 FETCH (X {10}\r\n")
    assert framer.inside


def test_many_lines_in_one_piece() -> None:
    assert len(Framer().feed(b"* 1 FETCH (FLAGS ())\r\n" * 20_000)) == 20_000


@pytest.mark.parametrize("size", [b"4294967296", b"99999999999999999999"])
def test_impossible_literal(size: bytes) -> None:
    with pytest.raises(ProtocolError, match="literal"):
        Framer().feed(b"* 1 FETCH (X {%s}\r\n" % size)


def test_endless_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_LINE", 100)
    framer = Framer()
    framer.feed(b"x" * 100)
    with pytest.raises(ProtocolError, match="line"):
        framer.feed(b"x")


def test_endless_response(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_RESPONSE", 100)
    with pytest.raises(ProtocolError, match="response"):
        Framer().feed(b"* 1 FETCH (X {1}\r\n" + b"x Y {1}\r\n" * 20)
