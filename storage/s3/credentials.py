"""The keys that requests are signed with: of two files, or of wherever boto3 finds them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import botocore.session
from boto3.session import Session
from botocore.credentials import CredentialProvider, Credentials, ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import NoCredentialsError

from storage.errors import Unavailable
from storage.s3.options import S3Options


@dataclass(frozen=True, slots=True)
class Access:
    """What finds keys and settings where all tools for S3 look for them."""

    core: botocore.session.Session
    session: Session


def make_access(options: S3Options) -> Access:
    """That of a bucket. Raises Unavailable, naming the file that cannot be used."""
    core = botocore.session.Session()
    if options.access_key_file is not None and options.secret_key_file is not None:
        keys = _KeyFiles(options.access_key_file, options.secret_key_file)
        core.get_component("credential_provider").insert_before("env", keys)
    return Access(core, Session(botocore_session=core))


class Keys:
    """What requests are signed with, once any was found."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._found: Credentials | None = None
        self._asking: asyncio.Future[ReadOnlyCredentials] | None = None

    async def current(self) -> ReadOnlyCredentials:
        """What to sign the next request with; in a thread where somebody has to be asked for it.

        Raises what botocore does, for keys that have expired RuntimeError, and Unavailable.
        """
        found = self._found
        if found is not None and not (isinstance(found, RefreshableCredentials) and found.refresh_needed()):
            return found.get_frozen_credentials()
        # A crowd needs one thread.
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(asyncio.to_thread(self._ask))
        try:
            return await asyncio.shield(self._asking)
        except ValueError as error:
            # What a program or a server has given out for keys is none of it.
            raise Unavailable("", f"the credentials for the store cannot be read: {error}") from error

    def _ask(self) -> ReadOnlyCredentials:
        if self._found is None:
            self._found = self._access.session.get_credentials()
        if self._found is None:
            raise NoCredentialsError
        return self._found.get_frozen_credentials()


class _KeyFiles(CredentialProvider):  # type: ignore[misc] # botocore has no types
    """Keys in two files."""

    METHOD = "moorage-key-files"
    CANONICAL_NAME = "moorage-key-files"

    def __init__(self, access_key: Path, secret_key: Path) -> None:
        super().__init__()
        self._files = access_key, secret_key
        self.read()

    def load(self) -> _FileKeys:
        """What botocore asks for, once."""
        return _FileKeys(self)

    def state(self) -> list[tuple[int, ...]]:
        """What differs after one of the files was written or replaced. Raises OSError."""
        found = [file.stat() for file in self._files]
        return [(one.st_ino, one.st_size, one.st_mtime_ns) for one in found]

    def read(self) -> list[str]:
        """The keys as the files have them now. Raises Unavailable."""
        texts = []
        for file in self._files:
            try:
                texts.append(file.read_text().strip())
            except (OSError, UnicodeDecodeError) as error:
                raise Unavailable("", f"the key in {file} cannot be read: {error}") from error
            if not texts[-1]:
                raise Unavailable("", f"{file} should hold a key, and is empty")
        return texts


class _FileKeys(Credentials):  # type: ignore[misc] # botocore has no types
    """The keys that each request is signed with: looks at the files first, which takes microseconds."""

    def __init__(self, files: _KeyFiles) -> None:
        self._files = files
        self._seen = files.state()
        super().__init__(*files.read(), method=files.METHOD)

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """What botocore asks for before each request."""
        # While a file is away or empty, as in the middle of being replaced, the old keys are used.
        with suppress(OSError, Unavailable):
            found = self._files.state()
            if found != self._seen:
                self.access_key, self.secret_key = self._files.read()
                self._seen = found
        return super().get_frozen_credentials()
