"""Tokens over HTTP, for operators."""

from typing import Annotated

import msgspec
from aiohttp import web

from collector.control.principal import Kind
from collector.control.tokens import TokenInfo, TokenRefusedError, Tokens
from collector.web.handling import principal, read_json, reply
from collector.web.problems import Refused, not_found
from probes.contract.names import NAME_PATTERN

TOKENS: "web.AppKey[Tokens]" = web.AppKey("tokens", Tokens)


MAX_LIFE_S = 100 * 366 * 86_400


class TokenList(msgspec.Struct, frozen=True, kw_only=True):
    """All tokens that ever were, oldest first, and no secret."""

    tokens: list[TokenInfo]


class NewToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The token to make: for the agent or customer ``name``, or for the operator called so.

    Without ``expires_s``, the seconds that it is good for, it is good until it is revoked.
    """

    kind: Kind
    name: Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
    expires_s: Annotated[int, msgspec.Meta(ge=1, le=MAX_LIFE_S)] | None = None


class MadeToken(msgspec.Struct, frozen=True, kw_only=True):
    """A new token; ``token`` is its text, which is never shown again."""

    info: TokenInfo
    token: str


async def show_all(request: web.Request) -> web.Response:
    """List them."""
    return reply(TokenList(tokens=await request.app[TOKENS].listing()))


async def make(request: web.Request) -> web.Response:
    """Make one."""
    wanted = await read_json(request, NewToken)
    tokens = request.app[TOKENS]
    expires_ns = None if wanted.expires_s is None else tokens.after(wanted.expires_s)
    try:
        info, text = await tokens.create(
            wanted.kind, wanted.name, who=principal(request).signature, expires_ns=expires_ns
        )
    except TokenRefusedError as error:
        raise Refused(422, str(error)) from None
    return reply(MadeToken(info=info, token=text.reveal()), status=201)


async def revoke(request: web.Request) -> web.Response:
    """Revoke one; once more changes nothing."""
    who = principal(request).signature
    try:
        return reply(await request.app[TOKENS].revoke(request.match_info["id"], who=who))
    except TokenRefusedError:
        raise not_found() from None
