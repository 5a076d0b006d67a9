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

MODEL_CONFIG = """\
# Read by TorchServe and by the pod alike.
minWorkers: 1
maxWorkers: 1
batchSize: 32
maxBatchDelay: 2        # milliseconds
responseTimeout: 30     # seconds
# What Open Inference Protocol clients send and get; TorchServe passes this key to the handler and leaves it alone.
signature:
  inputs:
    - {name: pixels, datatype: FP32, shape: [-1, 64]}
  outputs:
    - {name: label, datatype: INT64, shape: [-1]}
    - {name: probabilities, datatype: FP32, shape: [-1, 10]}
"""


def manifest(archive: DemoArchive) -> bytes:
    """Return the archive's ``MANIFEST.json``, as torch-model-archiver writes it."""
    model = {
        "modelName": archive.model,
        "serializedFile": "weights.pt",
        "handler": "handler.py",
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
            entry.compress_type = zipfile.ZIP_DEFLATED
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
