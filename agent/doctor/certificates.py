"""What there is to say of a server's TLS session and certificate."""

from agent.doctor.model import Findings
from probes.contract.units import NS_PER_S

SOON_DAYS = 14
"""A certificate that is renewed automatically has been renewed by then (ACME clients: 30 days)."""

_DAY_NS = 86_400 * NS_PER_S


def judge_session(
    found: Findings, session: str, not_after_ns: int | None, problem: str | None, now_ns: int
) -> None:
    """The item ``tls`` of an established session; ``problem`` is why it did not verify."""
    seen = session
    days = None
    if not_after_ns is not None:
        days = (not_after_ns - now_ns) // _DAY_NS
        seen += f", certificate good for {days} days" if days >= 0 else ", certificate expired"
    if problem is not None:
        found.warn(
            "tls",
            f"{seen}; it does not verify: {problem}",
            "mail goes out all the same, and whoever sits in between can read it; renew or "
            "correct the certificate; an authority of your own goes into ca_file of the policy",
        )
    elif days is not None and days < SOON_DAYS:
        found.warn("tls", seen, "renew it, and find out why that did not happen by itself")
    else:
        found.ok("tls", seen)
