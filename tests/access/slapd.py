"""OpenLDAP's server on ports of its own, with TLS, people and groups made for one run of the tests."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.processes import Daemon, accepts, free_port, run

SUFFIX = "dc=example,dc=test"
PEOPLE = f"ou=people,{SUFFIX}"
GROUPS = f"ou=groups,{SUFFIX}"

_CONFIGURATION = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
allow bind_anon_cred
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
TLSCACertificateFile {folder}/server.crt
TLSCertificateFile {folder}/server.crt
TLSCertificateKeyFile {folder}/server.key
TLSVerifyClient never
database mdb
suffix "{suffix}"
rootdn "cn=admin,{suffix}"
rootpw {password}
directory {folder}/db
index objectClass eq
index uid,cn,member eq
overlay memberof
memberof-refint TRUE
overlay ppolicy
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=service,{suffix}" read by self read by * none
"""


def person(name: str, **attributes: str) -> str:
    """The entry of somebody, as LDIF."""
    values = {"cn": name, "sn": name, "uid": name, **attributes}
    lines = "".join(f"{key}: {value}\n" for key, value in values.items())
    return f"dn: uid={name},{PEOPLE}\nobjectClass: inetOrgPerson\n{lines}"


def group(name: str, *members: str, below: str = GROUPS) -> str:
    """The entry of a group, as LDIF."""
    lines = "".join(f"member: {dn}\n" for dn in members)
    return f"dn: cn={name},{below}\nobjectClass: groupOfNames\ncn: {name}\n{lines}"


def unit(name: str, above: str = SUFFIX) -> str:
    """A place for entries, as LDIF."""
    return f"dn: ou={name},{above}\nobjectClass: organizationalUnit\nou: {name}\n"


def certificate(folder: Path, name: str) -> None:
    """A self-signed pair, `NAME.crt` and `NAME.key`, for 127.0.0.1 alone."""
    run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"),
        ]
    )


@dataclass
class Slapd:
    """A server.

    It says yes to whoever comes with a DN and an empty password, as some do: nobody should.
    """

    program: Path
    folder: Path
    root_password: str = field(default_factory=secrets.token_hex, repr=False)
    service_password: str = field(default_factory=secrets.token_hex, repr=False)
    port: int = 0
    tls_port: int = 0

    def __post_init__(self) -> None:
        (self.folder / "db").mkdir()
        certificate(self.folder, "server")
        (self.folder / "slapd.conf").write_text(
            _CONFIGURATION.format(folder=self.folder, suffix=SUFFIX, password=self.root_password)
        )
        self.start()
        self.add(
            f"dn: {SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n",
            f"dn: cn=service,{SUFFIX}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n"
            f"cn: service\nuserPassword: {self.service_password}\n",
            unit("people"),
            unit("groups"),
        )

    def start(self, port: int | None = None, tls_port: int | None = None) -> None:
        """Listen; unless told where, on ports that were free a moment ago."""
        self.port, self.tls_port = port or free_port(), tls_port or free_port()
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        command = [self.program, "-f", self.folder / "slapd.conf", "-h", urls, "-d", "0"]
        self.daemon = Daemon(command, self.folder / "log")
        self.daemon.wait_until(
            lambda: accepts("127.0.0.1", self.port) and accepts("127.0.0.1", self.tls_port)
        )

    def stop(self) -> None:
        """End it."""
        self.daemon.stop()

    def pause(self) -> None:
        """Let it hang: the kernel takes connections, and nobody answers."""
        self.daemon.signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self.daemon.pid}/task")
        # Each thread stops when it gets to it.
        while any(_state(thread) != "T" for thread in threads.iterdir()):
            pass

    def resume(self) -> None:
        """Let it go on."""
        self.daemon.signal(signal.SIGCONT)

    def add(self, *entries: str) -> None:
        """Add entries."""
        self._administer("ldapadd", "\n".join(entries))

    def modify(self, dn: str, change: str) -> None:
        """Change an entry; `change` is LDIF without its head."""
        self._administer("ldapmodify", f"dn: {dn}\nchangetype: modify\n{change}")

    def delete(self, *dns: str) -> None:
        """Remove entries."""
        self._administer("ldapdelete", "".join(f"{dn}\n" for dn in dns))

    def settings(self, more: Mapping[str, Any] | None = None, without: Sequence[str] = ()) -> dict[str, Any]:
        """The section `access.ldap` for it."""
        made: dict[str, Any] = {
            "url": f"ldap://127.0.0.1:{self.port}",
            "bind_dn": f"cn=service,{SUFFIX}",
            "bind_password": self.service_password,
            "user_base": PEOPLE,
            "group_attribute": "memberOf",
            **(more or {}),
        }
        return {key: value for key, value in made.items() if key not in without}

    def _administer(self, tool: str, given: str) -> None:
        program = self.program.parents[1] / "bin" / tool
        secret = self.folder / "root"
        secret.write_text(self.root_password)
        where = ("-x", "-H", f"ldap://127.0.0.1:{self.port}", "-D", f"cn=admin,{SUFFIX}", "-y", secret)
        run([program, *where], given=given, environ={"LDAPNOINIT": "1"})


def _state(thread: Path) -> str:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]
