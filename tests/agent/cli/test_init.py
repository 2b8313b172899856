"""``mailcanary init``: what it writes passes ``check``, and nothing is ever overwritten."""

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from agent.cli.check import check
from agent.cli.init import MAIN, init
from agent.policy.load import find_policy
from agent.policy.secrets import Secrets
from probes.contract.check_plan import check_plans
from probes.contract.config.loader import check_documents

app = typer.Typer()
app.command("init")(init)
app.command("check")(check)
runner = CliRunner()


def test_the_starter_files_pass_the_check(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "place"
    result = runner.invoke(app, ["init", str(directory)])
    assert result.exit_code == 0, result.output
    main = directory / "mailcanary.yaml"
    assert result.stdout.splitlines() == [
        f"wrote {main}",
        f"wrote {directory / 'customers.d' / 'example.yaml'}",
        f"wrote {directory / 'policy.yaml'}",
        f"wrote {directory / 'secrets' / 'signing-key'}",
        f"edit them, then: mailcanary check {main}",
    ]
    checked = runner.invoke(app, ["check", str(main)])
    assert checked.exit_code == 0, checked.output
    assert "warning" not in checked.stdout


def test_what_is_commented_out_can_be_used_as_it_stands() -> None:
    outward = re.compile(r"^( *)# (- \{name: on-relay|destinations:|checks:|  - \{)", re.MULTILINE)
    text = outward.sub(r"\1\2", MAIN)
    found = check_documents([("mailcanary.yaml", text)])
    assert (found.problems, found.warnings) == ([], [])
    assert found.config is not None
    assert [one.name for one in found.config.destinations] == ["bigmail", "reference"]
    assert [plan.probe for plan in check_plans(found.config, "on-relay-a1")] == ["egress", "queue"]


def test_the_policy_and_its_key_can_be_used(tmp_path: Path) -> None:
    assert runner.invoke(app, ["init", str(tmp_path)]).exit_code == 0
    key = tmp_path / "secrets" / "signing-key"
    assert key.stat().st_mode & 0o777 == 0o600
    ring = Secrets(find_policy(tmp_path / "mailcanary.yaml"), {}).key_ring()
    assert ring.current.secret.reveal() == key.read_text().strip()
    assert len(ring.current.secret.reveal()) >= 32


def test_into_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert runner.invoke(app, ["init"]).stdout.startswith("wrote mailcanary.yaml\n")


@pytest.mark.parametrize(
    "existing",
    ["mailcanary.yaml", "customers.d/example.yaml", "policy.yaml", "secrets/signing-key"],
)
def test_existing_files_stay_and_nothing_is_half_written(tmp_path: Path, existing: str) -> None:
    file = tmp_path / existing
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    result = runner.invoke(app, ["init", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr == f"nothing written, already there: {file}\n"
    assert file.read_text() == "mine"
    assert [entry for entry in tmp_path.rglob("*") if entry.is_file()] == [file]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = runner.invoke(app, ["init", str(tmp_path / "file" / "below")])
    assert result.exit_code == 1
    assert "not a directory" in result.stderr
