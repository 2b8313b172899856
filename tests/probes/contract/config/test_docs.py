"""``docs/config.md`` names every key, with the default that the models have."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from probes.contract.config.loader import check_documents
from probes.contract.config.models import (
    Agent,
    CheckRule,
    Config,
    Customer,
    Defaults,
    Destination,
    Imap,
    Mailbox,
    Relay,
    Rule,
    Timeouts,
)
from probes.contract.units import format_duration

DOCS = (Path(__file__).parents[4] / "docs" / "config.md").read_text(encoding="utf-8")
TABLES = {
    Config: "## Main file",
    Defaults: "### `defaults`",
    Timeouts: "### `timeouts`",
    Relay: "### `relays`",
    Agent: "### `agents`",
    Customer: "## Customers",
    Mailbox: "### `mailboxes`",
    Imap: "`imap`:",
    Rule: "### `canaries`",
    Destination: "### `destinations`",
    CheckRule: "### `checks`",
}


def _rows(model: type[BaseModel]) -> dict[str, str]:
    """Keys and defaults in the first table after the model's heading."""
    section = DOCS.partition(f"\n{TABLES[model]}\n")[2]
    lines = section.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("| ---"))
    rows = {}
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        _, key, default, *_ = (cell.strip() for cell in line.split("|"))
        rows[key.strip("`")] = default
    return rows


def test_the_example_of_checks_can_be_copied() -> None:
    section = DOCS.partition("\n### `checks`\n")[2].partition("\n## ")[0]
    example = section.partition("```yaml\n")[2].partition("```")[0]
    relays = "version: 1\nrelays: [{name: relay-a1, host: relay-a1.example.net}]\n"
    found = check_documents([("mailcanary.yaml", relays + example)])
    assert (found.problems, found.warnings) == ([], [])
    assert found.config is not None
    assert len(found.config.checks) == 2


@pytest.mark.parametrize("model", TABLES, ids=lambda model: model.__name__)
def test_every_key_is_documented(model: type[BaseModel]) -> None:
    rows = _rows(model)
    assert list(rows) == list(model.model_fields)
    for name, field in model.model_fields.items():
        if field.is_required():
            assert rows[name] == "required", name
        elif type(field.default) is float:
            written = (format_duration(field.default), f"{field.default:g}")
            assert rows[name] in written, name
        elif type(field.default) is int:
            assert rows[name] == str(field.default), name
