"""Secrets that a command needs: never on its command line, where others could read them."""

from __future__ import annotations

import sys
from typing import Any

import typer

from registry.errors import RegistryError
from registry.work.inputs import InputField

_MOST_CHARACTERS = 64 << 10


def stdin_flag(field: InputField) -> str:
    """The option that has a secret read from standard input, as `docker login` has it."""
    return f"{field.flag}-stdin"


def ask_for(field: InputField, *, from_stdin: bool) -> Any:
    """The secret, read or asked for. Raises typer's BadParameter when there is none to be had."""
    text = _read(field) if from_stdin else _prompted(field)
    try:
        return field.of_text(text)
    except (RegistryError, ValueError) as error:
        raise typer.BadParameter(f"the {field.name} {error}") from None


def _prompted(field: InputField) -> str:
    if not sys.stdin.isatty():
        raise typer.BadParameter(
            f"there is no terminal to ask for the {field.name} at: give it with {stdin_flag(field)}"
        )
    words = field.name.replace("_", " ").capitalize()
    asked: str = typer.prompt(words, hide_input=True, confirmation_prompt=field.new, err=True)
    return asked


def _read(field: InputField) -> str:
    text = sys.stdin.read(_MOST_CHARACTERS + 1)
    # The line break that `echo` and editors put behind it.
    text = text.removesuffix("\n").removesuffix("\r")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter(f"the {field.name} on standard input is not UTF-8") from None
    if len(text) > _MOST_CHARACTERS:
        raise typer.BadParameter(f"the {field.name} has more than {_MOST_CHARACTERS} characters")
    return text
