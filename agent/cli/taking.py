"""Commands whose options are the fields of a dataclass, so that several commands can share them."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar, get_type_hints

import typer

T = TypeVar("T")


def taking(options: type[T]) -> Callable[[Callable[[typer.Context, T], None]], Callable[..., None]]:
    """Make a command of a function that takes its context and an ``options``.

    ``options`` is a dataclass with keyword-only fields, each annotated as a command's parameter
    would be. The command's help is the function's docstring.
    """
    hints = get_type_hints(options, include_extras=True)
    annotations = {"ctx": typer.Context} | {
        field.name: hints[field.name]
        for field in fields(options)  # type: ignore[arg-type] # no type says "a dataclass"
    }

    def decorate(command: Callable[[typer.Context, T], None]) -> Callable[..., None]:
        def called(ctx: typer.Context, **given: Any) -> None:
            command(ctx, options(**given))

        known = inspect.signature(options).parameters
        parameters = [
            inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
            *(known[name].replace(annotation=hints[name]) for name in annotations if name in known),
        ]
        called.__name__, called.__doc__ = command.__name__, command.__doc__
        called.__annotations__ = annotations
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # a function has one if it is set
        return called

    return decorate
