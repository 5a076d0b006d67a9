"""Prometheus' own parsers read back what was written, in both formats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from telemetry.conventions import QUEUE_WAIT_SECONDS
from telemetry.sidecar.account import PodAccount, State
from telemetry.sidecar.exposition import expose
from telemetry.sidecar.histogram import Exemplar, Histogram
from telemetry.sidecar.samples import Sample, after_answer, samples

OPENMETRICS = "application/openmetrics-text"
# What Prometheus 3 sends.
PROMETHEUS = f"{OPENMETRICS};version=1.0.0;escaping=allow-utf-8;q=0.6,{OPENMETRICS};version=0.0.1;q=0.5,*/*;q=0.1"
NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)


def shown(model: str = "digits", version: str = "1") -> tuple[Sample, ...]:
    return samples(after_answer(PodAccount(model, version, State.READY, 3, 2, 1, 0.5), now_s=0.0), now_s=0.25)


def series(written: tuple[Sample, ...]) -> list[tuple[str, dict[str, str], float]]:
    named = ((s.metric.name, dict(zip(s.metric.labels, s.labels, strict=True)), s.value) for s in written)
    return [(name, labels, value) for name, labels, value in named if not isinstance(value, Histogram)]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
        ("text/plain;version=1.0.0;escaping=underscores", "text/plain; version=0.0.4"),
        (OPENMETRICS, f"{OPENMETRICS}; version=1.0.0"),
        (PROMETHEUS, f"{OPENMETRICS}; version=1.0.0"),
        (f"text/html, {OPENMETRICS};version=surprise", f"{OPENMETRICS}; version=1.0.0"),
    ],
)
def test_the_reader_s_accept_chooses_the_format(accept: str, content_type: str) -> None:
    said, body = expose(shown(), accept)
    assert said.startswith(content_type)
    assert body.endswith(b"# EOF\n") == said.startswith(OPENMETRICS)


@given(NAMES, NAMES)
def test_both_formats_are_read_back_whatever_the_names_are(model: str, version: str) -> None:
    written = shown(model, version)
    for parse, accept in ((parse_text, ""), (parse_openmetrics, OPENMETRICS)):
        families = parse(expose(written, accept)[1].decode())
        read = [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]
        assert read == series(written)


def test_types_and_help_are_the_conventions() -> None:
    read = parse_openmetrics(expose(shown(), OPENMETRICS)[1].decode())  # type: ignore[no-untyped-call]  # theirs
    families = {family.name: family for family in read}
    for metric in {sample.metric for sample in shown()}:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.unit, family.documentation) == (metric.kind, metric.unit, metric.meaning)


def test_a_histogram_has_its_buckets_and_only_openmetrics_has_the_trace_beside_one() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.5, 7.0):
        histogram.add(value)
    histogram.show(Exemplar("a" * 32, 0.5, 1_700_000_000.5))
    shown = [Sample(QUEUE_WAIT_SECONDS, ("digits", "1"), histogram)]
    (family,) = parse_openmetrics(expose(shown, OPENMETRICS)[1].decode())  # type: ignore[no-untyped-call]  # theirs
    buckets = {sample.labels["le"]: sample for sample in family.samples if sample.name.endswith("_bucket")}
    assert {edge: sample.value for edge, sample in buckets.items()} == {"0.1": 1.0, "1.0": 2.0, "+Inf": 3.0}
    labels, value, at_s = buckets["1.0"].exemplar
    assert (labels, value, float(at_s)) == ({"trace_id": "a" * 32}, 0.5, 1_700_000_000.5)
    assert buckets["+Inf"].exemplar is None
    others = {sample.name: sample.value for sample in family.samples if not sample.name.endswith("_bucket")}
    assert others == {"penstock_queue_wait_seconds_count": 3.0, "penstock_queue_wait_seconds_sum": 7.55}
    (family,) = parse_text(expose(shown, "")[1].decode())
    assert [sample.exemplar for sample in family.samples] == [None] * len(family.samples)
