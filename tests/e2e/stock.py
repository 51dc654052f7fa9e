"""The command line with a server that speaks through uvicorn's own protocol class."""

from __future__ import annotations

from registry.cli import main
from registry.server import endpoint

if __name__ == "__main__":
    endpoint.STOCK = True
    main()
