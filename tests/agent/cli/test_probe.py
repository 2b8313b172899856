"""``mailcanary probe``: its options, its limit, and real processes against the lab."""

import asyncio
import json
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import mailcanary
from agent.cli.probe import NAGIOS_S, times
from lab.estate import Estate
from lab.faults import Hold, ImapHung, InboundFiltered
from tests.agent.processes import ROOT, Site, lay_out

CONFIG = str(ROOT / "examples" / "small.yaml")
runner = CliRunner()


def usage(*args: str) -> str:
    """What is said of a command line that cannot be used, without the frame around it."""
    result = runner.invoke(mailcanary.app, ["probe", *args], terminal_width=200)
    assert result.exit_code == 2, result.output
    return " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--config", "/nowhere/x.yaml"], "--config: found /nowhere/x.yaml: no such file"),
        (["--config", "/"], "--config: found the directory /, allowed is a readable file"),
        (["--config", CONFIG, "--policy", "/none"], "--policy: found /none: no such file"),
        (["--config", CONFIG, "--wait", "5x"], "--wait: found '5x', allowed is a duration"),
        (["--config", CONFIG, "-t", "0"], "--timeout: found '0', allowed is a duration from 1s"),
        (["--config", CONFIG, "-w", "x"], "--warning: found 'x', allowed is a range of seconds"),
        (["--config", CONFIG, "-c", "9:1"], "--critical: found '9:1', allowed is a range"),
        (["--config", CONFIG, "-w", "5", "-c", "2"], "--warning: found 5 s, allowed is at most"),
        (["--config", CONFIG, "--json", "--nagios"], "--json: found --nagios beside it"),
        (["--config", CONFIG, "--wait", "9", "-t", "10"], "--wait: found 9 s, allowed is at most"),
    ],
)
def test_a_wrong_option_is_told_by_its_name(options: list[str], said: str) -> None:
    assert f"Invalid value for {said}" in usage(*options)


def test_a_plugin_ends_before_the_check_s_timeout() -> None:
    """60 s is what Nagios, Icinga and Checkmk give a check."""
    plugin = times(None, None, nagios=True)
    assert plugin.limit_s == NAGIOS_S == 50.0
    assert plugin.wait(60.0) == 42.0
    assert plugin.wait(10.0) == 15.0
    assert times("20s", None, nagios=True).wait(60.0) == 20.0
    assert times(None, "8", nagios=True).wait(60.0) == 6.0


def test_a_person_may_wait() -> None:
    person = times(None, None, nagios=False)
    assert person.limit_s is None
    assert person.wait(600.0) == 605.0
    assert times(None, "8", nagios=False).limit_s == 8.0


def test_a_start_that_was_too_slow_shortens_the_wait() -> None:
    limits = times(None, "20", nagios=True)
    assert limits.left(15.0, age_s=1.0) == 15.0
    assert limits.left(15.0, age_s=9.0) == 9.5
    assert limits.left(15.0, age_s=30.0) == 0.0
    assert times(None, None, nagios=False).left(15.0, age_s=30.0) == 15.0


# --- processes --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str


class Started:
    """A process under way."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def ended(self) -> Ended:
        """Wait for its end."""
        async with asyncio.timeout(60):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return Ended(self.process.returncode, out.decode(), err.decode())


def _environment(temporary: Path) -> dict[str, str]:
    temporary.mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(temporary)}


@asynccontextmanager
async def started(arguments: Sequence[str], temporary: Path) -> AsyncIterator[Started]:
    """Start a command; kill it at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=_environment(temporary),
    )
    try:
        yield Started(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def probe(site: Site, *options: str) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "mailcanary", "probe", "--config", str(site.config), *options]


async def run(site: Site, *options: str) -> Ended:
    """Run the command to its end."""
    async with started(probe(site, *options), site.directory / "tmp") as command:
        ended = await command.ended()
    assert list((site.directory / "tmp").iterdir()) == []
    return ended


@asynccontextmanager
async def shots(directory: Path, **words: Any) -> AsyncIterator[tuple[Estate, Site]]:
    """Two relays and a mailbox."""
    async with Estate(["relay-1", "relay-2"], ["acme/inbox"]) as estate:
        yield estate, lay_out(estate, directory, deadline="20s", **words)


async def accepted(estate: Estate, count: int) -> None:
    """Wait until the relays have taken so many canaries."""
    async with asyncio.timeout(60):
        await estate.until(lambda: len(estate.truth.acceptances) == count)


async def test_as_a_plugin(tmp_path: Path) -> None:
    async with shots(tmp_path, timeouts={"connect": "200ms"}) as (estate, site):
        good = await run(site, "--nagios", "-w", "@100:", "-c", "30")
        assert (good.code, good.err) == (0, "")
        (line,) = good.out.splitlines()
        text, _, perf = line.partition(" | ")
        assert text.startswith("MAIL OK - 2 of 2 home, the slowest after ")
        labels = [one.partition("=")[0] for one in perf.split()]
        assert labels == ["'delivered'", "'relay-1/acme/inbox'", "'relay-2/acme/inbox'"]
        assert all(one.endswith("s;@100:;30;0;") for one in perf.split()[1:])

        await estate.order(InboundFiltered(), relays=["relay-2"])
        bad = await run(site, "--nagios")
        assert bad.code == 2
        first, second = bad.out.splitlines()
        assert first.startswith("MAIL CRITICAL - 1 of 2 home; relay-2 unreachable | ")
        assert second.startswith("relay-2 to acme/inbox: unreachable at connect: timed out")


async def test_for_programs(tmp_path: Path) -> None:
    async with shots(tmp_path) as (_, site):
        ended = await run(site, "--json", "--relay", "relay-1")
    assert ended.code == 0
    told = json.loads(ended.out)
    assert (told["state"], told["home"], len(told["canaries"])) == ("ok", 1, 1)


async def test_the_time_of_a_plugin_is_over(tmp_path: Path) -> None:
    """Its wait is cut to what is left, and what was seen is told: nothing certain, in time."""
    async with shots(tmp_path) as (estate, site):
        await estate.order(Hold())
        ended = await run(site, "--nagios", "-t", "6", "-w", "10", "-c", "20")
    assert ended.code == 3, ended
    assert "MAIL UNKNOWN - 0 of 2 home" in ended.out


async def test_a_mailbox_that_is_not_read_is_told_once_and_blames_no_relay(tmp_path: Path) -> None:
    async with shots(tmp_path) as (estate, site):
        await estate.order(ImapHung(), mailboxes=["acme/inbox"])
        ended = await run(site, "--nagios", "--wait", "3")
    assert ended.code == 3
    first, second = ended.out.splitlines()
    assert first.startswith("MAIL UNKNOWN - 0 of 2 home; mailbox acme/inbox starting | ")
    assert second.startswith("mailbox acme/inbox starting: not read within 3")


async def test_a_file_that_hangs_does_not_hold_a_plugin_up(tmp_path: Path) -> None:
    pipe = tmp_path / "policy"
    os.mkfifo(pipe)
    async with shots(tmp_path) as (_, site):
        ended = await run(site, "--nagios", "-t", "3", "--policy", str(pipe))
    assert ended.code == 3
    where = "while configuration and policy were being read"
    assert ended.out == f"MAIL UNKNOWN - timed out after 3 s, {where}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_what_is_interrupted_tells_what_it_saw(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with shots(tmp_path) as (estate, site):
        await estate.order(Hold())
        async with started(probe(site), tmp_path / "tmp") as command:
            await accepted(estate, 2)
            command.process.send_signal(number)
            ended = await command.ended()
    assert ended.code == 130
    assert ended.err == ""
    *_, last = ended.out.splitlines()
    assert last.startswith(f"MAIL UNKNOWN - interrupted by {number.name}, 0 of 2 home; ")
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("redirection", "options", "code", "said"),
    [
        (">&-", "", 0, ""),
        (">&- <&-", "--nagios", 0, ""),
        (">/dev/full", "", 1, "standard output: found no space left on device"),
        (">/dev/full", "--json", 1, "standard output: found no space left on device"),
        (">/dev/full", "--nagios", 3, ""),
    ],
)
async def test_standard_output_that_takes_nothing(
    tmp_path: Path, redirection: str, options: str, code: int, said: str
) -> None:
    async with shots(tmp_path) as (_, site):
        line = f"exec {shlex.join(probe(site))} {options} {redirection}"
        async with started(["sh", "-c", line], tmp_path / "tmp") as command:
            ended = await command.ended()
    assert ended.code == code, ended
    assert "Traceback" not in ended.err
    assert said in ended.err
    assert bool(said) == bool(ended.err)


async def test_a_reader_that_has_gone(tmp_path: Path) -> None:
    async with shots(tmp_path) as (_, site):
        line = f"{{ {shlex.join(probe(site, '--nagios'))}; echo $? >&2; }} | true"
        async with started(["sh", "-c", line], tmp_path / "tmp") as command:
            ended = await command.ended()
    assert ended.err == "3\n"


def test_every_problem_of_both_files_is_in_the_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, policy = tmp_path / "mailcanary.yaml", tmp_path / "policy.yaml"
    config.write_text("version: 2\nrelais: []\n")
    policy.write_text("version: 1\nkeys: {}\n")
    with pytest.raises(SystemExit) as caught:
        mailcanary.main(["probe", "--config", str(config), "--nagios"])
    assert caught.value.code == 3
    (line,) = capsys.readouterr().out.splitlines()
    problems = line.removeprefix("MAIL UNKNOWN - ").split("; ")
    assert [problem.partition(":")[0] for problem in problems] == [
        str(config),
        str(config),
        str(policy),
    ]


@pytest.mark.parametrize("options", [["-V"], ["--version"], ["-h"], ["--help"]])
def test_help_and_version_are_no_ok(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A check whose command line asks for them by mistake would be green for ever."""
    with pytest.raises(SystemExit) as caught:
        mailcanary.main(["probe", "--nagios", *options])
    assert caught.value.code == 3
    assert capsys.readouterr().out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        mailcanary.main(["probe", "-V"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"mailcanary {mailcanary.__version__}\n"


def refusal(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    """What a program is told of a probe that cannot be tried; standard error has it too."""
    with pytest.raises(SystemExit) as ended:
        mailcanary.main(["probe", "--json", *options])
    assert ended.value.code == 2
    told = capsys.readouterr()
    found: dict[str, Any] = json.loads(told.out)
    assert told.err == found["error"] + "\n"
    assert found["state"] == "unknown"
    return found


def test_a_program_is_told_every_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, policy = tmp_path / "mailcanary.yaml", tmp_path / "policy.yaml"
    config.write_text("version: 2\nrelais: []\n")
    policy.write_text("version: 2\n")
    options = ["--config", str(config), "--policy", str(policy)]
    problems = refusal(capsys, *options)["problems"]
    assert {(problem["file"], problem["line"], problem["path"]) for problem in problems} >= {
        (str(config), 1, "version"),
        (str(config), 2, "relais"),
        (str(policy), 1, "version"),
    }


def test_a_program_is_told_of_a_wrong_selection(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nkeys: {current: {id: k, secret: k}}\n")
    found = refusal(capsys, "--config", CONFIG, "--policy", str(policy), "--name", "nobody")
    assert "--name: found 'nobody', allowed is one of the agents" in found["error"]
    assert found["problems"] == []
