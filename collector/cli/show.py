"""``mailcanary show``: what a collector knows of a path, a relay, a customer or one canary."""

import asyncio
import difflib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from collector.cli.shown import list_lines, series_lines, story_lines
from collector.cli.shown_checks import checks_lines, queue_lines
from probes.contract.names import parse_path
from probes.contract.units import parse_duration

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiohttp import ClientSession

show = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)

TIMEOUT_S = 30.0
MAX_ANSWER_BYTES = 64 << 20
AT_ONCE = 8
"""Questions that are asked at the same time."""
PAGE = 1000
HOUR_S = 3600
DAY_S = 86_400
NAMED = 8
"""How many known names an error tells."""
PATH_FORM = "'AGENT|RELAY|CUSTOMER/MAILBOX' in quotes, such as 'sfo|relay-a1|acme/inbox'"

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
Name = Annotated[str | None, typer.Argument(metavar="NAME", help="Without it: those there are.")]


@show.callback()
def _group() -> None:
    """Show what the canaries say, as a collector has added it up.

    Asks the collector's API; a customer's token shows that customer's canaries only.
    """


@show.command("path")
def path(
    collector: Collector,
    name: Annotated[
        str | None, typer.Argument(metavar="AGENT|RELAY|CUSTOMER/MAILBOX", show_default=False)
    ] = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    last: Last = "1h",
    as_json: Json = False,
) -> None:
    """One path, stretch by stretch."""
    # A shell that was given no quotes runs what follows the first bar as commands of its own.
    try:
        parse_path(name or "")
    except ValueError:
        found = "no path" if name is None else repr(name)
        message = f"found {found}, allowed is {PATH_FORM}"
        raise typer.BadParameter(message, param_hint="show path") from None
    _series("path", name, last, _Asking(collector, token_file, ca_file), as_json=as_json)


@show.command("relay")
def relay(
    collector: Collector,
    name: Name = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    last: Last = "1h",
    as_json: Json = False,
) -> None:
    """All canaries through one relay, by stretch; without a name, the relays."""
    _series("relay", name, last, _Asking(collector, token_file, ca_file), as_json=as_json)


@show.command("customer")
def customer(
    collector: Collector,
    name: Name = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    last: Last = "1h",
    as_json: Json = False,
) -> None:
    """All canaries to one customer's mailboxes, by stretch; without a name, the customers."""
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
    story = asking.get(
        f"/api/v1/canaries/{quote(name, safe='')}",
        {},
        absent=f"found canary {name!r}, allowed is the id of one that the collector knows, "
        "as its events name it",
    )
    _print(story, story_lines(story, _width()), as_json=as_json)


@show.command("checks")
def checks(
    collector: Collector,
    relay: Annotated[str | None, typer.Option("--relay", help="Of one relay alone.")] = None,
    bad: Annotated[bool, typer.Option("--bad", help="Those that are not well, or stale.")] = False,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """What agents see from the relays' own side. Needs an operator's token."""
    asking = _Asking(collector, token_file, ca_file)
    query = {"limit": str(PAGE)}
    query |= {"relay": relay} if relay is not None else {}
    query |= {"bad": "true"} if bad else {}
    found: list[Any] = []
    after: str | None = ""
    until_s = 0
    while after is not None:
        page = asking.get("/api/v1/checks", {**query, "after": after})
        found += page["checks"]
        after, until_s = page["next_after"], page["until_s"]
    _print(found, checks_lines(found, until_s, _width()), as_json=as_json)


@show.command("queue")
def queue(
    relay: Annotated[str, typer.Argument(metavar="RELAY")],
    collector: Collector,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """A relay's queue at the last look, and our canaries in it. Needs an operator's token."""
    from urllib.parse import quote

    asking = _Asking(collector, token_file, ca_file)
    answer = asking.get(
        f"/api/v1/relays/{quote(relay, safe='')}/queue",
        {},
        absent=f"found relay {relay!r}, allowed is one whose queue an agent on it has looked at",
    )
    _print(answer, queue_lines(answer, _width()), as_json=as_json)


class _Asking:
    """How the collector is asked."""

    def __init__(self, url: str, token_file: Path | None, ca_file: Path | None) -> None:
        self._url = url.rstrip("/")
        self._token = _token(token_file)
        self._ca_file = ca_file

    def get(self, path: str, query: Mapping[str, str], *, absent: str | None = None) -> Any:
        """The answer's JSON; what cannot be had ends the command with exit code 1.

        ``absent`` is what to say when the collector has no such thing (404).
        """
        [answer] = self.get_all(path, [query], absent=absent)
        return answer

    def get_all(
        self, path: str, queries: Sequence[Mapping[str, str]], *, absent: str | None = None
    ) -> list[Any]:
        """As :meth:`get`, for several queries at once, in their order."""
        from aiohttp import ClientError

        try:
            answers = [
                (status, json.loads(body))
                for status, body in asyncio.run(self._get_all(path, queries))
            ]
        except (ClientError, OSError, TimeoutError, ValueError) as error:
            _fail(f"{self._url}: {str(error) or type(error).__name__}")
        for status, answer in answers:
            if status == 404 and absent is not None:
                _fail(absent)
            if status != 200:
                told = answer if isinstance(answer, dict) else {}
                _fail(f"{self._url}: {told.get('detail') or told.get('title') or status}")
        return [answer for _, answer in answers]

    async def _get_all(
        self, path: str, queries: Sequence[Mapping[str, str]]
    ) -> list[tuple[int, bytes]]:
        import ssl

        from aiohttp import ClientSession, ClientTimeout

        tls = ssl.create_default_context(cafile=self._ca_file)
        turns = asyncio.Semaphore(AT_ONCE)
        async with ClientSession(
            timeout=ClientTimeout(total=TIMEOUT_S), auto_decompress=False
        ) as client:

            async def ask(query: Mapping[str, str]) -> tuple[int, bytes]:
                # The wait for a turn is not the collector's silence.
                async with turns:
                    return await self._get(client, tls, path, query)

            return await asyncio.gather(*map(ask, queries))

    async def _get(
        self, client: "ClientSession", tls: "SSLContext", path: str, query: Mapping[str, str]
    ) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self._token}"}
        # A redirect would carry the token to a host that nobody named.
        async with client.get(
            self._url + path, params=query, headers=headers, ssl=tls, allow_redirects=False
        ) as answer:
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


def _print(answer: Any, lines: Iterable[str], *, as_json: bool) -> None:
    typer.echo(json.dumps(answer) if as_json else "\n".join(lines))


def _width() -> int:
    return shutil.get_terminal_size().columns


def _series(dimension: str, key: str | None, last: str, asking: _Asking, *, as_json: bool) -> None:
    try:
        span_s = int(parse_duration(last))
    except ValueError as error:
        message = f"found {last!r}, allowed is {error}"
        raise typer.BadParameter(message, param_hint="--last") from None
    if key is None:
        _list(dimension, asking, span_s, as_json=as_json)
        return
    # The finest tier that shows the time in a table one can read.
    tier = 60 if span_s <= 2 * HOUR_S else HOUR_S if span_s <= 4 * DAY_S else DAY_S
    query = {"dimension": dimension, "key": key, "tier": str(tier)}
    until_s = asking.get("/api/v1/series", query)["until_s"]
    begin = max(0, until_s - span_s) // tier * tier
    answer = asking.get("/api/v1/series", {**query, "from": str(begin), "to": str(until_s + 1)})
    if answer["points"]:
        _print(answer, series_lines(answer, _width()), as_json=as_json)
        return
    _must_be_known(dimension, key, asking)
    _print(answer, [f"no canaries of {dimension} {key} in the last {last}"], as_json=as_json)


def _list(dimension: str, asking: _Asking, span_s: int, *, as_json: bool) -> None:
    names = _known(dimension, asking)
    if not names:
        _print([], [f"no {dimension}s: no canary has been sent yet"], as_json=as_json)
        return
    # Percentiles cannot be added up: the longer the stretches, the closer to the whole's.
    tier = HOUR_S if span_s <= 4 * DAY_S else DAY_S
    queries = [{"dimension": dimension, "key": name, "tier": str(tier)} for name in names]
    until_s = asking.get("/api/v1/series", queries[0])["until_s"]
    begin = max(0, until_s - span_s) // tier * tier
    span = {"from": str(begin), "to": str(until_s + 1)}
    answers = asking.get_all("/api/v1/series", [{**query, **span} for query in queries])
    found = {it["key"]: [point["figures"] for point in it["points"]] for it in answers}
    _print(answers, list_lines(dimension, found, begin, _width()), as_json=as_json)


def _known(dimension: str, asking: _Asking) -> list[str]:
    """The names of which there have been canaries, as far as the token may see them."""
    return sorted({_name_of(dimension, path) for path in _paths(asking)})


def _paths(asking: _Asking) -> Iterator[Mapping[str, str]]:
    after: str | None = ""
    while after is not None:
        page = asking.get("/api/v1/paths", {"limit": str(PAGE), "after": after})
        yield from (it["path"] for it in page["paths"])
        after = page["next_after"]


def _name_of(dimension: str, path: Mapping[str, str]) -> str:
    if dimension == "path":
        return "|".join((path["agent"], path["relay"], path["mailbox"]))
    return path["relay"] if dimension == "relay" else path["mailbox"].partition("/")[0]


def _must_be_known(dimension: str, key: str, asking: _Asking) -> None:
    """End with exit code 1 when there never was a canary of that name."""
    known = _known(dimension, asking)
    if key in known:
        return
    near = difflib.get_close_matches(key, known, NAMED, 0.6) if len(known) > NAMED else known
    told = ", ".join(near or known[:NAMED])
    if not known:
        told = "none yet: no canary has been sent"
    elif len(known) > NAMED:
        told += f" or another of {len(known)}"
        told += "" if dimension == "path" else f", as `mailcanary show {dimension}` lists them"
    _fail(f"found {dimension} {key!r}, of which there never was a canary; allowed is {told}")
