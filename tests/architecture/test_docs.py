"""The pages say what the program does: every setting, error, metric, event and command, and no dead links."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
import typer
import typer.main
import yaml
from pydantic import BaseModel

from registry.access.audit import Entry, Event
from registry.access.audit.chain import Chain
from registry.access.rules import read_rules
from registry.cli.commands import build
from registry.cli.composition import Imported
from registry.cli.exits import Exit
from registry.config import Config, load
from registry.config.environment import variable
from registry.config.tree import leaves
from registry.errors import RegistryError
from registry.metrics import Metrics
from tests.architecture.pages import Page, page, pages
from tests.architecture.source import CHECKOUT, modules

# Where packages are published; what we depend on is locked by hash and says no address.
REGISTRIES = ("pypi.org", "pythonhosted.org", "proxy.golang.org", "npmjs", "crates.io", "rubygems.org")
# Directories of somebody's machine; those that an operator makes are /etc, /var/lib, /opt and the like.
PLACES = re.compile(r"(?<![\w.$}/:])(?:/root|/home/(?!you/)\w+|/Users|/work|/mnt|/tmp/\w+)\b")
# However it is called, in an environment, in an image or as another user, it is the same command.
COMMAND = re.compile(r"^(?:sudo -u moorage |docker exec moorage )?(?:\S*/)?moorage (.*)$")


@pytest.mark.parametrize("one", pages(), ids=str)
class TestEachPage:
    def test_its_links_lead_somewhere(self, one: Page) -> None:
        for target in one.links():
            if re.match(r"https?://", target):
                continue
            name, _, place = target.partition("#")
            other = Page((one.path.parent / name).resolve()) if name else one
            assert other.path.exists(), f"{one} links to {target}"
            if place:
                assert place in other.anchors(), f"{one} links to {target}; {other} has {other.anchors()}"

    def test_it_names_no_package_registry_and_no_place_of_somebodys_machine(self, one: Page) -> None:
        assert [host for host in REGISTRIES if host in one.text] == []
        assert PLACES.findall(one.text) == []

    def test_its_commands_exist(self, one: Page) -> None:
        for line in commands(one):
            understands(line)

    def test_what_it_says_to_write_into_files_is_sound(self, one: Page, tmp_path: Path) -> None:
        for number, text in enumerate(one.blocks("yaml")):
            file = tmp_path / f"{number}.yaml"
            file.write_text(text)
            for secret in re.findall(r"password_file: ([\w.-]+)$", text, re.MULTILINE):
                (tmp_path / secret).write_text("secret")
            if isinstance(yaml.safe_load(text), list):
                assert read_rules(file)
            else:
                load(file, {}, {})
        for text in one.blocks("json"):
            json.loads(text)

    def test_its_settings_exist(self, one: Page) -> None:
        known = {variable(leaf.path) for leaf in leaves(Config)} | OF_THE_COMMAND_LINE
        assert set(re.findall(r"MOORAGE_[A-Z_]+[A-Z]", one.text)) <= known | OF_TESTS


OF_THE_COMMAND_LINE = {"MOORAGE_CONFIG", "MOORAGE_USERNAME", "MOORAGE_PASSWORD"}
OF_TESTS = {"MOORAGE_CACHE", "MOORAGE_REQUIRE_TOOLS", "MOORAGE_TEST_REGISTRY", "MOORAGE_TEST_ENGINE"}


def commands(one: Page) -> Iterator[str]:
    """The calls of `moorage` in a page: in its blocks, and in `code` that is more than the bare noun."""
    for block in (*one.blocks("sh"), *one.blocks("console")):
        for line in block.splitlines():
            if found := COMMAND.match(line.removeprefix("$ ").partition("  #")[0].strip()):
                yield found[1]
    yield from re.findall(r"`moorage ([^`]+)`", one.prose)


def understands(words: str) -> None:
    """Fail unless the command line has that command, with those options."""
    given = shlex.split(words.split(" && ")[0])
    command = typer.main.get_command(tree())
    for word in list(given):
        inner = getattr(command, "commands", None)
        if inner is None:
            break
        assert word in inner, f"there is no `moorage {words}`"
        command = inner[given.pop(0)]
    options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    flags = [word for word in given if word.startswith("-") and word != "-"]
    strange = [word for word in flags if word.partition("=")[0] not in options]
    assert not strange, f"`moorage {words}` has no {strange}"


@cache
def tree() -> typer.Typer:
    """The command line with all of its commands."""
    made = build((), Imported())
    assert isinstance(made, typer.Typer)
    return made


def test_the_readme_opens_with_the_two_commands() -> None:
    first = page("README.md").text.split("```sh\n", 1)
    assert len(first[0].strip().splitlines()) == 1, "nothing stands before them but the name"
    lines = [line.partition("#")[0].strip() for line in first[1].splitlines()[:3]]
    assert lines == ["make serve", "make test", "```"]


def test_every_page_of_docs_is_reached_from_the_readme() -> None:
    reached, look = set(), [page("README.md")]
    while look:
        one = look.pop()
        reached.add(one.path)
        targets = [
            (one.path.parent / link.partition("#")[0]).resolve() for link in one.links() if ":" not in link
        ]
        look += [
            Page(path) for path in targets if path.suffix == ".md" and path not in reached and path.exists()
        ]
    missing = [str(one) for one in pages() if one.path not in reached and "decisions" not in one.path.parts]
    assert missing == []


def test_every_setting_is_listed_with_its_default() -> None:
    rows = {cells[0]: cells[1] for cells in page("docs/configuration.md").rows("setting")}
    wanted = {leaf.name: default(leaf.path) for leaf in leaves(Config)}
    # A section that is absent by default is one setting more, and those in it have no default of the tree's;
    # nor have those of a list of sections.
    wanted |= dict.fromkeys(OPTIONAL, "null")
    listed = {leaf.name: leaf.section for leaf in leaves(Config) if leaf.section is not None}
    wanted |= {name: "" for start, section in listed.items() for name in inner(start, section)}
    free = tuple(f"{name}." for name in OPTIONAL) + tuple(f"{name}[]." for name in listed)
    assert rows == {**wanted, **{name: rows.get(name, "") for name in wanted if name.startswith(free)}}


def inner(name: str, section: type[BaseModel]) -> Iterator[str]:
    """The settings of each section of a list, and of lists in them."""
    for leaf in leaves(section):
        yield f"{name}[].{leaf.name}"
        if leaf.section is not None:
            yield from inner(f"{name}[].{leaf.name}", leaf.section)


OPTIONAL = ("storage.s3", "registry.tls", "access.token_server", "access.ldap")


def default(path: tuple[str, ...]) -> str:
    """A default as one would write it in the file."""
    found: object = Config().model_dump(mode="json")
    for step in path:
        if not isinstance(found, dict):
            return ""
        found = found[step]
    return found if isinstance(found, str) else json.dumps(found)


def errors(kind: type[RegistryError] = RegistryError) -> Iterator[type[RegistryError]]:
    """The error and all that derive from it, in whatever module."""
    for module in modules():
        if module.is_in("registry") and "registry.errors" in module.text:
            importlib.import_module(module.name)
    yield kind
    for inner in kind.__subclasses__():
        yield from errors(inner)


def test_every_error_is_explained_in_its_own_words() -> None:
    rows = page("docs/errors.md").rows("status")
    assert all(len(cells) == 4 and cells[3] for cells in rows)
    told = {(int(status), code, message) for status, code, message, _ in rows}
    assert told == {(kind.status, kind.code, kind.message) for kind in errors()}


def test_every_metric_is_explained() -> None:
    text = Metrics("0").render()[0].decode()
    rendered = set(re.findall(r"^# TYPE (moorage_\w+)", text, re.MULTILINE))
    told = {cells[0] for cells in page("docs/running.md").rows("metric")}
    # When a series began is one more line of each counter and histogram in Prometheus' format.
    assert told == {name for name in rendered if not name.endswith("_created")}


def test_every_event_of_the_log_is_explained() -> None:
    told = {
        name for cells in page("docs/running.md").rows("event") for name in re.findall(r"\w+\.\w+", cells[0])
    }
    assert told == set(events())


def test_every_event_of_the_audit_trail_and_every_field_of_a_line_is_explained() -> None:
    cells = [name for row in page("docs/audit.md").rows("event") for name in re.findall(r"\w+\.\w+", row[0])]
    assert sorted(cells) == sorted(get_args(Event))
    told = [name for row in page("docs/audit.md").rows("field") for name in re.findall(r"\w+", row[0])]
    entry = {"time" if field.name == "at" else field.name for field in fields(Entry)}
    assert sorted(told) == sorted(entry | set(Chain("p").add({"lost": 1})))


def events() -> Iterator[str]:
    """The names that are logged: literals of the form noun.verb given to what logs."""
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("event", "_record")):
                for argument in node.args:
                    if isinstance(argument, ast.Constant) and re.fullmatch(
                        r"[a-z]+\.[a-z]+", str(argument.value)
                    ):
                        yield str(argument.value)
    yield "library.logged"


def test_what_stands_against_each_threat_is_tested() -> None:
    for *_, proofs in page("docs/threat-model.md").rows("boundary"):
        named = re.findall(r"([\w/]+\.py)(?:::(\w+))?", proofs)
        assert len(named) == len(proofs.split(", ")), proofs
        for file, test in named:
            text = (CHECKOUT / "tests" / file).read_text()
            assert not test or f"def {test}(" in text, (file, test)


def test_every_exit_code_is_explained() -> None:
    assert [int(cells[0]) for cells in page("docs/running.md").rows("code")] == [int(code) for code in Exit]


def test_what_is_wrong_in_a_page_is_seen() -> None:
    for wrong in ("repo lst", "repo list --jsn", "storage read-only on --rot x"):
        with pytest.raises(AssertionError):
            understands(wrong)
    assert PLACES.search("in /root/x") and PLACES.search("`/tmp/abc`")
    assert not PLACES.search("/home/you/moorage") and not PLACES.search("https://example.com/work")
    assert CHECKOUT.name not in ("", "/")
