"""``mailcanary schema``: JSON Schemas of the files and of the events."""

import json
from enum import StrEnum
from typing import Annotated

import typer

from probes.contract.config.schema import config_schema, customer_schema
from probes.contract.event_schema import event_schema


class SchemaOf(StrEnum):
    """What a schema is wanted of."""

    CONFIG = "config"
    CUSTOMER = "customer"
    EVENTS = "events"


_SCHEMAS = {
    SchemaOf.CONFIG: config_schema,
    SchemaOf.CUSTOMER: customer_schema,
    SchemaOf.EVENTS: event_schema,
}


def schema_text(of: SchemaOf) -> str:
    """The schema as the command prints it and as ``docs/schema`` holds it."""
    return json.dumps(_SCHEMAS[of](), indent=2, ensure_ascii=False)


def schema(
    of: Annotated[
        SchemaOf,
        typer.Argument(help="config: the main file; customer: a file in customers.d; events"),
    ],
) -> None:
    """Print the JSON Schema of the configuration file, of a customer's file, or of the events."""
    typer.echo(schema_text(of))
