"""What settings are made of: values with units, secrets, files read with their lines, problems told well."""

from __future__ import annotations

from registry.settings.address import Address, Listen
from registry.settings.document import MAXIMUM_BYTES, Document, Node, NotADocument, read_document
from registry.settings.problems import Location, Problem, Source, in_order, nearest, problems_of
from registry.settings.urls import Url, parse_url
from registry.settings.values import REVEALED, Duration, Network, Secret, Settings, Size

__all__ = [
    "MAXIMUM_BYTES",
    "REVEALED",
    "Address",
    "Document",
    "Duration",
    "Listen",
    "Location",
    "Network",
    "Node",
    "NotADocument",
    "Problem",
    "Secret",
    "Settings",
    "Size",
    "Source",
    "Url",
    "in_order",
    "nearest",
    "parse_url",
    "problems_of",
    "read_document",
]
