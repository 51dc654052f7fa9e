"""Access rules, read from a file of their own. What no rule grants is refused, and a `deny` wins over grants.

- {who: anonymous, repositories: ['public/**'], may: [pull, list]}
- {who: 'group:team-a', repositories: ['team-a/**'], may: [pull, push, list]}
- {who: authenticated, repositories: ['**'], tags: ['v*'], deny: [overwrite, delete]}
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, InstanceOf, ValidationError, model_validator

from registry.access.people import folded
from registry.access.principals import Principal
from registry.access.rights import NEVER_ANONYMOUS, OF_ANY, OF_TAGS, RIGHTS, WORDS, Right
from registry.access.templates import ClaimPattern, RepositoryTemplate
from registry.access.watched import Unusable, contents
from registry.model.names import RepositoryName, Tag
from registry.model.patterns import TagPattern
from registry.model.quoting import quoted
from registry.settings import (
    MAXIMUM_BYTES,
    Document,
    Location,
    NotADocument,
    Problem,
    Settings,
    Source,
    problems_of,
    read_document,
)
from registry.settings.selections import made

EVERYBODY = "anonymous"
AUTHENTICATED = "authenticated"
# Whoever has a token of the token server that access.token_server names.
TOKEN = "token"  # noqa: S105 (a word of rules)
_NAMED = ("user", "htpasswd", "ldap", "issuer", "key", "token", "group", "ldap-group")
_SUBJECT = re.compile(rf"(?:{'|'.join(_NAMED)}):[^\x00-\x1f\x7f]{{1,256}}")


class RulesError(Unusable):
    """The rules file cannot be used; `problems` has all that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("the access rules", problems)


def subject_of(value: object) -> object:
    """Somebody as rules name them, as it is compared. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("must be a text")
    if value not in (EVERYBODY, AUTHENTICATED, TOKEN) and _SUBJECT.fullmatch(value) is None:
        raise ValueError(
            f"must be {EVERYBODY}, {AUTHENTICATED}, {TOKEN}, or a name with its source, like user:alice,"
            " group:team-a, ldap:alice, ldap-group:team-a, htpasswd:alice, issuer:gitlab or key:ci;"
            f" {quoted(value)} is none"
        )
    # Directories take `Alice` and `alice` for the same, and their people are called in lower case.
    return value.lower() if value.startswith(("ldap:", "ldap-group:")) else value


def _right(value: object) -> object:
    if value not in WORDS:
        raise ValueError(f"must be one of {', '.join((*RIGHTS, 'push'))}")
    return value


def _some(value: object) -> object:
    if value in ([], {}):
        raise ValueError("must not be empty")
    return value


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else _some(value)


Rights = Annotated[tuple[Annotated[str, BeforeValidator(_right)], ...], BeforeValidator(_some)]


class Rule(Settings):
    """What one rule grants (`may`) or refuses (`deny`), to whom, on what."""

    who: Annotated[tuple[Annotated[str, BeforeValidator(subject_of)], ...], BeforeValidator(_one_or_many)]
    # Of an issuer's token: each must be one of these.
    claims: Annotated[
        Mapping[
            str,
            Annotated[
                tuple[Annotated[InstanceOf[ClaimPattern], made(ClaimPattern)], ...],
                BeforeValidator(_one_or_many),
            ],
        ],
        BeforeValidator(_some),
    ] = {}
    repositories: Annotated[
        tuple[Annotated[InstanceOf[RepositoryTemplate], made(RepositoryTemplate)], ...],
        BeforeValidator(_some),
    ]
    tags: (
        Annotated[tuple[Annotated[InstanceOf[TagPattern], made(TagPattern)], ...], BeforeValidator(_some)]
        | None
    ) = None
    may: Rights | None = None
    deny: Rights | None = None

    @model_validator(mode="after")
    def _fits(self) -> Rule:
        if (self.may is None) == (self.deny is None):
            raise ValueError("a rule has either `may` or `deny`")
        never = sorted(NEVER_ANONYMOUS & self.rights)
        if self.may is not None and EVERYBODY in self.who and never:
            raise ValueError(
                f"{' and '.join(never)} cannot be granted to {EVERYBODY}: whoever reaches the registry could"
                " take content away; grant it to somebody by name"
            )
        keys = [subject for subject in self.who if subject.startswith("key:")]
        if self.may is not None and keys:
            raise ValueError(
                f"nothing can be granted to {keys[0]}: an API key may what it was made for (`moorage apikey"
                " add`), within what its owner may; a rule can only `deny` it more"
            )
        elsewhere = sorted(self.rights - OF_TAGS)
        if self.tags is not None and elsewhere:
            raise ValueError(
                f"`tags` narrows create, overwrite, push and delete, not {' and '.join(elsewhere)}: what can"
                " be asked for by digest is out of its reach"
            )
        if self.claims and not all(subject.startswith("issuer:") for subject in self.who):
            raise ValueError("`claims` are those of an issuer's token, so `who` must be issuer:NAME")
        return self

    @property
    def rights(self) -> frozenset[Right]:
        """What it grants or refuses."""
        return frozenset(right for word in (self.may or self.deny or ()) for right in WORDS[word])

    def is_about(self, principal: Principal) -> bool:
        """Whether the rule speaks of who asks; `anonymous` is everybody, logged in or not."""
        # Whom sources know in whatever case is refused in whatever case: a slip must not let somebody in.
        in_any_case = self.deny is not None
        if not any(_names(subject, principal, in_any_case=in_any_case) for subject in self.who):
            return False
        for name, patterns in self.claims.items():
            value = principal.claim(name)
            if value is None or not any(pattern.matches(value) for pattern in patterns):
                return False
        return True

    def covers(self, principal: Principal, right: Right, repository: RepositoryName | None) -> bool:
        """Whether it speaks of the repository or, with None, of the registry as a whole.

        Whoever may list something may ask for the list, and so may who approves something.
        """
        if repository is None:
            return right in OF_ANY or any(template.is_everything for template in self.repositories)
        return any(template.matches(principal, repository) for template in self.repositories)

    def covers_tag(self, right: Right, tag: Tag | None) -> bool:
        """Whether it speaks of the tag; with None, of content that has none.

        Whoever may create some tags may push the content that they are to name; but what may be deleted
        by its tag only stays when it is asked for by its digest.
        """
        if self.tags is None:
            return True
        if tag is None:
            return right == "create" and self.may is not None
        return any(pattern.matches(tag) for pattern in self.tags)


def _names(subject: str, principal: Principal, *, in_any_case: bool) -> bool:
    if subject == EVERYBODY:
        return True
    if subject == AUTHENTICATED:
        return not principal.is_anonymous
    if subject == TOKEN:
        return principal.source == TOKEN
    if subject == principal.text or subject in principal.groups:
        return True
    if in_any_case and folded(subject) == folded(principal.text):
        return True
    return principal.issuer is not None and subject == f"issuer:{principal.issuer}"


@dataclass(frozen=True, slots=True)
class PlacedRule:
    """A rule, and where it stands: its number in the file from 1, and its line; 0 where there is no file."""

    number: int
    line: int
    rule: Rule

    def __str__(self) -> str:
        if not self.number:
            return "what the token server says (access.token_server; there are no access rules)"
        return f"access rule {self.number} (line {self.line})"


def read_rules(path: str | os.PathLike[str]) -> tuple[PlacedRule, ...]:
    """The rules that a file holds. Raises RulesError."""
    name = os.fspath(path)
    try:
        document = read_document(contents(name, MAXIMUM_BYTES), name)
    except OSError as error:
        raise RulesError(
            [Problem("", f"the file cannot be read: {error.strerror}", Source.file(name))]
        ) from error
    except NotADocument as error:
        raise RulesError([error.problem]) from error
    return _rules(document)


def _rules(document: Document) -> tuple[PlacedRule, ...]:
    written = document.root.plain()
    problems = list(document.problems)
    if not isinstance(written, list):
        what = "the file is empty; it" if written is None else "the file"
        message = f"{what} must be a list of rules, each beginning with `- `; `[]` grants nothing"
        raise RulesError([*problems, Problem("", message, Source.file(document.name, document.root.line))])
    rules = []
    for index, one in enumerate(written):
        try:
            line = document.root.at((index,)).line
            rules.append(PlacedRule(index + 1, line, Rule.model_validate(one)))
        except ValidationError as error:
            problems.extend(_problems(error, document, index))
    if problems:
        raise RulesError(problems)
    return tuple(rules)


def _problems(error: ValidationError, document: Document, index: int) -> list[Problem]:
    def source(location: Location) -> Source:
        return Source.file(document.name, document.root.at((index, *location)).line)

    def value(location: Location) -> object:
        return document.root.at((index, *location)).plain()

    return problems_of(error, source=source, value=value, known=list(Rule.model_fields))
