"""JSON Schemas of an agent's files and of the events, for ``mailcanary schema``."""

import json
from enum import StrEnum
from typing import Any

from agent.policy.models import PolicyFile
from probes.contract.config.schema import config_schema, customer_schema, file_schema
from probes.contract.event_schema import event_schema


class SchemaOf(StrEnum):
    """What a schema is wanted of."""

    CONFIG = "config"
    CUSTOMER = "customer"
    POLICY = "policy"
    EVENTS = "events"


def _policy_schema() -> dict[str, Any]:
    return file_schema(PolicyFile.model_json_schema(), "mailcanary agent policy")


_SCHEMAS = {
    SchemaOf.CONFIG: config_schema,
    SchemaOf.CUSTOMER: customer_schema,
    SchemaOf.POLICY: _policy_schema,
    SchemaOf.EVENTS: event_schema,
}


def schema_text(of: SchemaOf) -> str:
    """The schema as the command prints it and as ``docs/schema`` holds it."""
    return as_text(_SCHEMAS[of]())


def as_text(schema: dict[str, Any]) -> str:
    """A schema as ``mailcanary schema`` prints every one."""
    return json.dumps(schema, indent=2, ensure_ascii=False)
