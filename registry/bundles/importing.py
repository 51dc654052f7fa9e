"""Taking a bundle in: judged whole before anything of it is staged, and the same again goes on from there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry.bundles.arriving import Arriving
from registry.bundles.contents import Content, Digests, Key
from registry.bundles.errors import BundleRefused, unsound
from registry.bundles.format import CONTENTS, HEAD, Head
from registry.bundles.images import ImageSignatures
from registry.bundles.names import Names
from registry.bundles.planting import Planting
from registry.bundles.reading import Files
from registry.bundles.receipts import code_of
from registry.bundles.received import Received, Staged
from registry.bundles.references import References
from registry.bundles.signatures import require_signatures
from registry.bundles.staging import Staging
from registry.bundles.statement import Statement, digest_of, key_of
from registry.core.registry import Registry
from registry.errors import BlobUnknown, NameInvalid
from registry.model.digests import Digest
from registry.model.names import LONGEST_NAME, RepositoryName
from registry.model.staged import staged_prefix, staged_repository
from registry.removal.mark import handfuls
from registry.store.effects import Effects
from registry.work.operations import Reason, nothing
from storage.errors import NotFound

if TYPE_CHECKING:
    from registry.bundles.keys import PublicKey


@dataclass(frozen=True, slots=True)
class Rules:
    """Whom an import believes, what it lets in, and whether that waits for somebody to look at it."""

    trusted: Sequence[PublicKey]
    required: int
    names: Names
    image_keys: Sequence[PublicKey] = ()
    waits: bool = True


@dataclass(frozen=True, slots=True)
class Wish:
    """What who imports asks for besides; `as_before` whatever an import of the same bundle has asked for.

    Where nobody has to approve it, `denial` says what rules deny to who imports.
    """

    by: str
    allow_rollback: bool = False
    delete: bool = False
    note: str = ""
    dry_run: bool = False
    as_before: bool = False
    denial: Reason = nothing


@dataclass(slots=True)
class Judged:
    """What was found out of a bundle: `missing` neither lies in it nor here; `media` are still to be given.

    `sparse` is how many manifests list what it does not state. `is_staged` says that all of it waits to be
    approved, or was decided on; `statement` is empty then. `unread` is how many of its files were not read,
    since what they hold is here.
    """

    head: Head
    statement: Statement
    signed_by: list[PublicKey]
    names: dict[str, RepositoryName]
    map: Sequence[str] = ()
    missing: list[str] = field(default_factory=list)
    media: list[int] = field(default_factory=list)
    sparse: int = 0
    is_staged: bool = False
    unread: int = 0


class Importing:
    """Imports into one registry; `effects` say how much is done at once."""

    def __init__(self, registry: Registry, effects: Effects) -> None:
        self._registry = registry
        self._effects = effects
        self.received = Received(registry.store)

    async def run(
        self, files: Files, rules: Rules, wish: Wish
    ) -> AsyncGenerator[tuple[int, int] | Judged, None]:
        """Take a bundle in; how many bytes have come of how many, and last what is known of it then.

        Raises BundleInvalid, BundleRefused, QuotaExceeded; nothing of the bundle is staged then.
        """
        opening = await self._effects.aside(files.opening)
        signed_by = require_signatures(opening.head, opening.signatures, rules.trusted, rules.required)
        head = Head.decode(opening.head)
        await self.received.require_same(head.id, opening.head)
        if not await self._was_approved(head):
            require_newer(await self.received.newer(head), head, allow_rollback=wish.allow_rollback)
        arriving = Arriving(self._registry.store, self._effects, files, head, opening)
        await arriving.read_statement()
        statement = arriving.statement
        names = await self._effects.aside(lambda: rules.names.all(statement.repositories))
        judged = Judged(head, statement, signed_by, names, rules.names.mappings)
        judged.sparse = await self._effects.aside(lambda: statement.sparse)
        _require_short(judged)
        await self._require_as_before(judged, wish)
        arriving.absent = await self._absent(judged)
        await require_room(self._registry, statement, judged.names)
        judged.media = await arriving.media_to_come()
        if wish.dry_run:
            yield judged
            return
        self._registry.require_writable()
        await self.received.put_head(head.id, opening.head)
        await self.received.note(head.id, "imports", wish.by)
        done, total = 0, await self._effects.aside(arriving.bytes_to_come)
        async for size in arriving.keep():
            done += size
            yield done, total
        judged.unread = arriving.unread
        if arriving.absent and not judged.media:
            raise unsound(arriving.first_absent(), "it did not come", "copy the bundle once more")
        # What has come is kept for a while, though nobody sees it: a supplement has the rest.
        if not judged.media and not judged.missing:
            await self._stage(judged, rules, wish)
            judged.is_staged = True
            # It lies in the store now; who approves reads it there, and needs the memory.
            judged.statement = Statement()
        yield judged

    async def _was_approved(self, head: Head) -> bool:
        """Whether a bundle was approved before. Raises BundleRefused for one that was rejected or undone."""
        decision = await self.received.undo(head.id) or await self.received.decision(head.id)
        if decision is None:
            return False
        if decision.verb != "approve":
            did = {"reject": "rejected", "undo": "undone"}[decision.verb]
            raise BundleRefused(
                f"{HEAD}: {head} was {did} by {', '.join(decision.by)}; if its images are meant after all,"
                " have them written as a bundle of another number"
            )
        if (newer := await self.received.newer(head, is_standing=True)) is not None:
            raise BundleRefused(
                f"{HEAD}: {head} was approved before, and number {newer.number} ({newer.id}) behind it:"
                f" undo that (moorage bundle undo {newer.id}), or have this state written anew"
            )
        return True

    async def _require_as_before(self, judged: Judged, wish: Wish) -> None:
        """Raises BundleRefused where a bundle was accepted without what is asked for, or by other names.

        People look at it, or have approved it, as it was accepted first.
        """
        head, staged = judged.head, await self.received.staged(judged.head.id)
        if staged is None or wish.as_before:
            return
        other = [name for name, here in judged.names.items() if staged.names.get(name) != str(here)]
        if wish.delete and not staged.delete:
            what = "without --delete"
        elif other:
            # By --map, or what was configured then.
            what = f"with the name {staged.names.get(other[0])}, not {judged.names[other[0]]}, for {other[0]}"
        else:
            return
        todo = "import the next one of its stream so"
        if await self.received.decision(head.id) is None:
            todo = f"approve it as it is, or reject it (moorage bundle reject {head.id}) and {todo}"
        raise BundleRefused(
            f"{HEAD}: {head} was accepted before, {what}, and that counts; {todo}", detail={"id": head.id}
        )

    async def _absent(self, judged: Judged) -> Digests:
        """What the bundle carries and its repositories here lack; what they lack besides is missing."""
        kept = await self._kept_of(judged.head)
        empty = await self._empty(judged)
        absent = Digests()
        for some in handfuls(judged.statement.all):
            here = await self._effects.together(
                self._is_ours(key, one, judged, kept, empty) for key, one in some
            )
            for (key, one), is_ours in zip(some, here, strict=True):
                # The bytes of what is a manifest, too, lie with that.
                twin = None if one.media_type else judged.statement.manifests.get(key)
                if not is_ours and (one.carried or (twin is not None and twin.carried)):
                    absent.add(key)
                elif not is_ours and key not in absent:
                    judged.missing.append(str(digest_of(key)))
        return absent

    async def _empty(self, judged: Judged) -> set[RepositoryName]:
        """The repositories that have nothing: nobody needs to look for each thing in them."""
        names = list(dict.fromkeys(judged.names.values()))
        untouched = await self._effects.together(map(self._registry.store.is_untouched, names))
        return {name for name, is_untouched in zip(names, untouched, strict=True) if is_untouched}

    async def _is_ours(
        self, key: Key, one: Content, judged: Judged, kept: Digests, empty: Container[RepositoryName]
    ) -> bool:
        """Whether a repository that the bundle is about has some content.

        That the data lies in the store is no reason to give it to a repository: it may be somebody else's.
        """
        digest = digest_of(key)
        own = [judged.names[name] for name in one.repositories]
        # What is carried can be had from the bundle; what is not, any of them may have.
        others = () if one.carried else judged.names.values()
        for name in dict.fromkeys((*own, *others)):
            if name in empty:
                continue
            repository = self._registry.repository(name, "")
            if one.media_type:
                # What a collector took comes back.
                stored = await repository.manifest_or_none(digest)
                if stored is not None:
                    return True
                continue
            with suppress(BlobUnknown):
                return (await repository.blob(digest, may_push=True)).size_bytes == one.size
        return key in kept and await self._has_data(digest, one.size)

    async def _kept_of(self, head: Head) -> Digests:
        """What was kept of the files of bundles that state the same as this one."""
        found = Digests()
        for bundle in await self.received.ids():
            other = await self.received.head(bundle)
            if (other.source, other.stream, other.number) == (head.source, head.stream, head.number):
                async for digest in self.received.kept(bundle):
                    found.add(key_of(digest))
        return found

    async def _has_data(self, digest: Digest, size: int) -> bool:
        try:
            return (await self._registry.store.content.stat(digest)).size_bytes == size
        except NotFound:
            return False

    async def _stage(self, judged: Judged, rules: Rules, wish: Wish) -> None:
        """Give what is stated to the repositories where it waits."""
        head, statement = judged.head, judged.statement

        def target(name: str) -> RepositoryName:
            return staged_repository(head.id, judged.names[name])

        planting = Planting(self._registry, self._effects, statement, target, judged.names, wish.by)
        manifests = References(
            statement,
            planting.manifest,
            self._effects,
            self._registry.pushes.max_references,
            allow_missing=self._registry.allow_missing_layers,
        )
        await manifests.require()
        signatures = ImageSignatures(self._registry.store, statement, planting.manifest, rules.image_keys)
        await signatures.require()
        staging, accepted = Staging(self._registry.store), await self.received.staged(head.id) is not None
        decided = await self.received.decision(head.id) is not None
        # Where nobody has to look at it, it goes where it is meant to at once.
        if rules.waits and not decided and not (accepted and await staging.is_there(head.id)):
            await staging.begin(head.id)
            async for _ in planting.content(with_tags=True):
                pass
        if not accepted and not await self.received.put(head.id, "staged", _staged(judged, rules, wish)):
            await self._require_as_before(judged, wish)
        if await self.received.done(head.id) is not None:
            await self.received.clear(head.id)
        if not rules.waits:
            return
        if await self.received.decision(head.id) is None:
            await staging.end(head.id)
            await self.received.forget_kept(head.id)
        elif not decided:
            # It was rejected meanwhile, and whoever looks next puts this away.
            await staging.begin(head.id)


def _staged(judged: Judged, rules: Rules, wish: Wish) -> Staged:
    return Staged(
        by=wish.by,
        names={name: str(here) for name, here in judged.names.items()},
        map=list(rules.names.mappings),
        delete=wish.delete,
        note=wish.note,
        signed_by=[one.id for one in judged.signed_by],
        code=code_of(judged.head),
    )


def _require_short(judged: Judged) -> None:
    """Raises BundleRefused for names that are too long for where bundles wait."""
    for stated, name in judged.names.items():
        try:
            staged_repository(judged.head.id, name)
        except NameInvalid:
            longest = LONGEST_NAME - len(staged_prefix(judged.head.id))
            raise BundleRefused(
                f"{CONTENTS}: {stated} would be {name} here, which has {len(name)} characters: a bundle may"
                f" have to wait below staged/, so names have at most {longest} here; map it to a shorter one"
                " (--map)",
                detail={"repositories": [str(name)]},
            ) from None


def require_newer(newer: Head | None, head: Head, *, allow_rollback: bool) -> None:
    """Raises BundleRefused where a later bundle of the stream was approved, unless that is allowed."""
    if newer is not None and not allow_rollback:
        raise BundleRefused(
            f"{HEAD}: this is number {head.number} of {head.stream}, and number {newer.number} ({newer.id})"
            " was approved here already; if this state is meant, say --allow-rollback",
            detail={"number": head.number, "last": newer.number},
        )


async def require_room(registry: Registry, statement: Statement, names: Mapping[str, RepositoryName]) -> None:
    """Raises QuotaExceeded where what is stated does not fit where it goes."""
    for stated, name in names.items():
        if registry.quotas.above(name):
            here = ((key, one) for key, one in statement.all if stated in one.repositories)
            await registry.quotas.require_all(
                name, {digest_of(key): one.size for key, one in here if len(key) == 32}
            )
