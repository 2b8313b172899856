"""pydantic's findings in the project's own words: what was found, what is allowed."""

from difflib import get_close_matches
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import BaseModel

from probes.contract.config.document import Loc
from probes.contract.config.fields import (
    ADDRESS_PATTERN,
    HOST_PATTERN,
    MAILBOX_REF_PATTERN,
    SECRET_NAME_PATTERN,
)
from probes.contract.names import LABEL_KEY_PATTERN, NAME_PATTERN

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_PATTERNS = {
    NAME_PATTERN: "a name of 1 to 63 lower-case letters, digits, dots, dashes, underscores",
    LABEL_KEY_PATTERN: "a label of lower-case letters, digits and underscores",
    HOST_PATTERN: "a host name or an IP address",
    ADDRESS_PATTERN: "a mail address, such as canary@example.net",
    SECRET_NAME_PATTERN: "a secret's name, such as relay-a1 or acme/imap",
    MAILBOX_REF_PATTERN: "customer/mailbox, such as monitor/bounces",
}
NUMBERS = ("a whole number", "a number")
"""What is allowed where a number is wanted."""
SELECTIONS = ("relays", "agents", "mailboxes", "destinations")
"""Keys of rules under which a selection stands."""

_LONGEST = 60
_LONGEST_NAME = 200


def describe(value: object) -> str:
    """``value`` as a message names it; containers by their kind only, long texts cut."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value}".replace("inf", "infinity")
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = str(value)
    return repr(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")


def suggest(word: str, known: list[str]) -> str:
    """`` (did you mean 'x'?)``, or nothing where no known word is close."""
    close = close_to(word, known)
    return "" if close is None else f" (did you mean {close!r}?)"


def close_to(word: str, known: list[str]) -> str | None:
    """The known word that ``word`` is probably meant to be."""
    # Longer words than any name are no slip of the fingers, and comparing them takes long.
    close = get_close_matches(word, known, n=1) if len(word) <= _LONGEST_NAME else []
    return close[0] if close else None


def explain(error: "ErrorDetails", model: type[BaseModel]) -> tuple[Loc, str, str]:
    """Where in ``model``'s data, what was found, and what is allowed there."""
    loc: Loc = error["loc"]
    kind = error["type"]
    value = error["input"]
    context = error.get("ctx", {})
    if kind == "missing":
        return loc[:-1], f"no {loc[-1]}", f"a mapping with {loc[-1]}"
    if kind == "extra_forbidden":
        known = sorted(fields_at(model, loc[:-1]))
        word = str(loc[-1])
        return loc, f"the unknown key {describe(word)}{suggest(word, known)}", ", ".join(known)
    if loc and loc[-1] == "[key]":
        loc = loc[:-1]
    found = describe(value)
    if loc and loc[-1] == "secret" and isinstance(value, str):
        # Somebody may have put the password itself there, and this text ends in logs.
        found = "a text that is no secret's name (not shown)"
    if isinstance(value, list | dict) and loc and loc[-1] in SELECTIONS:
        found = _short(value)
    return loc, found, _allowed(kind, context, value)


def _allowed(kind: str, context: dict[str, Any], value: object) -> str:
    simple = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "tuple_type": "a list",
        "dict_type": "a mapping",
        "model_type": "a mapping",
        "string_too_short": "a text that is not empty",
    }
    if kind in simple:
        return simple[kind]
    if kind == "string_type":
        return 'text (in quotes: "…")' if isinstance(value, bool | int | float) else "text"
    if kind == "value_error":
        return str(context["error"])
    if kind in ("literal_error", "enum"):
        return str(context["expected"]).replace("'", "")
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"text like {context['pattern']}")
    limits = {
        "greater_than": ("gt", "more than"),
        "greater_than_equal": ("ge", "at least"),
        "less_than_equal": ("le", "at most"),
        "string_too_long": ("max_length", "characters: at most"),
    }
    if kind in limits:
        key, words = limits[kind]
        return f"{words} {context[key]:.7g}"
    return f"something else ({kind.replace('_', ' ')})"


def _short(value: object) -> str:
    if isinstance(value, dict) and value:
        inner = ", ".join(f"{key}: {item}" for key, item in value.items())
        text = f"{{{inner}}}"
    elif isinstance(value, list) and value:
        text = f"[{', '.join(map(str, value))}]"
    else:
        return f"an empty {'mapping' if isinstance(value, dict) else 'list'}"
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def fields_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """The keys that ``model`` knows in the mapping at ``loc``."""
    current = model
    for step in loc:
        if isinstance(step, int) or step not in current.model_fields:
            continue
        inner = _model_in(current.model_fields[step].annotation)
        if inner is not None:
            current = inner
    return list(current.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, tuple):
        for part in get_args(annotation):
            model = _model_in(part)
            if model is not None:
                return model
    return None
