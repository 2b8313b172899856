"""The schemas: the examples and the starter files fit them, and what is wrong does not."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.cli.init import CUSTOMER, MAIN
from agent.cli.schema import SchemaOf, schema_text
from agent.settings_files import load_config

ROOT = Path(__file__).parents[3]
# The policy and the collector's settings are files of other kinds.
EXAMPLES = sorted(
    file
    for file in (ROOT / "examples").rglob("*.yaml")
    if file.name not in ("policy.yaml", "collector.yaml")
)
MODELINE = re.compile(r"# yaml-language-server: \$schema=(\S+)\n")


def test_defaults_are_shown_as_one_writes_them() -> None:
    schema_of_config = json.loads(schema_text(SchemaOf.CONFIG))
    kinds = schema_of_config["$defs"]
    assert kinds["Defaults"]["properties"]["loss_after"]["default"] == "30m"
    assert kinds["Objective"]["properties"]["delivered"]["default"] == "99.5%"
    assert kinds["Relay"]["properties"]["port"]["default"] == 25


def test_every_key_is_described() -> None:
    schema_of_config = json.loads(schema_text(SchemaOf.CONFIG))
    for kind in [schema_of_config, *schema_of_config["$defs"].values()]:
        for name, field in kind.get("properties", {}).items():
            assert field.get("description") or "$ref" in field, name


_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
    "null": type(None),
}


def _fits(value: Any, schema: dict[str, Any], defs: dict[str, Any]) -> bool:
    """Whether ``value`` fits, as an editor would see it: the keywords that our schemas use."""
    if "$ref" in schema:
        return _fits(value, defs[schema["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in schema:
        return any(_fits(value, option, defs) for option in schema["anyOf"])
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if not isinstance(value, _TYPES.get(schema.get("type", ""), object)):
        return False
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, list):
        return all(_fits(item, schema.get("items", {}), defs) for item in value)
    return not isinstance(value, dict) or _fits_mapping(value, schema, defs)


def _fits_mapping(value: dict[str, Any], schema: dict[str, Any], defs: dict[str, Any]) -> bool:
    if not set(schema.get("required", ())) <= set(value):
        return False
    for key, item in value.items():
        if key in schema.get("properties", {}):
            fitting = schema["properties"][key]
        else:
            patterns = schema.get("patternProperties", {}).items()
            fitting = next((inner for pattern, inner in patterns if re.search(pattern, key)), None)
            if fitting is None and schema.get("additionalProperties") is False:
                return False
        if not _fits(item, fitting or {}, defs):
            return False
    return True


def _whole(of: SchemaOf) -> tuple[dict[str, Any], dict[str, Any]]:
    whole = json.loads(schema_text(of))
    return whole, whole["$defs"]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.relative_to(ROOT)))
def test_each_example_names_its_schema_and_fits_it(file: Path) -> None:
    modeline = MODELINE.match(file.read_text())
    assert modeline is not None
    published = (file.parent / modeline[1]).resolve()
    role = SchemaOf.CUSTOMER if file.parent.name == "customers.d" else SchemaOf.CONFIG
    assert published == ROOT / "docs" / "schema" / f"{role.value}.schema.json"
    assert _fits(yaml.safe_load(file.read_text()), *_whole(role))


def test_the_starter_files_fit_the_schemas() -> None:
    assert _fits(yaml.safe_load(MAIN), *_whole(SchemaOf.CONFIG))
    assert _fits(yaml.safe_load(CUSTOMER), *_whole(SchemaOf.CUSTOMER))


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"relais": []},
        {"relays": [{"name": "a"}]},
        {"relays": [{"name": "a", "host": "h", "labels": {"Bad Key": "x"}}]},
        {"defaults": {"interval": 30}},
    ],
)
def test_an_editor_would_mark(change: dict[str, Any]) -> None:
    assert not _fits({"version": 1, **change}, *_whole(SchemaOf.CONFIG))


@pytest.mark.parametrize(
    "file",
    [file for file in EXAMPLES if file.parent.name != "customers.d"],
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_each_example_is_sound(file: Path) -> None:
    assert load_config(file).relays
