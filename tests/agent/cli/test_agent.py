"""What ``mailcanary agent`` says of options that are wrong, and what it makes of good ones.

``mailcanary run`` takes the same.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer

import mailcanary
from agent.caps import Caps
from agent.cli.agent import AgentOptions
from agent.cli.run import RunOptions
from agent.cli.running import Running, address
from agent.remote import Collector
from probes.contract.errors import MailcanaryError

CONFIG = str(Path(__file__).parents[3] / "examples" / "small.yaml")


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What is said of a command line that cannot be used; in one line."""
    with pytest.raises(SystemExit) as caught:
        mailcanary.main([*words])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return " ".join(said.replace("│", " ").split())


@pytest.mark.parametrize("command", ["agent", "run"])
@pytest.mark.parametrize(
    ("option", "found", "allowed"),
    [
        ("--spool-max-mb", "0", "a whole number from 1 to 16777216"),
        ("--spool-max-mb", "-1", "a whole number from 1 to 16777216"),
        ("--spool-max-mb", "1.5", "a whole number from 1 to 16777216"),
        ("--max-sending", "0", "a whole number from 1 to 1000000"),
        ("--max-per-relay", "none", "a whole number from 1 to 1000000"),
        ("--max-per-mailbox", "9" * 5000, "a whole number from 1 to 1000000"),
        ("--max-in-air", "", "a whole number from 1 to 1000000"),
        ("--max-unread-s", "nan", "a duration from 1s to 7d, such as 30s or 5m, or seconds"),
        ("--max-unread-s", "0", "a duration from 1s to 7d, such as 30s or 5m, or seconds"),
        ("--metrics", "nonsense", "ADDRESS:PORT, such as 127.0.0.1:9877"),
        ("--metrics", "127.0.0.1:0", "ADDRESS:PORT, such as 127.0.0.1:9877"),
        ("--metrics", "::1:9877", "ADDRESS:PORT, such as 127.0.0.1:9877"),
        ("--metrics", "localhost:99999", "ADDRESS:PORT, such as 127.0.0.1:9877"),
    ],
)
def test_a_wrong_value_is_told_with_its_option_and_what_is_allowed(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    option: str,
    found: str,
    allowed: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "20000")
    said = refused(capsys, command, "--config", CONFIG, "--name", "sfo", option, found)
    assert f"Invalid value for {option}: found {found!r}, allowed is {allowed}" in said


@pytest.mark.parametrize("command", ["agent", "run"])
@pytest.mark.parametrize("option", ["--config", "--policy"])
def test_a_file_that_is_not_there_is_told_with_its_option(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: str,
    option: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "20000")
    none = str(tmp_path / "none.yaml")
    words = ["--config", none] if option == "--config" else ["--config", CONFIG, option, none]
    said = refused(capsys, command, *words)
    assert f"Invalid value for {option}: found {none}: no such file or directory" in said


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        ([], ["found none of them, allowed is one of --config and --collector"]),
        (
            ["--config", CONFIG, "--collector", "https://c", "--events", "-"],
            ["found both", "found no --name", "found no --policy", "found --events"],
        ),
        (
            ["--config", CONFIG, "--token-file", "t"],
            ["found --token-file, allowed is it only with"],
        ),
        (["--config", CONFIG, "--ca-file", "t"], ["found --ca-file, allowed is it only with"]),
    ],
)
def test_options_that_do_not_go_together_are_told_all_at_once(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    texts: list[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "20000")
    monkeypatch.delenv("MAILCANARY_AGENT", raising=False)
    said = refused(capsys, "agent", *words)
    assert "Invalid value for --config or --collector: " in said
    assert [text for text in texts if text not in said] == []


def test_the_agents_options_are_those_of_run_but_for_where_work_comes_from() -> None:
    agents = {field.name for field in fields(AgentOptions)}
    runs = {field.name for field in fields(RunOptions)}
    only_agent = {"collector", "token_file", "ca_file", "events"}
    assert (agents - runs, runs - agents) == (only_agent, {"listen"})


def options(**words: Any) -> Running:
    return Running(**words)


def caps_of(asked: Running, relays: int) -> Caps:
    return asked.settings(Path("/nowhere")).limits.caps_for(relays)


def test_without_a_word_the_caps_are_the_relays_own_choice() -> None:
    assert caps_of(options(), 10) == Caps()
    assert caps_of(options(), 1000) == Caps(sending=4000, few=2)


def test_what_is_asked_for_holds_and_the_rest_follows_from_the_relays() -> None:
    assert caps_of(options(max_per_relay=7), 10) == Caps(per_relay=7)
    assert caps_of(options(max_per_relay=7), 1000) == Caps(per_relay=7, sending=4000, few=2)
    asked = options(max_sending=9, max_in_air=8, max_per_mailbox=6, max_unread_s=5.0)
    caps = caps_of(asked, 4)
    assert (caps.sending, caps.in_air, caps.per_mailbox, caps.unread_s) == (9, 8, 6, 5.0)
    assert caps.few == 1


def test_settings_are_what_was_asked_for(tmp_path: Path) -> None:
    asked = options(metrics="[::1]:9877", spool_max_mb=3)
    settings = asked.settings(tmp_path, "-")
    assert (settings.state, settings.events, settings.metrics) == (tmp_path, "-", ("::1", 9877))
    assert settings.limits.spool_bytes == 3 * 1024 * 1024


@pytest.mark.parametrize(
    ("text", "found"),
    [("127.0.0.1:1", ("127.0.0.1", 1)), (":9877", ("127.0.0.1", 9877)), ("h:65535", ("h", 65535))],
)
def test_an_address_is_a_host_and_a_port(text: str, found: tuple[str, int]) -> None:
    assert address(text, "--metrics") == found


@pytest.mark.parametrize("text", ["", ":", "9877", "h:", "h:+1", "h:\u0661", "a\nb:1", "h:1 "])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="allowed is ADDRESS:PORT"):
        address(text, "--metrics")


@pytest.mark.parametrize(
    "url",
    ["ftp://c", "c:8420", "https://", "https://:8420", "https://c:99999", "https://me@c",
     "https://c?x=1", "https://c#x", "https://c d", "https://c:0", ""],
)  # fmt: skip
def test_a_collector_that_is_none_is_wrong_usage(url: str) -> None:
    with pytest.raises(MailcanaryError) as caught:
        Collector(url, "sfo").endpoint("1")
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(f"--collector: found {url!r}, allowed is a URL such as")
