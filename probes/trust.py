"""Which certificates are trusted: one TLS context for all connections of a kind."""

import ssl
from functools import lru_cache


@lru_cache(maxsize=64)
def context(ca_file: str | None, *, strict: bool) -> ssl.SSLContext:
    """The context for all connections of a kind; making one costs more than a handshake.

    Not ``strict``, any certificate will do. A changed CA file is seen after a restart.

    Raises:
        OSError: when ``ca_file`` cannot be read or holds no certificate (``ssl.SSLError``).
    """
    made = ssl.create_default_context(cafile=ca_file)
    if not strict:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made
