"""Objects as they are removed, one or many with a request."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from xml.etree import ElementTree

from storage.errors import Forbidden
from storage.s3.answers import undeleted
from storage.s3.direct import Direct, Request
from storage.s3.errors import Doubtful
from storage.s3.turns import attempted

_SPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


async def delete(direct: Direct, keys: Sequence[str]) -> None:
    """Remove up to a thousand objects with one request; what is not there does no harm."""
    if len(keys) == 1:
        await direct.ask(Request("DELETE", keys[0]))
    elif keys:
        await attempted(direct.options, lambda: _delete_many(direct, keys))


async def _delete_many(direct: Direct, keys: Sequence[str]) -> None:
    root = ElementTree.Element("Delete", xmlns=_SPACE)
    ElementTree.SubElement(root, "Quiet").text = "true"
    for key in keys:
        ElementTree.SubElement(ElementTree.SubElement(root, "Object"), "Key").text = direct.options.name(key)
    body = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    # Older stores know no other checksum.
    checksum = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    headers = {"Content-MD5": checksum, "Content-Type": "application/xml"}
    request = Request("POST", "", {"delete": ""}, headers, body)
    for error in undeleted(await direct.once(request), direct.options.bucket):
        if error.code != "NoSuchKey":
            told = f"the store did not remove the object ({error.code} {error.text})"
            kind = Forbidden if error.code == "AccessDenied" else Doubtful
            raise kind(direct.options.key(error.name), told)
