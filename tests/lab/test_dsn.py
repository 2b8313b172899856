"""The DSNs that relays write are what RFC 3464 says."""

from email import message_from_bytes
from email.message import Message

from lab.dsn import Report, build_dsn

ORIGINAL = b"Message-ID: <orig@x>\r\nSubject: hi\r\n\r\nbody\r\n"


def report(**changes: object) -> Report:
    fields: dict[str, object] = {
        "action": "failed",
        "reporting_mta": "relay.example",
        "queue_id": "ABC1",
        "sender": "canary@monitor.example",
        "recipient": "rcpt@acme.example",
        "status": "5.1.1",
        "text": "host mx.example[192.0.2.1] said: 550 5.1.1 User unknown",
        "remote_mta": "mx.example",
        "diagnostic": "550 5.1.1 User unknown",
        "arrival_ns": 1_700_000_000_000_000_000,
        "at_ns": 1_700_000_060_000_000_000,
        "envid": "a+2Bb",
        "orcpt": "rfc822;orig+2Brcpt@acme.example",
    }
    return Report(**(fields | changes))  # type: ignore[arg-type]  # the fields are built by name


def parts(content: bytes) -> tuple[Message, list[Message]]:
    message = message_from_bytes(content)
    return message, inner(message)


def inner(message: Message) -> list[Message]:
    payload = message.get_payload()
    assert isinstance(payload, list)
    return [part for part in payload if isinstance(part, Message)]


def status(part: Message) -> dict[str, str]:
    return {name: value for group in inner(part) for name, value in group.items()}


def test_a_failure() -> None:
    message, (text, machine, returned) = parts(build_dsn(report(), ORIGINAL))
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["To"] == "canary@monitor.example"
    assert message["Auto-Submitted"] == "auto-replied"
    assert not message.defects
    assert text.get_content_type() == "text/plain"
    assert machine.get_content_type() == "message/delivery-status"
    assert status(machine) == {
        "Reporting-MTA": "dns; relay.example",
        "Original-Envelope-Id": "a+b",
        "Arrival-Date": "Tue, 14 Nov 2023 22:13:20 +0000",
        "Original-Recipient": "rfc822; orig+rcpt@acme.example",
        "Final-Recipient": "rfc822; rcpt@acme.example",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.example",
        "Diagnostic-Code": "smtp; 550 5.1.1 User unknown",
        "Last-Attempt-Date": "Tue, 14 Nov 2023 22:14:20 +0000",
    }
    assert returned.get_content_type() == "message/rfc822"
    (original,) = inner(returned)
    assert original["Message-ID"] == "<orig@x>"
    assert original.get_payload() == "body\r\n"


def test_a_delay_with_headers_only_and_no_reply_from_anybody() -> None:
    delayed = report(
        action="delayed",
        status="4.4.1",
        text="connect to mx.example[192.0.2.1]:25: Connection timed out",
        diagnostic=None,
        envid=None,
        orcpt=None,
        full=False,
        retry_until_ns=1_700_432_000_000_000_000,
    )
    _, (text, machine, returned) = parts(build_dsn(delayed, ORIGINAL))
    fields = status(machine)
    assert fields["Action"] == "delayed"
    assert fields["Status"] == "4.4.1"
    assert fields["Will-Retry-Until"] == "Sun, 19 Nov 2023 22:13:20 +0000"
    assert fields["Original-Recipient"] == "rfc822; rcpt@acme.example"
    assert "Original-Envelope-Id" not in fields
    assert "Remote-MTA" not in fields
    assert "still being tried" in str(text.get_payload())
    assert returned.get_content_type() == "text/rfc822-headers"
    assert returned.get_payload() == "Message-ID: <orig@x>\r\nSubject: hi\r\n"


def test_eight_bit_mail_is_returned_as_it_was() -> None:
    original = b"Subject: \xc3\xa9\r\n\r\n\xff\xfe\r\n"
    content = build_dsn(report(), original)
    assert original in content
    _, (_, _, returned) = parts(content)
    assert returned["Content-Transfer-Encoding"] == "8bit"
