"""Whose the files of a store are: what another user writes there the server could not remove."""

from __future__ import annotations

import os
import pwd
import shlex
from collections.abc import Sequence

from registry.cli.exits import Refused


def require_owner(root: str | os.PathLike[str], user: int, words: Sequence[str]) -> None:
    """Refuse to work on files of another user than `user`; `words` are the command's, for the advice.

    Whoever owns anything directly below the root may; of an empty root, whoever can write to it. Raises
    Refused.
    """
    try:
        with os.scandir(root) as entries:
            owners = {entry.stat().st_uid for entry in entries}
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        # Of what is missing the storage itself speaks; what this user may not even list is not theirs.
        try:
            owners = {os.stat(root).st_uid}
        except OSError:
            return
    if not owners or user in owners:
        return
    owner = _name(min(owners))
    again = shlex.join(["sudo", "-u", owner, "moorage", *words])
    raise Refused(
        f"the store in {os.path.realpath(root)} belongs to {owner} and this is {_name(user)}: what is written"
        f" now would not be the server's to read or remove. Run\n\n  {again}"
    )


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"
