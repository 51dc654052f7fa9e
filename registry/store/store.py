"""The store: everything that lies under one driver, by what it is."""

from __future__ import annotations

from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.store.blocked import Blocked
from registry.store.catalog import Catalog
from registry.store.content import Content
from registry.store.effects import Effects
from registry.store.history import History
from registry.store.links import Links
from registry.store.manifests import ManifestCache, Manifests
from registry.store.marks import Marks
from registry.store.origins import Origins
from registry.store.pins import Pins
from registry.store.referrers import Referrers
from registry.store.sessions import Sessions
from registry.store.transfers import Transfers
from storage.contract import Driver, exists
from storage.withholding import WithholdingDriver


class Store:
    """One registry's storage; its parts share the driver.

    `beneath` is the driver without its cache, if it has one: what tells whether the stored bytes are sound.
    `blocked` is what the driver withholds.
    """

    def __init__(
        self,
        driver: Driver,
        effects: Effects,
        *,
        manifest_cache_bytes: int,
        beneath: Driver | None = None,
        blocked: Blocked | None = None,
    ) -> None:
        self.driver = driver
        self.blocked = blocked or Blocked(driver)
        self.effects = effects
        self.beneath = beneath or driver
        self.content = Content(driver, effects, self.beneath)
        self.links = Links(driver)
        self.manifests = Manifests(
            driver, effects, self.links, self.content, ManifestCache(manifest_cache_bytes)
        )
        self.referrers = Referrers(driver)
        self.catalog = Catalog(driver)
        self.history = History(driver, effects)
        self.sessions = Sessions(driver, effects)
        self.transfers = Transfers(driver, effects)
        self.origins = Origins(driver)
        self.pins = Pins(driver, effects)
        self.marks = Marks(driver)

    def uncached(self, effects: Effects | None = None) -> Store:
        """The same store past its caches, with nothing remembered: it says what lies there now."""
        driver = WithholdingDriver(self.beneath, self.blocked.withholds)
        return Store(
            driver,
            effects or self.effects,
            manifest_cache_bytes=0,
            beneath=self.beneath,
            blocked=self.blocked,
        )

    async def put_placeholder(self, name: RepositoryName) -> None:
        """Make sure that `_layers` exists, without which Distribution's collector aborts."""
        if not await exists(self.driver, layout.layers_placeholder(name)):
            await self.driver.put(layout.layers_placeholder(name), b"")

    async def is_untouched(self, name: RepositoryName) -> bool:
        """Whether nothing is in the repository, nor in the trash that was."""
        trees = (
            layout.manifests(name),
            layout.whole_manifests(name),
            layout.layers(name),
            layout.trash_of(name),
        )
        for tree in trees:
            if await self.driver.children(tree, limit=1):
                return False
        return True

    async def tag_keys(self, name: RepositoryName, tag: Tag) -> list[str]:
        """All keys of a tag, the link that makes it one last."""
        index = [key async for key in self.driver.walk(layout.tag_index(name, tag))]
        return [*index, layout.tag_link(name, tag)]
