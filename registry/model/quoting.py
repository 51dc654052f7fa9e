"""What a client sent, as it may stand in an error message: escaped and short."""

from __future__ import annotations

_SHOWN_CHARACTERS = 100


def quoted(text: str) -> str:
    """`text` in quotes, with everything unprintable escaped, cut when it is long."""
    if len(text) <= _SHOWN_CHARACTERS:
        return ascii(text)
    return f"{text[:_SHOWN_CHARACTERS]!a}… ({len(text)} characters)"
