"""The files for clients, read as those read them."""

from __future__ import annotations

import json
import tomllib
from typing import Any, get_args

import pytest
import yaml

from registry.errors import Unsupported
from registry.mirror.client_files import Client, ClientFiles, client_files
from registry.mirror.client_operations import URL, AskFiles, Reached, operations
from registry.mirror.settings import MirrorsSettings
from registry.work.operations import Context, Result

MIRRORS = MirrorsSettings.model_validate(
    {
        "mirrors": [
            {
                "name": "hub",
                "upstreams": [{"url": "https://proxy.example"}],
                "answers_for": ["docker.io"],
                "listen": ":5002",
            },
            {
                "name": "other/quay",
                "upstreams": [{"url": "https://quay.io"}],
                "answers_for": ["quay.io", "quay.example:8443"],
            },
            {"name": "brought", "answers_for": ["registry.k8s.io"]},
            {"name": "unnamed", "upstreams": [{"url": "https://ghcr.io"}]},
        ]
    }
).mirrors
CLIENTS = get_args(Client)
SECURE = Reached("https://registry.example", "127.0.0.1:5000", True, MIRRORS)
PLAIN = Reached("http://registry.example:5000", "127.0.0.1:5000", False, MIRRORS)
# Whose names it pulls: by the name of the host, and with the one that the registry has for it.
HOSTS = {
    "docker.io": "hub",
    "quay.io": "other/quay",
    "quay.example:8443": "other/quay",
    "registry.k8s.io": "brought",
}


def made(client: Client, reached: Reached, **given: URL) -> ClientFiles:
    return client_files(client, reached.served(AskFiles(client, **given)))


def only(client: Client, reached: Reached, **given: URL) -> str:
    """What is in the one file that the client has."""
    (file,) = made(client, reached, **given).files
    return file.content


class TestDocker:
    def test_docker_hub_comes_from_the_namespace_s_own_listener(self) -> None:
        assert json.loads(only("docker", SECURE)) == {"registry-mirrors": ["https://registry.example:5002"]}

    def test_other_machines_must_be_allowed_plain_http(self) -> None:
        assert json.loads(only("docker", PLAIN)) == {
            "registry-mirrors": ["http://registry.example:5002"],
            "insecure-registries": ["registry.example:5000"],
        }
        loopback = Reached(None, "127.0.0.1:5000", False, MIRRORS)
        assert "insecure-registries" not in only("docker", loopback)

    def test_other_names_are_told(self) -> None:
        told = made("docker", SECURE).told()
        assert "docker pull registry.example/other/quay/NAME" in told
        assert "docker pull registry.example/unnamed/NAME" in told
        assert "registry.example/hub/" not in told
        assert "/etc/docker/certs.d/registry.example:5002/ca.crt" in told

    def test_without_that_listener_it_is_told_what_is_missing(self) -> None:
        without = tuple(one.model_copy(update={"listen": None}) for one in MIRRORS)
        found = made("docker", Reached("https://registry.example", ":5000", True, without))
        assert found.files == []
        assert "hub answers for docker.io and has no listener of its own" in found.told()
        assert "docker pull registry.example/hub/NAME" in found.told()

    def test_its_address_can_be_another(self) -> None:
        given = URL("https://hub.example/")
        assert json.loads(only("docker", SECURE, mirror_url=given))["registry-mirrors"] == [
            "https://hub.example"
        ]

    def test_a_listener_of_this_machine_alone_is_asked_there(self) -> None:
        here = tuple(
            one.model_copy(update={"listen": "127.0.0.1:5002" if one.listen else None}) for one in MIRRORS
        )
        found = only("docker", Reached("https://registry.example", "127.0.0.1:5000", False, here))
        assert json.loads(found) == {"registry-mirrors": ["http://127.0.0.1:5002"]}


class TestContainerd:
    @pytest.mark.parametrize("reached", [SECURE, PLAIN])
    def test_each_host_is_asked_for_here_before_it_is_asked_itself(self, reached: Reached) -> None:
        read = {one.path: tomllib.loads(one.content) for one in made("containerd", reached).files}
        url = reached.url
        asked_here = {"host": {url: {"capabilities": ["pull", "resolve"]}}}
        expected: dict[str, Any] = {
            "docker.io": {"server": "https://registry-1.docker.io", **asked_here},
            "quay.io": {"server": "https://quay.io", **asked_here},
            "quay.example:8443": {"server": "https://quay.example:8443", **asked_here},
            # There is nobody else to ask.
            "registry.k8s.io": {"server": url, **asked_here},
        }
        if reached is PLAIN:
            own = {"host": {url: {"capabilities": ["pull", "resolve", "push"]}}}
            expected["registry.example:5000"] = {"server": url, **own}
        assert read == {
            f"/etc/containerd/certs.d/{host}/hosts.toml": content for host, content in expected.items()
        }

    def test_a_path_of_the_address_is_kept(self) -> None:
        reached = Reached("https://example.com/registry/", ":5000", True, MIRRORS)
        assert '[host."https://example.com/registry"]' in made("containerd", reached).told()

    def test_where_an_own_authority_goes_can_be_uncommented(self) -> None:
        for file in made("containerd", SECURE).files:
            table = tomllib.loads(file.content.replace("# ca", "ca"))
            assert table["host"][SECURE.url]["ca"].endswith(".crt")


@pytest.mark.parametrize("client", ["podman", "crio"])
class TestContainers:
    @pytest.mark.parametrize("reached", [SECURE, PLAIN])
    def test_each_host_has_a_mirror_here(self, client: Client, reached: Reached) -> None:
        tables = tomllib.loads(only(client, reached))["registry"]
        place = "registry.example" if reached is SECURE else "registry.example:5000"
        insecure = {} if reached is SECURE else {"insecure": True}
        expected: list[dict[str, Any]] = [
            {
                "prefix": host,
                "location": host,
                "mirror": [{"location": f"{place}/{namespace}", **insecure}],
            }
            for host, namespace in HOSTS.items()
            if namespace != "brought"
        ]
        expected.append({"prefix": "registry.k8s.io", "location": f"{place}/brought", **insecure})
        if reached is PLAIN:
            expected.append({"location": place, **insecure})
        assert tables == expected


class TestK3s:
    @pytest.mark.parametrize("reached", [SECURE, PLAIN])
    def test_each_host_has_its_endpoint_here(self, reached: Reached) -> None:
        read = yaml.safe_load(only("k3s", reached))
        hosts = [*HOSTS] if reached is SECURE else [*HOSTS, "registry.example:5000"]
        assert read == {"mirrors": {host: {"endpoint": [reached.url]} for host in hosts}}

    def test_where_an_own_authority_goes_can_be_uncommented(self) -> None:
        content = only("k3s", SECURE).replace("# ", "").replace("#", "")
        assert yaml.safe_load(content)["configs"]["registry.example"]["tls"]["ca_file"]

    def test_who_is_never_to_be_asked_takes_a_switch(self) -> None:
        assert "registry.k8s.io itself never: k3s --disable-default" in made("k3s", SECURE).told()


class TestBuildKit:
    @pytest.mark.parametrize("reached", [SECURE, PLAIN])
    def test_each_host_has_a_mirror_here(self, reached: Reached) -> None:
        read = tomllib.loads(only("buildkit", reached))["registry"]
        place = "registry.example" if reached is SECURE else "registry.example:5000"
        assert {host: table["mirrors"] for host, table in read.items() if host != place} == {
            host: [place] for host in HOSTS
        }
        assert read[place] == ({} if reached is SECURE else {"http": True})


class TestOpenShift:
    def test_each_host_has_a_mirror_here_for_tags_and_digests(self) -> None:
        digests, tags = yaml.safe_load_all(only("openshift", SECURE))
        for document, kind, field in (
            (digests, "ImageDigestMirrorSet", "imageDigestMirrors"),
            (tags, "ImageTagMirrorSet", "imageTagMirrors"),
        ):
            assert document["apiVersion"] == "config.openshift.io/v1"
            assert (document["kind"], document["metadata"]) == (kind, {"name": "moorage"})
            assert document["spec"] == {
                field: [
                    {
                        "source": host,
                        "mirrors": [f"registry.example/{namespace}"],
                        "mirrorSourcePolicy": "NeverContactSource"
                        if namespace == "brought"
                        else "AllowContactingSource",
                    }
                    for host, namespace in HOSTS.items()
                ]
            }

    def test_plain_http_is_a_setting_of_the_cluster(self) -> None:
        (note,) = made("openshift", PLAIN).notes
        patch = json.loads(note.partition("-p '")[2].removesuffix("'"))
        assert patch == {"spec": {"registrySources": {"insecureRegistries": ["registry.example:5000"]}}}


@pytest.mark.parametrize("client", CLIENTS)
class TestEachClient:
    def test_what_is_told_has_every_file_below_its_place(self, client: Client) -> None:
        found = made(client, SECURE)
        assert found.client == client
        told = found.told()
        for file in found.files:
            assert f"# {file.path}: {file.comment}\n{file.content.rstrip()}" in told

    def test_only_by_names_of_our_own_nothing_has_to_be_told(self, client: Client) -> None:
        found = made(client, Reached("https://registry.example", ":5000", True, ()))
        assert "no namespace answers for another registry's names" in found.told()
        assert [one.path for one in found.files] in ([], ["/etc/buildkit/buildkitd.toml"])

    def test_a_path_is_refused_where_it_cannot_be_written(self, client: Client) -> None:
        reached = Reached("https://example.com/registry", ":5000", True, MIRRORS)
        if client in ("containerd", "k3s"):
            assert "https://example.com/registry" in made(client, reached).told()
        else:
            with pytest.raises(Unsupported, match="has a path"):
                made(client, reached)


class TestAddresses:
    @pytest.mark.parametrize(
        ("listen", "tls", "url"),
        [
            ("127.0.0.1:5000", False, "http://127.0.0.1:5000"),
            ("[::1]:5000", True, "https://[::1]:5000"),
            (":5000", False, "http://THIS-MACHINE:5000"),
            ("0.0.0.0:443", True, "https://THIS-MACHINE:443"),
            ("registry.example:5000", False, "http://registry.example:5000"),
        ],
    )
    def test_without_url_it_is_the_listener_s(self, listen: str, tls: bool, url: str) -> None:
        assert Reached(None, listen, tls, MIRRORS).served(AskFiles("k3s")).url == url

    def test_the_one_that_is_given_counts(self) -> None:
        given = URL("http://other.example:8080")
        assert SECURE.served(AskFiles("docker", url=given)).url == "http://other.example:8080"
        assert SECURE.served(AskFiles("docker", url=given)).hub_url == "https://other.example:5002"

    def test_of_a_listener_everywhere_the_namespace_s_is_on_the_same_machine(self) -> None:
        assert Reached(None, ":5000", False, MIRRORS).served(AskFiles("docker")).hub_url == (
            "http://THIS-MACHINE:5002"
        )

    def test_a_port_that_nobody_knows_has_to_be_said(self) -> None:
        with pytest.raises(Unsupported, match=r"registry\.listen: 127\.0\.0\.1:0.*--url"):
            Reached(None, "127.0.0.1:0", False, MIRRORS).served(AskFiles("podman"))
        any_port = tuple(one.model_copy(update={"listen": ":0"}) for one in MIRRORS)
        reached = Reached("https://registry.example", ":5000", True, any_port)
        with pytest.raises(Unsupported, match=r"hub: listen: :0.*--mirror-url"):
            reached.served(AskFiles("docker"))
        assert reached.served(AskFiles("podman")).hub_url is None

    @pytest.mark.parametrize("text", ["registry.example", "ftp://a", "https://a?b", "https://u@a", ""])
    def test_what_is_no_address_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="must be https://"):
            URL(text)


@pytest.mark.parametrize(("url", "told"), [(None, True), ("https://registry.example", False)])
async def test_what_stands_for_a_name_is_explained(url: str | None, told: bool) -> None:
    (operation,) = operations(Reached(url, ":5000", False, MIRRORS))
    (result,) = [step async for step in operation.run(AskFiles("k3s"), Context("operator"))]
    assert isinstance(result, Result) and isinstance(result.value, ClientFiles)
    assert ("THIS-MACHINE stands for the name" in result.value.told()) == told
