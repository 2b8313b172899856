"""What the probes may connect to: the configuration's words, as far as the policy allows them."""

from ipaddress import IPv4Address, IPv6Address

from agent.policy.addresses import denied
from agent.policy.models import PolicyFile
from agent.policy.secrets import Secrets
from probes.contract.config.models import Imap, ImapTls, Relay, Timeouts
from probes.contract.errors import SecretError
from probes.contract.stages import Reason, Stage
from probes.imap import AddressPolicy, ImapFailure, ImapTarget
from probes.smtp import SmtpTarget


def smtp_target(
    relay: Relay, helo: str, timeouts: Timeouts, policy: PolicyFile, secrets: Secrets
) -> SmtpTarget:
    """How to submit to ``relay``.

    Raises:
        SecretError: its secret may not be sent there, or cannot be read.
    """
    grant = None
    if relay.auth is not None:
        grant = secrets.grant(relay.auth.secret, relay.host, relay.port)
    unverified = grant is not None and grant.unverified
    return SmtpTarget(
        host=relay.host,
        port=relay.port,
        tls=relay.tls,
        helo=helo,
        user=None if relay.auth is None else relay.auth.user,
        password=None if grant is None else grant.secret,
        source_address=relay.source_address,
        timeouts=timeouts,
        verify=not unverified,
        ca_file=policy.ca_file,
        allow_plaintext_auth=unverified,
    )


def imap_target(imap: Imap, policy: PolicyFile, secrets: Secrets) -> ImapTarget:
    """How to read the mailbox behind ``imap``.

    Raises:
        ImapFailure: at AUTH: its secret may not be sent there, or cannot be read.
    """
    try:
        grant = secrets.grant(imap.secret, imap.host, imap.port)
    except SecretError as error:
        raise ImapFailure(Stage.AUTH, Reason.SECRET, str(error)) from None
    if imap.tls is ImapTls.NONE and not grant.unverified:
        detail = (
            f"secret {imap.secret}: found tls: none, allowed without TLS is only a secret that "
            "the agent's policy marks 'unverified: true'"
        )
        raise ImapFailure(Stage.AUTH, Reason.POLICY, detail)
    return ImapTarget(
        host=imap.host,
        port=imap.port,
        tls=imap.tls,
        user=imap.user,
        secret=grant.secret,
        auth=imap.auth,
        ca_file=policy.ca_file,
        verify=not grant.unverified,
    )


def permits(policy: PolicyFile) -> AddressPolicy:
    """Whether an address may be connected to for a host that a customer named."""

    def permit(address: IPv4Address | IPv6Address) -> bool:
        return denied(str(address), policy.addresses) is None

    return permit
