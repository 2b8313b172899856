"""Decompression that believes nothing: what comes out is bounded before it is made."""

import zlib

from probes.contract.errors import MailcanaryError

_GZIP = 16 + zlib.MAX_WBITS
_MAX_MEMBERS = 64


class BodyError(MailcanaryError, ValueError):
    """A body that is no batch; each line of the text says what was found and what is allowed."""


class BodyTooLargeError(BodyError):
    """A body, or what it unpacks to, past its bound."""


class PastLimitError(BodyTooLargeError):
    """It unpacks to more than the caller had room for."""


def gunzip(data: bytes, limit: int) -> bytes:
    """The bytes that a gzip stream of a few members holds (RFC 1952 section 2.2).

    At most ``limit`` + 1 bytes ever come out, however many it would unpack to; the memory that is
    needed is up to twice as much. Releases the interpreter while it works.

    Raises:
        PastLimitError: more than ``limit`` bytes would come out.
        BodyError: no gzip, damaged, cut short, or followed by something else.
    """
    parts: list[bytes] = []
    size = 0
    for _ in range(_MAX_MEMBERS):
        if not data:
            break
        member = zlib.decompressobj(_GZIP)
        try:
            part = member.decompress(data, limit - size + 1)
        except zlib.error as error:
            raise BodyError(f"body: found damaged gzip ({error}), allowed is gzip") from None
        size += len(part)
        if size > limit:
            raise PastLimitError(
                f"body: found more than {limit} bytes when unpacked, allowed is at most {limit}"
            )
        if not member.eof:
            raise BodyError("body: found gzip that is cut short, allowed is all of it")
        parts.append(part)
        data = member.unused_data
    if data:
        raise BodyError(f"body: found more than {_MAX_MEMBERS} gzip members, allowed is one stream")
    return parts[0] if len(parts) == 1 else b"".join(parts)
