"""The front door: lazy sub-commands, exit codes, completion, and the demo from end to end."""

import json
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mailcanary

CONFIG = str(Path(__file__).parents[1] / "examples" / "small.yaml")


def run(*args: str, timeout_s: float = 100, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mailcanary", *args],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, "COLUMNS": "120", **environment},
        check=False,
    )


def test_the_version_is_the_distribution_s() -> None:
    shown = run("--version")
    assert (shown.returncode, shown.stdout) == (0, f"mailcanary {mailcanary.__version__}\n")
    assert version("mailcanary") == mailcanary.__version__


def test_help_lists_every_command_with_its_purpose() -> None:
    shown = run("--help").stdout
    for name, lazy in mailcanary.COMMANDS.items():
        assert name in shown
        assert lazy.help in shown


@pytest.mark.parametrize("name", mailcanary.COMMANDS)
def test_every_command_loads_and_explains_itself(name: str) -> None:
    shown = run(name, "--help")
    assert shown.returncode == 0, shown.stderr
    assert "Usage:" in shown.stdout


@pytest.mark.parametrize("of", ["config", "customer", "policy", "events", "collector"])
def test_a_published_schema_is_what_the_command_prints(of: str) -> None:
    """If not: ``mailcanary schema NAME > docs/schema/NAME.schema.json``."""
    shown = run("schema", of)
    published = Path(__file__).parents[1] / "docs" / "schema" / f"{of}.schema.json"
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == published.read_text(encoding="utf-8")


def test_an_unknown_schema_is_wrong_usage() -> None:
    shown = run("schema", "nonsense")
    assert shown.returncode == 2
    assert "found 'nonsense', allowed is config, customer, policy, events, collector" in " ".join(
        shown.stderr.replace("│", " ").split()
    )


GROUP = """
import typer

app = typer.Typer()

@app.callback()
def _group():
    "A group of one."

@app.command()
def tell(word: str):
    "Say a word."
    typer.echo(f"the word is {word}")
"""


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a sub-command that has sub-commands."""
    (tmp_path / "a_group_of_one.py").write_text(GROUP)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "a_group_of_one", raising=False)
    lazy = mailcanary.Lazy("a_group_of_one:app", "Has commands of its own.")
    monkeypatch.setitem(mailcanary.COMMANDS, "group", lazy)
    return "group"


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["tell", "please"], 0, "the word is please"),
        (["--help"], 0, "Say a word."),
        (["tell", "--help"], 0, "group tell [OPTIONS]"),
        (["frobnicate"], 2, "No such command 'frobnicate'"),
        ([], 2, "Missing command."),
    ],
)
def test_a_group_s_commands_are_called_by_its_name_and_theirs(
    group: str, args: list[str], code: int, text: str
) -> None:
    shown = CliRunner().invoke(mailcanary.app, [group, *args])
    assert shown.exit_code == code
    assert text in shown.output


def test_a_group_is_listed_and_not_loaded_by_help(group: str) -> None:
    shown = CliRunner().invoke(mailcanary.app, ["--help"])
    assert "Has commands of its own." in shown.output
    assert group in shown.output
    assert "a_group_of_one" not in sys.modules


def test_help_imports_none_of_the_commands() -> None:
    code = (
        "import sys, mailcanary\n"
        "try: mailcanary.main(['--help'])\n"
        "except SystemExit: pass\n"
        "ours = ('agent', 'collector', 'lab', 'pydantic', 'msgspec')\n"
        "print([m for m in ours if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert shown.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("args", [("frobnicate",), ("check",), ("demo", "--duration", "3s")])
def test_a_wrong_command_line_exits_with_2(args: tuple[str, ...]) -> None:
    shown = run(*args)
    assert shown.returncode == 2
    assert shown.stderr


@pytest.mark.parametrize("found", ["nan", "inf", "-1", "0", "0s", "1e999", "", "5 x", "50ms", "9w"])
@pytest.mark.parametrize(
    ("option", "args", "allowed"),
    [
        ("--duration", ["demo"], "a duration from 15s to 1m20s"),
        ("--timeout", ["doctor", "--config", CONFIG], "a duration from 100ms to 5m"),
    ],
)
def test_an_option_says_what_was_found_and_what_is_allowed(
    option: str, args: list[str], allowed: str, found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        mailcanary.main([*args, option, found])
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert caught.value.code == 2
    assert f"Invalid value for {option}: found {found!r}, allowed is {allowed}" in said


def test_a_configuration_that_cannot_be_used_is_a_text_and_exit_code_2(tmp_path: object) -> None:
    shown = run("agent", "--config", f"{tmp_path}/none.yaml")
    assert shown.returncode == 2
    assert f"{tmp_path}/none.yaml" in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("probe", "--nagios", "--frobnicate"),
        ("probe", "--nagios"),
        ("probe", "--nagios", "--config", "/nowhere/mailcanary.yaml"),
        ("check", "--nagios"),
    ],
)
def test_a_plugin_that_cannot_do_its_work_is_unknown_in_one_line(args: tuple[str, ...]) -> None:
    shown = run(*args)
    assert shown.returncode == 3
    (line,) = shown.stdout.splitlines()
    assert line.startswith("MAIL UNKNOWN - ")


def test_no_color_is_respected() -> None:
    shown = run("--help", NO_COLOR="1", FORCE_COLOR="")
    assert "\x1b[3" not in shown.stdout


def test_the_shell_completes_the_sub_commands() -> None:
    words = "mailcanary d"
    shown = subprocess.run(
        [Path(sys.executable).with_name("mailcanary")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={
            **os.environ,
            "_MAILCANARY_COMPLETE": "complete_bash",
            "_TYPER_COMPLETE_ARGS": words,
            "COMP_WORDS": words,
            "COMP_CWORD": "1",
        },
    )
    assert shown.stdout.split() == ["doctor", "demo"]


@pytest.mark.slow
def test_the_demo_finds_just_the_relays_that_the_lab_filtered() -> None:
    shown = run("demo", "--duration", "15s", "--json")
    assert shown.returncode == 0, shown.stderr
    (line,) = shown.stdout.splitlines()
    result = json.loads(line)
    assert result["relays_hit"] == sorted(result["relays_filtered"]) == ["relay-b2", "relay-b3"]
    accounted = result["delivered"] + result["late"] + result["lost"] + result["pending"]
    assert result["sent"] == accounted + sum(result["other"].values())
    assert result["late"] > 0
    assert result["reordered"] > 0
    assert result["lost"] == result["duplicates"] == 0
    assert result["other"] == {}
    assert result["time_to_see_s"] > 0
    assert set(result["late_by_relay"]) == {"relay-b2", "relay-b3"}


@pytest.mark.slow
@pytest.mark.parametrize("args", [(), ("--json",)], ids=["plain", "json"])
def test_a_full_disk_ends_the_demo_with_one_clear_line(args: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        shown = subprocess.run(
            [sys.executable, "-m", "mailcanary", "demo", "--duration", "15s", *args],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=100,
            check=False,
        )
    said = "standard output: found no space left on device, allowed is one that takes what is"
    assert (shown.returncode, shown.stderr) == (1, f"{said} written\n")


def test_a_sighup_does_not_end_an_agent_that_starts(tmp_path: Path) -> None:
    # It waits for whoever writes its policy, which is a wrong one.
    policy = tmp_path / "policy.yaml"
    os.mkfifo(policy)
    command = [sys.executable, "-m", "mailcanary", "agent", "--collector", "http://127.0.0.1:1"]
    options = ["--name", "sfo", "--policy", str(policy), "--state", str(tmp_path / "state")]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as agent:
        with policy.open("w") as writing:
            agent.send_signal(signal.SIGHUP)
            writing.write("tiger: 1\n")
        _, said = agent.communicate(timeout=60)
    assert agent.returncode == 2
    assert f"{policy}:1: tiger" in said
