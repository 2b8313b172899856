"""What is written to the relay."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.smtp.syntax import (
    helo_argument,
    mail_arguments,
    normalise,
    rcpt_arguments,
    transmitted,
    xtext,
)


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("", b""),
        ("abc!~*,-<>", b"abc!~*,-<>"),
        ("a+b=c", b"a+2Bb+3Dc"),
        ("a b\r\n\t", b"a+20b+0D+0A+09"),
        ("é", b"+C3+A9"),
        ("canary+tag@acme.example", b"canary+2Btag@acme.example"),
    ],
)
def test_xtext(text: str, encoded: bytes) -> None:
    assert xtext(text) == encoded


@given(st.text())
def test_xtext_can_be_decoded_and_holds_nothing_else(text: str) -> None:
    encoded = xtext(text)
    assert re.fullmatch(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*", encoded)
    decoded = re.sub(rb"\+([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), encoded)
    assert decoded.decode() == text


@pytest.mark.parametrize(
    ("content", "normal"),
    [
        (b"", b"\r\n"),
        (b"a", b"a\r\n"),
        (b"a\n", b"a\r\n"),
        (b"a\rb\nc\r\n", b"a\r\nb\r\nc\r\n"),
        (b"a\n\r\n", b"a\r\n\r\n"),
        (b"a\r\r\n", b"a\r\n\r\n"),
    ],
)
def test_line_ends(content: bytes, normal: bytes) -> None:
    assert normalise(content) == normal


@pytest.mark.parametrize(
    ("normal", "sent"),
    [
        (b"\r\n", b"\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"..\r\n", b"...\r\n.\r\n"),
        (b"a.b\r\n", b"a.b\r\n.\r\n"),
    ],
)
def test_dot_stuffing(normal: bytes, sent: bytes) -> None:
    assert transmitted(normal) == sent


def receive(sent: bytes) -> bytes:
    """What a server makes of ``sent``, written straight from RFC 5321 section 4.5.2."""
    lines = sent.split(b"\r\n")
    content = []
    for line in lines:
        if line == b".":
            break
        content.append(line[1:] if line.startswith(b".") else line)
    assert lines[len(content) :] == [b".", b""], "the final dot comes once, and last"
    return b"".join(line + b"\r\n" for line in content)


@given(
    st.lists(st.sampled_from([b".", b"\r", b"\n", b"\r\n", b"a", b"\x00", b"\xff"])).map(b"".join)
)
def test_what_is_sent_is_what_is_received(content: bytes) -> None:
    normal = normalise(content)
    assert normalise(normal) == normal
    assert b"\n" not in normal.replace(b"\r\n", b"")
    assert b"\r" not in normal.replace(b"\r\n", b"")
    assert receive(transmitted(normal)) == normal


@pytest.mark.parametrize(
    ("helo", "argument"),
    [
        ("sfo.monitor.example", b"sfo.monitor.example"),
        ("192.0.2.1", b"[192.0.2.1]"),
        ("2001:db8::1", b"[IPv6:2001:db8::1]"),
    ],
)
def test_helo(helo: str, argument: bytes) -> None:
    assert helo_argument(helo) == argument


def test_mail_and_rcpt_arguments() -> None:
    assert mail_arguments("a@b.example", size=None, dsn=False, envid="c") == [b"FROM:<a@b.example>"]
    assert mail_arguments("a@b.example", size=7, dsn=True, envid="c=1") == [
        b"FROM:<a@b.example>",
        b"SIZE=7",
        b"RET=HDRS",
        b"ENVID=c+3D1",
    ]
    assert mail_arguments("a@b.example", size=None, dsn=True, envid=None) == [
        b"FROM:<a@b.example>",
        b"RET=HDRS",
    ]
    assert rcpt_arguments("a+t@b.example", dsn=False) == [b"TO:<a+t@b.example>"]
    assert rcpt_arguments("a+t@b.example", dsn=True) == [
        b"TO:<a+t@b.example>",
        b"NOTIFY=FAILURE,DELAY",
        b"ORCPT=rfc822;a+2Bt@b.example",
    ]
