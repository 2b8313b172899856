"""``mailcanary doctor``: exit codes, plain lines, the table, JSON."""

import io
import json
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from agent.cli.doctor import doctor
from agent.doctor.model import Diagnosis, Item, Status
from agent.doctor.rules import Rule
from agent.doctor.show import MANY_GROUPS, show

app = typer.Typer()
app.command()(doctor)
runner = CliRunner()

CONFIG = """\
version: 1
relays:
  - {name: a1, host: 127.0.0.1, port: 1, tls: none}
agents:
  - {name: sfo, sender: {address: c@m.example, helo: sfo.m.example}}
customers:
  - name: acme
    mailboxes:
      - name: inbox
        address: c@acme.example
        imap: {host: 127.0.0.1, port: 1, user: u, secret: acme/imap}
    canaries: [{}]
"""
POLICY = "version: 1\nkeys: {current: {id: k1, secret: key}}\nsources: {directory: .}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Files whose one relay has a closed port and whose one mailbox is on a denied address."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "key").write_text("0123456789abcdef")
    (tmp_path / "key").chmod(0o600)
    file = tmp_path / "mailcanary.yaml"
    file.write_text(CONFIG)
    return file


def _run(config: Path, *more: str) -> tuple[int, str]:
    result = runner.invoke(app, ["--config", str(config), "--state", str(config.parent), *more])
    assert result.stderr == ""
    return result.exit_code, result.stdout


def test_plain_lines(config: Path) -> None:
    code, text = _run(config)
    assert code == 1
    lines = text.splitlines()
    assert "\x1b" not in text
    assert "ok      relay a1: dns: 127.0.0.1" in lines
    assert "skipped relay a1: smtp: connect failed" in lines
    [connect] = [line for line in lines if line.startswith("fail    relay a1: connect: ")]
    assert " -> nothing listens there" in connect
    assert any("mailbox acme/inbox: dns: 127.0.0.1 (denied: 127.0.0.0/8) -> " in x for x in lines)
    assert lines[-1].endswith(" skipped")


def test_json(config: Path) -> None:
    code, text = _run(config, "--json")
    assert code == 1
    told = json.loads(text)
    assert set(told) == {"items", "policy_lacks", "ok", "warn", "fail", "skipped"}
    fields = {"group", "name", "status", "seen", "advice", "rule"}
    assert all(set(item) == fields for item in told["items"])
    rule = {"secret": "acme/imap", "to": "127.0.0.1:1", "unverified": False}
    assert [item["rule"] for item in told["items"] if item["rule"]] == [rule]
    assert told["policy_lacks"] == ['  - {secret: acme/imap, to: ["127.0.0.1:1"]}']
    for status in ("ok", "warn", "fail", "skipped"):
        assert told[status] == sum(item["status"] == status for item in told["items"])
    failed = [(item["group"], item["name"]) for item in told["items"] if item["status"] == "fail"]
    assert failed == [
        ("relay a1", "connect"),
        ("mailbox acme/inbox", "secret"),
        ("mailbox acme/inbox", "dns"),
    ]


def test_a_configuration_that_cannot_be_used(config: Path) -> None:
    config.write_text(CONFIG + "colour: red\n")
    code, text = _run(config)
    assert code == 2
    assert f"fail    here: config: {config}:13: colour: found the unknown key" in text
    code, text = _run(config, "--json")
    assert code == 2
    assert json.loads(text)["fail"] == 1


def test_files_that_are_not_there_are_told_with_the_option(tmp_path: Path) -> None:
    files = ["--config", str(tmp_path / "none"), "--policy", str(tmp_path / "nothing")]
    result = runner.invoke(app, [*files, "--state", str(tmp_path)])
    assert result.exit_code == 2
    for option in ("--config", "--policy"):
        assert f"-> name another with {option}, or mend what is in its way" in result.stdout


@pytest.mark.parametrize("width", [80, 130])
def test_lines_for_the_policy_are_whole_on_every_terminal(width: int) -> None:
    rule = Rule("acme/imap", "imap." + "very-" * 20 + "long.example:993", unverified=True)
    item = Item("mailbox acme/inbox", "secret", Status.FAIL, "no", "yes", rule)
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width)
    show(Diagnosis((item,), policy="/etc/mailcanary/policy.yaml"), console, every=False)
    shown = out.getvalue().splitlines()
    start = shown.index("secrets:")
    line = f'  - {{secret: acme/imap, to: ["{rule.to}"], unverified: true}}'
    assert shown[start + 1 : start + 3] == [line, ""]
    assert "put in place of 'secrets' in /etc/mailcanary/policy.yaml" in shown[start - 3]
    assert shown[start - 2].startswith("(unverified: true lets one go without TLS")


def test_without_a_policy(config: Path) -> None:
    (config.parent / "policy.yaml").unlink()
    code, text = _run(config)
    assert code == 2
    assert "found no policy file" in text
    assert "mailcanary init" in text
    assert "fail    relay a1: connect: " in text


@pytest.mark.parametrize("more", [["--timeout", "0"], ["--unknown"], ["--config"]])
def test_wrong_usage(config: Path, more: list[str]) -> None:
    assert runner.invoke(app, ["--config", str(config), *more]).exit_code == 2
    assert runner.invoke(app, []).exit_code == 2


def _terminal(diagnosis: Diagnosis, monkeypatch: pytest.MonkeyPatch, *, every: bool) -> str:
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system="standard")
    show(diagnosis, console, every=every)
    return out.getvalue()


def test_a_terminal_gets_a_table_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    items = (
        Item("relay a1", "dns", Status.OK, "[red]192.0.2.1"),
        Item("relay a1", "connect", Status.FAIL, "refused", "start it"),
    )
    text = _terminal(Diagnosis(items), monkeypatch, every=False)
    assert "\x1b[1;31mfail" in text
    assert "[red]192.0.2.1" in text  # what a server says is no markup
    assert "→ start it" in text
    assert text.count("relay a1") == 1


def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    show(
        Diagnosis((Item("relay a1", "dns", Status.OK, "x"),)),
        Console(file=out, force_terminal=True, width=100),
        every=False,
    )
    assert "\x1b[3" not in out.getvalue()


def test_among_many_those_without_trouble_get_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    items = tuple(
        Item(f"relay a{number}", name, Status.OK, "fine")
        for number in range(MANY_GROUPS + 1)
        for name in ("dns", "connect")
    )
    bad = Item("relay bad", "dns", Status.WARN, "slow", "wait")
    diagnosis = Diagnosis((*items, bad, Item("relay bad", "connect", Status.OK, "fine")))
    short = _terminal(diagnosis, monkeypatch, every=False)
    assert short.count("dns, connect") == MANY_GROUPS + 1
    assert short.count("fine") == 1
    assert _terminal(diagnosis, monkeypatch, every=True).count("fine") == len(items) + 1
