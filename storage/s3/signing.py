"""Requests about a bucket, addressed and signed as boto3 would."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from yarl import URL

from storage.errors import Unavailable
from storage.s3.clients import make_client
from storage.s3.credentials import Access, Keys
from storage.s3.errors import FAILURES
from storage.s3.options import S3Options

_LARGE_BYTES = 1 << 20


class Signer:
    """Knows a bucket's address, region and keys."""

    def __init__(self, access: Access, options: S3Options) -> None:
        # Where the bucket is, and for which region to sign, boto3 says of a URL that nobody will ask for:
        # what signs that is no key at all, and nobody is asked for one.
        none = {"aws_access_key_id": "-", "aws_secret_access_key": "-"}
        client = make_client(access, options, 1, **none)
        try:
            url = urlsplit(
                client.generate_presigned_url("get_object", Params={"Bucket": options.bucket, "Key": "-"})
            )
        except (*FAILURES, ValueError) as error:
            raise Unavailable("", f"the store {options.place} cannot be used: {error}") from error
        finally:
            client.close()
        _, _, self._region, self._service, _ = parse_qs(url.query)["X-Amz-Credential"][0].split("/")
        self.address = f"{url.scheme}://{url.netloc.lower()}{url.path[:-1]}"
        self._host = URL(self.address).host_port_subcomponent
        self._config = client.meta.config
        self._hashes = options.payload_signing
        self._keys = Keys(access)

    async def signed(
        self, method: str, name: str, query: Mapping[str, str], headers: Mapping[str, str], body: Any
    ) -> tuple[URL, dict[str, str]]:
        """Address and headers of a request about an object, or without a name about the bucket."""
        url = self.address + quote(name, safe="/~")
        if query:
            url += f"?{urlencode(query, quote_via=quote, safe='~')}"
        # Named here, so that what is signed is what is sent.
        request = AWSRequest(method, url, {"Host": self._host, **headers}, body)
        request.context["client_config"] = self._config
        signing = S3SigV4Auth(await self._keys.current(), self._service, self._region)
        if self._hashes and body is not None and len(body) > _LARGE_BYTES:
            await asyncio.to_thread(signing.add_auth, request)
        else:
            signing.add_auth(request)
        return URL(url, encoded=True), dict(request.headers.items())
