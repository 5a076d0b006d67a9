"""Where the pictures are that the documents show, and how large one may be."""

from __future__ import annotations

from pathlib import Path

from tests.browser.browser import Theme
from tests.system.mesh import ROOT

PICTURES = ROOT / "docs" / "images"
PICTURE_BYTES = 400_000


def picture(name: str, theme: Theme) -> Path:
    """Return where the documents look for a picture."""
    return PICTURES / f"{name}-{theme}.png"
