"""The JSON Schema of events, for readers of the event stream that are not written in Python."""

import inspect
from typing import Any

import msgspec

from probes.contract.events import Event


def event_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one event, drawn from the types themselves.

    It describes the kinds that this version knows and allows further fields. A reader that is to
    outlive this version lets kinds pass that the schema does not list.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mailcanary event",
        **_tidied(msgspec.json.schema(Event)),
    }


def _tidied(node: Any) -> Any:
    """The schema with the indentation of the source taken out of its descriptions."""
    if isinstance(node, dict):
        return {
            key: inspect.cleandoc(value)
            if key == "description" and isinstance(value, str)
            else _tidied(value)
            for key, value in node.items()
        }
    if isinstance(node, list | tuple):
        return [_tidied(value) for value in node]
    return node
