"""JSON Schemas of the files, for editors and for other programs."""

from typing import Any

from probes.contract.config.models import Config, Customer
from probes.contract.units import DURATION_PATTERN, PERCENT_PATTERN, format_duration

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def config_schema() -> dict[str, Any]:
    """The schema of a main file."""
    return file_schema(Config.model_json_schema(), "mailcanary configuration")


def customer_schema() -> dict[str, Any]:
    """The schema of a file in ``customers.d``."""
    return file_schema(Customer.model_json_schema(), "mailcanary customer")


def file_schema(schema: dict[str, Any], title: str) -> dict[str, Any]:
    """The schema of a file from the one that pydantic makes of its model."""
    _as_written(schema)
    return {"$schema": _DIALECT, **schema, "title": title}


def _as_written(node: Any) -> None:
    """Turns defaults into what one would write in the file; drops pydantic's generated titles."""
    if isinstance(node, list):
        for item in node:
            _as_written(item)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("title"), str):
        del node["title"]
    default = node.get("default")
    if isinstance(default, dict | list) or ("default" in node and default is None):
        del node["default"]  # an absent key says the same
    elif isinstance(default, float) and node.get("pattern") == DURATION_PATTERN:
        node["default"] = format_duration(default)
    elif isinstance(default, float) and node.get("pattern") == PERCENT_PATTERN:
        node["default"] = f"{default * 100:g}%"
    if "patternProperties" in node:
        node["additionalProperties"] = False  # pydantic leaves keys of another form to pass
    for child in node.values():
        _as_written(child)
