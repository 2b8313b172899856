"""Who may call a route: decided from the token and the path alone, before its handler runs."""

from collections.abc import Callable, Mapping
from typing import NoReturn, Protocol

from aiohttp import web

from collector.control.principal import Principal
from collector.web.handling import PEER, PRINCIPAL
from collector.web.limits import FailureLimit
from collector.web.problems import Refused
from collector.web.route import Route


class Verifier(Protocol):
    """Knows the tokens."""

    async def verify(self, text: str) -> Principal | None:
        """Whose token ``text`` is; ``None`` when it is none, or no longer one."""


class Gatekeeper:
    """Lets a request through to its handler, or refuses it."""

    def __init__(
        self, tokens: Verifier, failures: FailureLimit, on_failure: Callable[[], None]
    ) -> None:
        self._tokens = tokens
        self._failures = failures
        self._on_failure = on_failure

    async def admit(self, request: web.Request, route: Route) -> Principal | None:
        """Who asks; ``None`` for nobody in particular on an open route.

        Raises:
            Refused: 401 without a good token, 429 after too many bad ones from that address, 403
                when the token is not for this.
        """
        header = request.headers.get("Authorization")
        if header is None and route.open:
            return None
        who = await self._who(header)
        if who is None:
            # A good token is never held up by bad ones: others may share its address.
            self._refuse(request, had_token=header is not None)
        if not (route.open or permits(route, who, request.match_info)):
            raise Refused(403, "this token is not for that")
        request[PRINCIPAL] = who
        return who

    async def _who(self, header: str | None) -> Principal | None:
        scheme, _, text = (header or "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        return await self._tokens.verify(text.strip())

    def _refuse(self, request: web.Request, *, had_token: bool) -> NoReturn:
        self._on_failure()
        wait_s = self._failures.failed(request[PEER])
        if wait_s is not None:
            raise Refused(
                429, "too many requests without a good token", headers={"Retry-After": str(wait_s)}
            )
        # RFC 6750 section 3.1: no error code where no token was sent.
        challenge = 'Bearer error="invalid_token"' if had_token else "Bearer"
        raise Refused(401, "a good token is needed", headers={"WWW-Authenticate": challenge})


GATE: "web.AppKey[Gatekeeper]" = web.AppKey("gate", Gatekeeper)


def permits(route: Route, who: Principal, path: Mapping[str, str]) -> bool:
    """Whether ``who`` may call ``route`` with the parameters in ``path``."""
    if who.kind not in route.roles:
        return False
    parameter = route.roles[who.kind]
    return parameter is None or path.get(parameter) == who.name
