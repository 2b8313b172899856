"""docs/events.md describes every field of every event, as it is, and nothing else."""

import json
import re
from pathlib import Path as FilePath
from typing import Any

import pytest

from probes.contract.event_schema import event_schema
from probes.contract.events import KINDS, Envelope
from probes.contract.stages import Reason, Result, Stage

DOCS = FilePath(__file__).parents[3] / "docs"
DEFS: dict[str, dict[str, Any]] = event_schema()["$defs"]
STRUCTS = {name for name, schema in DEFS.items() if "properties" in schema}
KIND_OF = {cls.__name__: kind for kind, cls in KINDS.items()}


def sections(text: str) -> dict[str, str]:
    """The text under each heading of the form ``### `name` ``."""
    parts = re.split(r"^#+ (.*)$", text, flags=re.MULTILINE)
    titles = [title.strip("`") for title in parts[1::2]]
    assert len(titles) == len(set(titles))
    return dict(zip(titles, parts[2::2], strict=True))


def table(text: str) -> list[list[str]]:
    """The cells of the rows of the only table in ``text``, its head left out."""
    rows = re.findall(r"^\|(.*)\|$", text, flags=re.MULTILINE)
    return [[cell.strip() for cell in row.split(" | ")] for row in rows[2:]]


def type_text(schema: dict[str, Any]) -> str:
    """How the page writes a type: ``Hop list``, ``map of number``, ``Stage or null``."""
    if schema.get("$ref") == "#":
        return "any event"
    if "$ref" in schema:
        return str(schema["$ref"].removeprefix("#/$defs/"))
    if "anyOf" in schema:
        return " or ".join(type_text(option) for option in schema["anyOf"])
    if schema["type"] == "array":
        return f"{type_text(schema['items'])} list"
    if schema["type"] == "object":
        values = schema.get("additionalProperties")
        return f"map of {type_text(values)}" if values else "object"
    return str(schema["type"])


EVENTS_PAGE = sections((DOCS / "events.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_every_field_is_described_in_order_with_its_type(name: str) -> None:
    schema = DEFS[name]
    described = table(EVENTS_PAGE[KIND_OF.get(name, name)])
    fields = {field: spec for field, spec in schema["properties"].items() if field != "kind"}
    assert [row[0] for row in described] == [f"`{field}`" for field in fields]
    for field, kind, required, meaning in described:
        spec = fields[field.strip("`")]
        assert kind == type_text(spec), field
        assert required == ("yes" if field.strip("`") in schema["required"] else "no"), field
        assert meaning, field


def test_nothing_else_is_described() -> None:
    text = (DOCS / "events.md").read_text(encoding="utf-8")
    titles = re.findall(r"^### `?(\w+)`?$", text, flags=re.MULTILINE)
    assert sorted(titles) == sorted(KIND_OF.get(name, name) for name in STRUCTS)
    assert titles[: len(KINDS)] == list(KINDS)


def test_the_envelope_is_described() -> None:
    rows = table(EVENTS_PAGE["Envelope"])
    assert [row[0].strip("`") for row in rows] == list(Envelope.__struct_fields__)


def test_the_page_begins_with_what_a_file_of_events_holds() -> None:
    text = (DOCS / "events.md").read_text(encoding="utf-8").partition("\n## ")[0]
    example = re.search(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert example
    assert list(json.loads(example[1])) == list(DEFS["Line"]["properties"])


def test_every_documented_example_is_its_golden_event() -> None:
    golden = FilePath(__file__).parent / "golden"
    for kind in KINDS:
        events = [json.loads(file.read_bytes()) for file in golden.glob(f"{kind}*.json")]
        examples = re.findall(r"^```json\n(.*?)^```$", EVENTS_PAGE[kind], re.MULTILINE | re.DOTALL)
        assert examples, kind
        assert json.loads(examples[0]) == json.loads((golden / f"{kind}.json").read_bytes()), kind
        for example in examples:
            assert json.loads(example) in events, kind


@pytest.mark.parametrize("words", [Stage, Reason, Result], ids=lambda words: words.__name__)
def test_every_word_of_failure_is_described(words: type[Stage | Reason | Result]) -> None:
    page = sections((DOCS / "outcomes.md").read_text(encoding="utf-8"))
    described = [row[0] for row in table(page[words.__name__])]
    assert described == [f"`{word.value}`" for word in words]
