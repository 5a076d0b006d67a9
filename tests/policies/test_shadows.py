"""A comparison is refused where its metric, threshold or tolerance decides nothing, and taken where all decide."""

from itertools import product

import pytest

from policies.document import parse
from policies.kinds import PolicyFile, kind_at
from policies.shadows import MEASURES, check

METRICS = ("", "equal", "abs", "rel", "cosine", "overlap@5")
TAKEN = {
    "label": ("", "equal"),
    "number": ("", "equal", "abs", "rel", "cosine"),
    "float": ("", "equal", "abs", "rel", "cosine"),
    "probabilities": ("", "equal", "abs"),
    "ranking": ("", "equal", "overlap@5"),
    "text": ("", "equal"),
    "json": ("", "equal"),
}
LIKENESSES = ("cosine", "overlap@5")


def problems(output: str) -> list[str]:
    kind = kind_at("routes/m.yaml")
    assert kind is not None
    text = f"shadow: [{{name: dark, version: '2', compare: {{outputs: [{{{output}}}]}}}}]\nstable: '1'\n"
    return [error.problem for error in check([PolicyFile("routes/m.yaml", kind, parse(text.encode(), "m").root)])]


def written(kind: str, metric: str, *others: str) -> str:
    return ", ".join([f"as: {kind}", *([f"metric: {metric}"] if metric else []), *others])


def test_every_kind_of_the_grammar_has_a_measure() -> None:
    assert MEASURES.keys() == TAKEN.keys()


@pytest.mark.parametrize(("kind", "metric"), list(product(TAKEN, METRICS)))
def test_a_metric_is_taken_where_it_fits(kind: str, metric: str) -> None:
    assert (problems(written(kind, metric)) == []) == (metric in TAKEN[kind])


@pytest.mark.parametrize(("kind", "metric"), [(kind, metric) for kind in TAKEN for metric in TAKEN[kind]])
def test_a_threshold_fits_what_is_measured(kind: str, metric: str) -> None:
    is_likeness = metric in LIKENESSES or (kind == "ranking" and not metric)
    has_threshold = kind != "label" and metric != "equal"
    above = problems(written(kind, metric, "differ_above: 0.5"))
    below = problems(written(kind, metric, "differ_below: 0.5"))
    assert (above == []) == (has_threshold and not is_likeness)
    assert (below == []) == (has_threshold and is_likeness)


@pytest.mark.parametrize(("kind", "metric"), [(kind, metric) for kind in TAKEN for metric in TAKEN[kind]])
def test_a_tolerance_is_of_numbers_that_nothing_else_measures(kind: str, metric: str) -> None:
    is_taken = kind in ("number", "float", "json") and not metric
    assert (problems(written(kind, metric, "atol: 0.5")) == []) == is_taken
    assert (problems(written(kind, metric, "rtol: 0.5")) == []) == is_taken
