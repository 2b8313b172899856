"""The JSON Schema of events, for readers of the event stream that are not written in Python."""

import inspect
from typing import Any

import msgspec

from probes.contract.events import Event
from probes.contract.stages import Reason, Result, Stage


def event_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one event, drawn from the types themselves.

    It describes the kinds that this version knows and allows further fields, and further words for
    results, stages and reasons. A reader that is to outlive this version lets kinds pass that the
    schema does not list. ``#/$defs/Line`` is a line of an agent's ``--events``, an event inside.
    """
    schema = _tidied(msgspec.json.schema(Event))
    for words in (Result, Stage, Reason):
        known = schema["$defs"][words.__name__]
        known["anyOf"] = [{"enum": known.pop("enum")}, {"type": "string"}]
    schema["$defs"]["Line"] = _line()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mailcanary event",
        **schema,
    }


def _line() -> dict[str, Any]:
    """What an agent writes with ``--events``: the event itself is spliced in as it lies there."""
    return {
        "title": "Line",
        "description": "A line that an agent writes with --events: an event, and which one it is.",
        "type": "object",
        "properties": {
            "epoch": {"type": "string"},
            "seq": {"type": "integer"},
            "event": {"$ref": "#"},
        },
        "required": ["epoch", "seq", "event"],
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
