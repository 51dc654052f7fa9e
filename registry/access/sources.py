"""The sources of people that the configuration names besides the registry's own accounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from registry.access.directory.settings import LdapSettings
from registry.access.people import PeopleSource
from registry.access.settings import AccessSettings
from registry.access.watched import Unusable
from registry.settings import Problem, Source

if TYPE_CHECKING:
    from registry.access.directory.people import Directory
    from registry.access.passwords import Passwords

_HOW_TO_INSTALL = (
    "python-ldap is needed for that, and cannot be imported ({reason}): install what requirements/ldap.txt"
    " locks; it is built with a C compiler and the headers of Python, OpenLDAP and Cyrus SASL"
    " (Debian: gcc, python3-dev, libldap-dev, libsasl2-dev). Build the container image with"
    " --build-arg WITH=ldap"
)


class PeopleSources:
    """The htpasswd file and the LDAP server, as far as they are configured.

    `sources` has them in their order, by the word that names them in principals.
    What only one of them needs is imported when it is configured. Raises Unusable.
    """

    def __init__(self, settings: AccessSettings, passwords: Passwords) -> None:
        self.sources: dict[str, PeopleSource] = {}
        self._looks: list[Callable[[], None]] = []
        self._closes: list[Callable[[], None]] = []
        if settings.htpasswd_file is not None:
            from registry.access.htpasswd import Htpasswd

            htpasswd = Htpasswd(settings.htpasswd_file, passwords)
            self.sources["htpasswd"] = htpasswd
            self._looks.append(htpasswd.look)
        if settings.ldap is not None:
            directory = open_directory(settings.ldap)
            self.sources["ldap"] = directory
            self._looks.append(directory.look)
            self._closes.append(directory.close)

    def look(self) -> None:
        """Take up files that have changed and are good; blocks while they are read."""
        for look in self._looks:
            look()

    def close(self) -> None:
        """End what waits for an answer."""
        for close in self._closes:
            close()


def open_directory(settings: LdapSettings) -> Directory:
    """The people of an LDAP server, which is not asked anything yet. Raises Unusable."""
    try:
        from registry.access.directory.people import Directory
    except ImportError as error:
        message = _HOW_TO_INSTALL.format(reason=error)
        raise Unusable("LDAP", [Problem("access.ldap", message, Source("default"))]) from error
    return Directory(settings)
