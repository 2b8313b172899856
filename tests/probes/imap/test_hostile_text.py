"""A megabyte of what makes a careless parser slow or large.

Quadratic work on such an input takes minutes, and a step kept for each byte a hundred megabytes.
"""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from probes.imap.folders import parse_list
from probes.imap.framing import Framer
from probes.imap.items import parse_fetch
from probes.imap.model import ProtocolError
from probes.imap.replies import (
    capabilities,
    internaldate_ns,
    quota_ratio,
    readable,
    response_code,
)

SIZE = 1 << 20


@contextmanager
def little_memory() -> Iterator[None]:
    """Fails when the block takes many times the size of the input."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 * SIZE


PARSERS: dict[str, Callable[[bytes], object]] = {
    "quota": lambda text: quota_ratio([b'* QUOTA "" (' + text]),
    "code": lambda text: response_code(b"[" + text),
    "capabilities": capabilities,
    "date": internaldate_ns,
    "readable": lambda text: readable(text.decode("latin-1")),
    "list": lambda text: parse_list([b"* LIST (" + text]),
    "list name": lambda text: parse_list([b'* LIST () "/" ' + text]),
    "list quoted": lambda text: parse_list([b'* LIST () "/" "' + text]),
    "list literal": lambda text: parse_list([b'* LIST () "/" {9}', text, b""]),
    "fetch": lambda text: parse_fetch([b"* 1 FETCH (" + text]),
    "fetch value": lambda text: parse_fetch([b"* 1 FETCH (X " + text]),
    "fetch quoted": lambda text: parse_fetch([b'* 1 FETCH (X "' + text]),
    "fetch list": lambda text: parse_fetch([b"* 1 FETCH (X (" + text]),
    "fetch section": lambda text: parse_fetch([b"* 1 FETCH (BODY[" + text]),
    "framer": lambda text: Framer().feed(b"* 1 FETCH " + text + b"}\r\n"),
}
TEXTS = [
    b"a",
    b" ",
    b"()",
    b"(",
    b'"',
    b'"a" ',
    b"\\a",
    b"{1",
    b"1 ",
    b"&AGE-",
    b"&",
    b"A 1 ",
    b"]",
]


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("text", TEXTS)
def test_a_megabyte_takes_little(parser: str, text: bytes) -> None:
    long = text * (SIZE // len(text))
    with little_memory(), suppress(ProtocolError):
        PARSERS[parser](long)


@pytest.mark.parametrize(
    "text", [b'A "' + b"a" * 60_000 + b'")', b"BODY[" + b'"a"' * 20_000, b"A" * 65_000]
)
def test_the_longest_that_is_taken_takes_little(text: bytes) -> None:
    with little_memory(), suppress(ProtocolError):
        parse_fetch([b"* 1 FETCH (" + text])


def test_a_quota_line_of_any_length_is_no_failure() -> None:
    assert quota_ratio([b'* QUOTA "" (' + b"A 1 2 " * SIZE + b")", b"* QUOTA b (B 1 4)"]) == 0.25


def test_readable_of_megabytes_is_its_beginning() -> None:
    assert readable("x y " * SIZE) == ("x y " * 50)[:200]
