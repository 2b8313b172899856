"""From a host name to its addresses, within a time that the system's resolver may not keep."""

import asyncio
import contextlib
import socket
import threading

from probes.smtp import Endpoint


class NoAddressError(Exception):
    """The name has no address that can be used; the text says why, without the name."""


async def look_up(host: str, port: int, limit_s: float) -> list[Endpoint]:
    """The endpoints of ``host``, each once, in the resolver's order.

    A resolver that does not answer is left alone in a thread that holds nothing up, not even the
    end of the program; asyncio's own way would wait for it.

    Raises:
        NoAddressError: it has none, or none within ``limit_s`` seconds.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Endpoint] | Exception] = loop.create_future()

    def settle(result: list[Endpoint] | Exception) -> None:
        if not answer.done():
            answer.set_result(result)

    def ask() -> None:
        result: list[Endpoint] | Exception
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            result = list(dict.fromkeys(Endpoint(item[0], item[4]) for item in found))
        except (OSError, UnicodeError) as error:
            result = error
        with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=ask, name=f"look up {host}", daemon=True).start()
    try:
        async with asyncio.timeout(limit_s):
            result = await answer
    except TimeoutError:
        raise NoAddressError(f"no answer within {limit_s:g} s") from None
    if isinstance(result, Exception):
        text = result.strerror if isinstance(result, OSError) else None
        raise NoAddressError((text or str(result)).lower()) from None
    return result
