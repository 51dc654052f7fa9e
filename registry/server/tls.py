"""The certificate of a listener, replaced while serving when its files change."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from pathlib import Path

from registry.logs import event
from registry.server.application import StartFailed
from registry.server.pair import CertificateUnusable, load_pair
from registry.server.settings import TLSSettings

logger = logging.getLogger(__name__)


class Certificate:
    """A live context whose every handshake uses the newest pair of files that was found good.

    A changed pair is loaded into a context of its own; only a good one is handed to the handshakes from then
    on. Loading it into the live context instead would leave an old key of another type (RSA, ECDSA) in place
    beside the new one, and half a pair when the files change between two reads.
    """

    def __init__(self, settings: TLSSettings) -> None:
        self._settings = settings
        self._seen = self._look()
        try:
            self._newest = load_pair(self._settings)
        except CertificateUnusable as error:
            raise StartFailed(f"TLS: {error}; see registry.tls in the configuration") from error
        self.context = load_pair(self._settings)
        self.context.sni_callback = self._choose

    def check(self) -> bool:
        """Look at the files, take a changed pair if it is good, and say whether one was taken."""
        found = self._look()
        if found == self._seen:
            return False
        try:
            pair, problem = load_pair(self._settings), ""
        except CertificateUnusable as error:
            pair, problem = None, str(error)
        if self._look() != found:
            # Replaced while being read: what was read may be of either state, so the next check judges it.
            return False
        self._seen = found
        if pair is None:
            event(logger, logging.ERROR, "certificate.refused", reason=problem)
            return False
        self._newest = pair
        event(logger, logging.INFO, "certificate.replaced", file=str(self._settings.certificate))
        return True

    async def watch(self) -> None:
        """Check again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.check_seconds)
            self.check()

    def _choose(self, connection: ssl.SSLObject, *_: object) -> None:
        # OpenSSL calls this in each handshake, also when the client names no host.
        connection.context = self._newest

    def _look(self) -> tuple[object, ...]:
        return tuple(_signature(path) for path in (self._settings.certificate, self._settings.key))


def _signature(path: Path) -> object:
    # Following links: Kubernetes swaps a link to the directory in which both files lie.
    try:
        info = os.stat(path)
    except OSError as error:
        return error.errno
    return info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size
