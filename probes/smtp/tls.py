"""TLS to a relay: what is demanded of its certificate, and what is recorded about it."""

import _ssl
import ssl
import sys
from typing import Any

from probes.contract.config.models import RelayTls
from probes.contract.events import TlsInfo
from probes.smtp import certificate
from probes.smtp.model import SmtpTarget
from probes.trust import context as context  # noqa: PLC0414 - part of what this module offers


def must_verify(target: SmtpTarget) -> bool:
    """Whether the handshake is to fail when the certificate does not verify.

    So it is wherever credentials follow: then OpenSSL itself decides, within the handshake.
    """
    if target.user is not None and not target.allow_plaintext_auth:
        return True
    return target.verify and target.tls in (RelayTls.STARTTLS, RelayTls.IMPLICIT)


def describe(
    secure: ssl.SSLObject, host: str, ca_file: str | None, *, strict: bool, now_ns: int
) -> TlsInfo:
    """The session, and whether its certificate verifies for ``host``.

    After a ``strict`` handshake it does; after any other it is judged here, for the record only.
    """
    chain = _peer_chain(secure)
    problem = None
    if not strict:
        problem = certificate.problem(chain, host, ca_file, now_ns)
    cipher = secure.cipher()
    return TlsInfo(
        version=secure.version() or "unknown",
        cipher=cipher[0] if cipher else "unknown",
        not_after_ns=certificate.not_after_ns(chain[0]) if chain else None,
        verified=problem is None,
        problem=problem,
    )


def _peer_chain(secure: ssl.SSLObject) -> tuple[bytes, ...]:
    """The certificates (DER) that the relay sent, its own first.

    Python shows all of them since 3.13; before, they are behind a name that is not public, and
    where that is missing too only the relay's own certificate is left to judge.
    """
    if sys.version_info >= (3, 13):
        return tuple(secure.get_unverified_chain())
    shown: Any = getattr(getattr(secure, "_sslobj", None), "get_unverified_chain", None)
    if shown is not None:
        return tuple(each.public_bytes(_ssl.ENCODING_DER) for each in shown() or ())
    own = secure.getpeercert(binary_form=True)
    return (own,) if own else ()
