"""Metrics: the names people look for, bounded labels, and right with several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from registry.metrics import Metrics

ROOT = Path(__file__).parents[1]


def samples(document: bytes) -> dict[str, float]:
    """Each series with its value, less what the library adds about the process."""
    lines = (line for line in document.decode().splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def answer(metrics: Metrics, method: str = "GET", route: str = "manifest", status: int = 200) -> None:
    metrics.began("registry")
    metrics.ended("registry", method, route, status, 0.003)


def test_requests_are_counted_by_bounded_labels_and_timed() -> None:
    metrics = Metrics("1.2.3")
    answer(metrics)
    answer(metrics)
    answer(metrics, "PATCH", "upload", 503)
    answer(metrics, "BREW", "other", 405)
    answer(metrics, "brew", "other", 405)
    metrics.began("ops")
    found = samples(metrics.render()[0])
    one = 'listener="registry",method="{}",route="{}"'
    total = "moorage_http_requests_total{{" + one + ',status="{}"}}'
    assert found[total.format("GET", "manifest", 200)] == 2
    assert found[total.format("PATCH", "upload", 503)] == 1
    assert found[total.format("OTHER", "other", 405)] == 2
    seconds = "moorage_http_request_duration_seconds"
    assert found[f"{seconds}_count{{{one.format('GET', 'manifest')}}}"] == 2
    assert found[f'{seconds}_bucket{{le="0.0025",{one.format("GET", "manifest")}}}'] == 0
    assert found[f'{seconds}_bucket{{le="0.005",{one.format("GET", "manifest")}}}'] == 2
    assert found['moorage_http_in_flight{listener="registry"}'] == 0
    assert found['moorage_http_in_flight{listener="ops"}'] == 1
    assert found['moorage_build_info{version="1.2.3"}'] == 1


def test_storage_and_bytes_are_counted() -> None:
    metrics = Metrics("1")
    metrics.storage("get", "ok", 0.0002)
    metrics.storage("get", "NotFound", 0.0002)
    metrics.uploaded(1000)
    metrics.uploaded(24)
    metrics.downloaded(7)
    found = samples(metrics.render()[0])
    assert found['moorage_storage_operations_total{operation="get",outcome="ok"}'] == 1
    assert found['moorage_storage_operations_total{operation="get",outcome="NotFound"}'] == 1
    assert found['moorage_storage_operation_duration_seconds_count{operation="get"}'] == 2
    assert found["moorage_upload_bytes_total"] == 1024
    assert found["moorage_download_bytes_total"] == 7


def test_series_are_bounded_even_where_a_route_is_none() -> None:
    metrics = Metrics("1", most_series=3)
    for number in range(10):
        answer(metrics, route=f"route{number}")
    found = samples(metrics.render()[0])
    assert len([name for name in found if name.startswith("moorage_http_requests_total")]) == 4
    assert (
        found['moorage_http_requests_total{listener="registry",method="GET",route="other",status="200"}'] == 7
    )


def test_two_in_one_process_do_not_share_anything() -> None:
    first, second = Metrics("1"), Metrics("2")
    first.uploaded(5)
    assert samples(second.render()[0])["moorage_upload_bytes_total"] == 0


def test_the_document_is_what_prometheus_reads() -> None:
    document, media_type = Metrics("1").render()
    assert media_type.startswith("text/plain")
    assert b"# TYPE moorage_http_requests_total counter" in document
    assert b"process_resident_memory_bytes" in document or sys.platform != "linux"


WORKER = """
import os, sys
from registry.metrics import Metrics
metrics = Metrics("1")
metrics.began("registry")
if sys.argv[1] == "answer":
    metrics.ended("registry", "GET", "manifest", 200, 0.003)
metrics.uploaded(10)
print(os.getpid(), flush=True)
sys.stdin.read()
sys.stdout.write(metrics.render()[0].decode())
"""


def test_whichever_worker_answers_tells_the_sum(tmp_path: Path) -> None:
    def start(what: str) -> subprocess.Popen[str]:
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, what],
            cwd=ROOT,
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert worker.stdout is not None
        assert int(worker.stdout.readline()) == worker.pid
        return worker

    dead, first, second = start("keep"), start("answer"), start("keep")
    dead.kill()
    dead.communicate()
    mark = (
        "import sys; from prometheus_client.multiprocess import mark_process_dead as mark; mark(sys.argv[1])"
    )
    subprocess.run(
        [sys.executable, "-c", mark, str(dead.pid)],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        check=True,
    )
    told, _ = first.communicate("")
    second.communicate("")
    found = samples(told.encode())
    # What the dead one counted stays; what it was doing is over.
    assert found["moorage_upload_bytes_total"] == 30
    assert found['moorage_http_in_flight{listener="registry"}'] == 1
    assert found['moorage_build_info{version="1"}'] == 1
    key = 'moorage_http_requests_total{listener="registry",method="GET",route="manifest",status="200"}'
    assert found[key] == 1
    assert not any("pid=" in name for name in found)
