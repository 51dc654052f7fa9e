"""A real issuer of OpenID Connect, and how somebody gets a token from it."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import subprocess
import urllib.parse
import urllib.request
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from pathlib import Path

from tests.access.trust.tokens import Signer, private_jwk
from tests.e2e.processes import Daemon, accepts
from tests.equipment.absence import require, unavailable
from tests.equipment.catalogue import Missing

SCRIPT = Path(__file__).with_name("oidc.mjs")
ISSUER = re.compile(r"^issuer (http://127\.0\.0\.1:([0-9]+))$", re.MULTILINE)
CALLBACK = "http://127.0.0.1:1/callback"
OLDEST_NODE = 20


class Provider:
    """An issuer on a port that the kernel chose; its clients are called by the algorithm of their tokens."""

    def __init__(self, scratch: Path, *signers: Signer) -> None:
        self._node = require("oidc-provider")
        version = subprocess.run([self._node, "--version"], capture_output=True, text=True, check=True).stdout
        if int(version.lstrip("v").partition(".")[0]) < OLDEST_NODE:
            unavailable(
                Missing("node", f"oidc-provider takes {OLDEST_NODE}", "a newer release of the system")
            )
        self._modules = self._node.parents[1]
        self._scratch = scratch
        self._secret = secrets.token_urlsafe(32)
        self._port = 0
        self.start(*signers)

    def start(self, *signers: Signer) -> None:
        """Begin with these keys; on the same port, if it ran before."""
        clients = [
            {
                "client_id": algorithm,
                "client_secret": self._secret,
                "redirect_uris": [CALLBACK],
                "grant_types": ["authorization_code"],
                "response_types": ["code"],
                "id_token_signed_response_alg": algorithm,
            }
            for algorithm in {*(signer.algorithm for signer in signers), "HS256"}
        ]
        name = f"oidc-{os.urandom(4).hex()}"
        configuration = self._scratch / f"{name}.json"
        keys = [private_jwk(signer) for signer in signers]
        configuration.write_text(json.dumps({"keys": keys, "clients": clients}))
        command = [self._node, SCRIPT, self._modules, self._port, configuration]
        self._daemon = Daemon(command, self._scratch / f"{name}.log")
        self._daemon.wait_until(self._listens)

    @property
    def host(self) -> str:
        """Its address, without the scheme."""
        return f"127.0.0.1:{self._port}"

    @property
    def issuer(self) -> str:
        """What its tokens say that they are from."""
        return f"http://{self.host}"

    def token(self, algorithm: str, login: str) -> str:
        """The ID token of somebody who logs in for the client of that algorithm."""
        browser = Browser()
        query = {
            "client_id": algorithm,
            "response_type": "code",
            "scope": "openid",
            "redirect_uri": CALLBACK,
            "nonce": secrets.token_hex(8),
        }
        browser.open(f"{self.issuer}/auth?{urllib.parse.urlencode(query)}")
        browser.submit(prompt="login", login=login, password="any")
        browser.submit(prompt="consent")
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(browser.url).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
        credentials = base64.b64encode(f"{algorithm}:{self._secret}".encode()).decode()
        answer = json.loads(
            browser.request(f"{self.issuer}/token", form, {"Authorization": f"Basic {credentials}"})[0]
        )
        return str(answer["id_token"])

    def stop(self) -> None:
        """End it."""
        self._daemon.stop()

    def _listens(self) -> bool:
        found = ISSUER.search(self._daemon.log.read_text())
        if found is None or not accepts("127.0.0.1", int(found[2])):
            return False
        self._port = int(found[2])
        return True


class Browser:
    """Follows redirects with cookies, and fills in forms."""

    def __init__(self) -> None:
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar()), _AsItIs()
        )
        self.url = ""
        self._page = ""

    def open(self, url: str, form: dict[str, str] | None = None) -> None:
        """Go to a page, as far as redirects lead, but not to the application that is logged in to."""
        while True:
            self.url = url
            if url.startswith(CALLBACK):
                return
            self._page, location = self.request(url, form)
            if location is None:
                return
            url, form = urllib.parse.urljoin(url, location), None

    def submit(self, **fields: str) -> None:
        """Send the form of the page."""
        found = re.search(r'action="([^"]+)"', self._page)
        assert found is not None, self._page
        self.open(urllib.parse.urljoin(self.url, found[1]), fields)

    def request(
        self, url: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> tuple[str, str | None]:
        """The body of the answer, and where it leads."""
        data = None if form is None else urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(url, data, headers or {})
        with self._opener.open(request, timeout=30) as answer:
            return answer.read().decode(), answer.headers["Location"]


class _AsItIs(urllib.request.HTTPErrorProcessor):
    """Follows nothing, and takes no answer for an error."""

    def http_response(self, request: urllib.request.Request, response: HTTPResponse) -> HTTPResponse:
        return response
