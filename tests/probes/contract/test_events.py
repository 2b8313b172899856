"""Events: one JSON form, byte for byte, that readers one version apart can live with."""

import json
from pathlib import Path as FilePath
from typing import Any

import msgspec
import pytest
from msgspec.structs import FieldInfo, fields

from probes.contract import events
from probes.contract.events import KINDS, Event, Unknown, decode, encode
from probes.contract.names import Path
from probes.contract.stages import Reason, Result, Stage

GOLDEN = sorted((FilePath(__file__).parent / "golden").glob("*.json"))
EVERY_GOLDEN = pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)


def read(file: FilePath) -> bytes:
    data = file.read_bytes()
    assert data.endswith(b"\n")
    return data[:-1]


def kind_of(file: FilePath) -> str:
    """``submission-deferred.json`` is one more example of kind ``submission``."""
    return file.stem.partition("-")[0]


def test_every_kind_has_a_golden_file() -> None:
    assert {kind_of(file) for file in GOLDEN} == set(KINDS)


def test_kinds_name_every_event_type_by_its_tag() -> None:
    assert {kind: cls.__struct_config__.tag for kind, cls in KINDS.items()} == {k: k for k in KINDS}
    assert set(KINDS.values()) == set(Event.__args__)


@EVERY_GOLDEN
def test_golden_event_survives_a_round_trip_byte_for_byte(file: FilePath) -> None:
    data = read(file)
    event = decode(data)
    assert type(event) is KINDS[kind_of(file)]
    assert encode(event) == data
    assert b"\n" not in data


@pytest.mark.parametrize("kind", KINDS)
def test_golden_files_give_every_field_a_value_of_its_own(kind: str) -> None:
    examples = [decode(read(file)) for file in GOLDEN if kind_of(file) == kind]
    for field in fields(KINDS[kind]):
        assert any(
            getattr(example, field.name) not in (None, "", [], {}, False)
            or field.required
            or field.type is bool
            for example in examples
        ), field.name


MAPS = ("phases", "timings", "counters", "labels", "document")
MAPS_OF_STRUCTS = {"mailboxes", "queues"}


def widened(node: Any) -> Any:
    """``node`` with two new members in every object that is a struct, not a map."""
    if isinstance(node, list):
        return [widened(item) for item in node]
    if not isinstance(node, dict):
        return node
    inner = {key: value if key in MAPS else widened(value) for key, value in node.items()}
    for key in MAPS_OF_STRUCTS & node.keys():
        inner[key] = {name: widened(one) for name, one in node[key].items()}
    return {"from_the_future": {"x": [1]}, **inner, "later": None}


@EVERY_GOLDEN
def test_unknown_fields_are_ignored_at_every_depth(file: FilePath) -> None:
    data = read(file)
    wider = json.dumps(widened(json.loads(data))).encode()
    assert encode(decode(wider)) == data


@pytest.mark.parametrize(
    "raw",
    [
        b'{"kind":"weather","at_ns":1}',
        b' {\n "at_ns" : 1.50,\t"kind" : "weather", "kind2": "\\u00e9", "n": 1e2 }\n',
        b'{"kind":"weather","big":123456789012345678901234567890,"twice":1,"twice":2}',
        '{"kind":"wëtter","text":"naïve"}'.encode(),
        b'{"kind":""}',
        b'{"kind":"INTENT"}',
    ],
)
def test_unknown_kinds_are_kept_byte_for_byte(raw: bytes) -> None:
    event = decode(raw)
    assert isinstance(event, Unknown)
    assert event.kind == json.loads(raw)["kind"]
    assert encode(event) == raw


WORDS = ("result", "stage", "reason")
NEWER = sorted((FilePath(__file__).parent / "golden" / "newer").glob("*.json"))


@pytest.mark.parametrize("file", NEWER, ids=lambda file: file.stem)
def test_words_of_a_newer_version_are_other_and_all_else_is_read(file: FilePath) -> None:
    data = read(file)
    document, event = json.loads(data), msgspec.to_builtins(decode(data))
    words = {key for key in WORDS if document.get(key) is not None}
    assert words
    assert {event[key] for key in words} == {"other"}
    assert event == with_other_words(document)


def with_other_words(node: Any) -> Any:
    """``node`` with ``other`` for every word that may be one of a newer version."""
    if isinstance(node, list):
        return [with_other_words(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: "other" if key in WORDS and value is not None else with_other_words(value)
        for key, value in node.items()
    }


@pytest.mark.parametrize("words", [Result, Stage, Reason], ids=lambda words: words.__name__)
def test_any_word_that_is_not_known_is_other(words: type[Result | Stage | Reason]) -> None:
    for word in ("", "other", "Other", "TIMEOUT", "accepted ", "naïve", "x" * 10_000):
        assert msgspec.json.decode(msgspec.json.encode(word), type=words) is words.OTHER
    for known in words:
        assert msgspec.json.decode(msgspec.json.encode(known), type=words) is known


def without(document: dict[str, Any], name: str) -> bytes:
    return json.dumps({key: value for key, value in document.items() if key != name}).encode()


def every_field() -> list[Any]:
    """(file, field) of every golden event."""
    return [
        pytest.param(file, field, id=f"{file.stem}.{field.name}")
        for file in GOLDEN
        for field in fields(KINDS[kind_of(file)])
    ]


@pytest.mark.parametrize(("file", "field"), every_field())
def test_a_missing_field_has_its_default_or_is_named(file: FilePath, field: FieldInfo) -> None:
    data = without(json.loads(read(file)), field.name)
    if field.required:
        with pytest.raises(
            msgspec.ValidationError, match=f"missing required field `{field.name}`$"
        ):
            decode(data)
    else:
        default = (
            field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        )
        assert getattr(decode(data), field.name) == default


@pytest.mark.parametrize(("file", "field"), every_field())
def test_a_field_of_the_wrong_type_is_named(file: FilePath, field: FieldInfo) -> None:
    wrong: object = [{"no": "thing"}]
    document = json.loads(read(file))
    if isinstance(document.get(field.name), list):
        wrong = "text"
    with pytest.raises(msgspec.ValidationError, match=rf"- at `\$\.{field.name}"):
        decode(json.dumps({**document, field.name: wrong}).encode())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"path": {"agent": "sfo", "relay": "a"}},
            "missing required field `mailbox` - at `$.path`",
        ),
        ({"result": 7}, "Expected `str`, got `int` - at `$.result`"),
        ({"stage": True}, "Expected `str | null`, got `bool` - at `$.stage`"),
        ({"reason": []}, "Expected `str | null`, got `array` - at `$.reason`"),
        ({"sent_ns": 1.5}, "Expected `int`, got `float` - at `$.sent_ns`"),
        ({"sent_ns": "1"}, "Expected `int`, got `str` - at `$.sent_ns`"),
        ({"phases": {"connect": "long"}}, "Expected `float`, got `str` - at `$.phases[...]`"),
        (
            {"reply": {"code": 250, "enhanced": None}},
            "missing required field `text` - at `$.reply`",
        ),
        ({"kind": 7}, "Expected `str`, got `int` - at `$.kind`"),
    ],
)
def test_the_error_says_where_and_what(change: dict[str, Any], message: str) -> None:
    document = json.loads(read(next(file for file in GOLDEN if file.stem == "submission")))
    with pytest.raises(msgspec.ValidationError) as caught:
        decode(json.dumps({**document, **change}).encode())
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"kind":"tick"', b"\xff", b'{"kind":"tick","at_ns":1} trailing', b'{"kind":NaN}'],
)
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(data)


@pytest.mark.parametrize("data", [b"[]", b"{}", b'"tick"', b"1", b"null"])
def test_json_that_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(data)


def test_events_are_immutable() -> None:
    types: list[type[msgspec.Struct]] = [*KINDS.values(), events.Envelope, events.Unknown, Path]
    for cls in types:
        assert cls.__struct_config__.frozen, cls


def test_an_envelope_keeps_its_event_byte_for_byte() -> None:
    event = msgspec.Raw(b'{"kind":"weather",  "at_ns":1.50}')
    envelope = events.Envelope(
        version=events.Envelope.CURRENT,
        ingested_at_ns=1_760_000_000_000_000_000,
        source="sfo",
        epoch="s8d2m4k1",
        seq=1,
        event=event,
    )
    data = msgspec.json.encode(envelope)
    again = msgspec.json.decode(data, type=events.Envelope)
    assert bytes(again.event) == bytes(event)
    assert (again.version, again.source, again.epoch, again.seq) == (1, "sfo", "s8d2m4k1", 1)
    assert msgspec.json.encode(again) == data
