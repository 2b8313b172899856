"""The canary as a mail: an RFC 5322 message that a human who stumbles on it understands."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

from probes.contract.token import HEADER, Key, Token, write_token

ENVID_PREFIX = "mailcanary-"
_LINE = 76


@dataclass(frozen=True, slots=True)
class Addresses:
    """Who the canary is from and to; ``domain`` is the right side of its Message-ID."""

    sender: str
    recipient: str

    @property
    def domain(self) -> str:
        """The sender's domain: the Message-ID must be unique there (RFC 5322 section 3.6.4)."""
        return self.sender.rpartition("@")[2]


def envid(canary: str) -> str:
    """The envelope id (RFC 3461 section 4.4) by which a bounce is matched to its canary."""
    return ENVID_PREFIX + canary


def canary_of_envid(text: str) -> str | None:
    """The canary id in an original envelope id, or ``None`` when it is not one of ours."""
    rest = text.removeprefix(ENVID_PREFIX)
    if rest == text or len(rest) != 32 or rest.strip("0123456789abcdef"):
        return None
    return rest


def message_id(canary: str, domain: str) -> str:
    """The canary's Message-ID, angle brackets included."""
    return f"<{canary}@{domain}>"


def _fold(name: str, value: str) -> str:
    """The field, folded at its spaces (RFC 5322 section 2.2.3)."""
    lines = [f"{name}:"]
    for word in value.split(" "):
        if len(lines[-1]) + 1 + len(word) > _LINE:
            lines.append("")
        lines[-1] += " " + word
    return "\r\n".join(lines)


_BODY = """\
This is a canary: a test mail that an automatic monitor (mailcanary) sent
to itself, to measure whether and how fast mail gets through.

  sent by agent    {agent}
  through relay    {relay}
  to mailbox       {mailbox}
  at (UTC)         {when}
  canary id        {canary}

The monitor reads and deletes these mails by itself. If you find one in a
mailbox, nobody is waiting for an answer: it may be deleted. For questions,
ask whoever runs the mail relays, or write to {sender}.
""".replace("\n", "\r\n")


# Many canaries are sent within a second, and format_datetime is slow.
@lru_cache(maxsize=8)
def _dates(second: int) -> tuple[str, str]:
    """A second since the Unix epoch as in ``Date``, and as a human reads it."""
    when = datetime.fromtimestamp(second, tz=UTC)
    return format_datetime(when), when.strftime("%Y-%m-%d %H:%M:%S")


def build_message(token: Token, key: Key, addresses: Addresses) -> bytes:
    """The whole message, CRLF line ends, ASCII, lines under 78 characters where names allow.

    ``Auto-Submitted`` (RFC 3834) keeps autoresponders quiet; ``X-Auto-Response-Suppress`` says the
    same to Exchange, which does not read the former.
    """
    second, rest_ns = divmod(token.sent_ns, 1_000_000_000)
    date, readable = _dates(second)
    fields = (
        f"Date: {date}",
        f"From: mailcanary <{addresses.sender}>",
        f"To: <{addresses.recipient}>",
        f"Subject: mailcanary test mail {token.canary[:8]} (may be deleted)",
        f"Message-ID: {message_id(token.canary, addresses.domain)}",
        "Auto-Submitted: auto-generated",
        "X-Auto-Response-Suppress: All",
        _fold(HEADER, write_token(token, key)),
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=us-ascii",
        "Content-Transfer-Encoding: 7bit",
    )
    body = _BODY.format(
        agent=token.path.agent,
        relay=token.path.relay,
        mailbox=token.path.mailbox,
        when=f"{readable}.{rest_ns // 1_000_000:03}",
        canary=token.canary,
        sender=addresses.sender,
    )
    return ("\r\n".join(fields) + "\r\n\r\n" + body).encode("ascii")
