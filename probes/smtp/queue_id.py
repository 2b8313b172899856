"""The queue id that a relay names when it accepts a mail."""

import re

# Possessive, so that the status code itself is never taken for an id.
_LEADING = r"(?:[245]\.\d{1,3}\.\d{1,3}:?\s+)?+"

_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        # Postfix, amavis and others in front of one, SendGrid
        r"\bqueued as ([\w.-]+)",
        # Exim
        r"\bOK id=([\w-]+)",
        # Sendmail, OpenSMTPD
        rf"^{_LEADING}([\w.-]+) Message accepted for delivery",
        # Exchange; the id between angle brackets is our own Message-ID
        r"\[InternalId=(\d+)",
        # Gmail: seconds, id
        rf"^{_LEADING}OK\s+(?:DMARC:\w+\s+)?\d+ ([\w.-]+) - gsmtp",
        # Haraka
        r"\bMessage Queued \(([0-9A-Fa-f-]+\.\d+)\)",
        # Courier
        r"^Ok\. ([0-9A-F]{8,}(?:\.[0-9A-F]{8,})+)",
        # Amazon SES
        r"^Ok ([0-9a-f]{16}-[0-9a-f-]{36}-\d{6})$",
        # qmail
        r"^ok \d+ qp (\d+)",
    )
)


def queue_id(text: str) -> str | None:
    """The queue id in the text of a 250 to the final dot (without its code), or ``None``.

    One that is longer than 128 characters is no queue id.
    """
    for pattern in _PATTERNS:
        if found := pattern.search(text):
            return found[1] if len(found[1]) <= 128 else None
    return None
