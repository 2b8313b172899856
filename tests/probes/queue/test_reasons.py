"""What is read off a mail server's words: each row of the tables with a text of that server."""

import random
import string

import pytest

from probes.contract.stages import Reason, Stage
from probes.queue import read_reason

MX = "mx1.example[192.0.2.1]"
REFUSED = f"host {MX} said: {{}} (in reply to {{}} command)"

Texts = list[tuple[str, Stage | None, Reason]]

POSTFIX: Texts = [
    (f"connect to {MX}:25: Connection timed out", Stage.EGRESS_CONNECT, Reason.TIMEOUT),
    (
        "connect to mx1.example[2001:db8::1]:25: Network is unreachable",
        Stage.EGRESS_CONNECT,
        Reason.UNREACHABLE,
    ),
    (f"connect to {MX}:25: Connection refused", Stage.EGRESS_CONNECT, Reason.REFUSED),
    (f"connect to {MX}:25: No route to host", Stage.EGRESS_CONNECT, Reason.UNREACHABLE),
    (f"connect to {MX}:25: Connection reset by peer", Stage.EGRESS_CONNECT, Reason.RESET),
    (f"connect to {MX}:25: Cannot assign requested address", Stage.EGRESS_CONNECT, Reason.LOCAL),
    (f"connect to {MX}:25: Operation not permitted", Stage.EGRESS_CONNECT, Reason.LOCAL),
    (
        f"delivery temporarily suspended: connect to {MX}:25: Connection timed out",
        Stage.EGRESS_CONNECT,
        Reason.TIMEOUT,
    ),
    ("connect to mx1.example[private/dovecot-lmtp]: No such file or directory", None, Reason.LOCAL),
    ("connect to 127.0.0.1[127.0.0.1]:10024: Connection refused", None, Reason.REFUSED),
    ("connect to localhost[::1]:10024: Connection refused", None, Reason.REFUSED),
    (
        f"lost connection with {MX} while receiving the initial server greeting",
        Stage.EGRESS_BANNER,
        Reason.CLOSED,
    ),
    (
        f"conversation with {MX} timed out while receiving the initial server greeting",
        Stage.EGRESS_BANNER,
        Reason.SILENT,
    ),
    (
        f"conversation with {MX} timed out while performing the EHLO handshake",
        Stage.EGRESS_EHLO,
        Reason.TIMEOUT,
    ),
    (
        f"lost connection with {MX} while performing the HELO handshake",
        Stage.EGRESS_EHLO,
        Reason.CLOSED,
    ),
    (
        f"lost connection with {MX} while receiving the STARTTLS response",
        Stage.EGRESS_TLS,
        Reason.CLOSED,
    ),
    (f"lost connection with {MX} while sending MAIL FROM", Stage.EGRESS_MAIL, Reason.CLOSED),
    (
        f"conversation with {MX} timed out while sending RCPT TO",
        Stage.EGRESS_RCPT,
        Reason.TIMEOUT,
    ),
    (f"lost connection with {MX} while sending DATA command", Stage.EGRESS_DATA, Reason.CLOSED),
    (
        f"conversation with {MX} timed out while sending message body",
        Stage.EGRESS_DATA,
        Reason.TIMEOUT,
    ),
    (
        (
            f"lost connection with {MX} while sending end of data -- message may be sent more than "
            "once"
        ),
        Stage.EGRESS_ACCEPT,
        Reason.CLOSED,
    ),
    (
        f"host {MX} refused to talk to me: 421 4.7.0 Try again later, closing connection.",
        Stage.EGRESS_BANNER,
        Reason.REPLY_4XX,
    ),
    (
        f"host {MX} refused to talk to me: 554 5.7.1 Blocked",
        Stage.EGRESS_BANNER,
        Reason.REPLY_5XX,
    ),
    (REFUSED.format("502 what?", "EHLO"), Stage.EGRESS_EHLO, Reason.REPLY_5XX),
    (REFUSED.format("454 4.7.0 no TLS", "STARTTLS"), Stage.EGRESS_TLS, Reason.REPLY_4XX),
    (REFUSED.format("451 4.3.0 later", "MAIL FROM"), Stage.EGRESS_MAIL, Reason.REPLY_4XX),
    (
        REFUSED.format("452 4.2.2 <a@b.example>: mailbox full", "RCPT TO"),
        Stage.EGRESS_RCPT,
        Reason.REPLY_4XX,
    ),
    (
        REFUSED.format("450-4.2.1 The user is receiving 450 4.2.1 mail too quickly", "RCPT TO"),
        Stage.EGRESS_RCPT,
        Reason.REPLY_4XX,
    ),
    (REFUSED.format("451 later", "DATA"), Stage.EGRESS_DATA, Reason.REPLY_4XX),
    (
        REFUSED.format("451 4.3.0 Error: queue file write error", "end of DATA"),
        Stage.EGRESS_ACCEPT,
        Reason.REPLY_4XX,
    ),
    (f"host {MX} said: 451 4.3.0 later", None, Reason.REPLY_4XX),
    (
        "host 127.0.0.1[127.0.0.1] said: 451 4.5.0 id=1 (in reply to end of DATA command)",
        None,
        Reason.REPLY_4XX,
    ),
    (
        (
            "Host or domain name not found. Name service error for name=b.example type=MX: Host "
            "not found, try again"
        ),
        Stage.EGRESS_RESOLVE,
        Reason.NO_ADDRESS,
    ),
    (
        "Domain b.example does not accept mail (nullMX)",
        Stage.EGRESS_RESOLVE,
        Reason.NO_ADDRESS,
    ),
    (
        f"TLS is required, but was not offered by host {MX}",
        Stage.EGRESS_TLS,
        Reason.TLS_NOT_OFFERED,
    ),
    (
        f"TLS is required, but host {MX} refused to start TLS: 454 4.7.0 TLS not available",
        Stage.EGRESS_TLS,
        Reason.REPLY_4XX,
    ),
    (
        "TLS is required, but our TLS engine is unavailable",
        Stage.EGRESS_TLS,
        Reason.LOCAL,
    ),
    ("Cannot start TLS: handshake failure", Stage.EGRESS_TLS, Reason.TLS_HANDSHAKE),
    ("Server certificate not trusted", Stage.EGRESS_TLS, Reason.CERTIFICATE),
    ("Server certificate not verified", Stage.EGRESS_TLS, Reason.CERTIFICATE),
    (
        f"SASL authentication failed; server {MX} said: 535 5.7.8 Error: authentication failed",
        Stage.EGRESS_AUTH,
        Reason.CREDENTIALS,
    ),
    (
        f"SASL [CACHED] authentication failed; server {MX} said: 454 4.7.0 later",
        Stage.EGRESS_AUTH,
        Reason.REPLY_4XX,
    ),
    (
        f"SASL authentication failed; cannot authenticate to server {MX}: no mechanism available",
        Stage.EGRESS_AUTH,
        Reason.AUTH_NOT_OFFERED,
    ),
    ("mail transport unavailable", None, Reason.LOCAL),
    (f"local data error while talking to {MX}", None, Reason.LOCAL),
]

EXIM: Texts = [
    (
        (
            "host mx1.example [192.0.2.1]: SMTP error from remote mail server after RCPT "
            "TO:<a@b.example>: 451 4.7.1 later"
        ),
        Stage.EGRESS_RCPT,
        Reason.REPLY_4XX,
    ),
    (
        (
            "SMTP error from remote mail server after pipelined MAIL FROM:<a@b.example> SIZE=1700: "
            "552 too large"
        ),
        Stage.EGRESS_MAIL,
        Reason.REPLY_5XX,
    ),
    (
        "SMTP error from remote mail server after initial connection: 421 go away",
        Stage.EGRESS_BANNER,
        Reason.REPLY_4XX,
    ),
    (
        "SMTP error from remote mail server after end of data: 554 no",
        Stage.EGRESS_ACCEPT,
        Reason.REPLY_5XX,
    ),
    ("SMTP timeout after initial connection", Stage.EGRESS_BANNER, Reason.SILENT),
    (
        (
            "SMTP timeout while connected to mx1.example [192.0.2.1] after end of data (99 bytes "
            "written)"
        ),
        Stage.EGRESS_ACCEPT,
        Reason.TIMEOUT,
    ),
    (
        "Remote host closed connection in response to EHLO relay.example",
        Stage.EGRESS_EHLO,
        Reason.CLOSED,
    ),
    ("defer (110): Connection timed out", Stage.EGRESS_CONNECT, Reason.TIMEOUT),
    ("H=mx1.example [192.0.2.1]: Connection refused", Stage.EGRESS_CONNECT, Reason.REFUSED),
    (
        (
            "H=mx1.example [192.0.2.1]: a TLS session is required, but the server did not offer "
            "TLS support"
        ),
        Stage.EGRESS_TLS,
        Reason.TLS_NOT_OFFERED,
    ),
    ("host lookup did not complete", Stage.EGRESS_RESOLVE, Reason.NO_ADDRESS),
    ("Unrouteable address", Stage.EGRESS_RESOLVE, Reason.NO_ADDRESS),
]

UNKNOWN = ["", "retry timeout exceeded", "frozen", "Hello", "said: 450 Greylisted", "connect to "]


@pytest.mark.parametrize(("text", "stage", "reason"), POSTFIX + EXIM)
def test_a_text_of_a_mail_server(text: str, stage: Stage | None, reason: Reason) -> None:
    assert read_reason(text) == (stage, reason)


@pytest.mark.parametrize("text", UNKNOWN)
def test_what_is_not_known_stays_unknown(text: str) -> None:
    assert read_reason(text) == (None, Reason.OTHER)


@pytest.mark.parametrize(
    "reply",
    [
        # Postgrey
        (
            "450 4.2.0 <a@b.example>: Recipient address rejected: Greylisted, see "
            "http://postgrey.schweikert.ch/help/b.example.html"
        ),
        # milter-greylist
        "451 4.7.1 Greylisting in action, please come back in 00:05:00",
        # policyd
        (
            "450 4.7.1 <a@b.example>: Recipient address rejected: Greylisting in effect, please "
            "come back later"
        ),
        "450 4.7.1 Graylisted for 5 minutes",
        "451 4.7.1 Grey-listed, try again later",
        # greylistd
        "451-192.0.2.9 is not yet authorized to deliver mail from 451 <x@y.example> to <a@b>.",
    ],
)
def test_greylisting_says_so(reply: str) -> None:
    text = REFUSED.format(reply, "RCPT TO")
    assert read_reason(text) == (Stage.EGRESS_RCPT, Reason.GREYLISTED)


@pytest.mark.parametrize(
    "reply",
    [
        # rspamd, of anything; OpenBSD's spamd; Microsoft's throttling: they may mean it.
        "451 4.7.1 Try again later",
        "451 Temporary failure, please try again later.",
        "451 4.7.500 Server busy. Please try again later from [192.0.2.9].",
        "450 4.1.1 <greylisted@b.example>: unknown",
        "450 4.1.1 <a@greylisting.example>: unknown",
        "450 4.7.1 blocked, see https://b.example/greylisting",
    ],
)
def test_what_does_not_say_so_is_no_greylisting(reply: str) -> None:
    text = REFUSED.format(reply, "RCPT TO")
    assert read_reason(text) == (Stage.EGRESS_RCPT, Reason.REPLY_4XX)


def test_a_refusal_for_good_is_no_greylisting() -> None:
    text = REFUSED.format("550 Greylisted for ever", "RCPT TO")
    assert read_reason(text) == (Stage.EGRESS_RCPT, Reason.REPLY_5XX)


def test_the_end_of_a_long_text_is_read() -> None:
    text = REFUSED.format("450 " + "very long " * 10_000, "RCPT TO")
    assert read_reason(text) == (Stage.EGRESS_RCPT, Reason.REPLY_4XX)


def test_any_text_is_read() -> None:
    chance = random.Random(7)  # noqa: S311 - the same texts in every run
    pieces = [
        "host ",
        "[",
        "]:25: ",
        " said: ",
        "450 ",
        "connect to ",
        "(in reply to ",
        "\x00",
        ":",
    ]
    for _ in range(500):
        words = chance.choices([*pieces, *string.printable], k=chance.randrange(2_000))
        stage, reason = read_reason("".join(words))
        assert stage is None or stage.value.startswith("egress-")
        assert isinstance(reason, Reason)
