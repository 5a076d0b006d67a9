"""Reads the sample beside a model in an archive, and draws it; knows nothing of the model."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

SAMPLE_BYTES = 64 * 1024


def read_sample(archive: Path, name: str) -> Any:
    """Return a small JSON file of a zip archive, decoded; None where there is no such file to be had."""
    try:
        with zipfile.ZipFile(archive) as files, files.open(name) as sample:
            content = sample.read(SAMPLE_BYTES + 1)
        return json.loads(content) if len(content) <= SAMPLE_BYTES else None
    except (OSError, KeyError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        return None  # the pod says what is wrong with an archive; a greeting does without its sample


def write_png(pixels: list[int], path: Path, scale: int = 10) -> None:
    """Draw 64 pixels, 0 (dark) to 16 (light), as a gray PNG of 8 × ``scale`` pixels a side."""
    from PIL import Image  # costs `penstock up` a tenth of a second that it does not need

    levels = bytes(min(255, round(pixel * 255 / 16)) for pixel in pixels)
    image = Image.frombytes("L", (8, 8), levels).resize((8 * scale, 8 * scale), Image.Resampling.NEAREST)
    image.save(path, format="PNG")
