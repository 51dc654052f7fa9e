"""The blobs of a namespace that are not held: how large they are, and their ways here."""

from __future__ import annotations

from collections.abc import Callable

from registry.core.registry import Registry
from registry.errors import BlobUnknown, RegistryError, TooManyRequests
from registry.mirror.failures import answer
from registry.mirror.fetching import Fetching
from registry.mirror.memory import NEGATIVE, Refusals
from registry.mirror.tasks import Tasks
from registry.mirror.transfer import Transfer
from registry.mirror.upstreams import Upstreams
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.remote.errors import UpstreamError
from storage.errors import StorageError

_MOST_TRANSFERS = 256


class Blobs:
    """The blobs of one namespace, as one process sees them; `name_there` is the upstreams' name for it."""

    def __init__(
        self,
        registry: Registry,
        upstreams: Upstreams,
        fetching: Fetching,
        refusals: Refusals,
        tasks: Tasks,
        name_there: Callable[[RepositoryName], RepositoryName],
    ) -> None:
        self._store = registry.store
        self._upstreams = upstreams
        self._fetching = fetching
        self._refusals = refusals
        self._tasks = tasks
        self._name_there = name_there
        self._transfers: dict[Digest, Transfer] = {}

    @property
    def under_way(self) -> int:
        """How many are being fetched, or followed."""
        return len(self._transfers)

    async def size(self, name: RepositoryName, digest: Digest) -> int:
        """How many bytes one has. Raises BlobUnknown, Denied for what is blocked, Unavailable and others."""
        self._store.blocked.refuse([digest])
        if (error := self._refusals.get(name, ("blob", digest))) is None:
            try:
                there = self._name_there(name)
                return await self._upstreams.ask(lambda one: one.head_blob(there, digest))
            except UpstreamError as failure:
                error = failure
                self._refusals.note(name, ("blob", digest), error)
        raise answer(error, _unknown(name, digest))

    async def transfer(self, name: RepositoryName, digest: Digest) -> Transfer:
        """One on its way, whose size is known. Raises BlobUnknown, Unavailable and others."""
        if (known := self._refusals.get(name, ("blob", digest))) is not None:
            raise answer(known, _unknown(name, digest))
        transfer = self._transfers.get(digest) or self._begin(name, digest)
        if name != transfer.name and name not in transfer.repositories:
            # It comes for another one; that this repository has it too, the upstreams have to say.
            await self.size(name, digest)
            transfer.repositories.add(name)
        try:
            await transfer.size()
        except UpstreamError as error:
            if name != transfer.name and error.cause in NEGATIVE:
                # That was said of the other one.
                return await self.transfer(name, digest)
            raise answer(error, _unknown(name, digest)) from error
        return transfer

    def _begin(self, name: RepositoryName, digest: Digest) -> Transfer:
        if len(self._transfers) >= _MOST_TRANSFERS:
            raise TooManyRequests(
                f"{_MOST_TRANSFERS} blobs are on their way already; try again shortly",
                headers={"Retry-After": "10"},
            )
        transfer = Transfer(self._store, name, digest)
        self._transfers[digest] = transfer

        async def bring() -> None:
            try:
                await self._fetching.bring(transfer)
            except (UpstreamError, RegistryError, StorageError) as error:
                if isinstance(error, UpstreamError):
                    self._refusals.note(name, ("blob", digest), error)
                transfer.fail(error)
            finally:
                if not transfer.is_over:
                    transfer.fail(UpstreamError(name, "the registry ends", "unreachable"))
                del self._transfers[digest]

        self._tasks.start(transfer, bring())
        return transfer


def _unknown(name: RepositoryName, digest: Digest) -> BlobUnknown:
    return BlobUnknown(detail={"name": name, "digest": str(digest)})
