"""Working for a collector: the token, the URL, the beat, and waiting for a first assignment."""

from pathlib import Path

import msgspec
import pytest

from agent.remote import Collector, beat_of
from probes.contract.errors import MailcanaryError, SecretError
from probes.contract.events import Heartbeat, decode

GOLDEN = Path(__file__).parents[1] / "probes" / "contract" / "golden" / "heartbeat.json"


@pytest.mark.parametrize(
    "url",
    ["", "collector:8420", "ftp://c.example", "https://", "https://me:pw@c.example", "http://c?x"],
)
def test_what_is_no_url_is_said(url: str) -> None:
    with pytest.raises(MailcanaryError, match="--collector: found"):
        Collector(url, "sfo").endpoint("1.0")


def test_a_ca_file_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "nothing.pem"):
        with pytest.raises(MailcanaryError, match="--ca-file: found"):
            Collector("https://c.example", "sfo", ca_file=tmp_path / name).endpoint("1.0")


def test_https_is_verified_and_http_is_not_encrypted() -> None:
    tls = Collector("https://c.example", "sfo").endpoint("1.0").tls
    assert tls is not None
    assert tls.check_hostname
    assert Collector("http://c.example", "sfo").endpoint("1.0").tls is None


def test_a_new_token_needs_no_restart(tmp_path: Path) -> None:
    file = tmp_path / "token"
    collector = Collector("https://c.example", "sfo", token_file=file)
    with pytest.raises(SecretError, match="token"):
        collector.token()
    file.write_text("mc1_agent_a_b\n")
    assert collector.token().reveal() == "mc1_agent_a_b"
    file.write_text("mc1_agent_c_d")
    assert collector.token().reveal() == "mc1_agent_c_d"


@pytest.mark.parametrize("text", ["", " \n", "two words", "mc1\nmc2"])
def test_a_file_without_a_token_is_said_and_not_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(SecretError, match="found no token") as caught:
        Collector("https://c.example", "sfo", token_file=tmp_path / "token").token()
    assert "words" not in str(caught.value)


def test_the_environment_has_the_token_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILCANARY_TOKEN", "mc1_agent_a_b")
    assert Collector("https://c.example", "sfo").token().reveal() == "mc1_agent_a_b"


def test_a_beat_tells_what_the_heartbeat_does_without_the_watermarks() -> None:
    heartbeat = decode(GOLDEN.read_bytes())
    assert isinstance(heartbeat, Heartbeat)
    assert any(health.watermark_ns is not None for health in heartbeat.mailboxes.values())
    beat = beat_of(heartbeat, "r1", 7)
    assert (beat.revision, beat.shipped_seq, beat.last_seq) == ("r1", 7, heartbeat.spool.last_seq)
    assert beat.mailboxes.keys() == heartbeat.mailboxes.keys()
    assert b'"watermark_ns":null' in msgspec.json.encode(beat)
    assert all(health.watermark_ns is None for health in beat.mailboxes.values())
