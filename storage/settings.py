"""What an operator may set about where the bytes lie."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict


class StorageSettings(BaseModel):
    """A directory; relative to where the program was started when it does not begin with a slash."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    driver: Literal["local"] = "local"
    root: Path = Path("data")
    allow_case_folding: bool = False
