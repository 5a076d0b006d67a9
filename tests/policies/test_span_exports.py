"""Where spans are sent reaches the snapshot whole; what cannot be called is in ``mistakes``."""

from __future__ import annotations

from pathlib import Path

from policies.compilation.mesh import _tracing
from policies.schema.mesh import ExportWritten, TracingWritten
from policies.snapshot.mesh import Export, Tracing
from policies.span_exports import LEAST_QUEUE_BYTES, LONGEST_S, SHORTEST_S
from telemetry.sidecar import config
from telemetry.sidecar.spool import LEAST_BYTES


def compiled(written: ExportWritten) -> Tracing:
    return _tracing(TracingWritten(export=written))


def test_every_key_reaches_the_snapshot() -> None:
    written = ExportWritten(
        to="https://otlp.example.com:443/otlp/",
        headers="env:OTLP_HEADERS",
        ca="file:/etc/ca.pem",
        queue="1GiB",
        answer_within="20s",
    )
    assert compiled(written).export == Export(
        "https://otlp.example.com:443/otlp", "env:OTLP_HEADERS", "file:/etc/ca.pem", 2**30, 20.0
    )


def test_what_is_left_out_is_what_a_sidecar_does_by_itself() -> None:
    export = compiled(ExportWritten(to="http://127.0.0.1:4318")).export
    assert export == Export("http://127.0.0.1:4318")
    assert (export.queue_bytes, export.answer_within_s) == (config.QUEUE_BYTES, config.ANSWER_WITHIN_S)
    assert (LEAST_QUEUE_BYTES, SHORTEST_S, LONGEST_S) == (LEAST_BYTES, config.SHORTEST_S, config.LONGEST_S)


def test_a_sidecar_takes_the_addresses_that_policy_takes(tmp_path: Path) -> None:
    for to in ("https://otlp.example.com:443/otlp", "http://[::1]:4318", "http://tempo:4318"):
        assert config.parse_arguments(["--export", to]).export is not None
