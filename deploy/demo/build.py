"""Builds demo archives and writes them into a model store."""

from __future__ import annotations

from pathlib import Path

from deploy.demo.archive import pack, write_whole
from deploy.demo.catalogue import DemoArchive


def build(archive: DemoArchive, store: Path) -> str:
    """Make the archive, write it into the store, and return the line that says what it is.

    Raises:
        NotHere: what the archive is made from is not installed, or not what it should be.
    """
    if archive.model == "text":  # neither maker is imported for the other: torch and scikit-learn take seconds
        from deploy.demo.text_archive import make_text

        made = make_text(archive)
    else:
        from deploy.demo.digits_archive import make_digits

        made = make_digits(archive)
    write_whole(store / archive.file_name, pack(made.files))
    return f"{archive.file_name} made: {archive.kind}, {made.told}"
