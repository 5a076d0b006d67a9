"""The ideal that a pod is compared with: the same handler in a loop over ready batches, in a process of its own.

Run as ``python -m tests.benchmarks.offline ARCHIVE EXTRACTED_DIR ROWS_FILE``. It says one line of JSON when it is
loaded, then one for each ``STAGE SECONDS`` line that it reads, and ends with its input.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from typing import Any

from tests.benchmarks.processes import NotStarted
from tests.benchmarks.report import ROOT

BATCH_ROWS = 32
INFERENCE, HANDLE = "inference", "handle"  # the model's part alone; the handler whole, from decoded rows to answers


class OfflineLoop:
    """The caller's end: asks the child for one slice at a time.

    Attributes:
        labels: what the handler answers for each row of the rows file.
        threads: threads that torch computes with.
    """

    def __init__(self, child: Popen[str]) -> None:
        self._child = child
        loaded = self._read()
        self.labels: list[int] = loaded["labels"]
        self.threads: int = loaded["threads"]

    def rows_per_s(self, stage: str, slice_s: float) -> float:
        """Run one stage for a while and return its rows per second."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{stage} {slice_s}\n")
        self._child.stdin.flush()
        return float(self._read()["rows_per_s"])

    def _read(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise NotStarted(f"the offline loop ended with {self._child.wait()}")
        said: dict[str, Any] = json.loads(line)
        return said


@contextmanager
def offline_loop(archive: Path, extracted_dir: Path, rows: Path, environ: dict[str, str]) -> Iterator[OfflineLoop]:
    """Start the child, and end it."""
    arguments = [sys.executable, "-m", "tests.benchmarks.offline", str(archive), str(extracted_dir), str(rows)]
    with Popen(arguments, stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT, env=environ, process_group=0) as child:
        try:
            yield OfflineLoop(child)
        finally:
            assert child.stdin is not None
            child.stdin.close()
            try:
                child.wait(5.0)
            except TimeoutExpired:
                child.kill()


def main(archive: Path, extracted_dir: Path, rows_file: Path) -> None:
    """Load the archive as a pod does, and answer lines until the input ends."""
    handler, context = _load(archive, extracted_dir)
    import torch
    from ts.context import RequestProcessor

    data = [{"body": row} for row in json.loads(rows_file.read_text())]
    context.request_processor = [RequestProcessor({}) for _ in data]
    batch = data[:BATCH_ROWS]
    ready = handler.preprocess(batch)
    stages: dict[str, Callable[[], object]] = {
        INFERENCE: lambda: handler.inference(ready),
        HANDLE: lambda: handler.handle(batch, context),
    }
    labels = [answer["label"] for answer in handler.handle(data, context)]
    print(json.dumps({"labels": labels, "threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        stage, slice_s = line.split()
        print(json.dumps({"rows_per_s": _repeat(stages[stage], float(slice_s))}), flush=True)


def _load(archive: Path, extracted_dir: Path) -> tuple[Any, Any]:
    from model_pod.engine.shim import install_shim

    install_shim()
    from ts.context import Context

    from model_pod.engine.archive import open_archive
    from model_pod.engine.handler import load_handler

    opened = open_archive(archive, extracted_dir)
    context = Context(
        model_name="digits",
        model_dir=str(opened.directory),
        manifest=opened.manifest.raw,
        batch_size=BATCH_ROWS,
        gpu=None,
        mms_version="0",
        model_yaml_config=opened.config.raw,
    )
    sys.dont_write_bytecode = True  # the extracted tree is checked by its digest
    return load_handler(opened.directory, opened.manifest.handler, context).instance, context


def _repeat(call: Callable[[], object], slice_s: float) -> float:
    rows, started_s = 0, time.perf_counter()
    while (spent_s := time.perf_counter() - started_s) < slice_s:
        call()
        rows += BATCH_ROWS
    return rows / spent_s


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
