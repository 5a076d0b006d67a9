"""MLflow takes what a sidecar exports, and shows it with its links; `make soak` installs one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conformance.otlp.test_to_the_sidecar import EXPORTERS, make_spans, sidecar
from tests.ports import free_port

MLFLOW = os.environ.get("PENSTOCK_MLFLOW", "")
START_WITHIN_S = 180.0
SEEN_WITHIN_S = 60.0

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not MLFLOW, reason="PENSTOCK_MLFLOW names no virtual environment that has MLflow"),
]

# Runs where MLflow is installed, which is not here.
_READ = """
import json, sys
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
traces = mlflow.search_traces(locations=["0"], return_type="list")
print(json.dumps([
    {"name": span.name, "trace_id": span.trace_id, "span_id": span.span_id, "attributes": dict(span.attributes),
     "links": [[link.trace_id, link.span_id] for link in span.links]}
    for trace in traces for span in trace.data.spans
]))
"""


@contextmanager
def _mlflow(folder: Path) -> Iterator[str]:
    port = free_port()
    argv = [f"{MLFLOW}/bin/mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    argv += [f"--backend-store-uri=sqlite:///{folder}/mlflow.db", f"--default-artifact-root={folder}/artifacts"]
    with (folder / "mlflow.log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + START_WITHIN_S
    with httpx.Client(trust_env=False) as client:
        while time.monotonic() < until_s and process.poll() is None:
            try:
                if client.get(url).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.5)
    pytest.fail(f"MLflow does not answer; it ended with {process.poll()}")


def _read(url: str, folder: Path) -> list[dict[str, Any]]:
    """Return all spans that MLflow has."""
    argv = [f"{MLFLOW}/bin/python", "-c", _READ, url]
    with (folder / "read.log").open("ab") as log:
        said = subprocess.run(argv, stdout=subprocess.PIPE, stderr=log, check=False, timeout=120).stdout
    spans: list[dict[str, Any]] = json.loads(said or "[]")
    return spans


def test_mlflow_shows_what_a_sidecar_exports_with_its_links(tmp_path: Path) -> None:
    (tmp_path / "headers.json").write_text('{"x-mlflow-experiment-id": "0"}')
    headers = f"--export-headers-file={tmp_path}/headers.json"
    with _mlflow(tmp_path) as url, sidecar(url, tmp_path / "queue", headers, "--export-timeout-s=30") as taking:
        make_spans(EXPORTERS["http"](taking))
        until_s, spans = time.monotonic() + SEEN_WITHIN_S, _read(url, tmp_path)
        while len(spans) < 3 and time.monotonic() < until_s:
            time.sleep(1.0)
            spans = _read(url, tmp_path)
    by_name = {span["name"]: span for span in spans}
    assert set(by_name) == {"parent", "child", "other"}
    parent, other = by_name["parent"], by_name["other"]
    assert [link[1] for link in other["links"]] == [parent["span_id"]]
    assert "card" not in by_name["child"]["attributes"]
    assert by_name["child"]["attributes"]["app.text"] == "ä"
