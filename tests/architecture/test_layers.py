"""Who may import whom: the table in ARCHITECTURE.md, and the homes of the libraries."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.architecture.layers import Layer, layer_of, layers, line_of
from tests.architecture.source import PACKAGES, Module, modules, within

# What ARCHITECTURE.md says below the table: the modules in which a library may be a guest, and nobody else.
GUESTS = {
    "aiohttp": ("storage.s3",),
    "pydantic": ("registry.config", "registry.access.rules", "registry.access.expectations"),
    "prometheus_client": ("registry.server.parent",),
    "cryptography": ("registry.bundles.keys",),
}
# Parts of a library that are distributions of their own.
BELONGS_TO = {"pydantic_core": "pydantic", "yarl": "aiohttp", "botocore": "boto3", "urllib3": "boto3"}
EXPLORABLE = ("registry.store", "registry.removal", "registry.core")
SCHEDULERS = ("asyncio", "anyio", "threading", "concurrent", "multiprocessing", "trio", "sched", "signal")
VERSION = "registry.__version__"


def upward(module: Module, table: list[Layer]) -> list[str]:
    """What a module imports from lines below its own in the table, or from nowhere in it."""
    own = layer_of(module, table)
    assert own is not None, f"{module.name} is in no line of the table in ARCHITECTURE.md"
    return [
        name
        for name in sorted(module.imported)
        if name.partition(".")[0] in PACKAGES
        and name != VERSION
        and ((line := line_of(name, table)) is None or line > own)
    ]


def strangers(module: Module, table: list[Layer]) -> list[str]:
    """The libraries that a module imports and that are not at home there."""
    own = layer_of(module, table)
    assert own is not None
    found = (
        {name.partition(".")[0] for name in module.imported} - set(sys.stdlib_module_names) - set(PACKAGES)
    )
    return sorted(name for name in found if not _may_use(module, BELONGS_TO.get(name, name), table[own]))


def _may_use(module: Module, library: str, layer: Layer) -> bool:
    if library in layer.libraries:
        return True
    if library == "pydantic" and module.name.endswith(".settings"):
        return True
    return any(module.is_in(guest) for guest in GUESTS.get(library, ()))


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
class TestEachModule:
    def test_imports_only_its_own_line_and_those_above(self, module: Module) -> None:
        if module.name == "registry":
            assert not module.imported - {"__future__.annotations"}
            return
        assert upward(module, layers()) == []

    def test_uses_libraries_only_where_they_are_at_home(self, module: Module) -> None:
        if module.name != "registry":
            assert strangers(module, layers()) == []

    def test_leaves_scheduling_to_the_effects_where_it_must_be_explorable(self, module: Module) -> None:
        if any(module.is_in(room) for room in EXPLORABLE):
            used = {name for name in module.imported if any(within(name, one) for one in SCHEDULERS)}
            assert used == set(), "a test could no longer drive this through every interleaving"


def test_every_line_of_the_table_exists() -> None:
    names = [module.name for module in modules()]
    for layer in layers():
        for part in layer.parts:
            assert any(within(name, part) for name in names), f"ARCHITECTURE.md: there is no {part}"


def test_a_library_has_one_home() -> None:
    named = [library for layer in layers() for library in layer.libraries]
    assert sorted(named) == sorted(set(named))


def test_every_home_is_lived_in_and_every_guest_has_come() -> None:
    for layer in layers():
        for library in layer.libraries:
            assert any(
                within(name, library)
                for module in modules()
                if any(module.is_in(part) for part in layer.parts)
                for name in module.imported
            ), f"ARCHITECTURE.md: {library} is not used in {', '.join(layer.parts)}"
    for library, guests in GUESTS.items():
        for guest in guests:
            used = [name for module in modules() if module.is_in(guest) for name in module.imported]
            assert any(within(name, library) for name in used), f"{guest} no longer uses {library}"


def made(name: str, text: str) -> Module:
    return Module(name, Path("made.py"), text)


def test_a_wrong_import_is_seen() -> None:
    table = layers()
    assert upward(made("registry.store.x", "from registry.core import pushes"), table)
    assert upward(made("registry.store.x", "def f():\n    import registry.api.calls"), table)
    assert upward(made("storage.x", "from registry import errors"), table)
    assert upward(made("storage.x", "from storage.s3 import driver"), table)
    assert not upward(made("storage.s3.x", "from storage import errors"), table)
    assert upward(made("registry.core.x", "from registry import nowhere"), table)
    assert not upward(made("registry.core.x", "from registry import errors, __version__"), table)
    assert strangers(made("registry.core.x", "import starlette.requests"), table)
    assert strangers(made("registry.core.x", "import pydantic"), table)
    assert strangers(made("storage.x", "import botocore"), table)
    assert not strangers(made("registry.core.settings", "import pydantic, json"), table)


# What makes a value, a type or a function, and nothing that could change.
HARMLESS = {
    *("bytes", "frozenset", "tuple", "range", "object", "getattr", "timedelta", "Path", "MappingProxyType"),
    *("ipaddress.ip_network", "ipaddress.IPv4Network", "ipaddress.IPv6Network"),
    *("bytes.maketrans", "str.maketrans", "re.compile", "struct.Struct", "json.JSONDecoder"),
    *("json.JSONEncoder", "logging.getLogger", "ContextVar", "TypeVar", "TypeVarTuple", "ParamSpec"),
    # `Fields` is a table of the names that a specification gives, which nothing changes; a name is a text.
    *("aiofiles.os.wrap", "Fields", "RepositoryName", "raw"),
}


def singletons(module: Module, frozen: frozenset[str] = frozenset()) -> list[str]:
    """Module-level names bound to what a call made, unless it is known to hold no state."""
    found = []
    for node in module.tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            called = ast.unparse(node.value.func)
            if called not in HARMLESS and called not in frozen:
                found.append(f"{module.name}:{node.lineno} {called}()")
    return found


def frozen_classes() -> frozenset[str]:
    """The names of our frozen dataclasses."""
    return frozenset(
        node.name
        for module in modules()
        for node in module.tree.body
        if isinstance(node, ast.ClassDef)
        if any("frozen=True" in ast.unparse(decorator) for decorator in node.decorator_list)
    )


def test_no_module_makes_a_singleton() -> None:
    frozen = frozen_classes()
    assert [line for module in modules() for line in singletons(module, frozen)] == []


def test_a_singleton_is_seen() -> None:
    assert singletons(made("registry.x", "cache = dict()"))
    assert singletons(made("registry.x", "from storage.local import LocalDriver\nDRIVER = LocalDriver('.')"))
    assert not singletons(made("registry.x", "import re\n_NAME = re.compile('a')"))
