"""Which account a mailbox's UIDs belong to."""

import hashlib

from probes.contract.config.models import Imap


def fingerprint(imap: Imap) -> str:
    """What tells one account from another, kept beside the UIDs that were read in it.

    UIDVALIDITY alone does not: on many servers it is the same for every account. A digest, since
    the spool has no need to know anybody's user name.
    """
    parts = (imap.host.lower(), str(imap.port), imap.user)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
