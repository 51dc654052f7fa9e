"""Receipts: what says on the near side that a bundle has arrived whole.

A receipt is a small text file, or the code in it, which can be read over a telephone. The code is made of
what only who has the bundle's head knows; it says that the bundle arrived, and nothing of who says so.
"""

from __future__ import annotations

import base64
import hashlib
import re

from registry.bundles.format import CONTENTS, Head
from registry.errors import RequestInvalid

_TITLE = "moorage bundle receipt 1"
_CODE = re.compile(r"[0-9A-Z]{4}(?:-[0-9A-Z]{4}){3}")
_CROCKFORD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789ABCDEFGHJKMNPQRSTVWXYZ")
_HEARD = str.maketrans("OIL", "011")


def code_of(head: Head) -> str:
    """The code of a bundle's arrival: sixteen letters and digits, none of which looks like another."""
    digest = hashlib.sha256(f"{_TITLE}\n{head.id}\n{head.files[CONTENTS].sha256}\n".encode()).digest()[:10]
    code = base64.b32encode(digest).decode().translate(_CROCKFORD)
    return "-".join(code[at : at + 4] for at in range(0, 16, 4))


def receipt_of(head: Head, note: str) -> str:
    """The text of a receipt."""
    lines = [
        _TITLE,
        f"bundle {head.id}",
        f"stream {head.stream}",
        f"number {head.number}",
        f"code {code_of(head)}",
    ]
    return "\n".join([*lines, *([f"note {' '.join(note.split())}"] if note else []), ""])


def code_in(text: str) -> str:
    """The code that a receipt, or what somebody has typed, says. Raises RequestInvalid."""
    lines = text.splitlines()
    if lines and lines[0].strip() == _TITLE:
        text = next((line[5:] for line in lines if line.startswith("code ")), "")
    plain = re.sub(r"[\s-]", "", text.upper()).translate(_HEARD)
    code = "-".join(plain[at : at + 4] for at in range(0, len(plain), 4))
    if _CODE.fullmatch(code) is None:
        raise RequestInvalid("this is neither a receipt nor its code, such as 7K2M-0Q9X-4TZB-R31C")
    return code
