"""The header fields that servers add."""

from email import message_from_bytes
from email.policy import default

import pytest

from lab.received import (
    Client,
    QueueIds,
    TlsUsed,
    authentication_results_field,
    header_value,
    received_field,
    sender_domain,
)

AT_NS = 1_700_000_000_999_999_999
TLS = TlsUsed("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)


def test_received_is_laid_out_as_postfix_does() -> None:
    field = received_field(
        Client("sfo.example", "203.0.113.7", tls=TLS),
        by="relay.example",
        queue_id="ABC123",
        recipient="rcpt@acme.example",
        at_ns=AT_NS,
    )
    assert field == (
        b"Received: from sfo.example (unknown [203.0.113.7])\r\n"
        b"\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n"
        b"\tby relay.example (mailcanary lab) with ESMTPS id ABC123\r\n"
        b"\tfor <rcpt@acme.example>; Tue, 14 Nov 2023 22:13:20 +0000\r\n"
    )


@pytest.mark.parametrize(
    ("client", "protocol"),
    [
        (Client("x", "::1", extended=False), "SMTP"),
        (Client("x", "::1"), "ESMTP"),
        (Client("x", "::1", tls=TLS), "ESMTPS"),
        (Client("x", "::1", authenticated=True), "ESMTPA"),
        (Client("x", "::1", tls=TLS, authenticated=True), "ESMTPSA"),
    ],
)
def test_the_protocol_is_named_after_rfc_3848(client: Client, protocol: str) -> None:
    field = received_field(client, by="b", queue_id="1", recipient=None, at_ns=0)
    assert f" with {protocol} id 1".encode() in field
    assert b"(unknown [IPv6:::1])" in field


def test_the_fields_parse_as_header_fields() -> None:
    field = authentication_results_field(
        "mx.acme.example",
        spf="pass",
        dkim="fail",
        dmarc=None,
        mail_from="a@b.example",
        header_domain="b.example",
    )
    parsed = message_from_bytes(field + b"\r\n", policy=default)
    assert parsed["Authentication-Results"] == (
        "mx.acme.example;\tspf=pass smtp.mailfrom=a@b.example;\tdkim=fail header.d=b.example"
    )


def test_no_method_is_said_as_none() -> None:
    field = authentication_results_field(
        "mx", spf=None, dkim=None, dmarc=None, mail_from="", header_domain="x"
    )
    assert field == b"Authentication-Results: mx;\r\n\tnone\r\n"


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"A: 1\r\nMessage-Id:  <x@y> \r\nB: 2\r\n\r\nbody", "<x@y>"),
        (b"MESSAGE-ID:\r\n <x@y>\r\n\r\nbody", " <x@y>"),
        (b"Message-ID: <only@header>", "<only@header>"),
        (b"Message-ID: <only@header>\r\n", "<only@header>"),
        (b"Subject: x\r\n\r\nMessage-ID: <in@body>\r\n", None),
        (b"X-Message-ID: <no@x>\r\n\r\n", None),
        (b"", None),
    ],
)
def test_header_value(content: bytes, value: str | None) -> None:
    assert header_value(content, "Message-ID") == value


def test_the_senders_domain() -> None:
    assert sender_domain(b"From: A <a@One.Example>\r\n\r\n", "b@two.example") == "one.example"
    assert sender_domain(b"Subject: x\r\n\r\n", "b@two.example") == "two.example"
    assert sender_domain(b"Subject: x\r\n\r\n", "") == "localhost"


def test_queue_ids_differ_at_the_same_instant() -> None:
    ids = QueueIds()
    assert len({ids.next(AT_NS) for _ in range(1000)}) == 1000
