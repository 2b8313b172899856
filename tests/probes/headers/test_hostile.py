"""Anything may be mailed to a mailbox: no parser raises, none takes long, all results are fit.

What takes too long is stopped by the time limit of the test, which linear work does not come near.
"""

import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.contract.events import Hop
from probes.headers.authres import authentication_results, parse_authentication_results
from probes.headers.block import parse_header_block
from probes.headers.carrier import carrier
from probes.headers.dates import parse_date
from probes.headers.dsn import parse_dsn
from probes.headers.received import parse_received

SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.eml"))
SIZE = 100_000

WORDS = st.sampled_from(
    [
        *("from", "by", "via", "with", "id", "for", "tls", "helo=", "HELO", "ESMTPS", "(TLS1.3)"),
        *("(", ")", "[", "]", "[192.0.2.1]", "IPv6:::1", ";", "=", "/", ".", '"', "\\", "@", "<"),
        *("mx.example", "spf", "dkim=pass", "dmarc", "none", "1"),
        *("Mon,", "5", "Jan", "2026", "10:00:00", "+0000", "EST"),
        *(" ", "\t", "\r\n ", "\x00", "\ud800", "\u2028", "9" * 30),
    ]
)
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=300),
    st.lists(WORDS, max_size=60).map(" ".join),
    st.lists(WORDS, max_size=60).map("".join),
)
LINES = st.sampled_from(
    [
        b"Content-Type: multipart/report; boundary=b",
        b"Content-Type: message/delivery-status",
        b"Content-Type: message/rfc822",
        b"Content-Type: text/rfc822-headers",
        b"Content-Type: ;;=\"; boundary*0*=utf-8''%",
        b"Content-Transfer-Encoding: base64",
        b"Content-Transfer-Encoding: quoted-printable",
        b"X-Failed-Recipients: a@x.example, <b@x.example>",
        b"Hi. This is the qmail-send program at r.example.",
        b"<a@x.example>:",
        b"- below",
        b"------ This is a copy of the message. ------",
        b"--b",
        b"--b--",
        b"Reporting-MTA: dns; r",
        b"Action: failed",
        b"Status: 5.1.1",
        b"Diagnostic-Code: smtp;\xff\x00\x1b",
        b"Original-Envelope-Id: +00+FF",
        b"Message-ID: \xed\xa0\x80",
        b" folded",
        b"",
        b"",
        b"\x80\r",
    ]
)
BYTES = st.one_of(st.binary(max_size=500), st.lists(LINES, max_size=40).map(b"\n".join))

BOMBS = {
    "open": "(" * SIZE,
    "close": ")" * SIZE,
    "brackets": "[" * SIZE,
    "quotes": '"' * SIZE,
    "backslashes": "(" + "\\" * SIZE,
    "spaces": " " * SIZE,
    "letters": "a" * SIZE,
    "digits": "1" * SIZE,
    "dots": "." * SIZE,
    "equals": "a=" * (SIZE // 2),
    "semicolons": "; " * (SIZE // 2),
    "comments": "(a) " * (SIZE // 4),
    "from": "from " * (SIZE // 5),
    "addresses": "from x (" + "[1.2.3.4" * (SIZE // 8),
    "helo": "from x (" + "helo=" * (SIZE // 5),
    "results": "mx" + "; spf=pass" * (SIZE // 10),
    "glued": "mx; " + "./ " * (SIZE // 3) + "=pass",
    "dates": "; Mon, 5 Jan 2026 10:00:00" * (SIZE // 26),
    "statuses": "5.1." * (SIZE // 4),
}
SHAPES: dict[str, Callable[[bytes], bytes]] = {
    "header": lambda bomb: bomb,
    "folded": lambda bomb: b"A: 1\n" + b"\n ".join([bomb[:10]] * (SIZE // 10)),
    "type": lambda bomb: b"Content-Type: " + bomb + b"\n\n",
    "parameter": lambda bomb: b"Content-Type: multipart/report; boundary=" + bomb + b"\n\n--a",
    "body": lambda bomb: b"X-Failed-Recipients: a\n\n" + bomb,
    "qmail": lambda bomb: b"\n\nHi. This is the " + bomb + b"\n\n<a>:\n" + bomb + b"\n\n-\n\n",
    "status": lambda bomb: b"Content-Type: message/delivery-status\n\nA: 1\n\nStatus: " + bomb,
    "boundaries": lambda bomb: (
        b"Content-Type: multipart/report; boundary=b\n\n" + b"--b\n" * (SIZE // 4) + bomb
    ),
    "nested": lambda bomb: (
        b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level)
            for level in range(2_000)
        )
        + b"\n".join([bomb[:2]] * SIZE)
    ),
    "messages": lambda bomb: b"Content-Type: message/rfc822\n\n" * 5_000 + bomb,
}


def check_fields(fields: list[str]) -> None:
    """Every field parser on ``fields``: results can be encoded and shown."""
    hops = parse_received(fields)
    assert len(hops) <= len(fields)
    msgspec.json.encode(hops)
    for hop in hops:
        check_hop(hop)
    msgspec.json.encode(carrier(hops, relay=["r.example", "192.0.2.1"], egress=["192.0.2.1"]))
    msgspec.json.encode(authentication_results(fields, "mx.example"))
    for field in fields:
        parse_authentication_results(field)
        parse_date(field)


def check_hop(hop: Hop) -> None:
    for text in (hop.by, hop.helo, hop.address, hop.protocol, hop.tls):
        assert text is None or (text.isprintable() and 0 < len(text) <= 255)
    assert hop.at_ns is None or 0 <= hop.at_ns < 2**63


def check_message(message: bytes) -> None:
    for report in parse_dsn(message):
        plain = asdict(report)
        original = plain.pop("original")
        assert original is None or isinstance(original, bytes)
        msgspec.json.encode(plain)
        assert all(text is None or text.isprintable() for text in plain.values())
    fields = [value for _, value in parse_header_block(message)]
    check_fields(fields[:20])


@settings(deadline=None)
@given(st.lists(TEXT, max_size=4))
def test_any_fields(fields: list[str]) -> None:
    check_fields(fields)


@settings(deadline=None)
@given(BYTES)
def test_any_message(message: bytes) -> None:
    check_message(message)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_genuine_messages_cut_and_damaged(path: Path) -> None:
    message = path.read_bytes()
    dice = random.Random(path.stem)  # noqa: S311 - the same damage on every run, not a secret
    for _ in range(60):
        damaged = bytearray(message[: dice.randrange(len(message))])
        for _ in range(dice.randrange(20)):
            if damaged:
                damaged[dice.randrange(len(damaged))] = dice.choice(b'\x00\n\r ():;"\\=<>\xff-')
        check_message(bytes(damaged))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", BOMBS)
def test_long_fields_cost_little(name: str) -> None:
    check_fields([BOMBS[name], f"from a (b [192.0.2.1]) {BOMBS[name]} by c; {BOMBS[name]}"])


@pytest.mark.timeout(20)
@pytest.mark.parametrize("shape", SHAPES)
def test_long_messages_cost_little(shape: str) -> None:
    for bomb in BOMBS.values():
        check_message(SHAPES[shape](bomb.encode()))
