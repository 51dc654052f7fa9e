"""A sync that failed is not asked for again: Linux tells of bytes that it could not write only once."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from registry.app.opening import open_scratch
from registry.errors import BlobUploadUnknown
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.upkeep.crash.client import Client, Received
from storage.errors import Unavailable
from tests.storage.watched import WatchedFiles

NAME = RepositoryName("team/app")


class DyingFiles(WatchedFiles):
    """Syncs of one inode fail the first time; who asks again is told that all is well."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = False
        self.lost: set[int] = set()
        self._held: list[int] = []

    def sync(self, descriptor: int) -> None:
        """Fails for files, not for directories."""
        status = os.fstat(descriptor)
        if self.failing and os.path.isfile(f"/proc/self/fd/{descriptor}") and status.st_ino not in self.lost:
            self.lost.add(status.st_ino)
            self._held.append(os.dup(descriptor))  # so that no new file becomes the same inode
            raise OSError(errno.EIO, "Input/output error")

    def let_go(self) -> None:
        """Close what was held."""
        for descriptor in self._held:
            os.close(descriptor)


@pytest.mark.parametrize("pieces", [[b"one"], [b"one", b"two"]], ids=["one piece", "two"])
async def test_bytes_that_could_not_be_synced_are_not_acknowledged_later(
    tmp_path: Path, pieces: list[bytes]
) -> None:
    files = DyingFiles()
    digest = Digest.of(b"".join(pieces))
    async with open_scratch(str(tmp_path), files) as registry:
        repository = registry.repository(NAME, "tester")
        session = await repository.begin_upload("sha256")
        for piece in pieces:
            await repository.append(session.uuid, Received(piece), None)
        files.failing = True
        with pytest.raises(Unavailable):
            await repository.finish_upload(session.uuid, digest, Received(), None)
        files.failing = False
        if len(pieces) == 1:
            with pytest.raises(BlobUploadUnknown):
                await repository.finish_upload(session.uuid, digest, Received(), None)
            await Client(registry, lambda *_: None).in_pieces(NAME, *pieces)
        else:
            # The pieces are joined anew, in another file.
            await repository.finish_upload(session.uuid, digest, Received(), None)
        async with repository.open_blob(digest) as opened:
            kept = os.fstat(opened.file or -1)
    files.let_go()
    assert files.lost
    assert kept.st_ino not in files.lost
