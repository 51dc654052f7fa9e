"""What stands in the way of knowing who somebody is."""

from __future__ import annotations

from registry.errors import Unauthorized


class Unfit(Exception):
    """Something that access needs cannot be used; the text says to the operator what, and what to do."""


class BadCredentials(Unauthorized):
    """The name or the password is wrong, without a word on which; the audit trail has been told."""

    message = "the user name or password is incorrect"
