"""How large rows are: small by default, at the sizes that are promised with ``PENSTOCK_FAULTS=full``."""

from __future__ import annotations

import os

IS_FULL = os.environ.get("PENSTOCK_FAULTS") == "full"


def sized(small: int, full: int) -> int:
    """Return the size of this run."""
    return full if IS_FULL else small
