"""A program that keeps recording is killed at any moment: the log verifies, and nothing that it was told of is gone."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.control.audit.files import FOLDER
from gateway.control.audit.inspection import inspect, places_of
from gateway.control.audit.log import AuditLog

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

KILLS = int(os.environ.get("PENSTOCK_AUDIT_KILLS", "20"))
_LINES_BEFORE_KILL = 300

# Files small enough and checkpoints often enough that kills fall into every part of the work.
WRITER = """
import sys
from pathlib import Path
from gateway.control.audit import log, record

log.FILE_BYTES, log.MOST_FILES = 20_000, 10_000
record._AFTER_RECORDS = 7
audit = log.AuditLog(Path(sys.argv[1]), lambda event: None)
number = 0
while True:
    number += 1
    audit.record("key:ops-1", "key.revoked", f"key/{number}", {"tenant": "ads"}, "leaked")
    print(number, flush=True)
"""


def killed_after(state: Path, lines: int) -> int:
    """Run the writer until it has told of so many records, kill it, and return of how many it told in all."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(state)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(lines):
            writer.stdout.readline()
        writer.kill()
        return lines + len(writer.stdout.readlines())


def test_a_log_whose_writer_is_killed_again_and_again_verifies_and_has_all_it_told_of(tmp_path: Path) -> None:
    choice = random.Random(11)
    told = 0
    for kill in range(1, KILLS + 1):
        told += killed_after(tmp_path, choice.randrange(1, _LINES_BEFORE_KILL))
        # A line that was cut in two is mended by the next start, as the gateway's is.
        mended = AuditLog(tmp_path, lambda _: None)
        mended.record("gateway", "gateway.started", "gateway", {"kill": kill})
        mended.close()
        verdict = inspect(places_of(tmp_path / FOLDER))
        assert verdict.fault is None, verdict
        assert verdict.proven.records - verdict.proven.checkpoints >= told + kill
