"""The official conformance program passes whole, on one process and on two that share a directory."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.people import add_users, rules_file
from tests.api.server import Server
from tests.e2e.conformance import conform
from tests.e2e.tap import Tap

LEAST_PASSES = 1028
LEAST_PASSES_WITHOUT_SPARSE = 986
# The program's sparse data set lacks layers, which our server refuses unless it is told otherwise.
SPARSE = {"manifests": {"allow_missing_layers": True}}


@pytest.fixture
def servers(scratch: Path) -> Iterator[list[Server]]:
    """Two separate server processes on one directory."""
    with contextlib.ExitStack() as stack:
        servers = []
        for _ in range(2):
            servers.append(Server(scratch / "data", scratch, SPARSE))
            stack.callback(servers[-1].stop)
        yield servers


def test_one_process_conforms(servers: list[Server], scratch: Path) -> None:
    totals = conform(servers[0].registry.host_port, scratch)
    assert (totals.failed, totals.errors, totals.skipped, totals.disabled) == (0, 0, 0, 0), (
        totals.unsuccessful
    )
    assert totals.passed >= LEAST_PASSES


def test_as_it_is_delivered_it_conforms_but_for_layers_that_are_not_there(scratch: Path) -> None:
    server = Server(scratch / "data", scratch)
    try:
        totals = conform(server.registry.host_port, scratch, sparse=False)
    finally:
        server.stop()
    assert (totals.failed, totals.errors, totals.skipped) == (0, 0, 0), totals.unsuccessful
    [left_out] = totals.unsuccessful.splitlines()
    assert re.fullmatch(r" *Sparse Manifests\.+: +Disabled", left_out)
    assert totals.passed >= LEAST_PASSES_WITHOUT_SPARSE


def test_it_conforms_on_the_protocol_class_of_uvicorn_too(scratch: Path) -> None:
    server = Server(scratch / "data", scratch, SPARSE, program="tests.e2e.stock")
    try:
        totals = conform(server.registry.host_port, scratch)
    finally:
        server.stop()
    assert (totals.failed, totals.errors, totals.skipped, totals.disabled) == (0, 0, 0, 0), (
        totals.unsuccessful
    )
    assert totals.passed >= LEAST_PASSES


def test_it_conforms_to_whoever_is_logged_in(scratch: Path) -> None:
    """By token authentication, with rights that rules grant."""
    login = add_users(scratch / "data", ["conformance"])["conformance"]
    rules = "- {who: user:conformance, repositories: ['conformance/**'], may: [pull, push, delete, list]}\n"
    server = Server(scratch / "data", scratch, {**rules_file(scratch, rules), **SPARSE})
    try:
        totals = conform(server.registry.host_port, scratch, login)
    finally:
        server.stop()
    assert (totals.failed, totals.errors, totals.skipped, totals.disabled) == (0, 0, 0, 0), (
        totals.unsuccessful
    )
    assert totals.passed >= LEAST_PASSES


def test_two_processes_conform_with_each_request_going_to_another(
    servers: list[Server], scratch: Path
) -> None:
    with Tap(*(server.registry.host_port for server in servers), spread=True) as tap:
        totals = conform(tap.host_port, scratch)
    # An anonymous mount looks only for what this very process linked lately, and may find nothing.
    assert totals.skipped <= 2, totals.unsuccessful
    assert (totals.failed, totals.errors, totals.disabled) == (0, 0, 0), totals.unsuccessful
    assert totals.passed >= LEAST_PASSES - 2
