"""Whole numbers beyond 64 bits are found wherever an event holds one."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from collector.ingest.bounds import MAX_INT, MIN_INT, look_into
from probes.contract.events import KINDS, Config, decode
from tests.collector.ingest.made import GOLDEN

FILES = [file for file in sorted(GOLDEN.glob("*.json")) if file.stem != "config"]


def numbers(node: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a document there are whole numbers."""
    if isinstance(node, int) and not isinstance(node, bool):
        yield where
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from numbers(value, (*where, key))
    elif isinstance(node, list):
        for at, value in enumerate(node):
            yield from numbers(value, (*where, at))


def changed(document: Any, where: tuple[Any, ...], value: int) -> bytes:
    copy = json.loads(json.dumps(document))
    inner = copy
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    return json.dumps(copy).encode()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_number_of_every_kind_is_looked_at(file: Any) -> None:
    document = json.loads(file.read_bytes())
    look = look_into(KINDS[document["kind"]])
    assert look(decode(file.read_bytes())) is None
    found = list(numbers(document))
    assert found
    for where in found:
        for fits in (MIN_INT, MAX_INT, 0):
            assert look(decode(changed(document, where, fits))) is None
        for value in (MIN_INT - 1, MAX_INT + 1, 1 << 64, -(10**300)):
            told = look(decode(changed(document, where, value)))
            assert told is not None
            assert told.startswith(f".{where[0]}")


def test_where_it_is_is_told() -> None:
    document = json.loads((GOLDEN / "heartbeat.json").read_bytes())
    look = look_into(KINDS["heartbeat"])
    name = next(iter(document["counters"]))
    told = look(decode(changed(document, ("counters", name), 1 << 63)))
    assert told == ".counters[...]"
    assert look(decode(changed(document, ("spool", "depth"), 1 << 63))) == ".spool.depth"


def test_what_may_hold_anything_is_left_alone() -> None:
    look = look_into(Config)
    assert look(Config(revision="r", at_ns=1, document={"a": 1 << 70})) is None
