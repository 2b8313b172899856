"""Delivery status notifications as a relay of the simulated world writes them."""


def dsn(canary: str, action: str, original: bytes, envid: str | None, sender: str) -> bytes:
    """A notification (RFC 3464) about a canary, with its header (``original``) or its ENVID."""
    status = "5.1.1" if action == "failed" else "4.4.1"
    lines = [
        "Return-Path: <>",
        "From: MAILER-DAEMON@relay.example",
        f"To: <{sender}>",
        "Subject: Delivery Status Notification",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type=delivery-status; boundary="=_b"',
        "",
        "--=_b",
        "Content-Type: text/plain",
        "",
        f"About your mail {canary}.",
        "--=_b",
        "Content-Type: message/delivery-status",
        "",
        "Reporting-MTA: dns; relay.example",
        *([f"Original-Envelope-Id: {envid}"] if envid is not None else []),
        "",
        "Final-Recipient: rfc822; canary@customer.example",
        f"Action: {action}",
        f"Status: {status}",
        "Diagnostic-Code: smtp; 550 5.1.1 user unknown",
        "",
        "--=_b",
        "Content-Type: text/rfc822-headers",
        "",
    ]
    head = "\r\n".join(lines).encode()
    return head + b"\r\n" + original + b"\r\n\r\n--=_b--\r\n"
