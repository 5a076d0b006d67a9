"""Good archives in the three forms: a ``.mar``, a ``.tar.gz`` and a directory."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

ECHO_HANDLER = "def handle(data, context):\n    return None if data is None else [row.get('body') for row in data]\n"


def archive_files(handler: str = ECHO_HANDLER, config: str = "", **extra: bytes) -> dict[str, bytes]:
    """Return the files of an archive whose handler is ``handler.py``."""
    model = {"modelName": "echo", "modelVersion": "1.0", "handler": "handler.py", "configFile": "model-config.yaml"}
    manifest = {"createdOn": "01/01/2026", "runtime": "python", "model": model, "archiverVersion": "0.12.0"}
    return {
        "MAR-INF/MANIFEST.json": json.dumps(manifest).encode(),
        "handler.py": handler.encode(),
        "model-config.yaml": config.encode(),
        **extra,
    }


def pack_mar(files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip as TorchServe's archiver writes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def pack_tar(files: Mapping[str, bytes], top: str = "echo/") -> bytes:
    """Return a gzipped tar as TorchServe's archiver writes it, below one top directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{top}{name}")
            member.size = len(content)
            # A fraction makes tarfile write a pax header, as it does for real files.
            member.mtime = 1_700_000_000.5
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def write_directory(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write an archive in its directory form and return the directory."""
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path
