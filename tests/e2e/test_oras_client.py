"""The Python library `oras`, in an environment of its own: uploads in one PUT, and tags."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.api.people import Login
from tests.e2e.client import Client
from tests.e2e.guarded import Guarded, is_refusal
from tests.e2e.processes import Result
from tests.e2e.registries import Registry
from tests.equipment.absence import require

pytestmark = pytest.mark.other_client

PUSH = """
import sys, oras.client
client = oras.client.OrasClient(insecure=True, tls_verify=False)
answer = client.push(target=sys.argv[1], files=[sys.argv[2] + ":text/plain"], disable_path_validation=True)
print(answer.status_code)
"""
PULL = """
import sys, oras.client
client = oras.client.OrasClient(insecure=True, tls_verify=False)
print(*client.pull(target=sys.argv[1], outdir=sys.argv[2]))
"""
TAGS = """
import sys, oras.client
print(*oras.client.OrasClient(insecure=True, tls_verify=False).get_tags(sys.argv[1]))
"""
DELETE = """
import sys, oras.client
print(oras.client.OrasClient(insecure=True, tls_verify=False).delete_tags(sys.argv[1], sys.argv[2:]))
"""
# With a name, and a password on standard input. To push it takes `basic`: `token` goes on with that for its
# first question, which was to pull, and asks for another only if it is answered 403.
LOGIN = """
import sys, oras.client
target, name, kind, password = sys.argv[1], sys.argv[2], sys.argv[4], sys.stdin.read()
client = oras.client.OrasClient(insecure=True, tls_verify=False, auth_backend=kind)
if name:
    client.auth.set_basic_auth(name, password)
"""
PUSH_AS = (
    LOGIN
    + """
answer = client.push(target=target, files=[sys.argv[3] + ":text/plain"], disable_path_validation=True)
print(answer.status_code)
"""
)
PULL_AS = (
    LOGIN
    + """
print(*client.pull(target=target, outdir=sys.argv[3]))
"""
)


@pytest.fixture
def python(scratch: Path) -> Client:
    """Runs a script with the library at hand."""
    return Client((str(require("oras-client")), "-c"), scratch)


def test_pushes_and_pulls_files(python: Client, registry: Registry, repository: str) -> None:
    source, target = file_of(python), python.scratch()
    assert python(PUSH, registry.reference(repository), source).out.split()[-1] == "201"
    registry.wire.whole(repository, "1")
    python(PULL, registry.reference(repository), target)
    [pulled] = target.rglob("note.txt")
    assert pulled.read_bytes() == source.read_bytes()


def test_pushing_again_uploads_nothing(python: Client, registry: Registry, repository: str) -> None:
    source = file_of(python)
    python(PUSH, registry.reference(repository), source)
    with registry.uploading_nothing():
        python(PUSH, registry.reference(repository, "2"), source)


def test_lists_and_deletes_tags(python: Client, registry: Registry, repository: str) -> None:
    source = file_of(python)
    for tag in ("1", "2"):
        python(PUSH, registry.reference(repository, tag), source)
    name = f"{registry.host_port}/{repository}"
    assert sorted(python(TAGS, name).out.split()) == ["1", "2"]
    python(DELETE, name, "1")
    assert registry.wire.status(f"/v2/{repository}/manifests/1") == 404


def test_pushes_and_pulls_what_is_private(python: Client, guarded: Guarded, repository: str) -> None:
    source, target = file_of(python), python.scratch()
    own = f"team/{repository}"
    reference = guarded.reference(own)

    def ask(script: str, login: Login | None, path: Path, kind: str) -> Result:
        name, password = (login.name, login.password) if login else ("", "")
        return python(script, reference, name, path, kind, given=password, code=None)

    # Whoever may only pull is refused too; but then it tries again for minutes.
    assert is_refusal(ask(PUSH_AS, None, source, "token"))
    assert guarded.digest(own) is None
    pushed = ask(PUSH_AS, guarded.pusher, source, "basic")
    assert pushed.code == 0 and pushed.out.split()[-1] == "201", pushed
    guarded.wire.whole(own, "1")
    assert is_refusal(ask(PULL_AS, None, target, "token"))
    for kind in ("basic", "token"):
        target = python.scratch()
        pulled = ask(PULL_AS, guarded.puller, target, kind)
        assert pulled.code == 0, pulled
        [note] = target.rglob("note.txt")
        assert note.read_bytes() == source.read_bytes()


def file_of(python: Client) -> Path:
    """A new file of random bytes."""
    path = python.scratch() / "note.txt"
    path.write_bytes(os.urandom(100_000))
    return path
