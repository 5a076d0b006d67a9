"""Lines of expositions as our own processes write them, and as nobody should."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import CounterMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest

from telemetry.hub.measured.samples import Exemplar, Sample, samples

ANY = frozenset({"a_total", "b_seconds_bucket"})


def test_samples_of_other_names_comments_and_created_lines_are_passed_over() -> None:
    text = '# HELP a_total Words.\n# TYPE a counter\na_total{x="1"} 3.0\na_created{x="1"} 1.7e9\nc_total 4\n# EOF\n'
    assert list(samples(text, ANY)) == [Sample("a_total", {"x": "1"}, 3.0)]


def test_an_exemplar_comes_with_its_bucket() -> None:
    line = 'b_seconds_bucket{model="m",le="0.1"} 7 # {trace_id="abc"} 0.093 1800000000.25'
    shown = Exemplar("abc", 0.093, 1800000000.25)
    assert list(samples(line, ANY)) == [Sample("b_seconds_bucket", {"model": "m", "le": "0.1"}, 7.0, shown)]


def test_braces_quotes_and_hashes_inside_labels_stay_there() -> None:
    line = r'a_total{x="} 1 # {trace_id=\"no\"} 2",y="\\n\n"} 5'
    assert list(samples(line, ANY)) == [Sample("a_total", {"x": '} 1 # {trace_id="no"} 2', "y": "\\n\n"}, 5.0)]


def test_a_line_that_cannot_be_read_costs_only_itself() -> None:
    text = 'a_total{x="1" 3\na_total\na_total many\na_total{x="2"} 1 1800000000\n'
    assert list(samples(text, ANY)) == [Sample("a_total", {"x": "2"}, 1.0)]


class Told:
    """A registry with one counter."""

    def __init__(self, label: str) -> None:
        self._family = CounterMetricFamily("a", "Words.", labels=["x"])
        self._family.add_metric([label], 2.0)

    def collect(self) -> list[CounterMetricFamily]:
        return [self._family]


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_label_is_read_as_it_was_meant(label: str) -> None:
    text = bytes(generate_latest(Told(label))).decode()  # type: ignore[no-untyped-call]
    assert list(samples(text, ANY)) == [Sample("a_total", {"x": label}, 2.0)]
