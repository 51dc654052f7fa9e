"""A server that reaches others through a proxy alone, as its environment has it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.access.trust.tokens import AUDIENCE, ISSUER, Signer
from tests.api.people import Login, rules_file, token
from tests.api.server import Server, merged
from tests.remote.hosts import answer, serving

RULES = "- {who: 'issuer:jobs', repositories: ['**'], may: [pull]}\n"


async def test_an_issuer_is_asked_through_the_proxy_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = {"name": "jobs", "issuer": ISSUER, "audience": AUDIENCE, "claims": {"sub": "job-*"}}
    more: dict[str, Any] = {"access": {"issuers": [issuer]}, "egress": {"allow": ["127.0.0.1"]}}
    async with serving({"issuer.test:443": answer(status="403 Forbidden")}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        server = await asyncio.to_thread(
            Server, tmp_path / "data", tmp_path, merged(rules_file(tmp_path, RULES), more)
        )
        try:
            now = int(time.time())
            job = Login("job", Signer.new().token({"iat": now, "nbf": now, "exp": now + 300}))
            answered = await asyncio.to_thread(token, server.registry, job)
            assert answered.status == 503
            assert proxy.requests[0].startswith("CONNECT issuer.test:443 HTTP/1.1\r\n")
        finally:
            await asyncio.to_thread(server.stop)
        (event,) = server.events("issuer.unavailable")
        assert event["reason"] == "issuer.test: the proxy did not connect to it, it answered 403"
