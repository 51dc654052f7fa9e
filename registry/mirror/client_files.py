"""What clients have to be told so that other registries' names, and our own, are pulled from here.

Each format is its client's own: docker's daemon.json, containerd's hosts.toml (which k3s makes of its
registries.yaml), containers-registries.conf(5) of podman and CRI-O, BuildKit's buildkitd.toml, and the
ImageDigestMirrorSet and ImageTagMirrorSet of OpenShift.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from registry.errors import Unsupported
from registry.mirror.settings import DOCKER_HUB, MirrorSettings
from registry.settings import Address

Client = Literal["docker", "containerd", "podman", "crio", "k3s", "buildkit", "openshift"]

# Where Docker Hub answers; every other registry does so under the name that stands in images' names.
_HUB_SERVER = "https://registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class ClientFile:
    """A file of a client's: where it belongs, what is in it, and what a person has to know of it."""

    path: str
    content: str
    comment: str


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """All files for one client, and what else there is to be said."""

    client: str
    files: list[ClientFile]
    notes: list[str]

    def told(self) -> str:
        """Each file below a line that says where it belongs."""
        parts = [f"# {one.path}: {one.comment}\n{one.content}" for one in self.files]
        if self.notes:
            parts.append("\n".join(f"# {note}" for note in self.notes))
        return "\n".join(parts).rstrip("\n")


@dataclass(frozen=True, slots=True)
class Served:
    """The registry as clients reach it: at `url`, and for docker a namespace's own listener at `hub_url`."""

    url: str
    mirrors: Sequence[MirrorSettings]
    hub_url: str | None

    @property
    def place(self) -> str:
        """Host and port, as they stand in images' names."""
        return urlsplit(self.url).netloc

    @property
    def is_plain(self) -> bool:
        """Whether it is reached without TLS."""
        return urlsplit(self.url).scheme == "http"

    @property
    def hosts(self) -> Iterator[tuple[str, MirrorSettings]]:
        """Each host that is answered for, with its namespace."""
        for mirror in self.mirrors:
            for host in mirror.answers_for:
                yield host, mirror

    @property
    def hub(self) -> MirrorSettings | None:
        """The namespace that answers for Docker Hub."""
        return next((mirror for host, mirror in self.hosts if host == DOCKER_HUB), None)


def client_files(client: Client, served: Served) -> ClientFiles:
    """The files for a client. Raises Unsupported where it could not be told what it would have to be."""
    if urlsplit(served.url).path.strip("/") and client not in ("containerd", "k3s"):
        raise Unsupported(
            f"{served.url} has a path, which {client} has no setting for: give the registry a host name or"
            " port of its own (url)"
        )
    found = _WRITERS[client](client, served)
    if not any(served.hosts):
        found.notes.append("no namespace answers for another registry's names (mirrors[].answers_for)")
    return found


def _docker(client: str, served: Served) -> ClientFiles:
    settings: dict[str, list[str]] = {}
    notes = []
    hub = served.hub
    if hub is not None and served.hub_url is not None:
        settings["registry-mirrors"] = [served.hub_url]
    elif hub is not None:
        notes.append(
            f"{hub.name} answers for {DOCKER_HUB} and has no listener of its own, which docker needs:"
            " set mirrors[].listen (docs/client-config.md)"
        )
    if served.is_plain and not _is_loopback(served.url):
        settings["insecure-registries"] = [served.place]
    notes += [
        f"{', '.join(one.answers_for) or one.name}: docker pull {served.place}/{one.name}/NAME"
        for one in served.mirrors
        if one is not hub or served.hub_url is None
    ]
    notes.append(f"pushed here: docker pull {served.place}/NAME")
    places = dict.fromkeys((served.place, urlsplit(served.hub_url or served.url).netloc))
    notes += _own_authority(
        served, "put that at " + " and ".join(f"/etc/docker/certs.d/{place}/ca.crt" for place in places)
    )
    comment = "merge it with what is there, and restart docker"
    return ClientFiles(client, _files("/etc/docker/daemon.json", _json(settings), comment, settings), notes)


def _containerd(client: str, served: Served) -> ClientFiles:
    def hosts_toml(host: str, server: str, *capabilities: str) -> ClientFile:
        # With a table for us also where the server is no other: containerd 1.6 reads no file without one.
        content = f"server = {_text(server)}\n\n[host.{_text(served.url)}]\n"
        content += f"  capabilities = {json.dumps(capabilities)}\n"
        if not served.is_plain:
            content += '  # ca = "/etc/containerd/registry-ca.crt"\n'
        return ClientFile(f"/etc/containerd/certs.d/{host}/hosts.toml", content, "read at each pull")

    files = []
    for host, mirror in served.hosts:
        server = _HUB_SERVER if host == DOCKER_HUB else f"https://{host}"
        # Who has no upstream is in the place of the registry itself, which then is never asked.
        files.append(hosts_toml(host, server if mirror.upstreams else served.url, "pull", "resolve"))
    if served.is_plain:
        files.append(hosts_toml(served.place, served.url, "pull", "resolve", "push"))
    where = (
        'containerd looks there if its config.toml says config_path = "/etc/containerd/certs.d" for the'
        " registry of its CRI plugin; ctr with --hosts-dir"
    )
    return ClientFiles(client, files, [where, *_own_authority(served, "put that at ca, and uncomment it")])


def _containers(client: str, served: Served) -> ClientFiles:
    insecure = "insecure = true\n" if served.is_plain else ""
    tables = []
    for host, mirror in served.hosts:
        ours = f"location = {_text(f'{served.place}/{mirror.name}')}\n{insecure}"
        head = f"[[registry]]\nprefix = {_text(host)}\n"
        mirrored = f"location = {_text(host)}\n\n[[registry.mirror]]\n{ours}"
        tables.append(head + (mirrored if mirror.upstreams else ours))
    if served.is_plain:
        tables.append(f"[[registry]]\nlocation = {_text(served.place)}\n{insecure}")
    comment = "read at each pull" if client == "podman" else "systemctl reload crio"
    path = "/etc/containers/registries.conf.d/50-moorage.conf"
    notes = _own_authority(served, f"put that at /etc/containers/certs.d/{served.place}/ca.crt")
    return ClientFiles(client, _files(path, "\n".join(tables), comment, tables), notes)


def _k3s(client: str, served: Served) -> ClientFiles:
    names = [host for host, _ in served.hosts]
    if served.is_plain:
        names.append(served.place)
    lines = [f"  {_text(name)}:\n    endpoint:\n      - {_text(served.url)}\n" for name in names]
    if not served.is_plain:
        lines += [
            f"# configs:\n#   {_text(served.place)}:\n#     tls:\n#       ca_file: /etc/registry-ca.crt\n"
        ]
    comment = "on each node; restart k3s (of RKE2 it is /etc/rancher/rke2/registries.yaml)"
    notes = _own_authority(served, "put that at ca_file, and uncomment configs")
    if alone := [host for host, mirror in served.hosts if not mirror.upstreams]:
        notes.append(f"to ask {', '.join(alone)} itself never: k3s --disable-default-registry-endpoint")
    content = "mirrors:\n" + "".join(lines)
    return ClientFiles(client, _files("/etc/rancher/k3s/registries.yaml", content, comment, names), notes)


def _buildkit(client: str, served: Served) -> ClientFiles:
    tables = [f"[registry.{_text(host)}]\n  mirrors = [{_text(served.place)}]\n" for host, _ in served.hosts]
    own = "http = true" if served.is_plain else '# ca = ["/etc/buildkit/registry-ca.crt"]'
    tables.append(f"[registry.{_text(served.place)}]\n  {own}\n")
    comment = "docker buildx create --buildkitd-config FILE, or restart buildkitd"
    notes = ["BuildKit inside of docker goes by docker's daemon.json: moorage client config docker"]
    notes += _own_authority(served, "put that at ca, and uncomment it")
    return ClientFiles(
        client, [ClientFile("/etc/buildkit/buildkitd.toml", "\n".join(tables), comment)], notes
    )


def _openshift(client: str, served: Served) -> ClientFiles:
    def mirror_set(kind: str, field: str) -> str:
        lines = [f"apiVersion: config.openshift.io/v1\nkind: {kind}\n"]
        lines.append(f"metadata:\n  name: moorage\nspec:\n  {field}:\n")
        for host, mirror in served.hosts:
            policy = "AllowContactingSource" if mirror.upstreams else "NeverContactSource"
            lines.append(
                f"    - source: {_text(host)}\n      mirrors:\n"
                f"        - {_text(f'{served.place}/{mirror.name}')}\n      mirrorSourcePolicy: {policy}\n"
            )
        return "".join(lines)

    sets = (
        mirror_set("ImageDigestMirrorSet", "imageDigestMirrors"),
        mirror_set("ImageTagMirrorSet", "imageTagMirrors"),
    )
    notes = []
    if served.is_plain:
        patch = json.dumps({"spec": {"registrySources": {"insecureRegistries": [served.place]}}})
        notes.append(
            f"it is plain HTTP: oc patch image.config.openshift.io/cluster --type merge -p '{patch}'"
        )
    else:
        notes += _own_authority(
            served, "add that to additionalTrustedCA of image.config.openshift.io/cluster"
        )
    comment = "oc apply -f FILE; the machine config operator brings it to the nodes"
    return ClientFiles(
        client, _files("moorage-mirrors.yaml", "---\n".join(sets), comment, [*served.hosts]), notes
    )


_WRITERS: Mapping[Client, Callable[[str, Served], ClientFiles]] = {
    "docker": _docker,
    "containerd": _containerd,
    "podman": _containers,
    "crio": _containers,
    "k3s": _k3s,
    "buildkit": _buildkit,
    "openshift": _openshift,
}


def _files(path: str, content: str, comment: str, about: object) -> list[ClientFile]:
    """The file, if there is anything in it."""
    return [ClientFile(path, content, comment)] if about else []


def _own_authority(served: Served, how: str) -> list[str]:
    return [] if served.is_plain else [f"where the certificate's authority is one of your own, {how}"]


def _text(text: str) -> str:
    """A text as TOML, YAML and JSON have it in common."""
    return json.dumps(text)


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"


def _is_loopback(url: str) -> bool:
    return Address(urlsplit(url).hostname or "", 0).loopback
