"""Why a TCP connection could not be made, or went away: the words that all probes have for it."""

import errno
import os
import ssl

from probes.contract.stages import Reason

_REASONS = {
    errno.ECONNREFUSED: Reason.REFUSED,
    errno.ETIMEDOUT: Reason.TIMEOUT,
    errno.ECONNRESET: Reason.RESET,
    errno.ECONNABORTED: Reason.RESET,
    errno.ENETUNREACH: Reason.UNREACHABLE,
    errno.EHOSTUNREACH: Reason.UNREACHABLE,
    errno.ENETDOWN: Reason.UNREACHABLE,
    errno.EHOSTDOWN: Reason.UNREACHABLE,
    errno.EAFNOSUPPORT: Reason.UNREACHABLE,
    # What a prohibit route or a filter on the agent's own host answers.
    errno.EACCES: Reason.UNREACHABLE,
    errno.EPERM: Reason.UNREACHABLE,
}


def words(error: OSError) -> str:
    """The system's words; asyncio puts its own, with host and port, in the place of them."""
    return (os.strerror(error.errno) if error.errno else str(error)).lower()


def connect_reason(error: OSError) -> Reason:
    """Why a connection could not be made; what lies in this host's own means is ``local``."""
    return _REASONS.get(error.errno or 0, Reason.LOCAL)


def connection_reason(error: BaseException | None, peer: str) -> tuple[Reason, str]:
    """Why an established connection to ``peer`` went away, and the words for it.

    asyncio passes no error, or one without ``errno``, when the peer closed in good order.
    """
    if isinstance(error, ssl.SSLError):
        return Reason.PROTOCOL, f"TLS broke: {error.reason or error}"
    if not isinstance(error, OSError) or error.errno is None:
        return Reason.CLOSED, f"closed by {peer}"
    if error.errno in (errno.ECONNRESET, errno.EPIPE):
        return Reason.RESET, f"reset by {peer}"
    return connect_reason(error), words(error)
