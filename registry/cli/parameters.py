"""The fields of an operation's input as arguments and options of a command."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from registry.cli.passwords import stdin_flag
from registry.errors import RegistryError
from registry.model.names import RepositoryName
from registry.work.inputs import InputField

_ADDRESS = re.compile(r"[^/]*:[0-9]*/")
_NATIVE = (str, int, float, bool, Path)


def signature_of(fields: Sequence[InputField], shared: Mapping[str, tuple[Any, object]]) -> inspect.Signature:
    """The signature that typer reads: the fields, then the options that all commands share.

    `shared` has for each of those what it is and its default. In the place of a secret stands whether it is
    read from standard input.
    """
    own = [_secret(field) if field.secret else _parameter(field) for field in fields]
    return inspect.Signature(
        [*own, *(keyword(name, kind, default) for name, (kind, default) in shared.items())]
    )


def keyword(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """A parameter by its name."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _parameter(field: InputField) -> inspect.Parameter:
    native, parser = _native(field)
    about: dict[str, Any] = {"help": field.help, "parser": parser}
    if field.place == "argument":
        metavar = "|".join(field.choices) or field.name.upper()
        default = inspect.Parameter.empty if field.required else field.default
        about["show_default"] = False
        return keyword(field.name, Annotated[native, typer.Argument(metavar=metavar, **about)], default)
    about["show_default"] = not field.required and field.default not in (None, False, ())
    default = inspect.Parameter.empty if field.required else field.default
    return keyword(field.name, Annotated[native, typer.Option(field.flag, **about)], default)


def _secret(field: InputField) -> inspect.Parameter:
    flag = stdin_flag(field)
    words = f"{field.help}: read it from standard input; without this it is asked for"
    return keyword(field.name, Annotated[bool, typer.Option(flag, help=words)], False)


def _native(field: InputField) -> tuple[Any, Callable[[Any], Any] | None]:
    """The type as typer knows it, and what makes a value of ours from a text."""
    # To typer it is a text, so that help shows no class names, and a wrong one is told in our words.
    native, parser = (field.kind, None) if field.kind in _NATIVE else (str, _parser(field))
    if field.many:
        return list[native], parser  # type: ignore[valid-type]
    return (native | None if field.default is None else native), parser


def _parser(field: InputField) -> Callable[[Any], Any]:
    def parse(text: Any) -> Any:
        if not isinstance(text, str) or text is field.default:
            # A default, which is a value already.
            return text
        if field.kind is RepositoryName and (address := _ADDRESS.match(text)):
            raise typer.BadParameter(f"leave out the registry's address: {text[address.end() :]}")
        try:
            return field.of_text(text)
        except (RegistryError, ValueError) as error:
            raise typer.BadParameter(str(error)) from error

    return parse
