"""From a mail in the bounce mailbox to a bounce event: which canary it is about, if one of ours."""

from agent.mailbox.arrivals import Fields
from probes.contract.events import Bounce
from probes.contract.message import canary_of_envid
from probes.contract.names import Path
from probes.contract.token import HEADER, KeyRing, Token, verify
from probes.headers.block import parse_header_block, values
from probes.headers.dsn import DsnReport

MAX_BYTES = 131_072
"""As much of a bounce as is read: the report and the header that it returns come first."""


def may_be_bounce(fields: Fields) -> bool:
    """Whether a mail's header looks like a delivery status notification's (RFC 3464, RFC 3834)."""
    content = " ".join(values(fields, "content-type")).lower()
    if "multipart/report" in content or values(fields, "x-failed-recipients"):
        return True
    return any(value.strip() in ("<>", "<#@[]>") for value in values(fields, "return-path"))


def token_of(report: DsnReport, ring: KeyRing, agent: str) -> Token | None:
    """The canary whose header the bounce returns, if that header is genuine and this agent's.

    A bounce is about a canary wherever it was going and however old it is, so the place and the
    age that would be held against an arrival are not held against it.
    """
    if report.original is None:
        return None
    for value in values(parse_header_block(report.original), HEADER.lower())[:1]:
        token = verify(value, ring)
        if token is not None and token.path.agent == agent:
            return token
    return None


def canary_id(report: DsnReport, token: Token | None) -> str | None:
    """The canary that the bounce is about: by its returned header, else by its envelope id.

    An envelope id is no proof: it stands in relays' logs, and it is the Message-ID's left half. It
    is to be believed only of a canary that has not arrived.
    """
    if token is not None:
        return token.canary
    if report.envelope_id is None:
        return None
    return canary_of_envid(report.envelope_id)


def bounce(report: DsnReport, canary: str, path: Path, seen_ns: int) -> Bounce:
    """The bounce event."""
    return Bounce(
        canary=canary,
        path=path,
        seen_ns=seen_ns,
        action=report.action,
        status=report.status,
        diagnostic=report.diagnostic,
        remote_mta=report.remote_mta,
        reporting_mta=report.reporting_mta,
        final_recipient=report.final_recipient,
    )
