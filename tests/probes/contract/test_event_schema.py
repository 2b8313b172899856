"""The published JSON Schema of events is the one that the types give."""

import json
from pathlib import Path as FilePath
from typing import Any

import pytest

from agent.events_file import line
from agent.spool.store import Record
from probes.contract.event_schema import event_schema
from probes.contract.events import KINDS, Tick, encode

HERE = FilePath(__file__).parent
PUBLISHED = HERE.parents[2] / "docs" / "schema" / "events.schema.json"
GOLDEN = sorted((HERE / "golden").glob("**/*.json"))
JSON_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
    "array": list,
    "object": dict,
}


def test_the_published_schema_is_up_to_date() -> None:
    """If not: ``mailcanary schema events > docs/schema/events.schema.json``."""
    text = json.dumps(event_schema(), indent=2, ensure_ascii=False) + "\n"
    assert PUBLISHED.read_text(encoding="utf-8") == text


def test_every_kind_is_in_the_schema() -> None:
    schema = event_schema()
    assert set(schema["discriminator"]["mapping"]) == set(KINDS)
    assert {kind["$ref"] for kind in schema["anyOf"]} == set(
        schema["discriminator"]["mapping"].values()
    )


def test_each_call_gives_a_schema_of_its_own() -> None:
    event_schema()["$defs"].clear()
    assert event_schema()["$defs"]


def fits(value: Any, schema: dict[str, Any], defs: dict[str, Any]) -> bool:
    """Whether ``value`` fits: the keywords that the schema uses, and no others, are understood."""
    understood = {
        "$ref", "$schema", "$defs", "title", "description", "discriminator", "default",
        "anyOf", "type", "enum", "properties", "required", "items", "additionalProperties",
    }  # fmt: skip
    assert set(schema) <= understood, set(schema) - understood
    if schema.get("$ref") == "#":
        return fits(value, event_schema(), defs)
    if "$ref" in schema:
        return fits(value, defs[schema["$ref"].removeprefix("#/$defs/")], defs)
    if "anyOf" in schema:
        return any(fits(value, option, defs) for option in schema["anyOf"])
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "type" in schema and (
        not isinstance(value, JSON_TYPES[schema["type"]])
        or (isinstance(value, bool) and schema["type"] != "boolean")
    ):
        return False
    if isinstance(value, list):
        return all(fits(item, schema.get("items", {}), defs) for item in value)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties", {})
        return set(schema.get("required", ())) <= set(value) and all(
            fits(item, properties.get(name, others), defs) for name, item in value.items()
        )
    return True


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_golden_events_fit_the_schema_and_mutilated_ones_do_not(file: FilePath) -> None:
    schema = event_schema()
    event = json.loads(file.read_bytes())
    assert fits(event, schema, schema["$defs"])
    assert fits({**event, "from_the_future": 1}, schema, schema["$defs"])
    kind = schema["$defs"][type_name(event["kind"])]
    for name in kind["required"]:
        rest = {key: value for key, value in event.items() if key != name}
        assert not fits(rest, schema, schema["$defs"]), name
    for name in set(kind["properties"]) - {"document"}:
        assert not fits({**event, name: [{}, 1]}, schema, schema["$defs"]), name


def test_a_line_of_the_events_file_fits_its_schema_and_a_bare_event_does_not() -> None:
    schema = event_schema()
    defs, tick = schema["$defs"], Tick(at_ns=1)
    whole = json.loads(line("k3v9x0q2", Record(7, encode(tick))))
    assert fits(whole, defs["Line"], defs)
    assert not fits(whole, schema, defs)
    assert not fits(json.loads(encode(tick)), defs["Line"], defs)
    assert not fits({**whole, "event": {"kind": "tick"}}, defs["Line"], defs)


def type_name(kind: str) -> str:
    return KINDS[kind].__name__
