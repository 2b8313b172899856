"""``mailcanary check``: exit codes, all problems, the rates, the warnings, and plain output."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from agent.cli.check import check
from probes.contract.errors import MailcanaryError

EXAMPLES = Path(__file__).parents[3] / "examples"
SMALL = EXAMPLES / "small.yaml"
FLEET = EXAMPLES / "fleet" / "mailcanary.yaml"

app = typer.Typer()
app.command()(check)
runner = CliRunner()


def test_a_sound_file_shows_its_rates_and_warnings() -> None:
    result = runner.invoke(app, [str(SMALL)])
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == f"{SMALL}: ok"
    assert "relay-a1 1 120 1% in" in lines
    assert "acme/inbox 1 30 3%" in lines
    assert "acme 1 200 0% 1 500" in lines
    assert "sfo 1 1" in lines
    assert lines[-1].startswith("warning: agent sfo, domain acme.example, mailbox acme/inbox and")


def test_without_a_terminal_nothing_but_text_is_printed() -> None:
    result = runner.invoke(app, [str(FLEET)])
    assert result.stdout.replace("…", "").isascii()
    assert "\x1b" not in result.stdout


def test_customers_files_beside_the_main_file_count() -> None:
    result = runner.invoke(app, [str(FLEET), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["ok"] is True
    assert report["problems"] == []
    (config,) = report["configs"]
    assert config["file"] == str(FLEET)
    usage = {row["name"]: (row["paths"], row["per_minute"]) for row in config["customers"]}
    assert usage == {"monitor": (0, 0.0), "acme": (26, 12.4), "globex": (16, 1.6)}
    assert {row["name"]: row["rotation"] for row in config["relays"]}["relay-b2"] == "out"
    assert {row["name"]: row["paths"] for row in config["agents"]} == {
        "sfo": 20,
        "fra": 22,
        "on-relay-a1": 0,
        "on-relay-c1": 0,
    }
    assert all(warning["advice"] for warning in config["warnings"])


def test_looks_are_counted_by_destination_and_by_relay(tmp_path: Path) -> None:
    (config,) = json.loads(runner.invoke(app, [str(FLEET), "--json"]).stdout)["configs"]
    assert config["destinations"] == [
        {"name": "bigmail", "per_minute": 4.0, "relays": 2},
        {"name": "othermail", "per_minute": 4.0, "relays": 2},
        {"name": "reference", "per_minute": 4.0, "relays": 2},
    ]
    assert config["looks"] == [
        {"relay": name, "egress_per_minute": 10.0, "queue_per_minute": 1.0}
        for name in ("relay-a1", "relay-c1")
    ]
    lines = [
        " ".join(line.split()) for line in runner.invoke(app, [str(FLEET)]).stdout.splitlines()
    ]
    assert lines.count("destination connects/min/host relays") == 1
    assert "bigmail 4 2" in lines
    assert "relay-c1 10 1" in lines
    alone = tmp_path / "alone.yaml"
    alone.write_text("version: 1\ndestinations: [{name: ours, hosts: [mx.example]}]\n")
    assert "ours                         0       0" in runner.invoke(app, [str(alone)]).stdout
    assert "looked from" not in runner.invoke(app, [str(alone)]).stdout


def test_every_problem_of_every_file_is_printed(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("version: 2\nrelais: []\n")
    two.write_text("version: 1\nrelays: [{name: A, host: a}]\n")
    result = runner.invoke(app, [str(one), str(two), str(SMALL)])
    assert result.exit_code == 1
    names = "a name of 1 to 63 lower-case letters, digits, dots, dashes, underscores"
    keys = "agents, checks, customers, defaults, destinations, relays, timeouts, version"
    unknown = "the unknown key 'relais' (did you mean 'relays'?)"
    assert result.stderr.splitlines() == [
        f"{one}:1: version: found the number 2, allowed is 1",
        f"{one}:2: relais: found {unknown}, allowed is {keys}",
        f"{two}:2: relays[0].name: found 'A', allowed is {names}",
        "3 problems",
    ]
    assert f"{SMALL}: ok" in result.stdout


def test_a_wrong_suffix_hides_neither_problems_nor_other_files(tmp_path: Path) -> None:
    (tmp_path / "customers.d").mkdir()
    (tmp_path / "customers.d" / "acme.yml").write_text("name: acme\nlabels: 5\n")
    (tmp_path / "customers.d" / "acme.yaml.bak").write_text("")
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("version: 2\n")
    two.write_text("version: 1\n")
    result = runner.invoke(app, [str(one), str(two), str(SMALL)])
    assert result.exit_code == 1
    assert f"{SMALL}: ok" in result.stdout
    allowed = "allowed is without a warning a name in .yaml, or one that begins with a dot"
    suffix = f"{tmp_path}/customers.d/acme.yml"
    backup = f"{tmp_path}/customers.d/acme.yaml.bak"
    assert result.stderr.splitlines() == [
        f"{suffix}: found a .yml file in customers.d, allowed is a name in .yaml",
        f"{suffix}:2: labels: found the number 5, allowed is a mapping",
        f"{one}:1: version: found the number 2, allowed is 1",
        f"warning: {backup}: found a file in customers.d that is not read, {allowed}",
        "3 problems",
    ]


def test_a_warning_is_no_problem(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    host = "    host: relay-a1.example.net\n"
    file.write_text(SMALL.read_text().replace(host, f"{host}    capacity: 8\n"))
    result = runner.invoke(app, [str(file)])
    assert result.exit_code == 0
    allowed = "allowed is without a warning"
    limit = "a max_per_minute of at most 8"
    where = f"warning: {file}:8: relays[0].capacity: found"
    assert result.stderr.splitlines() == [
        f"{where} 1 canaries a minute planned, 12% of the capacity, {allowed} up to 10%, 0.8",
        f"{where} less than max_per_minute, by default 120, {allowed} {limit}",
    ]
    report = json.loads(runner.invoke(app, [str(file), "--json"]).stdout)
    assert (report["ok"], len(report["warnings"])) == (True, 2)
    assert report["warnings"][0]["path"] == "relays[0].capacity"


def test_problems_as_json(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("version: 2\n")
    result = runner.invoke(app, [str(file), str(tmp_path / "none.yaml"), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "ok": False,
        "problems": [
            {
                "file": str(file),
                "line": 1,
                "path": "version",
                "found": "the number 2",
                "allowed": "1",
            },
            {
                "file": str(tmp_path / "none.yaml"),
                "line": None,
                "path": "",
                "found": "no such file or directory",
                "allowed": "a readable file",
            },
        ],
        "warnings": [],
        "configs": [],
    }


def test_many_alike_warnings_are_cut_short(tmp_path: Path) -> None:
    relays = "".join(
        f"  - {{name: r{n}, host: r{n}.example, labels: {{zone: z{n}}}}}\n" for n in range(10)
    )
    text = SMALL.read_text()
    text = text[: text.index("relays:")] + "relays:\n" + relays + text[text.index("agents:") :]
    file = tmp_path / "many.yaml"
    file.write_text(text)
    result = runner.invoke(app, [str(file)])
    assert "note: … and 7 more like that (--json lists all)" in result.stdout.splitlines()
    report = json.loads(runner.invoke(app, [str(file), "--json"]).stdout)
    assert len(report["configs"][0]["warnings"]) > 10


@pytest.mark.parametrize("arguments", [[], ["--nonsense", str(SMALL)]])
def test_wrong_usage_is_two(arguments: list[str]) -> None:
    assert runner.invoke(app, arguments).exit_code == 2


def test_a_customer_file_alone_is_wrong_usage() -> None:
    customer = FLEET.parent / "customers.d" / "acme.yaml"
    result = runner.invoke(app, [str(customer)], terminal_width=200)
    assert result.exit_code == 2
    assert "Invalid value for FILE: found only files of customers.d, allowed" in result.stderr
    assert runner.invoke(app, [str(customer), str(FLEET)]).exit_code == 0


def test_a_full_disk_behind_standard_output_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(MailcanaryError, match="standard output: found no space left"):
            check([SMALL])


def test_on_a_terminal_colour_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1m" in runner.invoke(app, [str(SMALL)]).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in runner.invoke(app, [str(SMALL)]).stdout
