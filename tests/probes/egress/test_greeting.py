"""Greetings in pieces of any size come to the same, and to no more than their bounds."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.contract.stages import Reason
from probes.egress.greeting import GREETING_LIMIT, TEXT_LIMIT, Greeting

SOME = [
    b"220 mx.test ESMTP\r\n",
    b"220-mx.test\r\n220-please\n220 wait\r\n",
    b"554 mx.test no\r\n",
    b"421\r\n",
    b"220\n",
    b"220-mx.test\r\n221 x\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\xff\x00\xfe",
    b"\r\n",
    b"2200 mx.test\r\n",
    b"220-" + b"a" * 9000,
    b"220-a\r\n" * 3000,
]


def read(pieces: list[bytes]) -> Greeting:
    greeting = Greeting()
    for piece in pieces:
        if greeting.complete:
            break
        greeting.feed(piece)
    return greeting


@given(
    data=st.one_of(st.sampled_from(SOME), st.binary(max_size=60)),
    cuts=st.lists(st.integers(0, 9000), max_size=5),
)
def test_pieces_make_no_difference(data: bytes, cuts: list[int]) -> None:
    at = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    whole, pieced = read([data]), read([data[a:b] for a, b in pairwise(at)])
    assert pieced.complete == whole.complete
    assert pieced.code == whole.code
    said = [one.failure.reason if one.failure else None for one in (whole, pieced)]
    assert said[0] == said[1]
    for one in (whole, pieced):
        assert one.octets <= GREETING_LIMIT
        if one.text is not None:
            assert len(one.text) <= TEXT_LIMIT
            assert all(char.isprintable() for char in one.text)
        if one.complete and one.failure is None:
            assert one.code == 220
            assert one.text is not None
            assert one.text == whole.text


@pytest.mark.parametrize(
    ("data", "code", "reason", "text"),
    [
        (b"220 mx.test ESMTP\r\n", 220, None, "mx.test ESMTP"),
        (b"220-mx.test\r\n220-please\n220 wait\r\n", 220, None, "mx.test please wait"),
        (b"220\n", 220, None, ""),
        (b"554 mx.test no\r\n", 554, Reason.REPLY_5XX, "mx.test no"),
        (b"421\r\n", 421, Reason.REPLY_4XX, ""),
        (b"250 mx.test\r\n", 250, Reason.PROTOCOL, "mx.test"),
        (b"2200 mx.test\r\n", None, Reason.PROTOCOL, "2200 mx.test"),
        (b"220 m\x00x \xff\r\n", 220, None, "m\ufffdx \ufffd"),
        (b"", None, None, None),
        (b"22", None, None, "22"),
        (b"220-mx", 220, None, "mx"),
    ],
)
def test_what_comes_of_it(
    data: bytes, code: int | None, reason: Reason | None, text: str | None
) -> None:
    greeting = read([data])
    assert greeting.code == code
    assert (greeting.failure.reason if greeting.failure else None) is reason
    assert greeting.text == text


def test_an_end_that_never_comes() -> None:
    greeting = read([b"220-a\r\n" * 3000])
    assert greeting.failure is not None
    assert greeting.failure.text == "a greeting without an end in 8192 octets"
    assert greeting.code == 220
