"""``mailcanary token``: make, list and revoke API tokens, also while the collector runs."""

import getpass
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from collector.control.principal import Kind
from collector.control.schema import FILE_NAME
from collector.control.store import operate
from collector.control.tokens import TokenInfo
from collector.control.tokens import create as create_token
from collector.control.tokens import listing as list_tokens
from collector.control.tokens import revoke as revoke_token
from probes.contract.errors import ConfigError, Problem
from probes.contract.units import parse_duration

DEFAULT_STATE = Path("/var/lib/mailcanary-collector")

token = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)

State = Annotated[Path, typer.Option("--state", help="The collector's state directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@token.callback()
def _group() -> None:
    """Make, list and revoke the API tokens of agents, customers and operators.

    A running collector takes a new token, and refuses a revoked one, within a second. Run it as the
    collector's user, or as root.
    """


def _expect(state: Path) -> None:
    """Refuse a directory that holds no tokens, which is most likely a misspelt one.

    Raises:
        ConfigError: there is no control file in it; none is made.
    """
    if not (state / FILE_NAME).exists():
        found, allowed = f"no {FILE_NAME}", "a collector's state directory"
        raise ConfigError([Problem(str(state), 0, "", found, allowed)])


def _who() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"cli:{os.getuid()}"


def _expiry(text: str | None, now_ns: int) -> int | None:
    if text is None:
        return None
    try:
        return now_ns + round(parse_duration(text) * 1e9)
    except ValueError as error:
        message = f"found {text!r}, allowed is {error}"
        raise typer.BadParameter(message, param_hint="--expires") from None


def _time(at_ns: int | None) -> str:
    if at_ns is None:
        return "-"
    return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _state_of(info: TokenInfo, now_ns: int) -> str:
    if info.revoked_ns is not None:
        return f"revoked {_time(info.revoked_ns)}"
    if not info.is_good(now_ns):
        return f"expired {_time(info.expires_ns)}"
    return "good" if info.expires_ns is None else f"good until {_time(info.expires_ns)}"


@token.command("create")
def create(
    kind: Annotated[Kind, typer.Option("--kind", help="Whose token it is.")],
    name: Annotated[
        str,
        typer.Option("--name", help="The agent's or customer's name; what to call an operator."),
    ],
    expires: Annotated[
        str | None, typer.Option("--expires", help="For how long it is good, such as 90d.")
    ] = None,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Make a token and print it, which happens this once: only a hash of it is kept."""
    now_ns = time.time_ns()
    expires_ns = _expiry(expires, now_ns)
    info, text = operate(
        state,
        lambda connection: create_token(
            connection, kind, name, who=_who(), now_ns=now_ns, expires_ns=expires_ns
        ),
    )
    if as_json:
        made = {**msgspec.to_builtins(info), "token": text.reveal()}
        typer.echo(msgspec.json.encode(made).decode())
        return
    typer.echo(text.reveal())
    typer.echo(f"id {info.id}, {kind} {name}, {_state_of(info, now_ns)}", err=True)


@token.command("list")
def show(state: State = DEFAULT_STATE, as_json: Json = False) -> None:
    """List all tokens that ever were, oldest first; their secrets are kept nowhere."""
    _expect(state)
    tokens = operate(state, list_tokens)
    if as_json:
        typer.echo(msgspec.json.encode(tokens).decode())
        return
    now_ns = time.time_ns()
    for info in tokens:
        used = f"last used {_time(info.last_used_ns)}"
        words = (info.id, f"{info.kind}:{info.name}", _state_of(info, now_ns), used)
        typer.echo("  ".join(words))


@token.command("revoke")
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As `token list` shows it.")],
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Revoke a token for good; the collector refuses it within a second."""
    _expect(state)
    now_ns = time.time_ns()
    info = operate(
        state, lambda connection: revoke_token(connection, token_id, who=_who(), now_ns=now_ns)
    )
    if as_json:
        typer.echo(msgspec.json.encode(info).decode())
    else:
        typer.echo(f"{info.id}  {info.kind}:{info.name}  {_state_of(info, now_ns)}")
