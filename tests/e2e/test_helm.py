"""The Helm chart: what it renders is what Kubernetes knows, and a configuration that the registry takes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from registry.access.seal import new_key
from tests.api.server import moorage
from tests.e2e.processes import Result, run
from tests.equipment.absence import require

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "moorage"
S3 = """
replicaCount: 3
url: https://registry.example.com
config: {storage: {driver: s3, s3: {bucket: registry, region: eu-central-1}}}
seal: {existingSecret: moorage-seal}
"""


@pytest.fixture(scope="module")
def helm() -> str:
    """The program."""
    return str(require("helm"))


class Chart:
    """The chart, rendered by the real program."""

    def __init__(self, helm: str, folder: Path) -> None:
        self._helm = helm
        self.file = folder / "values.yaml"

    def render(self, values: str = "", code: int = 0) -> Result:
        """What `helm template` prints with these values, and an address."""
        values = values if "url:" in values else f"url: https://registry.example.com\n{values}"
        self.file.write_text(values)
        return run([self._helm, "template", "reg", CHART, "--values", self.file], code=code)

    def objects(self, values: str = "") -> dict[str, Any]:
        """What is made of these values, by kind."""
        documents = [one for one in yaml.safe_load_all(self.render(values).out) if one]
        found = {one["kind"]: one for one in documents}
        assert len(found) == len(documents)
        return found


@pytest.fixture
def chart(helm: str, tmp_path: Path) -> Chart:
    return Chart(helm, tmp_path)


EXTRA = """
replicaCount: 3
url: https://registry.example.com
config: {log: {level: debug}}
seal: {existingSecret: moorage-seal}
extraEnvFrom: [{secretRef: {name: moorage-s3}}]
extraVolumes: [{name: ca, secret: {secretName: ca}}]
extraVolumeMounts: [{name: ca, mountPath: /etc/ca}]
persistence: {accessModes: [ReadWriteMany], storageClass: shared}
cache: {enabled: true, size: 5Gi}
ingress: {enabled: true, className: nginx, hosts: [registry.example.com], tls: [{secretName: tls}]}
metrics: {podMonitor: {enabled: true}}
networkPolicy: {enabled: true, from: [{namespaceSelector: {}}]}
podLabels: {team: platform}
podAnnotations: {note: here}
"""


@pytest.mark.parametrize("values", ["", EXTRA])
def test_helm_finds_nothing_to_say(helm: str, tmp_path: Path, values: str) -> None:
    (tmp_path / "values.yaml").write_text(values)
    run([helm, "lint", "--strict", CHART, "--values", tmp_path / "values.yaml"])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ("replicas: 3", "additional properties 'replicas' not allowed"),
        ("replicaCount: three", "at '/replicaCount': got string, want integer"),
        ("persistence: {acessModes: [ReadWriteMany]}", "additional properties 'acessModes' not allowed"),
        ("persistence: {size: 50GB}", "at '/persistence/size': '50GB' does not match pattern"),
        ("image: {pullPolicy: Sometimes}", "at '/image/pullPolicy': value must be one of"),
        ("url: registry.example.com", "at '/url': 'registry.example.com' does not match pattern"),
        ("rules: [{who: anonymous}]", "at '/rules/0': missing property 'repositories'"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(chart: Chart, helm: str, values: str, told: str) -> None:
    assert told in chart.render(values, code=1).text
    assert told in run([helm, "lint", CHART, "--values", chart.file], code=1).text


def test_the_schema_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    for path in leaves(yaml.safe_load((CHART / "values.yaml").read_text())):
        inner = schema
        for name in path:
            if "properties" not in inner:
                break  # what Kubernetes or the registry has names for
            inner = inner["properties"][name]


@pytest.mark.parametrize("values", ["", EXTRA, S3])
def test_the_registry_takes_the_configuration(chart: Chart, tmp_path: Path, values: str) -> None:
    data = chart.objects(values)["ConfigMap"]["data"]
    rules = tmp_path / "access.yaml"
    rules.write_text(data["access.yaml"])
    config = data["config.yaml"].replace("/etc/moorage/access.yaml", str(rules))
    (tmp_path / "seal.key").write_text(new_key())
    (tmp_path / "seal.key").chmod(0o600)
    config = config.replace("/etc/moorage-seal/", f"{tmp_path}/")
    (tmp_path / "config.yaml").write_text(config)
    moorage("config", "check", "--config", str(tmp_path / "config.yaml"))


def test_without_an_address_it_says_so(helm: str) -> None:
    assert "url: name the address that clients use" in run([helm, "template", "reg", CHART], code=1).text


def test_a_pod_may_do_nothing_that_it_need_not(chart: Chart) -> None:
    pod = chart.objects()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    probes = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("liveness", "readiness")}
    assert probes == {"liveness": "/livez", "readiness": "/readyz"}


def test_a_pod_is_given_the_time_that_the_server_takes(chart: Chart) -> None:
    found = chart.objects("drainSeconds: 7\ngraceSeconds: 50")
    config = yaml.safe_load(found["ConfigMap"]["data"]["config.yaml"])
    assert (config["drain_seconds"], config["grace_seconds"]) == (7, 50)
    assert found["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 67


def test_with_a_volume_of_one_node_there_is_one_pod_that_gives_way(chart: Chart) -> None:
    found = chart.objects()
    assert found["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    assert found["PersistentVolumeClaim"]["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "PodDisruptionBudget" not in found
    refused = chart.render("replicaCount: 2", code=1)
    assert "several pods on one directory need a volume that is ReadWriteMany" in refused.text


def test_in_s3_there_are_many_pods_and_no_volume(chart: Chart) -> None:
    found = chart.objects(S3)
    assert "PersistentVolumeClaim" not in found
    assert found["Deployment"]["spec"]["replicas"] == 3
    assert found["Deployment"]["spec"]["strategy"]["type"] == "RollingUpdate"
    assert found["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    assert "root" not in yaml.safe_load(found["ConfigMap"]["data"]["config.yaml"])["storage"]


def test_in_s3_secrets_are_sealed_or_it_was_said_that_they_are_not(chart: Chart) -> None:
    bare = S3.replace("seal:", "#")
    assert "name the Secret with the key that seals them" in chart.render(bare, code=1).text
    config = chart.objects(bare.replace("config: {", "config: {access: {seal: none}, "))["ConfigMap"]["data"]
    assert yaml.safe_load(config["config.yaml"])["access"]["seal"] == "none"


def test_secrets_are_named_and_never_written(chart: Chart) -> None:
    found = chart.objects(EXTRA)
    assert "Secret" not in found
    pod = found["Deployment"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "moorage-s3"}}]
    (seal,) = [one["secret"] for one in pod["volumes"] if one["name"] == "seal"]
    assert seal["secretName"] == "moorage-seal"


def test_every_value_is_explained_and_used() -> None:
    text = (CHART / "values.yaml").read_text()
    templates = "".join(path.read_text() for path in (CHART / "templates").iterdir())
    for path in leaves(yaml.safe_load(text)):
        above = [f".Values.{'.'.join(path[:length])}" for length in range(1, len(path) + 1)]
        assert any(re.search(rf"{re.escape(name)}(?![\w.])", templates) for name in above), path


def leaves(document: Mapping[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of all values."""
    return [
        path
        for key, inner in document.items()
        for path in (leaves(inner, (*above, key)) if isinstance(inner, dict) and inner else [(*above, key)])
    ]
