from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch

from model_pod.engine.measures import MISSED, MOST_NUMBERS, PartTally, answered, found
from model_pod.wire.inference import WatchedPart
from telemetry.drift.fields import Field, is_field
from telemetry.stats.sketch import quantile

EVERYTHING = WatchedPart()


def tallied(*values: Any, part: WatchedPart = EVERYTHING, is_output: bool = True) -> Field:
    tally = PartTally(part, is_output)
    for value in values:
        tally.add(value)
    field = tally.take(0)
    assert is_field(field)
    assert tally.take(0) == Field()
    return field


def middle(field: Field, measure: str) -> float:
    return quantile(field.measures[measure], 0.5)


def test_numbers_are_sketched_and_small_whole_ones_are_classes() -> None:
    field = tallied(3, 3, 7.5, 1000)
    assert field.measures["value"].count == 4
    assert field.classes == {"3": 2, "other": 1}
    assert field.kinds == {"number": 4}


def test_what_is_no_finite_number_is_odd() -> None:
    field = tallied(math.nan, math.inf, 10**400, 1.0)
    assert field.flags == {"nan": 1, "infinite": 2}
    assert field.measures["value"].count == 1


def test_numbers_outside_the_range_are_odd() -> None:
    part = WatchedPart(at_least=0.0, at_most=1.0)
    assert tallied(0.0, 1.0, -0.1, 1.1, part=part).flags == {"out_of_range": 2}
    assert tallied([0.2, 0.8], [0.2, 1.8], part=part).flags == {"out_of_range": 1}


def test_nothing_is_told_apart_from_null_and_from_empty() -> None:
    field = tallied({"a": None}, {}, {"a": ""}, {"a": []}, part=WatchedPart("/a"))
    assert field.kinds == {"null": 1, "missing": 1, "text": 1, "list": 1}
    assert field.flags == {"empty": 2}
    assert tallied("", is_output=False).flags == {}


def test_truths_are_classes() -> None:
    assert tallied(True, False, True).classes == {"true": 2, "false": 1}


def test_of_texts_the_length_is_told_and_only_named_ones_by_name() -> None:
    field = tallied("cat", "dog", "Ada Lovelace", part=WatchedPart(classes=("cat", "dog")))
    assert field.classes == {"cat": 1, "dog": 1, "other": 1}
    assert middle(field, "length") == pytest.approx(3, rel=0.01)
    assert tallied("Ada Lovelace").classes == {}


@pytest.mark.parametrize("many", [[0.1, 0.7, 0.2], torch.tensor([0.1, 0.7, 0.2])])
def test_of_scores_the_largest_is_a_class(many: Any) -> None:
    field = tallied(many)
    assert field.classes == {"1": 1}
    assert middle(field, "top") == pytest.approx(0.7, rel=0.01)
    assert middle(field, "mean") == pytest.approx(1 / 3, rel=0.01)
    assert middle(field, "size") == pytest.approx(3, rel=0.01)
    assert "top" not in tallied(many, is_output=False).measures


def test_tensors_of_every_datatype_are_told_by_it() -> None:
    field = tallied(torch.zeros(2, 2), torch.ones(3, dtype=torch.int64), torch.tensor([True, False]), torch.empty(0))
    assert field.kinds == {"fp32": 2, "int64": 1, "bool": 1}
    assert field.flags == {"empty": 1}
    assert tallied(torch.tensor(0.25)).measures["value"].count == 1


def test_a_tensor_with_nan_is_odd_and_the_rest_of_it_counts() -> None:
    field = tallied(torch.tensor([math.nan, 2.0, 2.0]), torch.tensor([math.nan, math.inf]))
    assert field.flags == {"nan": 2, "infinite": 1}
    assert middle(field, "mean") == pytest.approx(2.0, rel=0.01)


def test_nested_lists_are_numbers_too_and_others_have_a_size_alone() -> None:
    assert set(tallied([[1, 2], [3, 4]]).measures) == {"size", "mean", "std"}
    assert middle(tallied([[1, 2], [[3]]]), "mean") == pytest.approx(2, rel=0.01)
    assert set(tallied([[1, 2], ["a"]]).measures) == {"size"}
    assert set(tallied(["a", "b"]).measures) == {"size"}


def test_numbers_too_large_to_add_up_break_nothing() -> None:
    field = tallied([1e308, 1e308, -1e308], torch.tensor([1e308, 1e308], dtype=torch.float64))
    assert (field.rows, field.kinds) == (2, {"list": 1, "fp64": 1})


def test_of_very_many_numbers_some_are_looked_at() -> None:
    field = tallied(torch.arange(MOST_NUMBERS * 3, dtype=torch.float32), list(range(MOST_NUMBERS * 3)))
    assert middle(field, "mean") == pytest.approx(MOST_NUMBERS * 1.5, rel=0.01)


def test_bytes_have_a_size() -> None:
    assert set(tallied(b"\x89PNG", bytearray(7)).measures) == {"size"}


def test_a_pointer_leads_into_names_and_lists() -> None:
    value = {"rows": [{"a/b": 1, "c~d": 2}]}
    assert found(value, "/rows/0/a~1b") == 1
    assert found(value, "/rows/0/c~0d") == 2
    assert found(value, "") is value
    assert [found(value, path) for path in ("/x", "/rows/1", "/rows/-1", "/rows/0/a~1b/x")] == [MISSED] * 4


def test_an_answer_is_json_or_text_or_bytes() -> None:
    assert answered(b'{"label": 3}') == {"label": 3}
    assert answered("schön".encode()) == "schön"
    assert answered(b"\xff\xfe") == b"\xff\xfe"
    assert answered(b"[" * 100_000) == "[" * 100_000


def test_no_value_of_a_row_is_in_what_is_told() -> None:
    secret, card = "hunter2-c4nary", 4111111111111111
    field = tallied(
        secret, secret.encode(), {secret: secret}, [secret], card, float(card), {"password": secret}, [card, card]
    )
    told = json.dumps(
        [field.classes, field.kinds, field.flags, {name: repr(one) for name, one in field.measures.items()}]
    )
    assert secret not in told
    assert str(card)[:8] not in told
