"""The corners of bounces; whole ones are in ``test_samples.py``."""

import pytest

from probes.headers.dsn import MAX_DIAGNOSTIC, MAX_MESSAGE, MAX_REPORTS, DsnReport, parse_dsn

ORIGINAL = (
    "Content-Type: text/rfc822-headers\n\nMessage-ID: <c1@monitor.example>\nX-Mailcanary: v=1\n"
)


def dsn(status: str, *more: str, status_type: str = "message/delivery-status") -> bytes:
    parts = ["\nSorry.\n", f"Content-Type: {status_type}\n\n{status}", *more]
    body = "".join(f"--b\n{part}\n" for part in parts)
    return (
        "From: MAILER-DAEMON\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n"
        f"\n{body}--b--\n"
    ).encode()


def test_every_field() -> None:
    (report,) = parse_dsn(
        dsn(
            "Reporting-MTA: dns; relay.example\nOriginal-Envelope-Id: a+2Bb+3D1\n\n"
            "Final-Recipient: rfc822; f@x.example\nOriginal-Recipient: rfc822;o@x.example\n"
            "Action: failed (really)\nStatus: 5.7.1 (policy)\n"
            "Remote-MTA: dns; [192.0.2.9] (its name)\n"
            "Diagnostic-Code: SMTP; 550 5.7.1 not\n  you; not today\n",
            ORIGINAL,
        )
    )

    assert report == DsnReport(
        action="failed",
        status="5.7.1",
        diagnostic_type="smtp",
        diagnostic="550 5.7.1 not you; not today",
        remote_mta="192.0.2.9",
        reporting_mta="relay.example",
        final_recipient="f@x.example",
        original_recipient="o@x.example",
        envelope_id="a+b=1",
        original=b"Message-ID: <c1@monitor.example>\nX-Mailcanary: v=1",
        original_message_id="<c1@monitor.example>",
    )


@pytest.mark.parametrize("action", ["failed", "delayed", "delivered", "relayed", "expanded"])
def test_actions(action: str) -> None:
    (report,) = parse_dsn(dsn(f"Reporting-MTA: dns; r\n\nAction: {action.title()}\n"))

    assert report.action == action


@pytest.mark.parametrize(
    ("fields", "action"),
    [
        ("Status: 5.1.1", "failed"),
        ("Status: 4.4.1", "delayed"),
        ("Status: 2.0.0", "delivered"),
        ("Action: failure\nStatus: 5.0.0", "failed"),
    ],
)
def test_an_action_left_out_is_told_by_the_class_of_the_status(fields: str, action: str) -> None:
    (report,) = parse_dsn(dsn(f"Reporting-MTA: dns; r\n\n{fields}\n"))

    assert report.action == action


def test_a_recipient_without_action_and_status_is_no_report() -> None:
    status = "Reporting-MTA: dns; r\n\nFinal-Recipient: rfc822;a@x.example\n\nAction: delayed\n"

    assert [report.action for report in parse_dsn(dsn(status))] == ["delayed"]


def test_recipient_fields_in_the_group_of_the_message() -> None:
    (report,) = parse_dsn(dsn("\n\nReporting-MTA: dns; r\nAction: failed\nStatus: 5.1.1\n"))

    assert (report.reporting_mta, report.status) == ("r", "5.1.1")


def test_several_recipients_share_the_original() -> None:
    status = "Reporting-MTA: dns; r\n\n" + "Action: failed\n \n\n" * 3

    reports = parse_dsn(dsn(status, ORIGINAL))

    assert [report.original_message_id for report in reports] == ["<c1@monitor.example>"] * 3


def test_internationalised_and_encoded_parts() -> None:
    status = (
        "Reporting-MTA: dns; r\n\nAction: failed\n"
        "Final-Recipient: utf-8; grün@x.example\nDiagnostic-Code: smtp; 550 grün\n"
    )
    headers = (
        "Content-Type: message/global-headers\nContent-Transfer-Encoding: base64\n\n"
        "TWVzc2FnZS1JRDogPGMxQG1vbml0b3IuZXhhbXBsZT4KCg==\n"
    )

    (report,) = parse_dsn(dsn(status, headers, status_type="message/global-delivery-status"))

    assert (report.final_recipient, report.diagnostic) == ("grün@x.example", "550 grün")
    assert report.original_message_id == "<c1@monitor.example>"


@pytest.mark.parametrize(
    ("text", "kind", "diagnostic"),
    [
        ("smtp;550 no", "smtp", "550 no"),
        ("550 no; go away", None, "550 no; go away"),
        ("smtp;", "smtp", None),
        ("smtp; \x1b[2J\x00", "smtp", "?[2J?"),
        ("smtp; " + "x" * 5000, "smtp", "x" * MAX_DIAGNOSTIC),
    ],
)
def test_diagnostic_codes(text: str, kind: str | None, diagnostic: str | None) -> None:
    (report,) = parse_dsn(
        dsn(f"Reporting-MTA: dns; r\n\nAction: failed\nDiagnostic-Code: {text}\n")
    )

    assert (report.diagnostic_type, report.diagnostic) == (kind, diagnostic)


@pytest.mark.parametrize("status", ["5.1", "10.5.1.1", "5.1.1.1", "3.0.0", "5.1.1234", "x"])
def test_what_is_no_enhanced_status_code(status: str) -> None:
    (report,) = parse_dsn(dsn(f"Reporting-MTA: dns; r\n\nAction: failed\nStatus: {status}\n"))

    assert report.status is None


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\n\n",
        b"Subject: failure notice\n\nHi, this is not qmail.\n",
        b"\n\nHi. This is the holiday program.\n\n<a@x.example>:\nI am away.\n",
        b"\n\n> Hi. This is the qmail-send program.\n\n<a@x.example>:\n\n--- Below\n",
        b"X-Failed-Recipients: ,\n\ntext\n",
        dsn(""),
        dsn("garbage\n\n: : :\n"),
    ],
)
def test_what_is_no_bounce(message: bytes) -> None:
    assert parse_dsn(message) == []


def test_a_bounce_that_somebody_forwards_is_not_taken_for_one() -> None:
    forwarded = b"Content-Type: message/rfc822\n\n" + dsn(
        "Reporting-MTA: dns; r\n\nAction: failed\n"
    )

    assert parse_dsn(forwarded) == []


def test_exim_without_the_text_still_names_the_recipient() -> None:
    (report,) = parse_dsn(b"X-Failed-Recipients: a@x.example, a@x.example\nFrom: x\n\nSorry.\n")

    assert report == DsnReport(action="failed", final_recipient="a@x.example")


def test_bounds() -> None:
    many = dsn("Reporting-MTA: dns; r\n\n" + "Action: failed\n\n" * (MAX_REPORTS * 2))
    late = b"A: " + b"x" * MAX_MESSAGE + b"\n" + many

    assert len(parse_dsn(many)) == MAX_REPORTS
    assert parse_dsn(late) == []
