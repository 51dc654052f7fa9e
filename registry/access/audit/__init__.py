"""The audit trail: who did what, from where, and which rule decided it.

`Trail` is a stream of numbered, chained lines; `Audit` adds what is kept in the store as well: deletes and
changes to access, written down before they are done.
"""

from __future__ import annotations

from registry.access.audit.deeds import Audit, Deed, audited
from registry.access.audit.entries import Entry, Event, Outcome
from registry.access.audit.trail import Trail

__all__ = ["Audit", "Deed", "Entry", "Event", "Outcome", "Trail", "audited"]
