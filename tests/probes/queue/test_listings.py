"""Listings that Postfix 3.7 and Exim 4.96 have printed, line by line and cut anywhere."""

import json

import pytest

from probes.queue import exim, postfix
from probes.queue.lines import Line, Lines
from probes.queue.model import Mail, Recipient

POSTFIX = (
    '{"queue_name": "deferred", "queue_id": "7C301EA0AE", "arrival_time": 1795534800, '
    '"message_size": 390, "forced_expire": false, "sender": "canary-test@monitor.example", '
    '"recipients": [{"address": "canary@acme.example", "delay_reason": "connect to '
    '198.18.100.5[198.18.100.5]:25: Connection timed out"}]}\n'
    '{"queue_name": "active", "queue_id": "7C301EA0AF", "arrival_time": 1795534801, '
    '"message_size": 12, "forced_expire": false, "sender": "", '
    '"recipients": [{"address": "a@b.example"}, {"address": "c@d.example"}]}\n'
)
TIMED_OUT = "connect to 198.18.100.5[198.18.100.5]:25: Connection timed out"
MAILS = [
    Mail(
        "deferred",
        "7C301EA0AE",
        1795534800,
        390,
        "canary-test@monitor.example",
        [Recipient("canary@acme.example", TIMED_OUT)],
    ),
    Mail(
        "active",
        "7C301EA0AF",
        1795534801,
        12,
        "",
        [Recipient("a@b.example"), Recipient("c@d.example")],
    ),
]

EXIM = """\
 0m   291 1xVsQw-0006bR-0e <canary@monitor.example> *** frozen ***
          a@b.example
          c@d.example

91m   237 1xVsQw-0006bT-0k <>
        D a@b.example
          e@b.example

 2h  1.5K 1xVsQw-0006bV-0r <"odd <x> name"@monitor.example> (user)
          "od d"@b.example

      1xVsQw-0006ba-0y
    *** spool format error: size=5 ***

 3d  149K 1xVsQw-000000006ba-0y00 <canary@monitor.example>
          a@b.example

"""


class Heard:
    """What a listing gave."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.skipped = 0

    def skip(self) -> None:
        self.skipped += 1


def lines_of(data: bytes, step: int, limit: int = 1_000_000) -> list[Line]:
    lines = Lines(limit)
    found = [line for at in range(0, len(data), step) for line in lines.feed(data[at : at + step])]
    return found + list(lines.end())


def read_postfix(data: bytes, step: int = 4_096, limit: int = 1_000_000) -> Heard:
    heard = Heard()
    listing = postfix.PostfixListing(heard.mails.append, heard.skip)
    for line in lines_of(data, step, limit):
        listing.line(line)
    listing.end()
    return heard


def read_exim(data: bytes, step: int = 4_096, limit: int = 1_000_000) -> Heard:
    heard = Heard()
    listing = exim.EximListing(heard.mails.append, heard.skip, 1_000_000.0)
    for line in lines_of(data, step, limit):
        listing.line(line)
    listing.end()
    return heard


@pytest.mark.parametrize("step", [1, 7, 100, 4_096])
def test_lines_do_not_depend_on_chunks(step: int) -> None:
    data = b"one\n\ntwo" + b"x" * 300 + b"\nthree"
    assert lines_of(data, step, limit=50) == [
        Line(b"one", whole=True),
        Line(b"", whole=True),
        Line((b"two" + b"x" * 300)[:50], whole=False),
        Line(b"three", whole=True),
    ]


@pytest.mark.parametrize("step", [1, 13, 4_096])
def test_a_listing_of_postfix(step: int) -> None:
    heard = read_postfix(POSTFIX.encode(), step)
    assert (heard.mails, heard.skipped) == (MAILS, 0)


@pytest.mark.parametrize(
    "line",
    [
        b"Mail queue is empty",
        b"{}",
        b'{"queue_name": "active"',
        b"\xff\xfe\x00",
        b"[" * 10_000,
        b'{"recipients": ' + b"[" * 100_000,
        POSTFIX.splitlines()[0].replace("1795534800", "-1").encode(),
        POSTFIX.splitlines()[0].replace("1795534800", "9" * 40).encode(),
        POSTFIX.splitlines()[0].replace("390", '"390"').encode(),
    ],
)
def test_a_line_that_cannot_be_read_costs_itself_alone(line: bytes) -> None:
    heard = read_postfix(line + b"\n\n" + POSTFIX.encode())
    assert (heard.mails, heard.skipped) == (MAILS, 1)


def test_an_address_in_another_encoding_is_read() -> None:
    heard = read_postfix(POSTFIX.encode().replace(b"a@b.example", b"\xe4@b.example"))
    assert heard.skipped == 0
    assert heard.mails[1].recipients[0].address == "\N{REPLACEMENT CHARACTER}@b.example"


def test_of_a_mail_to_very_many_the_first_recipients_are_read() -> None:
    recipients = [
        {"address": f"a{n}@b.example", "delay_reason": '}, {\\"address": "'} for n in range(9_000)
    ]
    mail = json.loads(POSTFIX.splitlines()[0]) | {"recipients": recipients}
    heard = read_postfix(f"{json.dumps(mail)}\n{POSTFIX}".encode(), limit=10_000)
    first, *rest = heard.mails
    assert (rest, heard.skipped) == (MAILS, 1)
    assert first.queue_id == "7C301EA0AE"
    assert 100 < len(first.recipients) < 300
    assert [each.address for each in first.recipients] == [
        f"a{n}@b.example" for n in range(len(first.recipients))
    ]


@pytest.mark.parametrize("step", [1, 13, 4_096])
def test_a_listing_of_exim(step: int) -> None:
    heard = read_exim(EXIM.encode(), step)
    canary, frozen = "canary@monitor.example", Recipient("a@b.example", "frozen")
    assert heard.mails == [
        Mail(
            "frozen", "1xVsQw-0006bR-0e", 1_000_000, 291, canary,
            [frozen, Recipient("c@d.example", "frozen")],
        ),
        Mail("queue", "1xVsQw-0006bT-0k", 994_540, 237, "", [Recipient("e@b.example")]),
        Mail(
            "queue", "1xVsQw-0006bV-0r", 992_800, 1536, '"odd <x> name"@monitor.example',
            [Recipient('"od d"@b.example')],
        ),
        Mail(
            "queue", "1xVsQw-000000006ba-0y00", 740_800, 152_576, canary,
            [Recipient("a@b.example")],
        ),
    ]  # fmt: skip
    assert heard.skipped == 1


def test_of_a_mail_of_exim_to_very_many_the_first_recipients_are_read() -> None:
    head = EXIM.splitlines()[0]
    many = "".join(f"          a{n}@b.example\n" for n in range(5_000))
    heard = read_exim(f"{head}\n{many}\n{EXIM}".encode())
    assert len(heard.mails[0].recipients) == exim.MAX_RECIPIENTS
    assert (len(heard.mails), heard.skipped) == (5, 2)


@pytest.mark.parametrize("text", ["junk\n\n", "          a@b.example\n\n", "\x00\n\n"])
def test_what_is_no_listing_of_exim_is_skipped(text: str) -> None:
    heard = read_exim((text + EXIM).encode())
    assert (len(heard.mails), heard.skipped) == (4, 2)
