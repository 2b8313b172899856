"""What to do about a failure, by the reason for it."""

from probes.contract.stages import Reason

_CONNECT = {
    Reason.TIMEOUT: (
        "something drops the packets: look at this host's firewall, the provider's filter for "
        "outgoing mail ports, and the server's firewall"
    ),
    Reason.REFUSED: "nothing listens there: check host and port, and whether the server runs",
    Reason.RESET: "the connection was reset: look for a firewall between here and there",
    Reason.UNREACHABLE: "there is no way there from here: check routes and firewalls of this host",
    Reason.NO_ADDRESS: "check source_address, and that host and it are both IPv4 or both IPv6",
    Reason.LOCAL: "this host cannot: check source_address and its limit of open files (ulimit -n)",
}
_TLS = {
    Reason.CERTIFICATE: (
        "renew or correct the server's certificate, or the host name here; an authority of your "
        "own goes into ca_file of the policy"
    ),
    Reason.TLS_NOT_OFFERED: "enable STARTTLS on the relay, or set tls: opportunistic",
    Reason.LOCAL: "check ca_file in the policy: a readable PEM file with at least one certificate",
}
_AUTH = {
    Reason.CREDENTIALS: "the server refuses user or password: correct the secret's value, or user",
    Reason.AUTH_NOT_OFFERED: (
        "the server offers no login that is known here (PLAIN, LOGIN; for IMAP LOGIN, XOAUTH2): "
        "enable one, perhaps on another port"
    ),
    Reason.POLICY: (
        "have the server show a certificate that verifies (and offer TLS), or mark the secret "
        "'unverified: true' in the policy"
    ),
    Reason.SECRET: "correct the secret's value: one line of text without control characters",
}


def connecting(reason: Reason | None) -> str:
    """After a failed connect."""
    return _CONNECT.get(reason, "check host and port") if reason else "check host and port"


def encrypting(reason: Reason | None) -> str:
    """After a failed TLS handshake."""
    default = "check that the port speaks TLS in the way that 'tls' says (implicit or starttls)"
    return _TLS.get(reason, default) if reason else default


def logging_in(reason: Reason | None) -> str:
    """After a failed login."""
    default = "the server's log says why; it may be locked or busy"
    return _AUTH.get(reason, default) if reason else default


def talking(reason: Reason | None) -> str:
    """After a dialogue that broke off."""
    if reason is Reason.TIMEOUT:
        return "the server accepts connections and does not answer: look at its load and its log"
    if reason in (Reason.REPLY_4XX, Reason.REPLY_5XX, Reason.REFUSED):
        return "the server turns this host away: have its address allowed there"
    return "look into the server's log; check that host and port are those of the right service"
