"""Operations on keys and signatures, and on bundles as files: without a registry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.bundles.errors import BundleRefused
from registry.bundles.format import HEAD, Head
from registry.bundles.given import put_anew, read_file
from registry.bundles.reading import Folders
from registry.bundles.settings import BundlesSettings, imports
from registry.bundles.signatures import SIGNATURE_BYTES, Algorithm, signature_files
from registry.errors import InputInvalid, RequestInvalid
from registry.work.operations import Context, Operation, Progress, Result, argument, option

if TYPE_CHECKING:
    from registry.bundles.keys import PublicKey

Outcome = AsyncIterator[Progress | Result]


@dataclass(frozen=True, slots=True)
class NewKey:
    """Where to, and of which kind."""

    to: Path | None = option("the folder for both halves; here, if none is given", default=None, local=True)
    algorithm: Algorithm = option("what it signs with: ecdsa-p256 or ed25519", default="ecdsa-p256")


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key, by its files."""

    id: str
    algorithm: str
    private: str
    public: str

    def told(self) -> str:
        """What to do with them."""
        return (
            f"{self.private} signs: keep it, and name it in bundles.export.signing_key_file\n"
            f"{self.public} is for the other side: have it named in bundles.import.trusted_keys there"
        )


@dataclass(frozen=True, slots=True)
class ListKeys:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A key that is configured, and what for."""

    id: str
    algorithm: str
    use: str
    file: str


@dataclass(frozen=True, slots=True)
class ShownKeys:
    """All of them."""

    keys: list[ShownKey]


@dataclass(frozen=True, slots=True)
class Sign:
    """Which bundle, and with what."""

    path: tuple[str, ...] = argument("the folders of a bundle: all its media")
    key: Path | None = option(
        "the private key; bundles.export.signing_key_file has it otherwise", default=None, local=True
    )
    attach: Path | None = option("a raw signature of bundle.json, made elsewhere", default=None, local=True)
    public_key: Path | None = option("the public key of that signature", default=None, local=True)


@dataclass(frozen=True, slots=True)
class Signed:
    """A bundle that is signed by one key more."""

    id: str
    key: str
    files: list[str]

    def told(self) -> str:
        """What lies beside it now."""
        return f"{self.id} is signed by {self.key}, too: {', '.join(self.files)} in each of its folders"


def operations(settings: BundlesSettings) -> Iterable[Operation[Any]]:
    """Operations that need no store."""

    async def key_new(asked: NewKey, _: Context) -> Outcome:
        # Here and below, since it takes cryptography, which the doors do not need that only list this.
        from registry.bundles.keys import new_key, write_key

        key = new_key(asked.algorithm)
        private, public = write_key(key, asked.to or Path())
        yield Result(MadeKey(key.public.id, key.public.algorithm, str(private), str(public)))

    async def key_list(_: ListKeys, __: Context) -> Outcome:
        from registry.bundles.keys import read_public_key, read_signing_key

        shown = []
        if (own := settings.export.signing_key_file) is not None:
            shown.append(_shown(read_signing_key(own).public, "signs what is written here"))
        trusted = imports(settings)
        shown += [_shown(read_public_key(one), "is trusted") for one in trusted.trusted_keys]
        shown += [_shown(read_public_key(one), "signs images") for one in trusted.image_keys]
        yield Result(ShownKeys(shown))

    async def bundle_sign(asked: Sign, _: Context) -> Outcome:
        folders = Folders([Path(one) for one in asked.path])
        head = folders.opening().head
        bundle = Head.decode(head)
        public, signature = _signature(asked, head)
        files = signature_files(public, signature, head)
        for root in folders.roots:
            for name, content in files.items():
                _put(root / name, content)
        yield Result(Signed(bundle.id, public.id, sorted(files)))

    def _signature(asked: Sign, head: bytes) -> tuple[PublicKey, bytes]:
        from registry.bundles.keys import read_public_key, read_signing_key

        if asked.attach is None:
            file = asked.key or settings.export.signing_key_file
            if file is None:
                raise InputInvalid("name the private key (--key), or a signature (--attach)")
            key = read_signing_key(file)
            return key.public, key.sign(head)
        if asked.public_key is None:
            raise InputInvalid("name the public key of the signature (--public-key)")
        public = read_public_key(asked.public_key)
        signature = read_file(asked.attach, SIGNATURE_BYTES)
        if not public.verifies(signature, head):
            raise BundleRefused(f"{asked.attach} is no signature of {HEAD} by {asked.public_key}")
        return public, signature

    return (
        Operation(
            "bundle.key.new",
            "Make a key to sign bundles with",
            "admin",
            False,
            NewKey,
            key_new,
            result=MadeKey,
            needs_store=lambda _: False,
            local=True,
            own_places=True,
        ),
        Operation(
            "bundle.key.list",
            "List the keys that are configured for bundles",
            "admin",
            False,
            ListKeys,
            key_list,
            needs_store=lambda _: False,
            result=ShownKeys,
        ),
        Operation(
            "bundle.sign",
            "Sign a bundle, or attach a signature that was made elsewhere",
            "admin",
            False,
            Sign,
            bundle_sign,
            result=Signed,
            needs_store=lambda _: False,
            local=True,
            own_places=True,
        ),
    )


def _shown(key: PublicKey, use: str) -> ShownKey:
    return ShownKey(key.id, key.algorithm, use, key.file)


def _put(path: Path, content: bytes) -> None:
    try:
        put_anew(path, content)
    except OSError as error:
        raise RequestInvalid(f"{path} cannot be written: {error.strerror}") from None
