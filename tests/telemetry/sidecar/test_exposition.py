"""Prometheus' own parsers read back what was written, in both formats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from telemetry.sidecar.account import PodAccount, State
from telemetry.sidecar.exposition import expose
from telemetry.sidecar.samples import Sample, after_answer, samples

OPENMETRICS = "application/openmetrics-text"
# What Prometheus 3 sends.
PROMETHEUS = f"{OPENMETRICS};version=1.0.0;escaping=allow-utf-8;q=0.6,{OPENMETRICS};version=0.0.1;q=0.5,*/*;q=0.1"
NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)


def shown(model: str = "digits", version: str = "1") -> tuple[Sample, ...]:
    return samples(after_answer(PodAccount(model, version, State.READY, 3, 2, 1, 0.5), now_s=0.0), now_s=0.25)


def series(written: tuple[Sample, ...]) -> list[tuple[str, dict[str, str], float]]:
    return [(s.metric.name, dict(zip(s.metric.labels, s.labels, strict=True)), s.value) for s in written]


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
