"""The collector's settings: every problem at once, and a schema that fits the example."""

import json
from pathlib import Path

import pytest

from collector.ingest.admission import Room
from collector.settings import (
    CollectorSettings,
    MetricsAccess,
    parse_settings,
    read_settings,
    settings_schema,
)
from probes.contract.errors import ConfigError
from probes.contract.wire import MAX_COMPRESSED_BYTES

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "collector.yaml"


def test_the_example_says_the_defaults() -> None:
    example = parse_settings("collector.yaml", EXAMPLE.read_text(encoding="utf-8"))
    assert example == CollectorSettings(version=1, config="small.yaml")


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "collector.yaml"
    file.write_text("version: 1\ntls: {cert: a.pem, key: /b.pem}\nstate: state\n")
    settings = read_settings(file)
    assert settings.tls is not None
    assert (settings.tls.cert, settings.tls.key) == (str(tmp_path / "a.pem"), "/b.pem")
    assert settings.state == str(tmp_path / "state")
    assert settings.config == str(tmp_path / "mailcanary.yaml")


def test_every_mistake_is_told_at_once() -> None:
    text = (
        "version: 1\n"
        "listen:\n"
        "  port: 99999\n"
        "  adress: 127.0.0.1\n"
        "tls: {cert: a.pem}\n"
        "proxies: [10.0.0.1/8]\n"
        "beat: 10\n"
        "metrics: everybody\n"
        "limits: {ingest_mb: 0}\n"
    )
    with pytest.raises(ConfigError) as caught:
        parse_settings("c.yaml", text)
    lines = str(caught.value).splitlines()
    assert [line.partition(" found")[0] for line in lines] == [
        "c.yaml:3: listen.port:",
        "c.yaml:4: listen.adress:",
        "c.yaml:5: tls:",
        "c.yaml:6: proxies[0]:",
        "c.yaml:7: beat:",
        "c.yaml:8: metrics:",
        "c.yaml:9: limits.ingest_mb:",
    ]
    assert "did you mean 'address'?" in lines[1]


def test_the_largest_batch_fits_into_what_ingest_may_have() -> None:
    least = parse_settings("c.yaml", "version: 1\nlimits: {ingest_mb: 32}\n").limits.ingest_mb
    assert Room.of(least).body_bytes >= MAX_COMPRESSED_BYTES
    with pytest.raises(ConfigError, match=r"limits.ingest_mb: found .* allowed is at least 32"):
        parse_settings("c.yaml", "version: 1\nlimits: {ingest_mb: 31}\n")


@pytest.mark.parametrize("beat", ["500ms", "6m"])
def test_beats_have_bounds(beat: str) -> None:
    with pytest.raises(ConfigError, match=r"beat: found .* allowed is a duration from 1s to 5m"):
        parse_settings("c.yaml", f"version: 1\nbeat: {beat}\n")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"version: 1\nstate: \xff\n", "c.yaml:2: found the byte 0xff"),
        (b"version: [1\n", "c.yaml:2: found bad YAML"),
        (b"", "c.yaml: found nothing"),
        (b"#" * (1 << 20) + b"\n", "c.yaml: found a huge file"),
    ],
)
def test_files_that_are_none(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_settings(file)
    assert said in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_settings(tmp_path / "c.yaml")


def test_metrics_may_be_open() -> None:
    assert parse_settings("c", "version: 1\nmetrics: open\n").metrics is MetricsAccess.OPEN


def test_the_published_schema_is_up_to_date() -> None:
    published = (ROOT / "docs" / "schema" / "collector.schema.json").read_text(encoding="utf-8")
    assert json.loads(published) == settings_schema()


def test_every_key_is_described_or_plain() -> None:
    schema = settings_schema()
    assert schema["properties"]["beat"]["default"] == "10s"
    assert schema["$defs"]["LogSettings"]["properties"]["age"]["default"] == "30d"
    assert not schema["additionalProperties"]
