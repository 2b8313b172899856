"""The collector's settings file, ``collector.yaml``; ``docs/http.md`` explains each word.

How the collector itself runs: what it listens on, where it keeps its files, what it puts up with.
What is measured stands in the configuration, which the settings name.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from probes.contract.config.document import read
from probes.contract.config.fields import Duration, FilePath, Host, Model, Port, Version
from probes.contract.config.networks import IpNetwork, network
from probes.contract.config.parts import Place, Taker
from probes.contract.config.schema import file_schema
from probes.contract.config.source import Source, text_of
from probes.contract.errors import ConfigError, Problem

MAX_BYTES = 1 << 20
"""A larger settings file is a mistake."""

Megabytes = Annotated[int, Field(ge=1, le=1 << 24, strict=True)]
# A quarter is for batches as they come, and one batch may have 8 MiB.
IngestMegabytes = Annotated[int, Field(ge=32, le=1 << 24, strict=True)]
HostPattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:*-]{1,253}$")]
Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]


def _beat(seconds: float) -> float:
    if not 1.0 <= seconds <= 300.0:
        raise ValueError("a duration from 1s to 5m")
    return seconds


Beat = Annotated[Duration, AfterValidator(_beat)]
Network = Annotated[
    IpNetwork,
    network("an address or a network without host bits, such as 10.1.0.7 or 10.1.0.0/16"),
]


class MetricsAccess(StrEnum):
    """Who may read ``/metrics``."""

    OPERATORS = "operators"
    OPEN = "open"


class Listen(Model):
    """Where the HTTP server listens. Without ``tls`` keep to loopback or a private network."""

    address: Host = "127.0.0.1"
    port: Port = 8420
    connections: Count = 2000
    """How many at once; more are turned away with 503."""
    connections_per_address: Count = 500
    """Of those from one address, an IPv6 host's /64 or an agents' common gateway; ``proxies`` are
    not held to it."""
    head: Duration = 30.0
    """How long a request's head may take to arrive, and an idle connection is kept."""
    body: Duration = 30.0
    """How long a request's body may take to arrive."""
    body_rate: Count = 4096
    """Bytes a second that a body must arrive at, from five seconds on."""


class TlsFiles(Model):
    """The server's certificate, with its chain, and key, both PEM. Read again on SIGHUP."""

    cert: FilePath
    key: FilePath


class LogSettings(Model):
    """How long the log is kept: whichever bound is reached first drops the oldest segment."""

    age: Duration = 30 * 86400.0
    max_mb: Megabytes = 20 << 10
    segment: Duration = 3600.0
    """The time that one segment covers."""
    segment_mb: Megabytes = 512


class Limits(Model):
    """What the collector puts up with before it says that it has too much to do."""

    ingest_mb: IngestMegabytes = 256
    """Batches in memory at once, compressed and plain together; more are answered with 503."""
    batches_per_minute: Count = 600
    """From one agent; more are answered with 429."""
    agent_mb_per_hour: Megabytes = 2048
    """What one agent may put into the log, an hour's worth of it at once; more is answered with
    429."""
    new_epochs_per_day: Count = 32
    """Spools that one agent may begin; batches of more are answered with 429."""
    epochs: Count = 1000
    """Of one agent that the log ever knows; batches of more are answered with 429."""
    customer_changes_per_hour: Count = 60
    """Changes of its own that one customer's tokens may make, ten of them at once; more are
    answered with 429."""
    failures_per_minute: Count = 10
    """Requests without a good token from one address; more are answered with 429."""


class CollectorSettings(Model):
    """The whole file; every key but ``version`` may be left out."""

    version: Version
    listen: Listen = Listen()
    tls: TlsFiles | None = None
    """None: plain HTTP, for loopback or behind a proxy that ends TLS."""
    proxies: tuple[Network, ...] = ()
    """Whose ``X-Forwarded-For`` is believed."""
    config: FilePath = "mailcanary.yaml"
    """The configuration's main file; ``customers.d`` lies beside it."""
    state: FilePath = "/var/lib/mailcanary-collector"
    customer_hosts: tuple[HostPattern, ...] = ("*",)
    """Hosts that a customer's own token may name; ``*`` is every public one."""
    beat: Beat = 10.0
    """How often agents say that they live; three missed beats are ``down``."""
    metrics: MetricsAccess = MetricsAccess.OPERATORS
    log: LogSettings = LogSettings()
    limits: Limits = Limits()


def parse_settings(name: str, text: str) -> CollectorSettings:
    """The settings in ``text``; ``name`` is how messages call it.

    Raises:
        ConfigError: with every problem found.
    """
    document = read(Source(name, text))
    if not document.readable:
        raise ConfigError(document.problems)
    own: list[Problem] = []
    found = Taker(own).part(Place(document, ()), document.data, CollectorSettings).value
    # YAML's own complaint about a value says more than the type error that follows from it.
    told = {problem.path for problem in document.problems}
    problems = [*document.problems, *(problem for problem in own if problem.path not in told)]
    if problems or found is None:
        raise ConfigError(problems)
    return found


def read_settings(path: Path) -> CollectorSettings:
    """The settings in a file; relative paths in it are relative to its directory.

    Raises:
        ConfigError: with every problem found.
    """
    name = str(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError([Problem(name, 0, "", reason, "a readable file")]) from None
    return anchored(parse_settings(name, text_of(name, data, MAX_BYTES)), path.parent)


def anchored(settings: CollectorSettings, base: Path) -> CollectorSettings:
    """``settings`` with its relative paths seen from ``base``."""
    update: dict[str, object] = {
        "config": str(base / settings.config),
        "state": str(base / settings.state),
    }
    if settings.tls is not None:
        update["tls"] = TlsFiles(
            cert=str(base / settings.tls.cert), key=str(base / settings.tls.key)
        )
    return settings.model_copy(update=update)


def with_options(
    settings: CollectorSettings | None,
    *,
    config: str | None = None,
    state: str | None = None,
    listen: str | None = None,
) -> CollectorSettings:
    """``settings``, or the defaults, with what a command line says instead.

    Raises:
        ConfigError: an option has no such value.
    """
    found = settings or CollectorSettings(version=1)
    update: dict[str, object] = {}
    if config is not None:
        update["config"] = config
    if state is not None:
        update["state"] = state
    if listen is not None:
        host, colon, port = listen.rpartition(":")
        address = host.removeprefix("[").removesuffix("]")
        # Port 0 is a free one, for tests and for trying things out.
        if (
            not colon
            or not address
            or not port.isascii()
            or not port.isdigit()
            or int(port) > 65535
        ):
            problem = Problem(
                "--listen", 0, "", repr(listen), "ADDRESS:PORT, such as 127.0.0.1:8420"
            )
            raise ConfigError([problem])
        update["listen"] = found.listen.model_copy(update={"address": address, "port": int(port)})
    return found.model_copy(update=update)


def settings_schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors."""
    return file_schema(CollectorSettings.model_json_schema(), "mailcanary collector settings")
