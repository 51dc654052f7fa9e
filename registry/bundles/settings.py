"""What an operator may set about bundles: what goes out, whom to believe, and what comes in."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, create_model

from registry.bundles.format import format_of, is_stream
from registry.model.patterns import RepositoryPattern
from registry.settings import Duration, Settings, Size
from registry.settings.selections import Repositories, SelectionSettings

_MAPPING = re.compile(r"(?:[a-z0-9][a-z0-9._:/-]*/)?=(?:[a-z0-9][a-z0-9._/-]*/)?")


def _stream(text: str) -> str:
    if not is_stream(text):
        raise ValueError("must be a name such as weekly or plant-2, of at most 64 small letters and digits")
    return text


def _format(number: int | None) -> int | None:
    format_of(number)
    return number


def _mapping(text: str) -> str:
    if _MAPPING.fullmatch(text) is None or text == "=":
        raise ValueError("must be two prefixes, each empty or with a / at its end, such as hub/=mirror/hub/")
    return text


Mapping = Annotated[str, AfterValidator(_mapping)]
"""A prefix of names there, and what stands for it here: `hub/=mirror/hub/`."""


class StreamSettings(SelectionSettings):
    """What one far side is to have, under the name of the stream of bundles that go there."""

    name: Annotated[str, AfterValidator(_stream)]
    # Nothing comes back from there: what was written counts as arrived.
    one_way: bool = False
    # No two bundles are written in less than this where they go to a folder by themselves; 0s: not so.
    interval: Duration = timedelta(0)
    # The format that is written, for a far side that does not read the newest; null: the newest.
    format: Annotated[int | None, AfterValidator(_format)] = None


class ExportSettings(Settings):
    """How bundles are written."""

    # How bundles call this registry.
    source: Annotated[str, Field(min_length=1, max_length=200)] = "moorage"
    streams: tuple[StreamSettings, ...] = ()
    signing_key_file: Path | None = None
    # Where bundles go that are asked for over the network, or written by themselves.
    dir: Path | None = None
    # The bytes of one medium; 0B: one folder, whose files are never cut.
    media: Size = 0
    # For so long at most what an unacknowledged bundle states is kept from retention.
    hold_for: Duration = timedelta(days=90)


class ImportSettings(Settings):
    """Which bundles are believed, and where their images may go."""

    # Files with public keys in PEM.
    trusted_keys: tuple[Path, ...] = ()
    # So many different ones of them must have signed; 0: unsigned bundles are let in.
    required_signatures: Annotated[int, Field(ge=0, le=16)] = 1
    # So many people other than the importer must approve; 0: what was accepted is approved at once.
    approvals: Annotated[int, Field(ge=0, le=16)] = 0
    # Where images may go, after the names were mapped.
    repositories: Annotated[tuple[Repositories, ...], Field(min_length=1)] = (RepositoryPattern("**"),)
    map: tuple[Mapping, ...] = ()
    # Every image must be signed by one of these keys, as cosign does it.
    image_keys: tuple[Path, ...] = ()
    # Complete bundles in this folder are imported by themselves, and their receipts written to the other.
    dir: Path | None = None
    receipts_dir: Path | None = None


if TYPE_CHECKING:

    class BundlesSettings(Settings):
        """Bundles: images carried across an air gap."""

        export: ExportSettings = ExportSettings()

else:
    # A class body has no room for a field that is called like a word of the language.
    BundlesSettings = create_model(
        "BundlesSettings",
        __base__=Settings,
        __module__=__name__,
        __doc__="Bundles: images carried across an air gap.",
        **{"export": (ExportSettings, ExportSettings()), "import": (ImportSettings, ImportSettings())},
    )


def imports(settings: BundlesSettings) -> ImportSettings:
    """What is set about bundles that come in."""
    found: Any = getattr(settings, "import")
    assert isinstance(found, ImportSettings)
    return found
