"""Ending connections the same way on every Python that is supported."""

import asyncio
from contextlib import suppress


def abort(transport: asyncio.WriteTransport) -> None:
    """Cut the connection now; one that has ended already is no error.

    asyncio's TLS transport of Python 3.11.2, which Debian 12 ships, fails here when it was closed
    twice before.
    """
    with suppress(AttributeError):
        transport.abort()


def close(transport: asyncio.WriteTransport) -> None:
    """Close the connection in order, unless it is closing already (see :func:`abort`)."""
    if not transport.is_closing():
        transport.close()
