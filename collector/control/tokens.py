"""API tokens: made, listed, revoked and recognised. Of each the file holds a hash only.

A token is ``mc1_<kind>_<id>_<secret>``: the id finds it, the secret, 256 random bits, proves it. So
much randomness needs no slow hash; SHA-256 keeps what is stored from being what is sent.
"""

import hashlib
import hmac
import re
import secrets
import sqlite3
import time
from collections.abc import Callable

import msgspec

from collector.control.audit import write_entry
from collector.control.principal import Kind, Principal
from collector.control.store import ControlStore
from probes.contract.errors import MailcanaryError
from probes.contract.names import is_name
from probes.contract.secret import Secret

_TOKEN = re.compile(r"mc1_(agent|customer|operator)_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_LIKE_ONE = re.compile(r"mc1_[A-Za-z0-9_-]*")
_NOBODY = hashlib.sha256(b"").digest()

FRESH_S = 1.0
"""How old what is known of the tokens may be: a revocation holds after this time at the latest."""

USED_EVERY_NS = 300 * 10**9
"""A token's last use is written down this exactly."""


def without_tokens(text: str) -> str:
    """``text`` for a log: whatever looks like a token is struck out."""
    return _LIKE_ONE.sub("mc1_...", text)


class TokenRefusedError(MailcanaryError, ValueError):
    """A token cannot be made, or there is none of that id."""

    exit_code = 2


class TokenInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What may be shown of a token. ``last_used_ns`` is true to five minutes."""

    id: str
    kind: Kind
    name: str
    created_ns: int
    created_by: str
    expires_ns: int | None = None
    revoked_ns: int | None = None
    last_used_ns: int | None = None

    def is_good(self, now_ns: int) -> bool:
        """Whether it is neither revoked nor expired."""
        expired = self.expires_ns is not None and now_ns >= self.expires_ns
        return self.revoked_ns is None and not expired


class _Stored(msgspec.Struct, frozen=True):
    info: TokenInfo
    digest: bytes

    def __repr__(self) -> str:
        return f"_Stored({self.info.id}, <hidden>)"


_COLUMNS = "id, kind, name, created_ns, created_by, expires_ns, revoked_ns, last_used_ns"


def _info(row: tuple[object, ...]) -> TokenInfo:
    return msgspec.convert(dict(zip(_COLUMNS.split(", "), row, strict=True)), TokenInfo)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def create(
    connection: sqlite3.Connection,
    kind: Kind,
    name: str,
    *,
    who: str,
    now_ns: int,
    expires_ns: int | None = None,
) -> tuple[TokenInfo, Secret]:
    """Make a token, within a transaction; its text is known this once only.

    Raises:
        TokenRefusedError: the name is none, or the token would have expired already.
    """
    if not is_name(name):
        raise TokenRefusedError(
            f"token: found the name {name!r}, allowed are 1 to 63 lower-case letters, digits, "
            "dots, dashes, underscores"
        )
    if expires_ns is not None and expires_ns <= now_ns:
        raise TokenRefusedError("token: found an expiry that is past, allowed is one to come")
    number, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    info = TokenInfo(
        id=number, kind=kind, name=name, created_ns=now_ns, created_by=who, expires_ns=expires_ns
    )
    connection.execute(
        f"INSERT INTO tokens ({_COLUMNS}, digest) VALUES (?, ?, ?, ?, ?, ?, NULL, NULL, ?)",  # noqa: S608 - names of our own
        (number, kind.value, name, now_ns, who, expires_ns, _digest(secret)),
    )
    target = f"token/{number} {kind}:{name}"
    write_entry(connection, at_ns=now_ns, who=who, verb="create", target=target)
    return info, Secret(f"mc1_{kind}_{number}_{secret}", f"token {number}")


def revoke(connection: sqlite3.Connection, token_id: str, *, who: str, now_ns: int) -> TokenInfo:
    """Revoke a token for good, within a transaction; one that is revoked stays as it is.

    Raises:
        TokenRefusedError: there is none of that id.
    """
    found = [info for info in listing(connection) if info.id == token_id]
    if not found:
        raise TokenRefusedError(
            f"token: found no token with the id {token_id!r}, allowed is one that "
            "'mailcanary token list' shows"
        )
    [info] = found
    if info.revoked_ns is not None:
        return info
    connection.execute("UPDATE tokens SET revoked_ns = ? WHERE id = ?", (now_ns, token_id))
    target = f"token/{token_id} {info.kind}:{info.name}"
    write_entry(connection, at_ns=now_ns, who=who, verb="revoke", target=target)
    return msgspec.structs.replace(info, revoked_ns=now_ns)


def listing(connection: sqlite3.Connection) -> list[TokenInfo]:
    """All tokens that ever were, oldest first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM tokens ORDER BY created_ns, id")  # noqa: S608 - names of our own
    return [_info(row) for row in rows]


def _stored(connection: sqlite3.Connection) -> dict[str, _Stored]:
    rows = connection.execute(f"SELECT digest, {_COLUMNS} FROM tokens WHERE revoked_ns IS NULL")  # noqa: S608 - names of our own
    return {row[1]: _Stored(_info(row[1:]), row[0]) for row in rows}


class Tokens:
    """The tokens as the server knows them, read again when another process has changed them."""

    def __init__(
        self,
        store: ControlStore,
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._clock_ns = clock_ns
        self._monotonic = monotonic
        self._known: dict[str, _Stored] = {}
        self._version: int | None = None
        self._read_at: float | None = None
        self._changes = 0
        self._used: dict[str, int] = {}

    async def verify(self, text: str) -> Principal | None:
        """Whose token ``text`` is; ``None`` when it is none, or no longer one.

        Raises:
            ControlError: it cannot be told, since the file cannot be read.
        """
        found = _TOKEN.fullmatch(text)
        if found is None:
            return None
        await self._refresh()
        kind, number, secret = found.groups()
        stored = self._known.get(number)
        # Compared even where there is none, so that time does not tell which ids exist.
        same = hmac.compare_digest(_NOBODY if stored is None else stored.digest, _digest(secret))
        now_ns = self._clock_ns()
        if (
            stored is None
            or not same
            or stored.info.kind != kind
            or not stored.info.is_good(now_ns)
        ):
            return None
        self._used[number] = now_ns
        return Principal(stored.info.kind, stored.info.name, number)

    def after(self, seconds: float) -> int:
        """The time that many seconds from now, in nanoseconds."""
        return self._clock_ns() + round(seconds * 1e9)

    async def create(
        self, kind: Kind, name: str, *, who: str, expires_ns: int | None = None
    ) -> tuple[TokenInfo, Secret]:
        """As :func:`create`, on the disk when it returns."""
        now_ns = self._clock_ns()
        made = await self._store.run(
            lambda connection: create(
                connection, kind, name, who=who, now_ns=now_ns, expires_ns=expires_ns
            )
        )
        self._forget()
        return made

    async def revoke(self, token_id: str, *, who: str) -> TokenInfo:
        """As :func:`revoke`; the token is good for nothing when this returns."""
        now_ns = self._clock_ns()
        info = await self._store.run(
            lambda connection: revoke(connection, token_id, who=who, now_ns=now_ns)
        )
        self._forget()
        return info

    async def listing(self) -> list[TokenInfo]:
        """All tokens that ever were, oldest first."""
        return await self._store.read(listing)

    async def write_uses(self) -> None:
        """Write down which tokens were used since the last time; to be called now and then."""
        used, self._used = self._used, {}
        rows = [(at_ns, number, at_ns - USED_EVERY_NS) for number, at_ns in used.items()]
        if rows:
            await self._store.run(
                lambda connection: connection.executemany(
                    "UPDATE tokens SET last_used_ns = ?1 WHERE id = ?2"
                    " AND (last_used_ns IS NULL OR last_used_ns < ?3)",
                    rows,
                )
            )

    async def _refresh(self) -> None:
        asked_at = self._monotonic()
        if self._read_at is not None and asked_at - self._read_at < FRESH_S:
            return
        version, changes = self._version, self._changes

        def read(connection: sqlite3.Connection) -> tuple[int, dict[str, _Stored] | None]:
            now = int(connection.execute("PRAGMA data_version").fetchone()[0])
            return now, None if now == version else _stored(connection)

        read_version, changed = await self._store.read(read)
        if changed is not None:
            self._known = changed
        if changes == self._changes:
            self._version, self._read_at = read_version, asked_at
        else:
            # What was read may be from before a change of our own.
            await self._refresh()

    def _forget(self) -> None:
        """After a change of our own, which the file's version does not tell us of."""
        self._changes += 1
        self._version, self._read_at = None, None
