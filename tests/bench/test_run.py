"""A whole run, as small as it can be, on the real servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.__main__ import main
from tests.bench.course import WORKLOADS
from tests.bench.report import MARK
from tests.equipment.absence import require

pytestmark = pytest.mark.e2e


def test_every_workload_is_measured_and_written_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require("distribution")
    page = tmp_path / "page.md"
    page.write_text(f"# Ours\n\nA person wrote this.\n\n{MARK}\n\nold figures\n")
    only = [*(one.name for one in WORKLOADS), "idle-memory", "slow-manifest"]
    assert main(["--tiny", "--place", "disk", "--only", *only, "--json", "--output", str(page)]) == 0
    workloads, trials = json.loads(capsys.readouterr().out)["sections"]
    figures = {figure["name"]: figure for figure in workloads["figures"]}
    assert set(figures) >= {one.name for one in WORKLOADS}
    for figure in figures.values():
        for rounds in (figure["rounds"], figure.get("waited", figure["rounds"])):
            for server in ("moorage", "distribution", "control"):
                assert len(rounds[server]) == 1 and rounds[server][0] > 0, figure
            assert rounds["ratio"]["median"] == rounds["moorage"][0] / rounds["distribution"][0]
    for name in ("push-many", "images-spread-rate"):
        goal, met = figures[name]["goal"], figures[name]["met"]
        ratio = figures[name]["rounds"]["ratio"]["median"]
        assert met == (ratio <= 0.9 if goal == "≤ 0.90" else ratio >= 1.3)
    names = [figure["name"] for figure in trials["figures"]]
    assert names[0] == "idle-memory" and "slow-manifest" in names
    written = page.read_text()
    assert "A person wrote this." in written and "old figures" not in written
    assert all(f"| {one.name} |" in written for one in WORKLOADS)
    assert "| idle-memory |" not in written, "the others of its section have not been measured"


def test_in_a_bucket_it_has_other_goals(capsys: pytest.CaptureFixture[str]) -> None:
    require("distribution")
    require("versitygw")
    only = ["push-docker", "cached-by-tag", "start", "replicas-1-blobs", "store-get"]
    assert main(["--tiny", "--place", "bucket", "--only", *only, "--json"]) == 0
    section, several, asking = json.loads(capsys.readouterr().out)["sections"]
    goals = {figure["name"]: figure["goal"] for figure in section["figures"]}
    assert goals == {"push-docker": "≤ 1.20", "cached-by-tag": "≤ 0.80"}
    assert several["title"] == "Several servers, storage on a bucket"
    names = [f"replicas-{number}-{what}" for number in (1, 2, 3) for what in ("blobs", "manifests")]
    assert [figure["name"] for figure in several["figures"]] == names
    for figure in several["figures"] + asking["figures"]:
        assert figure["rounds"]["moorage"][0] > 0 and figure["rounds"]["distribution"][0] > 0
