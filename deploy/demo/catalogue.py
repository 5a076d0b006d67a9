"""Which archives the demo can make, as data; knows nothing of training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DIGITS_DIR = Path(__file__).parent / "digits"


@dataclass(frozen=True, slots=True)
class DemoArchive:
    """One archive that the demo can make.

    Attributes:
        file_name: in the model store.
        kind: what the model is, for people.
        model_file: the file under ``digits/`` that holds its ``nn.Module``.
    """

    file_name: str
    model: str
    version: str
    kind: str
    model_file: str


DEMO_ARCHIVES: dict[str, DemoArchive] = {
    archive.file_name: archive
    for archive in (
        DemoArchive("digits-1.mar", "digits", "1", "linear", "model_linear.py"),
        DemoArchive("digits-2.mar", "digits", "2", "small CNN", "model_cnn.py"),
    )
}
