"""Whether the whole numbers of an event fit where they are going to be kept.

JSON has no largest number. SQLite, Prometheus' clients and most readers of an export do.
"""

from collections.abc import Callable
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import msgspec

MAX_INT = (1 << 63) - 1
MIN_INT = -(1 << 63)

Look = Callable[[Any], str | None]
"""Where in a value there is a number out of range, as ``.field.field``; ``None``: nowhere."""


def look_into(kind: type[msgspec.Struct]) -> Look:
    """How to look into the events of a kind."""
    names: list[str] = []
    inner: list[tuple[str, Look]] = []
    for field in msgspec.structs.fields(kind):
        if field.type is int or (_is_optional(field.type) and int in get_args(field.type)):
            names.append(field.name)
        elif (look := _look(field.type)) is not None:
            inner.append((field.name, look))
    # With one name alone attrgetter gives no tuple.
    numbers = attrgetter(*names, *names[:1]) if names else (lambda _: ())

    def look_at(value: Any) -> str | None:
        for number in numbers(value):
            if number is not None and not MIN_INT <= number <= MAX_INT:
                return "." + next(name for name in names if getattr(value, name) == number)
        for name, look in inner:
            part = getattr(value, name)
            if part and (where := look(part)) is not None:
                return f".{name}{where}"
        return None

    return look_at


def _is_optional(hint: Any) -> bool:
    return get_origin(hint) is UnionType and NoneType in get_args(hint)


def _look(hint: Any) -> Look | None:
    """How to look into a field; ``None`` where it holds no whole number."""
    if hint is int:
        return lambda number: None if MIN_INT <= number <= MAX_INT else ""
    if _is_optional(hint):
        (hint,) = (option for option in get_args(hint) if option is not NoneType)
        return _look(hint)
    origin = get_origin(hint)
    if origin in (list, dict):
        look = _look(get_args(hint)[-1])
        if look is None:
            return None
        return _each(look, values=origin is dict)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return look_into(hint)
    return None


def _each(look: Look, *, values: bool) -> Look:
    def look_at(many: Any) -> str | None:
        for one in many.values() if values else many:
            if (where := look(one)) is not None:
                return f"[...]{where}"
        return None

    return look_at
