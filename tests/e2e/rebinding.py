"""The command line on a machine whose resolver answers otherwise whenever it is asked again."""

from __future__ import annotations

import itertools
import os
import socket
from typing import Any

import aiohttp

from registry.cli import main

NAME = "upstream.test"
ADDRESSES = "TEST_ADDRESSES"


class Rebinding(aiohttp.ThreadedResolver):
    """Gives `upstream.test` another of the addresses in the environment each time, in the end the last."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        *first, last = os.environ[ADDRESSES].split()
        self._addresses = itertools.chain(first, itertools.repeat(last))

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[Any]:
        """As the system does, but for that name."""
        return await super().resolve(next(self._addresses) if host == NAME else host, port, family)


aiohttp.ThreadedResolver = Rebinding  # type: ignore[misc]

if __name__ == "__main__":
    main()
