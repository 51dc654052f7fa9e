"""Whether the toy would start: not if its directory has a file `unsound`, whose content is the reason."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    unsound = Path(sys.argv[1], "unsound")
    sys.exit(unsound.read_text() if unsound.exists() else 0)
