"""What others sent, as it may stand in a message: escaped, and short."""

from __future__ import annotations

_SHOWN_CHARACTERS = 100


def quoted(text: str) -> str:
    """`text` in quotes, with everything unprintable escaped, cut when it is long."""
    if len(text) <= _SHOWN_CHARACTERS:
        return ascii(text)
    return f"{text[:_SHOWN_CHARACTERS]!a}… ({len(text)} characters)"


def printable(text: str) -> str:
    """The text with what a terminal would obey, or no encoding has, written out."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
