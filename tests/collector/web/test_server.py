"""The server on the wire: strangers, slow ones, too many of them, TLS, and what the log shows."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from aiohttp import ClientSession, web

from collector.control.principal import Kind
from collector.control.tokens import Tokens
from collector.web.app import WebServices, build_app
from collector.web.bodies import Bodies
from collector.web.handling import BodyTime, read_json, reply
from collector.web.limits import FailureLimit
from collector.web.route import Route
from collector.web.server import Certificate, ServerOptions, Serving, serving
from probes.contract.errors import MailcanaryError
from tests.collector.control.stores import HandClock, control_store
from tests.collector.web.servers import bearer, started, web_services


async def _echo(request: web.Request) -> web.Response:
    return reply(await read_json(request, dict[str, str]))


async def _fail(request: web.Request) -> web.Response:
    raise RuntimeError(f"failed on {request.path}")


ROUTES = (
    Route("POST", "/echo", _echo, "", request=dict[str, str]),
    Route("GET", "/fail", _fail, ""),
)


@contextlib.asynccontextmanager
async def listening(
    options: ServerOptions, base: WebServices | None = None
) -> AsyncIterator[Serving]:
    """The routes above, served."""
    async with serving(build_app(base or web_services(), {}, ROUTES), options) as server:
        yield server


async def _exchange(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(text)
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_head_that_never_ends_is_cut_off() -> None:
    async with listening(ServerOptions(port=0, head_s=0.2)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /echo HTTP/1.1\r\nHost: a\r\n")
        got = b"nothing yet"
        with contextlib.suppress(ConnectionError):
            # One byte now and then does not keep the connection: a whole head has to come.
            while not reader.at_eof():
                writer.write(b"X")
                with contextlib.suppress(TimeoutError):
                    got = await asyncio.wait_for(reader.read(), 0.05)
        assert got in (b"", b"nothing yet")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


POST = (
    b"POST /echo HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer operator-ann\r\n"
    b"Content-Type: application/json\r\nContent-Length: 100\r\nConnection: close\r\n\r\n"
)


@pytest.mark.parametrize("time", [BodyTime(most_s=0.1), BodyTime(grace_s=0.1)])
async def test_a_body_that_never_ends_is_cut_off(time: BodyTime) -> None:
    async with listening(ServerOptions(port=0), web_services(body_time=time)) as server:
        assert (await _exchange(server.port, POST + b"{")).startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_drips_is_cut_off_long_before_its_time_is_over() -> None:
    drips = web_services(body_time=BodyTime(most_s=3600.0, grace_s=0.2, bytes_per_s=1000))
    async with listening(ServerOptions(port=0), drips) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(POST)
        got = b""
        with contextlib.suppress(ConnectionError):
            # A byte now and then does not keep it: they would last for ever.
            while not got:
                writer.write(b" ")
                with contextlib.suppress(TimeoutError):
                    got = await asyncio.wait_for(reader.readline(), 0.05)
        assert got.startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_a_body_that_is_fast_enough_may_take_longer_than_the_grace() -> None:
    base = web_services(body_time=BodyTime(grace_s=0.1, bytes_per_s=1))
    async with listening(ServerOptions(port=0), base) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        # Fifty bytes are good for fifty seconds, so nothing comes of waiting past the grace.
        writer.write(POST + b'{"a":"' + b"b" * 44)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        writer.write(b"b" * 48 + b'"}')
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_bodies_of_one_sender_do_not_fill_the_memory() -> None:
    base = web_services(bodies=Bodies(of_one=150, in_all=250))
    lon, fra = (POST.replace(b"-ann", name) for name in (b"-lon", b"-fra"))
    waits = b"\r\nExpect: 100-continue\r\n\r\n"
    async with (
        listening(ServerOptions(port=0), base) as server,
        contextlib.AsyncExitStack() as held,
    ):

        async def hold(post: bytes) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            held.push_async_callback(writer.wait_closed)
            held.callback(writer.close)
            writer.write(post.replace(b"\r\n\r\n", waits))
            # It is asked for its body in the step that then makes room for it.
            assert (await reader.readline()).startswith(b"HTTP/1.1 100 ")

        await hold(POST)
        answer = await _exchange(server.port, POST)
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"Retry-After: 1" in answer
        await hold(lon)
        assert (await _exchange(server.port, fra)).startswith(b"HTTP/1.1 503 ")
        await held.aclose()
        small = POST.replace(b"Length: 100", b"Length: 2") + b"{}"
        assert (await _exchange(server.port, small)).startswith(b"HTTP/1.1 200 ")


def test_how_long_a_body_may_take() -> None:
    time = BodyTime(most_s=30.0, grace_s=5.0, bytes_per_s=1000)
    assert [time.until_s(received) for received in (0, 2000, 25_000, 90_000)] == [5, 7, 30, 30]


async def test_a_huge_head_is_refused() -> None:
    async with listening(ServerOptions(port=0)) as server:
        for head in (b"X: " + b"a" * 20_000, b"".join(b"X%d: a\r\n" % n for n in range(100))):
            got = await _exchange(
                server.port, b"GET / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n"
            )
            assert got.partition(b"\r\n")[0].endswith(b" 400 Bad Request")


async def test_too_many_connections_are_turned_away_and_the_rest_served() -> None:
    base = web_services()
    async with (
        listening(ServerOptions(port=0, connections=1), base) as server,
        ClientSession(base_url=server.url) as client,
    ):
        assert (await client.get("/nothing")).status == 404  # and keeps its connection
        got = await _exchange(server.port, b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 5" in got
        assert (await client.get("/nothing")).status == 404
    refused = base.metrics.registry.get_sample_value(
        "mailcanary_collector_http_connections_refused_total", {"why": "all"}
    )
    assert refused == 1


@pytest.mark.parametrize("tls", [False, True])
async def test_too_many_connections_of_one_address_keep_no_other_out(
    tmp_path: Path, tls: bool
) -> None:
    base = web_services()
    authority = trustme.CA()
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    certificate = _certificate(tmp_path, authority, "127.0.0.1") if tls else None
    options = ServerOptions(port=0, connections_per_address=2, certificate=certificate)
    get = b"GET /nothing HTTP/1.1\r\nHost: a\r\n"

    async def connect(source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.port, local_addr=(source, 0), ssl=trusted if tls else None
        )
        return reader, writer

    async def status(source: str) -> bytes:
        reader, writer = await connect(source)
        with contextlib.suppress(ConnectionError):
            writer.write(get + b"Connection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        return answer.split()[1]

    async with listening(options, base) as server:
        held = [await connect("127.0.0.2") for _ in range(2)]
        for reader, writer in held:
            writer.write(get + b"\r\n")
            assert (await reader.readline()).split()[1] == b"404"
        assert await status("127.0.0.2") == b"503"
        assert await status("127.0.0.3") == b"404"
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(10):
            while await status("127.0.0.2") != b"404":
                pass
    count = base.metrics.registry.get_sample_value(
        "mailcanary_collector_http_connections_refused_total", {"why": "address"}
    )
    assert count is not None
    assert count >= 1


async def test_bad_tokens_are_limited_by_address_and_good_ones_never() -> None:
    clock = HandClock()
    base = web_services(failures=FailureLimit(burst=2, every_s=6.0, monotonic=clock.monotonic))
    async with started({}, ROUTES, base) as client:
        got = [(await client.get("/fail", headers=bearer("wrong"))) for _ in range(3)]
        assert [response.status for response in got] == [401, 401, 429]
        assert got[2].headers["Retry-After"] == "6"
        good = await client.post("/echo", json={"a": "b"}, headers=bearer("operator-ann"))
        assert good.status == 200
        clock.advance(6)
        assert (await client.get("/fail", headers=bearer("wrong"))).status == 401


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer  ", "operator-ann", "Bearer é"])
async def test_authorization_that_is_none(header: str) -> None:
    async with started({}, ROUTES) as client:
        response = await client.get("/fail", headers={"Authorization": header})
        assert response.status == 401


async def test_no_token_is_in_any_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with control_store(tmp_path) as store:
        tokens = Tokens(store)
        _, secret = await tokens.create(Kind.OPERATOR, "ann", who="test")
        text = secret.reveal()
        async with listening(ServerOptions(port=0), web_services(tokens=tokens)) as server:
            async with ClientSession(base_url=server.url) as client:
                for path in (
                    "/fail", f"/fail?token={text}", "/nothing", f"/echo?a={text}", f"/no/{text}",
                    f"/no/%6D{text[1:]}",
                ):  # fmt: skip
                    for token in (text, text + "x"):
                        await client.get(path, headers=bearer(token))
                await client.post("/echo", data=text, headers=bearer(text))
                await client.post("/echo", json=[text], headers=bearer(text))
            for head in (
                f"Authorization: Bearer {text}\x01\r\n",
                f"Authorization Bearer {text}\r\n",
                f"Authorization: Bearer {text}\r\nContent-Length: {text}\r\n",
            ):
                await _exchange(
                    server.port, b"GET /fail HTTP/1.1\r\nHost: a\r\n" + head.encode() + b"\r\n"
                )
            await _exchange(server.port, f"{text}\r\n\r\n".encode())
    shown = capsys.readouterr()
    logged = caplog.text + shown.out + shown.err
    assert "failed on /fail" in logged  # the faults themselves are there to be seen
    assert text not in logged
    assert text[-43:] not in logged


async def test_what_is_no_http_is_counted_and_no_news() -> None:
    base = web_services()
    async with listening(ServerOptions(port=0), base) as server:
        await _exchange(server.port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    name = "mailcanary_collector_http_malformed_requests_total"
    assert base.metrics.registry.get_sample_value(name) == 1


def _certificate(directory: Path, authority: trustme.CA, name: str) -> Certificate:
    issued = authority.issue_cert(name)
    files = Certificate(directory / "cert.pem", directory / "key.pem")
    for index, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(files.cert, append=index > 0)
    issued.private_key_pem.write_to_path(files.key)
    return files


async def _name_shown(server: Serving, trusted: ssl.SSLContext) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusted)
    try:
        shown = writer.get_extra_info("peercert")["subjectAltName"][0][1]
        writer.write(b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 404 ")
        return str(shown)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_tls_and_a_new_certificate_without_a_restart(tmp_path: Path) -> None:
    authority = trustme.CA()
    trusted = ssl.create_default_context()
    trusted.check_hostname = False
    authority.configure_trust(trusted)
    files = _certificate(tmp_path, authority, "old.example")
    async with listening(ServerOptions(port=0, certificate=files)) as server:
        assert server.url.startswith("https://")
        assert server.tls is not None
        assert await _name_shown(server, trusted) == "old.example"
        _certificate(tmp_path, authority, "new.example")
        server.tls.reload()
        assert await _name_shown(server, trusted) == "new.example"
        authority.issue_cert("other.example").private_key_pem.write_to_path(files.key)
        with pytest.raises(MailcanaryError, match=r"tls: found .*cert.pem"):
            server.tls.reload()
        assert await _name_shown(server, trusted) == "new.example"


async def test_addresses_and_files_that_cannot_be_used(tmp_path: Path) -> None:
    missing = Certificate(tmp_path / "cert.pem", tmp_path / "key.pem")
    with pytest.raises(MailcanaryError, match=r"cert.pem: found no such file.*, allowed is a read"):
        async with listening(ServerOptions(port=0, certificate=missing)):
            pass
    async with listening(ServerOptions(port=0)) as server:
        with pytest.raises(MailcanaryError, match="a port that is free"):
            async with listening(ServerOptions(port=server.port)):
                pass
