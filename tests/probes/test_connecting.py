"""Why connections fail, in the words that all probes share."""

import errno

import pytest

from probes.connecting import connect_reason, connection_reason
from probes.contract.stages import Reason


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ECONNREFUSED, Reason.REFUSED),
        (errno.ETIMEDOUT, Reason.TIMEOUT),
        (errno.ECONNRESET, Reason.RESET),
        (errno.ENETUNREACH, Reason.UNREACHABLE),
        (errno.EHOSTUNREACH, Reason.UNREACHABLE),
        (errno.EPERM, Reason.UNREACHABLE),
        (errno.EMFILE, Reason.LOCAL),
        (errno.EADDRNOTAVAIL, Reason.LOCAL),
    ],
)
def test_connect_reasons(number: int, reason: Reason) -> None:
    assert connect_reason(OSError(number, "x")) is reason


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, (Reason.CLOSED, "closed by the relay")),
        (ConnectionResetError(), (Reason.CLOSED, "closed by the relay")),
        (ConnectionResetError(errno.ECONNRESET, "x"), (Reason.RESET, "reset by the relay")),
        (BrokenPipeError(errno.EPIPE, "x"), (Reason.RESET, "reset by the relay")),
        (TimeoutError(errno.ETIMEDOUT, "x"), (Reason.TIMEOUT, "connection timed out")),
        (OSError(errno.EHOSTUNREACH, "x"), (Reason.UNREACHABLE, "no route to host")),
    ],
)
def test_connection_reasons(error: OSError | None, expected: tuple[Reason, str]) -> None:
    assert connection_reason(error, "the relay") == expected
