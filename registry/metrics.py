"""What the registry counts about itself, in Prometheus' format; right with several worker processes.

With several workers the parent sets `PROMETHEUS_MULTIPROC_DIR` before a worker imports this module: each
worker then counts in files of its own there, and whichever answers `/metrics` adds them up.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    mmap_dict,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300, 1800)
_STORAGE_SECONDS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    5,
    30,
)
_FILE_BYTES = 8 << 20


class Metrics:
    """One per process, made by the composition root and handed to what counts.

    Labels are bounded: `operation` and `outcome` come from our own code, `listener` from the settings,
    `route` is the name of a route and never a path, an unknown method counts as `OTHER`, and past
    `most_series` combinations any further one counts under the route `other`.
    """

    def __init__(self, version: str, *, most_series: int = 4096) -> None:
        # A series for when each other series began doubles the document and is of no use to Prometheus here.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        # A worker's files are doubled when they are full, which takes a descriptor; where none is left then,
        # the library could never count again. As they are sparse, so large a one costs nothing.
        mmap_dict._INITIAL_MMAP_SIZE = _FILE_BYTES  # noqa: SLF001 (it has no other way to say it)
        self._registry = CollectorRegistry()
        self._several = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self._most_series = most_series
        self._requests = Counter(
            "moorage_http_requests",
            "Requests answered",
            ("listener", "method", "route", "status"),
            registry=self._registry,
        )
        self._request_seconds = Histogram(
            "moorage_http_request_duration_seconds",
            "Time from the head of a request to the end of its answer",
            ("listener", "method", "route"),
            buckets=_REQUEST_SECONDS,
            registry=self._registry,
        )
        self._in_flight = Gauge(
            "moorage_http_in_flight",
            "Requests being answered",
            ("listener",),
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._operations = Counter(
            "moorage_storage_operations",
            "Calls to the storage: writes and listings, and small reads that failed",
            ("operation", "outcome"),
            registry=self._registry,
        )
        self._operation_seconds = Histogram(
            "moorage_storage_operation_duration_seconds",
            "Time of a write to the storage or of a listing",
            ("operation",),
            buckets=_STORAGE_SECONDS,
            registry=self._registry,
        )
        slow_reads = Counter(
            "moorage_storage_slow_reads",
            "Small reads on the event loop that took over 5 ms",
            registry=self._registry,
        )
        lookups = Counter(
            "moorage_cache_lookups",
            "Reads of content that the cache on the local disk could have answered",
            ("outcome",),
            registry=self._registry,
        )
        self._upstream_failures = Counter(
            "moorage_upstream_failures",
            "Answers that upstreams did not give, or gave wrongly",
            ("upstream", "cause"),
            registry=self._registry,
        )
        self._upstream_remaining = Gauge(
            "moorage_upstream_remaining",
            "How much may still be asked of an upstream, by what it has said last",
            ("namespace", "upstream"),
            registry=self._registry,
            multiprocess_mode="livemostrecent",
        )
        self._mirror_given = Counter(
            "moorage_mirror_given",
            "Manifests and blobs of mirrors that were given, out of what is held or from an upstream",
            ("namespace", "kind", "source"),
            registry=self._registry,
        )
        self._mirror_fetched = Counter(
            "moorage_mirror_fetched_bytes",
            "Bytes of blobs that came from the upstreams of mirrors",
            ("namespace",),
            registry=self._registry,
        )
        uploaded = Counter("moorage_upload_bytes", "Bytes of content received", registry=self._registry)
        downloaded = Counter("moorage_download_bytes", "Bytes of content sent", registry=self._registry)
        usage = {
            name: Gauge(
                f"moorage_usage_{name}",
                f"{told}, when all were last counted",
                registry=self._registry,
                multiprocess_mode="livemostrecent",
            )
            for name, told in (
                ("bytes", "Bytes of blobs and manifests, each once"),
                ("blobs", "Blobs and manifests"),
                ("repositories", "Repositories"),
            )
        }
        self._quota_used, self._quota_limit = (
            Gauge(
                f"moorage_quota_{name}_bytes",
                told,
                ("prefix",),
                registry=self._registry,
                multiprocess_mode="livemostrecent",
            )
            for name, told in (
                ("used", "What counted for a quota, when all was last counted"),
                ("limit", "What the quota is"),
            )
        )
        built = Gauge(
            "moorage_build_info",
            "Always 1; the label names the running version",
            ("version",),
            registry=self._registry,
            multiprocess_mode="livemax",
        )
        built.labels(version).set(1)
        # What is counted per request is bound once: looking children up by label costs more than counting.
        self._request_children: dict[tuple[str, str, str, int], tuple[_Count, _Observe]] = {}
        self._storage_children: dict[tuple[str, str], tuple[_Count, _Observe]] = {}
        self._in_flight_children: dict[str, Gauge] = {}
        self.slow_reads: Callable[[float], None] = slow_reads.inc
        self._usage = tuple(gauge.set for gauge in usage.values())
        self._cache_hit, self._cache_miss = (lookups.labels(outcome).inc for outcome in ("hit", "miss"))
        self.uploaded: Callable[[float], None] = uploaded.inc
        self.downloaded: Callable[[float], None] = downloaded.inc
        if self._several:
            # For the same reason the files are opened now: one for each kind of metric.
            self._operation_seconds.labels("put")
            self._in_flight_of("registry")
        else:
            ProcessCollector(registry=self._registry)

    def began(self, listener: str) -> None:
        """A request has arrived."""
        self._in_flight_of(listener).inc()

    def ended(self, listener: str, method: str, route: str, status: int, seconds: float) -> None:
        """That request was answered, or its client lost."""
        self._in_flight_of(listener).dec()
        key = (listener, method, route, status)
        children = self._request_children.get(key) or self._bind_request(key)
        children[0]()
        children[1](seconds)

    def cache(self, hit: bool) -> None:
        """The cache on the local disk was looked into."""
        (self._cache_hit if hit else self._cache_miss)()

    def storage(self, operation: str, outcome: str, seconds: float) -> None:
        """A call to the storage ended; the outcome is `ok` or the name of the error's class."""
        key = (operation, outcome)
        children = self._storage_children.get(key)
        if children is None:
            children = self._storage_children[key] = (
                self._operations.labels(operation, outcome).inc,
                self._operation_seconds.labels(operation).observe,
            )
        children[0]()
        children[1](seconds)

    def upstream_failed(self, upstream: str, cause: str) -> None:
        """An upstream has failed; upstreams are those that the configuration names, causes our own."""
        self._upstream_failures.labels(upstream, cause).inc()

    def upstream_remaining(self, namespace: str, upstream: str, remaining: int) -> None:
        """An upstream has said how much may still be asked of it; both names are the configuration's."""
        self._upstream_remaining.labels(namespace, upstream).set(remaining)

    def mirror_given(self, namespace: str, kind: str, *, is_held: bool) -> None:
        """A `manifest` or a `blob` of a mirror was given; namespaces are the configuration's."""
        self._mirror_given.labels(namespace, kind, "held" if is_held else "upstream").inc()

    def mirror_fetched(self, namespace: str, size_bytes: int) -> None:
        """So many bytes more of blobs have come from a mirror's upstreams."""
        self._mirror_fetched.labels(namespace).inc(size_bytes)

    def usage(self, size_bytes: int, blobs: int, repositories: int) -> None:
        """What all repositories hold, as it was counted last."""
        for gauge_set, figure in zip(self._usage, (size_bytes, blobs, repositories), strict=True):
            gauge_set(figure)

    def quota(self, prefix: str, used_bytes: int, limit_bytes: int) -> None:
        """What counted for a quota last; prefixes are those that the configuration names."""
        self._quota_used.labels(prefix).set(used_bytes)
        self._quota_limit.labels(prefix).set(limit_bytes)

    def render(self) -> tuple[bytes, str]:
        """The document for `/metrics` and its media type: of all workers, whichever answers."""
        registry = self._registry
        if self._several:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST

    def _in_flight_of(self, listener: str) -> Gauge:
        child = self._in_flight_children.get(listener)
        if child is None:
            child = self._in_flight_children[listener] = self._in_flight.labels(listener)
        return child

    def _bind_request(self, key: tuple[str, str, str, int]) -> tuple[_Count, _Observe]:
        listener, method, route, status = key
        method = method if method in _METHODS else "OTHER"
        bounded = (
            listener,
            method,
            route if len(self._request_children) < self._most_series else "other",
            status,
        )
        if bounded not in self._request_children:
            self._request_children[bounded] = (
                self._requests.labels(*bounded[:3], str(status)).inc,
                self._request_seconds.labels(*bounded[:3]).observe,
            )
        return self._request_children[bounded]


_Count = Callable[[], None]
_Observe = Callable[[float], None]
