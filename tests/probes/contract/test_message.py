"""The canary as a mail: well-formed by RFC 5322, and plain to a human who stumbles on it."""

import email
import re
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path as FilePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.contract.message import (
    Addresses,
    build_message,
    canary_of_envid,
    envid,
    message_id,
)
from probes.contract.names import Path
from probes.contract.secret import Secret
from probes.contract.token import HEADER, Judgement, Key, KeyRing, Token, judge, parse_token

CANARY = "5f2b7c1d9e8a40b3a6d4c2f10b9e7d35"
KEY = Key("sfo-1", Secret("correct horse battery staple"))
TOKEN = Token(
    CANARY,
    Path("sfo", "relay-a1", "acme/inbox"),
    "k3v9x0q2",
    1042,
    20931,
    1_760_000_000_003_400_000,
)
ADDRESSES = Addresses("canary-sfo@monitor.example", "canary@acme.example")
LONG = "x" * 63
LONGEST_TOKEN = Token("f" * 32, Path(LONG, LONG, f"{LONG}/{LONG}"), "z" * 32, *[2**63 - 1] * 3)
LONGEST_ADDRESS = f"{'l' * 64}@{'.'.join(['d' * 61] * 4)}.test"

ATOMS = st.from_regex(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}", fullmatch=True)
MAIL_ADDRESSES = st.builds(
    lambda local, domain: f"{'.'.join(local)}@{'.'.join(domain)}",
    st.lists(ATOMS, min_size=1, max_size=3),
    st.lists(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True), min_size=1),
)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", fullmatch=True)
TOKENS = st.builds(
    lambda canary, names, sent_ns: Token(
        f"{canary:032x}", Path(names[0], names[1], f"{names[2]}/{names[3]}"), "e1", 1, 2, sent_ns
    ),
    st.integers(0, 2**128 - 1),
    st.lists(NAMES, min_size=4, max_size=4),
    st.integers(0, 2**63 - 1),
)


def parse(data: bytes) -> EmailMessage:
    """``data`` as Python's parser has it, which must find nothing to complain of."""
    message = email.message_from_bytes(data, policy=policy.SMTP)
    assert isinstance(message, EmailMessage)
    assert message.defects == []
    for name, value in message.items():
        assert value.defects == (), (name, value.defects)
    return message


def assert_well_formed(data: bytes) -> None:
    """The rules of RFC 5322 sections 2.1, 2.1.1 and 2.3 and RFC 5321 section 4.5.3.1.6."""
    assert data.isascii()
    assert data.endswith(b"\r\n")
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\x00", data)
    assert all(len(line) <= 998 for line in data.split(b"\r\n"))
    head = data.partition(b"\r\n\r\n")[0]
    assert all(line.strip() and line == line.rstrip() for line in head.split(b"\r\n"))


def unfolded(data: bytes, name: str = HEADER) -> str:
    value = parse(data)[name]
    assert isinstance(value, str)
    return value


def test_the_header() -> None:
    message = parse(build_message(TOKEN, KEY, ADDRESSES))
    assert message.keys() == [
        "Date",
        "From",
        "To",
        "Subject",
        "Message-ID",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "Mailcanary",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
    ]
    assert message["Date"] == "Thu, 09 Oct 2025 08:53:20 +0000"
    assert message["From"] == "mailcanary <canary-sfo@monitor.example>"
    assert message["To"] == "canary@acme.example"
    assert message["Message-ID"] == f"<{CANARY}@monitor.example>"
    assert message["Auto-Submitted"] == "auto-generated"  # RFC 3834 section 5
    assert message["X-Auto-Response-Suppress"] == "All"
    assert message["Subject"] == "mailcanary test mail 5f2b7c1d (may be deleted)"
    assert message.get_content_type() == "text/plain"
    assert message.get_content_charset() == "us-ascii"


def test_the_documented_example_is_what_is_sent() -> None:
    page = (FilePath(__file__).parents[3] / "docs" / "canary.md").read_text(encoding="utf-8")
    example = re.search(r"^```text\n(Date: .*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    assert example
    assert example[1].replace("\n", "\r\n").encode() == build_message(TOKEN, KEY, ADDRESSES)
    fields = re.findall(r"^\| `([a-z]+)` \|", page, flags=re.MULTILINE)
    assert fields == re.findall(
        r"(\w+)=[^;]*(?:;|$)", unfolded(build_message(TOKEN, KEY, ADDRESSES))
    )
    judgements = re.findall(r"^\| \*\*(\w+)\*\* \|", page, flags=re.MULTILINE)
    assert judgements == list(Judgement)


def test_a_human_can_read_what_it_is() -> None:
    body = parse(build_message(TOKEN, KEY, ADDRESSES)).get_content().replace("\r\n", "\n")
    for words in (
        "This is a canary: a test mail",
        "it may be deleted",
        "write to canary-sfo@monitor.example",
        "sent by agent    sfo\n",
        "through relay    relay-a1\n",
        "to mailbox       acme/inbox\n",
        "at (UTC)         2025-10-09 08:53:20.003\n",
        f"canary id        {CANARY}\n",
    ):
        assert words in body


def test_lines_are_at_most_78_characters() -> None:
    """RFC 5322 section 2.1.1: should be, and are with names and addresses of usual length."""
    usual = "long-but-usual-name.example"
    token = Token(
        CANARY, Path(usual, usual, f"{usual}/{usual}"), "k3v9x0q2", 10**9, 10**9, 2 * 10**18
    )
    for one in (TOKEN, token):
        data = build_message(one, KEY, ADDRESSES)
        assert max(len(line) for line in data.split(b"\r\n")) <= 78


def test_names_of_any_length_stay_within_998_characters() -> None:
    key = Key("k" * 64, KEY.secret)
    data = build_message(LONGEST_TOKEN, key, Addresses(LONGEST_ADDRESS, LONGEST_ADDRESS))
    assert_well_formed(data)
    assert parse_token(unfolded(data))[0] == LONGEST_TOKEN
    # A word of the token cannot be folded: the mailbox's, of two names, is the longest there is.
    field = data[data.index(b"Mailcanary:") : data.index(b"MIME-Version:")]
    assert max(len(line) for line in field.split(b"\r\n")) == len(f" m={LONG}/{LONG};")


@given(TOKENS, MAIL_ADDRESSES, MAIL_ADDRESSES)
def test_every_canary_is_well_formed_and_carries_its_token(
    token: Token, sender: str, recipient: str
) -> None:
    data = build_message(token, KEY, Addresses(sender, recipient))
    assert_well_formed(data)
    message = parse(data)
    assert message["From"].addresses[0].addr_spec == sender
    assert message["To"].addresses[0].addr_spec == recipient
    assert message["Message-ID"] == f"<{token.canary}@{sender.rpartition('@')[2]}>"
    judgement, told = judge(
        unfolded(data),
        KeyRing(KEY),
        agent=token.path.agent,
        mailbox=token.path.mailbox,
        now_ns=token.sent_ns,
        remember_s=60.0,
    )
    assert (judgement, told) == (Judgement.GENUINE, token)


@given(st.integers(0, 2**63 - 1))
def test_the_date_is_the_send_time_to_the_second(sent_ns: int) -> None:
    token = Token(CANARY, TOKEN.path, "e1", 1, 1, sent_ns)
    date = parsedate_to_datetime(unfolded(build_message(token, KEY, ADDRESSES), "Date"))
    assert date == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=sent_ns // 10**9)


def test_the_field_is_read_as_folded_too() -> None:
    """What IMAP's BODY[HEADER.FIELDS (Mailcanary)] gives: folds and all."""
    data = build_message(TOKEN, KEY, ADDRESSES)
    raw = re.search(rb"^Mailcanary:((?:.*\r\n)(?:[ \t].*\r\n)*)", data, flags=re.MULTILINE)
    assert raw
    assert b"\r\n " in raw[1]
    assert parse_token(raw[1].decode())[0] == TOKEN


def test_building_is_deterministic() -> None:
    assert build_message(TOKEN, KEY, ADDRESSES) == build_message(TOKEN, KEY, ADDRESSES)


def test_no_secret_in_the_message() -> None:
    assert KEY.secret.reveal().encode() not in build_message(TOKEN, KEY, ADDRESSES)


def test_an_address_in_unicode_is_refused() -> None:
    """It would need SMTPUTF8 (RFC 6531) all along the path, which is another measurement."""
    with pytest.raises(ValueError, match="ascii"):
        build_message(TOKEN, KEY, Addresses("canary@monitor.example", "kanarie@bücher.example"))


def test_message_id() -> None:
    assert message_id(CANARY, ADDRESSES.domain) == f"<{CANARY}@monitor.example>"


@given(st.integers(0, 2**128 - 1))
def test_envid_round_trip(number: int) -> None:
    canary = f"{number:032x}"
    text = envid(canary)
    assert canary_of_envid(text) == canary
    # RFC 3461 section 4.4: at most 100 characters, and here none that xtext would have to encode.
    assert re.fullmatch(r"[!-*,-<>-~]{1,100}", text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mailcanary-",
        CANARY,
        f"mailcanary-{CANARY[:-1]}",
        f"mailcanary-{CANARY}0",
        f"mailcanary-{CANARY.upper()}",
        f"MAILCANARY-{CANARY}",
        f" mailcanary-{CANARY}",
        f"mailcanary-{CANARY}\n",
        f"mailcanary-{CANARY[:16]}x{CANARY[17:]}",
        f"mailcanary-mailcanary-{CANARY}",
        f"other-{CANARY}",
        f"mailcanary-{'٣' * 32}",
    ],
)
def test_envids_that_are_not_ours(text: str) -> None:
    assert canary_of_envid(text) is None
