"""The oracle's archive, as a model store holds it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fakes.archives.layout import archive_files, pack_mar

_HANDLER = Path(__file__).with_name("handler.py")


def oracle_archive(ledger: Path, *, delay_s: float = 0.0, pod: str = "oracle") -> bytes:
    """Return a ``.mar`` of the oracle.

    Args:
        ledger: where its executions are written; the file is shared by all of its pods.
        delay_s: how long it takes for a batch.
    """
    settings = {"ledger": str(ledger), "delay_s": delay_s, "pod": pod}
    return pack_mar({**archive_files(_HANDLER.read_text()), "oracle.json": json.dumps(settings).encode()})
