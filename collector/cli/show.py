"""``mailcanary show``: what a collector knows of a path, a relay, a customer or one canary."""

import asyncio
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from probes.contract.units import parse_duration

show = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)

TIMEOUT_S = 30.0
MAX_ANSWER_BYTES = 64 << 20

Collector = Annotated[
    str,
    typer.Option(
        "--collector", envvar="MAILCANARY_COLLECTOR", metavar="URL", help="The collector."
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", help="A file with the token; else $MAILCANARY_TOKEN is taken."),
]
CaFile = Annotated[
    Path | None, typer.Option("--ca-file", help="Certificates that the collector's must lead to.")
]
Last = Annotated[str, typer.Option("--last", help="How far back: 15m, 6h, 7d.")]
Json = Annotated[bool, typer.Option("--json", help="Print the collector's answer as it is.")]
Name = Annotated[str, typer.Argument(metavar="NAME")]


@show.callback()
def _group() -> None:
    """Show what the canaries say, as a collector has added it up.

    Asks the collector's API; a customer's token shows that customer's canaries only.
    """


@show.command("path")
def path(
    name: Annotated[str, typer.Argument(metavar="AGENT|RELAY|MAILBOX")],
    collector: Collector,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    last: Last = "1h",
    as_json: Json = False,
) -> None:
    """One path, stretch by stretch."""
    _series("path", name, last, _Asking(collector, token_file, ca_file), as_json=as_json)


@show.command("relay")
def relay(
    name: Name,
    collector: Collector,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    last: Last = "1h",
    as_json: Json = False,
) -> None:
    """All canaries through one relay, stretch by stretch."""
    _series("relay", name, last, _Asking(collector, token_file, ca_file), as_json=as_json)


@show.command("customer")
def customer(
    name: Name,
    collector: Collector,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    last: Last = "1h",
    as_json: Json = False,
) -> None:
    """All canaries to one customer's mailboxes, stretch by stretch."""
    _series("customer", name, last, _Asking(collector, token_file, ca_file), as_json=as_json)


@show.command("canary")
def canary(
    name: Annotated[str, typer.Argument(metavar="ID")],
    collector: Collector,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """The whole story of one canary."""
    from urllib.parse import quote

    asking = _Asking(collector, token_file, ca_file)
    story = asking.get(f"/api/v1/canaries/{quote(name, safe='')}", {})
    if as_json:
        typer.echo(json.dumps(story))
    else:
        _print_story(story)


class _Asking:
    """How the collector is asked."""

    def __init__(self, url: str, token_file: Path | None, ca_file: Path | None) -> None:
        self._url = url.rstrip("/")
        self._token = _token(token_file)
        self._ca_file = ca_file

    def get(self, path: str, query: dict[str, str]) -> Any:
        """The answer's JSON; what cannot be had ends the command with exit code 1."""
        from aiohttp import ClientError

        try:
            status, body = asyncio.run(self._get(path, query))
            answer = json.loads(body)
        except (ClientError, OSError, TimeoutError, ValueError) as error:
            _fail(f"{self._url}: {str(error) or type(error).__name__}")
        if status != 200:
            told = answer if isinstance(answer, dict) else {}
            _fail(f"{self._url}: {told.get('detail') or told.get('title') or status}")
        return answer

    async def _get(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        import ssl

        from aiohttp import ClientSession, ClientTimeout

        context = ssl.create_default_context(cafile=self._ca_file)
        headers = {"Authorization": f"Bearer {self._token}"}
        async with (
            ClientSession(timeout=ClientTimeout(total=TIMEOUT_S), auto_decompress=False) as client,
            # A redirect would carry the token to a host that nobody named.
            client.get(
                self._url + path, params=query, headers=headers, ssl=context, allow_redirects=False
            ) as answer,
        ):
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise ValueError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
            return answer.status, bytes(body)


def _token(file: Path | None) -> str:
    if file is None:
        text = os.environ.get("MAILCANARY_TOKEN", "")
    else:
        try:
            text = file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            _fail(f"{file}: found no token ({type(error).__name__}), allowed is a file with one")
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable():
        _fail("found no token: allowed is --token-file FILE or the variable MAILCANARY_TOKEN")
    return token


def _fail(text: str) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(1)


def _series(dimension: str, key: str, last: str, asking: _Asking, *, as_json: bool) -> None:
    try:
        span_s = int(parse_duration(last))
    except ValueError as error:
        message = f"found {last!r}, allowed is {error}"
        raise typer.BadParameter(message, param_hint="--last") from None
    # The finest tier that shows the time in a table one can read.
    tier = 60 if span_s <= 2 * 3600 else 3600 if span_s <= 4 * 86400 else 86400
    query = {"dimension": dimension, "key": key, "tier": str(tier)}
    until_s = asking.get("/api/v1/series", query)["until_s"]
    begin = max(0, until_s - span_s) // tier * tier
    answer = asking.get("/api/v1/series", {**query, "from": str(begin), "to": str(until_s + 1)})
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        _print_series(answer)


def _print_series(answer: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not answer["points"]:
        console.print(f"no canaries of {answer['dimension']} {answer['key']}", markup=False)
        return
    points = [point["figures"] for point in answer["points"]]
    columns = [name for name in points[0]["outcomes"] if any(it["outcomes"][name] for it in points)]
    table = Table(title=f"{answer['dimension']} {answer['key']}".replace("[", r"\["))
    table.add_column("sent from (UTC)")
    for name in ("canaries", *columns, "p50", "p90", "p99", "reordered", "duplicates", "junk"):
        table.add_column(name, justify="right")
    for point in answer["points"]:
        it = point["figures"]
        table.add_row(
            _time(point["start_s"]),
            str(it["canaries"]),
            *(str(it["outcomes"][outcome] or "-") for outcome in columns),
            *(_delay(it[percentile]) for percentile in ("p50", "p90", "p99")),
            *(str(n or "-") for n in (it["order"]["reordered"], it["duplicates"], it["junk"])),
        )
    console.print(table)


def _print_story(story: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    it = story["canary"]
    verdict = it["verdict"]
    path = it["path"]
    where = "no intent known" if path is None else " -> ".join(path.values())
    said = [verdict["outcome"], *(str(verdict[k]) for k in ("timing", "stage", "reason")
                                  if verdict[k] is not None)]  # fmt: skip
    console.print(f"{it['canary']}  {where}", markup=False)
    console.print(f"{', '.join(said)}  {_delay(verdict['delay'])}", markup=False)
    if it["labels"]:
        console.print(" ".join(it["labels"]), markup=False)
    table = Table()
    for name in ("taken in (UTC)", "event", "tells"):
        table.add_column(name)
    for event in story["events"]:
        at = _time(event["ingested_at_ns"] // 10**9)
        table.add_row(at, event["kind"], Text(_told(event["event"])))
    console.print(table)


_NOT_TOLD = frozenset(("kind", "canary", "path", "stream_epoch", "boot_id", "sent_boot_ns"))


def _told(event: dict[str, Any]) -> str:
    """The event's fields that say something, one a line; what others wrote is shown as text."""
    lines = []
    for key, value in event.items():
        if key in _NOT_TOLD or value in (None, "", [], {}):
            continue
        if key.endswith("_ns") and isinstance(value, int):
            lines.append(f"{key.removesuffix('_ns')}: {_time(value // 10**9)}")
        elif isinstance(value, dict | list):
            lines.append(f"{key}: {json.dumps(value)}")
        else:
            lines.append(f"{key}: {value}")
    # Control characters of a relay's reply must not reach the terminal.
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in lines)


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _delay(interval: dict[str, Any] | None) -> str:
    if interval is None:
        return "-"
    if interval["hi"] is None:
        return f"over {interval['lo']:.3g} s"
    return f"{interval['lo']:.3g}-{interval['hi']:.3g} s"
