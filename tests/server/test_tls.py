"""TLS, and certificates that change while serving."""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
import subprocess
from pathlib import Path

import pytest

from registry.server import StartFailed
from registry.server.pair import load_pair
from registry.server.settings import TLSSettings
from registry.server.tls import Certificate
from tests.server.conftest import Server, Start, ask, until

# Each starts real processes.
pytestmark = pytest.mark.e2e

RSA, EC = ("rsa:2048",), ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


def make(directory: Path, kind: tuple[str, ...] = EC, *, encrypt: bool = False) -> Path:
    """A self-signed pair, `tls.crt` and `tls.key`, as Kubernetes names them."""
    directory.mkdir()
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", *kind, "-days", "2", "-subj", f"/CN={directory.name}"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *(("-passout", "pass:secret") if encrypt else ("-nodes",)),
            *("-keyout", str(directory / "tls.key"), "-out", str(directory / "tls.crt")),
        ],
        check=True,
        capture_output=True,
    )
    return directory


def settings(directory: Path, **more: object) -> dict[str, object]:
    return {"certificate": str(directory / "tls.crt"), "key": str(directory / "tls.key"), **more}


def certificate(directory: Path) -> Certificate:
    return Certificate(TLSSettings.model_validate(settings(directory)))


def trusting(*directories: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for directory in directories:
        context.load_verify_locations(directory / "tls.crt")
    return context


def shown(live: Certificate, *, ciphers: str | None = None) -> bytes:
    """The certificate that a client is shown, in memory, without a host name in its greeting."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if ciphers:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server)
    server = live.context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    found = client.getpeercert(binary_form=True)
    assert found is not None
    return found


def der(directory: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert((directory / "tls.crt").read_text())


def replace(old: Path, new: Path) -> None:
    for name in ("tls.key", "tls.crt"):
        os.replace(new / name, old / name)


def test_a_changed_pair_is_taken(tmp_path: Path) -> None:
    first, second = make(tmp_path / "first"), make(tmp_path / "second")
    live = certificate(first)
    assert shown(live) == der(first)
    assert not live.check()
    expected = der(second)
    replace(first, second)
    assert live.check()
    assert shown(live) == expected
    assert not live.check()


def test_a_key_of_another_type_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    first, second = make(tmp_path / "first", RSA), make(tmp_path / "second", EC)
    live = certificate(first)
    assert shown(live, ciphers="ECDHE+aRSA") == der(first)
    replace(first, second)
    assert live.check()
    with pytest.raises(ssl.SSLError):
        shown(live, ciphers="ECDHE+aRSA")
    assert shown(live, ciphers="ECDHE+aECDSA") == der(first)


def test_a_swapped_link_counts_as_a_change(tmp_path: Path) -> None:
    first, second = make(tmp_path / "first"), make(tmp_path / "second")
    (tmp_path / "..data").symlink_to(first)
    (tmp_path / "tls.crt").symlink_to("..data/tls.crt")
    (tmp_path / "tls.key").symlink_to("..data/tls.key")
    live = certificate(tmp_path)
    (tmp_path / "..new").symlink_to(second)
    os.replace(tmp_path / "..new", tmp_path / "..data")
    assert live.check()
    assert shown(live) == der(second)


def test_a_bad_pair_is_kept_out_and_a_good_one_let_in_after_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = make(tmp_path / "first"), make(tmp_path / "second")
    before, after = der(first), der(second)
    live = certificate(first)
    os.replace(second / "tls.crt", first / "tls.crt")
    assert not live.check()
    assert shown(live) == before
    (first / "tls.key").write_text("-----BEGIN PRIVATE KEY-----\nno\n")
    assert not live.check()
    (first / "tls.key").unlink()
    assert not live.check()
    assert not live.check()
    assert shown(live) == before
    reasons = [record.fields["reason"] for record in caplog.records]  # type: ignore[attr-defined]
    assert "does not belong to" in reasons[0]
    assert "no certificate chain and key in PEM" in reasons[1]
    assert "tls.key cannot be read" in reasons[2]
    assert len(reasons) == 3
    os.replace(second / "tls.key", first / "tls.key")
    assert live.check()
    assert shown(live) == after


@pytest.mark.parametrize("name", ["tls.key", "tls.crt"])
def test_a_pair_that_changes_while_it_is_read_is_taken_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    first, second = make(tmp_path / "first"), make(tmp_path / "second")
    expected = der(second)
    live = certificate(first)
    os.replace(second / name, first / name)

    def finish_and_load(settings: TLSSettings) -> ssl.SSLContext:
        monkeypatch.undo()
        (other,) = second.iterdir()
        os.replace(other, first / other.name)
        return load_pair(settings)

    monkeypatch.setattr("registry.server.tls.load_pair", finish_and_load)
    caplog.set_level("INFO")
    assert [live.check() for _ in range(3)] == [False, True, False]
    assert shown(live) == expected
    assert [record.message for record in caplog.records] == ["certificate.replaced"]


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_the_pass_phrase(tmp_path: Path) -> None:
    directory = make(tmp_path / "locked", RSA, encrypt=True)
    with pytest.raises(StartFailed, match="without a pass phrase"):
        certificate(directory)


def test_missing_files_end_the_start_with_a_reason(start: Start, tmp_path: Path) -> None:
    directory = make(tmp_path / "pair")
    (directory / "tls.key").unlink()
    server = start(wait=False, registry={"listen": "127.0.0.1:0", "tls": settings(directory)}, workers=2)
    assert server.process.wait(60) == 1
    told = (server.directory / "errors").read_text()
    assert f"TLS: {directory}/tls.key cannot be read: No such file or directory" in told


def subject(server: Server, trusted: ssl.SSLContext) -> str:
    with contextlib.closing(server.connect(tls=trusted)) as connection:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        found = connection.sock.getpeercert()
        assert isinstance(found, dict)
        return str(found["subject"])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_takes_a_new_pair_and_keeps_its_connections(
    start: Start, tmp_path: Path, workers: int
) -> None:
    first, second = make(tmp_path / "first"), make(tmp_path / "second")
    trusted = trusting(first, second)
    server = start(
        registry={"listen": "127.0.0.1:0", "tls": settings(first, check_seconds=0.01)}, workers=workers
    )
    assert server.urls["registry"].startswith("https://")
    assert server.urls["ops"].startswith("http://")
    with contextlib.closing(server.connect(tls=trusted)) as connection:
        answer = ask(connection, "/")
        assert answer.body.split()[2] == b"https"
        assert "first" in subject(server, trusted)
        replace(first, second)
        until(lambda: len(server.events("certificate.replaced")) == workers, "the new pair to be taken")
        assert "second" in subject(server, trusted)
        assert ask(connection, "/").pid == answer.pid
    assert server.get("/", "ops").body.split()[2] == b"http"
    assert server.end() == 0


def test_a_worker_that_finds_bad_files_says_so_and_comes_back_with_good_ones(
    start: Start, tmp_path: Path
) -> None:
    pair = make(tmp_path / "pair")
    server = start(workers=2, registry={"listen": "127.0.0.1:0", "tls": settings(pair)})
    key = (pair / "tls.key").read_text()
    (pair / "tls.key").write_text("no key")
    os.kill(server.workers[0], signal.SIGKILL)
    until(lambda: len(server.events("worker.died")) >= 3, "two attempts in vain")
    for death in server.events("worker.died")[1:]:
        assert death["reason"].startswith("TLS: ") and "\n" not in death["reason"]
    assert server.get("/", tls=trusting(pair)).status == 200
    (pair / "tls.key").write_text(key)
    until(lambda: len(server.events("server.started")) == 3, "the worker to come back")
    assert not any("exception" in line for line in server.log)


def test_old_versions_are_refused(start: Start, tmp_path: Path) -> None:
    pair = make(tmp_path / "pair")
    server = start(registry={"listen": "127.0.0.1:0", "tls": settings(pair, minimum_version="1.3")})
    trusted = trusting(pair)
    assert server.get("/", tls=trusted).status == 200
    trusted.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        server.get("/", tls=trusted)
