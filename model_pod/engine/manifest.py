"""``MAR-INF/MANIFEST.json`` -> ``Manifest``, as tolerant as TorchServe and with no way out of the archive."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from model_pod.engine.extraction.limits import ArchiveRefused
from model_pod.engine.extraction.names import is_safe_name

MANIFEST_PATH = "MAR-INF/MANIFEST.json"
MAX_MANIFEST_BYTES = 1 * 2**20
MAX_DEPTH = 32

_HANDLER = re.compile(r"(?P<file>[^:]+)(?::(?P<function>[A-Za-z_][A-Za-z0-9_]*))?")
_ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".mar", ".zip", ".model")


class Manifest(Struct, frozen=True):
    """What an archive holds.

    Attributes:
        handler: ``name``, ``file.py``, ``name:function`` or ``file.py:function``; "" when there is no manifest.
        serialized_file: the weights, relative to the archive; "" for none.
        model_file: the Python file with the eager model's class; "" for none.
        config_file: the ``model-config.yaml``; "" for none.
        raw: the whole document; handlers see it as ``context.manifest``.
    """

    model_name: str
    model_version: str = "1.0"
    handler: str = ""
    serialized_file: str = ""
    model_file: str = ""
    config_file: str = ""
    raw: dict[str, Any] = field(default_factory=dict)


def read_manifest(directory: Path, archive_name: str) -> Manifest:
    """Read the manifest of an extracted archive; without one, the model is named after the archive's file.

    Raises:
        ArchiveRefused: the manifest is no JSON object of reasonable size, or names something outside the archive.
    """
    path = directory / MANIFEST_PATH
    if not path.is_file():
        name = name_from_file(archive_name)
        return Manifest(model_name=name, raw={"model": {"modelName": name, "modelVersion": "1.0"}})
    with path.open("rb") as file:
        text = file.read(MAX_MANIFEST_BYTES + 1)
    return parse_manifest(text, archive_name)


def parse_manifest(text: bytes, archive_name: str) -> Manifest:
    """Parse the bytes of a ``MANIFEST.json``; keys that nothing reads any more are ignored.

    Raises:
        ArchiveRefused: as for ``read_manifest``.
    """
    raw = _parse_json(text)
    model = raw.get("model")
    if not isinstance(model, dict):
        raise ArchiveRefused("bad_manifest", f"{MANIFEST_PATH}: `model` must be an object.")
    if (runtime := raw.get("runtime", "python")) not in ("python", "python3", None):
        raise ArchiveRefused("runtime_not_supported", f"{MANIFEST_PATH}: runtime {runtime!r:.40} is not python.")
    manifest = Manifest(
        model_name=_text(model, "modelName") or name_from_file(archive_name),
        model_version=_text(model, "modelVersion") or "1.0",
        handler=_text(model, "handler"),
        serialized_file=_file(model, "serializedFile"),
        model_file=_file(model, "modelFile"),
        config_file=_file(model, "configFile"),
        raw=raw,
    )
    if manifest.handler:
        split_handler(manifest.handler)
    return manifest


def split_handler(handler: str) -> tuple[str, str]:
    """Return a handler's file or module, and its function or "".

    Raises:
        ArchiveRefused: the handler is not written in one of the four forms, or lies outside the archive.
    """
    match = _HANDLER.fullmatch(handler)
    if match is None or not is_safe_name(match["file"]):
        raise ArchiveRefused(
            "bad_handler",
            f"{MANIFEST_PATH}: handler {handler!r:.80} must be name, file.py, name:function or file.py:function "
            "inside the archive.",
        )
    return match["file"], match["function"] or ""


def name_from_file(archive_name: str) -> str:
    """Return the model name that TorchServe derives from an archive's file name."""
    stem = archive_name
    for suffix in _ARCHIVE_SUFFIXES:
        if stem.lower().endswith(suffix):
            stem = stem[: -len(suffix)]
            break
    return re.sub(r"\W|^_", "_", stem)


def _parse_json(text: bytes) -> dict[str, Any]:
    if len(text) > MAX_MANIFEST_BYTES:
        raise ArchiveRefused("manifest_too_large", f"{MANIFEST_PATH} is larger than {MAX_MANIFEST_BYTES} bytes.")
    try:
        raw = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ArchiveRefused("bad_manifest", f"{MANIFEST_PATH} is not JSON: {error!s:.200}") from error
    if not isinstance(raw, dict):
        raise ArchiveRefused("bad_manifest", f"{MANIFEST_PATH} must be an object, not {type(raw).__name__}.")
    if _is_deeper_than(raw, MAX_DEPTH):
        raise ArchiveRefused("bad_manifest", f"{MANIFEST_PATH} is nested deeper than {MAX_DEPTH} levels.")
    return raw


def _is_deeper_than(value: object, depth: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return depth == 0 or any(_is_deeper_than(item, depth - 1) for item in value)


def _text(model: dict[str, Any], key: str) -> str:
    value = model.get(key)
    if value is None:
        return ""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise ArchiveRefused("bad_manifest", f"{MANIFEST_PATH}: model.{key} must be a string.")
    return str(value)


def _file(model: dict[str, Any], key: str) -> str:
    # TorchServe's archiver writes the base name; a path of ours must stay inside as well.
    name = _text(model, key)
    if name and not is_safe_name(name):
        raise ArchiveRefused("bad_manifest", f"{MANIFEST_PATH}: model.{key} {name!r:.80} is no file of the archive.")
    return name
