"""The oracle as a handler in an archive: it imports nothing of this repository.

``oracle.json`` beside it says where its ledger lies, how long a batch takes, and how an answer comes in pieces.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

_SEQ = itertools.count(1)
_Settings = dict[str, Any]
_settings: _Settings = {}


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[bytes] | None:
    """Run one batch; the first call, without data, loads."""
    if not _settings:
        _settings.update(_load(Path(context.system_properties["model_dir"])))
    if data is None:
        return None
    rows = [_row(index, row, context) for index, row in enumerate(data)]
    for row in rows:
        _write("start", row)
    time.sleep(_settings["delay_s"])
    for row in rows:
        _write("end", row)
    return [json.dumps(_told(row)).encode() for row in rows]


def _load(directory: Path) -> _Settings:
    settings: _Settings = json.loads((directory / "oracle.json").read_text())
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    return {**settings, "file": os.open(settings["ledger"], flags, 0o600)}


def _row(index: int, row: dict[str, Any], context: Any) -> dict[str, Any]:
    body = row.get("body", row.get("data"))
    payload = body.encode() if isinstance(body, str) else bytes(body or b"")
    return {
        "pod": _settings["pod"],
        "pid": os.getpid(),
        "server_pid": os.getppid(),
        "seq": next(_SEQ),
        "request_id": context.get_request_id(index) or "",
        "tenant": context.get_request_header(index, "penstock-tenant") or "",
        "payload_sha256": hashlib.sha256(payload).hexdigest(),
    }


def _write(phase: str, row: dict[str, Any]) -> None:
    line = {key: value for key, value in row.items() if key != "tenant"}
    line |= {"phase": phase, "at_s": time.monotonic()}
    os.write(_settings["file"], json.dumps(line).encode() + b"\n")


def _told(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("request_id", "tenant", "payload_sha256", "pod", "pid", "seq")}
