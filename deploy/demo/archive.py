"""Writes TorchServe archives (``.mar``) that are the same, byte for byte, for the same content."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from deploy.demo.catalogue import DemoArchive

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip entry can have
REGULAR_FILE_0644 = 0o100644 << 16

# Weights are as good as random: packing 90 MB of them takes seconds and gains a fourteenth.
STORED_SUFFIX = ".safetensors"


def manifest(archive: DemoArchive, weights_file: str) -> bytes:
    """Return the archive's ``MANIFEST.json``, as torch-model-archiver writes it."""
    model = {
        "modelName": archive.model,
        "serializedFile": weights_file,
        "handler": archive.handler_file,
        "modelFile": "model.py",
        "modelVersion": archive.version,
        "configFile": "model-config.yaml",
    }
    content = {"createdOn": "01/01/1980 00:00:00", "runtime": "python", "model": model, "archiverVersion": "0.12.0"}
    return json.dumps(content, indent=2).encode() + b"\n"


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return a zip of the files, in the given order, with nothing in it that depends on when or where."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, date_time=EPOCH)
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(STORED_SUFFIX) else zipfile.ZIP_DEFLATED
            entry.external_attr = REGULAR_FILE_0644
            archive.writestr(entry, content)
    return buffer.getvalue()


def write_whole(path: Path, content: bytes) -> None:
    """Write the file so that whoever looks sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, 0o644)  # a model store may be read by other users, as a copied file would be
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise
