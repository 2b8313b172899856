"""Arguments are written so that no server misreads them."""

from base64 import b64decode
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.imap.wire import (
    folder_name,
    header_items,
    is_sendable,
    quoted,
    search_date,
    strings,
    uid_set,
    xoauth2,
)


def test_quoted() -> None:
    assert quoted('a "b\\ c') == r'"a \"b\\ c"'


def test_strings() -> None:
    assert strings(["a b", 'c"d']) == [rb'"a b" "c\"d"']
    assert strings(["a", "\u00fc"]) == [b'"a" {2}', b"\xc3\xbc"]
    assert strings(["\u00fc", "p", "\u00e9"]) == [b"{2}", b'\xc3\xbc "p" {2}', b"\xc3\xa9"]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("INBOX", '"INBOX"'),
        ('a"b', r'"a\"b"'),
        ("Entw\u00fcrfe & mehr", '"Entw&APw-rfe &- mehr"'),
        ("~peter/mail/\u53f0\u5317/\u65e5\u672c\u8a9e", '"~peter/mail/&U,BTFw-/&ZeVnLIqe-"'),
        ("\U0001f426", '"&2D3cJg-"'),
    ],
)
def test_folder_name(name: str, written: str) -> None:
    assert folder_name(name) == written


@given(st.sets(st.integers(1, 60)))
def test_uid_set(uids: set[int]) -> None:
    read: set[int] = set()
    for part in filter(None, uid_set(uids).split(",")):
        first, _, last = part.partition(":")
        read |= set(range(int(first), int(last or first) + 1))
    assert read == uids


def test_uid_set_draws_runs_together() -> None:
    assert uid_set([7, 3, 1, 2, 9, 2]) == "1:3,7,9"


def test_search_date() -> None:
    assert search_date(date(2026, 2, 1)) == "1-Feb-2026"


def test_xoauth2() -> None:
    assert b64decode(xoauth2("u@x", "tok")) == b"user=u@x\x01auth=Bearer tok\x01\x01"


def test_header_items() -> None:
    assert header_items(["X-A", "B"]) == "(UID INTERNALDATE BODY.PEEK[HEADER.FIELDS (X-A B)])"


@pytest.mark.parametrize("names", [[], [""], ["a b"], ["a)"], ["a\r\nb"], ["\u00fc"]])
def test_no_header_items(names: list[str]) -> None:
    with pytest.raises(ValueError, match="header fields"):
        header_items(names)


def test_is_sendable() -> None:
    assert is_sendable("a \u00fc")
    assert not any(is_sendable(f"a{char}b") for char in "\r\n\x00")
