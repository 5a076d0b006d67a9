"""Where the ``ts`` package that handlers import lives; on ``sys.path`` before any module imports it."""

from __future__ import annotations

import sys
from pathlib import Path

SHIM_DIR = Path(__file__).resolve().parent.parent / "torchserve_shim"


def install_shim() -> None:
    """Put ``ts`` on ``sys.path``, before any TorchServe that may be installed."""
    if str(SHIM_DIR) not in sys.path:
        sys.path.insert(0, str(SHIM_DIR))
