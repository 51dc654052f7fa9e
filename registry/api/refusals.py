"""What a handler raised, logged if it is ours to look into, and answered as the protocol has it."""

from __future__ import annotations

import logging

from starlette.types import Scope

from registry import logs
from registry.access.audit import Audit
from registry.api.calls import Services
from registry.api.challenges import challenge
from registry.api.errors import translate
from registry.api.witness import note_refusal
from registry.errors import RegistryError, Unauthorized

_LOG = logging.getLogger(__name__)


def refusal(services: Services, scope: Scope, error: Exception) -> RegistryError:
    """The protocol's error, with the challenge that it needs; log and audit trail have been told of it."""
    translated = told(services.audit, scope, error)
    if isinstance(translated, Unauthorized):
        translated.headers["WWW-Authenticate"] = challenge(services, scope, translated)
    return translated


def told(audit: Audit, scope: Scope, error: Exception) -> RegistryError:
    """The protocol's error; log and audit trail have been told of it."""
    translated = translate(error)
    if translated.status >= 500:
        path = logs.shortened(scope["path"])
        if type(translated) is RegistryError:
            logs.event(_LOG, logging.ERROR, "request.failed", exception=error, path=path)
        else:
            logs.event(_LOG, logging.WARNING, "request.refused", reason=str(error), path=path)
    note_refusal(audit, scope, translated)
    return translated
