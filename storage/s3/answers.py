"""What a store has answered, and what is to be read from it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import responses
from urllib.parse import unquote
from xml.etree import ElementTree

from storage.contract import ObjectInfo
from storage.errors import StorageError, Unavailable
from storage.s3.errors import PLACE, answered

Headers = Mapping[str, str]
"""Of an answer; whoever looks for a name need not know how the store has spelled it."""
_NUMBER = re.compile("[0-9]{1,18}")
CHECKSUM = "x-amz-checksum-crc32"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, to a request about `key`."""

    key: str
    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Listed:
    """An object in a listing."""

    name: str
    modified: str

    @property
    def modified_at(self) -> datetime:
        """Raises ValueError."""
        return datetime.fromisoformat(self.modified)


@dataclass(frozen=True, slots=True)
class Page:
    """A listing or a part of one: objects, names that others have in common, and what tells of the rest."""

    objects: list[Listed]
    prefixes: list[str]
    token: str | None
    truncated: bool
    date: str | None


@dataclass(frozen=True, slots=True)
class Undeleted:
    """What became of an object that was to be removed with others."""

    name: str
    code: str
    text: str


def header(key: str, headers: Headers, name: str) -> str:
    """A header of the answer about `key`. Raises Unavailable when the store left it out."""
    try:
        return headers[name]
    except KeyError:
        raise Unavailable(key, f"the store answered without {name}; {PLACE}") from None


def size_of(key: str, headers: Headers) -> int:
    """The size of the whole object, which the answer to a range has behind the slash. Raises Unavailable."""
    whole = headers.get("Content-Range", "").rpartition("/")[2]
    told = whole if _NUMBER.fullmatch(whole) else header(key, headers, "Content-Length")
    if not _NUMBER.fullmatch(told):
        raise unreadable(key, f"Content-Length: {told[:99]}")
    return int(told)


def info_of(key: str, headers: Headers) -> ObjectInfo:
    """Size of the whole object and modified time, from what HEAD or GET answers. Raises Unavailable."""
    size = size_of(key, headers)
    try:
        return ObjectInfo(size, parsedate_to_datetime(header(key, headers, "Last-Modified")).astimezone(UTC))
    except ValueError as error:
        raise unreadable(key, error) from error


def error_of(answer: Answer, bucket: str) -> StorageError:
    """What an answer with an error's status means; to HEAD and by proxies it has no code but that."""
    try:
        root = _parsed(answer)
    except Unavailable:
        code = text = ""
    else:
        space = _space(root)
        code, text = (root.findtext(f"{space}{name}", "") for name in ("Code", "Message"))
    if not code:
        code, text = str(answer.status), responses.get(answer.status, "")
    region = answer.headers.get("x-amz-bucket-region")
    if answer.status in (301, 400) and region:
        text += f" [region {region}]"
    return answered(code, text, answer.status, answer.key, bucket)


def require_copied(answer: Answer, bucket: str) -> None:
    """Raises what an error means that comes behind a status of success (S3: CopyObject)."""
    _read(answer, "CopyObjectResult", bucket)


def page_of(answer: Answer, bucket: str) -> Page:
    """A page of a listing (S3: ListObjectsV2). Raises storage errors."""
    root = _read(answer, "ListBucketResult", bucket)
    space = _space(root)
    escaped = root.findtext(f"{space}EncodingType") == "url"

    def text(of: ElementTree.Element, name: str) -> str:
        found = of.findtext(f"{space}{name}")
        if found is None:
            raise unreadable(answer.key, f"a listing without {name}")
        return unquote(found) if escaped and name != "LastModified" else found

    if not (truncated := root.findtext(f"{space}IsTruncated")):
        # Whoever took it for whole would take what is not in it for gone.
        raise unreadable(answer.key, "a listing that does not say whether it is whole")
    return Page(
        [Listed(text(one, "Key"), text(one, "LastModified")) for one in root.iterfind(f"{space}Contents")],
        [text(one, "Prefix") for one in root.iterfind(f"{space}CommonPrefixes")],
        root.findtext(f"{space}NextContinuationToken"),
        truncated == "true",
        answer.headers.get("Date"),
    )


def undeleted(answer: Answer, bucket: str) -> list[Undeleted]:
    """What was not removed of many objects (S3: DeleteObjects). Raises storage errors."""
    root = _read(answer, "DeleteResult", bucket)
    space = _space(root)
    return [
        Undeleted(*(one.findtext(f"{space}{name}", "") for name in ("Key", "Code", "Message")))
        for one in root.iterfind(f"{space}Error")
    ]


def crc32(checksum: int) -> str:
    """A checksum as S3 has it."""
    return base64.b64encode(checksum.to_bytes(4)).decode()


def require_sum(key: str, headers: Headers, checksum: int) -> None:
    """Raises Unavailable for bytes with another CRC-32 than that which the store tells, if it does."""
    found = crc32(checksum)
    told = headers.get(CHECKSUM, found)
    # That of an upload in parts, with the number of parts behind a dash, is not of the bytes.
    if "-" not in told and told != found:
        raise Unavailable(key, f"what the store gave has the checksum {found}, not {told}; {PLACE}")


def unreadable(key: str, why: object) -> Unavailable:
    """The error for an answer that is not what S3 says."""
    return Unavailable(key, f"the store's answer cannot be read ({why}); {PLACE}")


def _read(answer: Answer, name: str, bucket: str) -> ElementTree.Element:
    """What was asked for; an error may come behind a status of success, and anything else from in between."""
    root = _parsed(answer)
    found = root.tag.rpartition("}")[2]
    if found == "Error":
        raise error_of(replace(answer, status=HTTPStatus.INTERNAL_SERVER_ERROR), bucket)
    if found != name:
        raise unreadable(answer.key, f"{found} where {name} was to be")
    return root


def _parsed(answer: Answer) -> ElementTree.Element:
    # S3 speaks UTF-8, whatever a page from in between says of itself. Expat bounds what entities may grow to.
    parser = ElementTree.XMLParser(encoding="utf-8")  # noqa: S314 - see above
    try:
        return ElementTree.fromstring(answer.body, parser)  # noqa: S314 - see above
    except ElementTree.ParseError as error:
        raise unreadable(answer.key, error) from error


def _space(root: ElementTree.Element) -> str:
    """The namespace that all names have, which some stores leave out."""
    return root.tag[: root.tag.index("}") + 1] if root.tag.startswith("{") else ""
