"""Objects as the store copies them, whole."""

from __future__ import annotations

from urllib.parse import quote

from storage.errors import NotFound
from storage.s3.answers import require_copied
from storage.s3.direct import Direct, Request
from storage.s3.turns import attempted
from storage.s3.writing import headers_of, properties


async def copy(direct: Direct, key: str, source: str) -> None:
    """Copy an object to where none is, or another of the same bytes. Raises NotFound for the source."""
    options = direct.options
    # What it is made with it does not take over from its source; its type it does.
    made = {name: value for name, value in properties(options).items() if name != "ContentType"}
    place = quote(f"{options.bucket}/{options.name(source)}", safe="/~")
    request = Request("PUT", key, headers={"x-amz-copy-source": place, **headers_of(made)})

    async def once() -> None:
        require_copied(await direct.once(request), options.bucket)

    try:
        await attempted(options, once)
    except NotFound as error:
        raise NotFound(source) from error
