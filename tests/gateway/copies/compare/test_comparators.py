"""Each way to compare two parts: what is alike, what differs and how far, and what cannot be compared."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.copies.compare.labels import label
from gateway.copies.compare.leaves import MAX_ELEMENTS, rows_of
from gateway.copies.compare.numbers import absolute, cosine, relative, within
from gateway.copies.compare.outcome import Outcome
from gateway.copies.compare.probabilities import probabilities, probability
from gateway.copies.compare.ranking import ranking
from gateway.copies.compare.structure import structure
from gateway.copies.compare.texts import MAX_CHARACTERS, edits, text, words_kept
from gateway.copies.compare.trees import Tensor

NAN = math.nan

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


def tensor(elements: list[Any], datatype: str = "FP32", shape: tuple[int, ...] | None = None) -> Tensor:
    return Tensor(datatype, shape or (len(elements),), elements)


# --- labels


@pytest.mark.parametrize(
    ("stable", "shadow"),
    [(2, 2.0), ("cat", "cat"), (NAN, NAN), (None, None), ({"a": [1]}, {"a": [1.0]}), ([NAN, "x"], [NAN, "x"])],
)
def test_the_same_label_is_the_same(stable: object, shadow: object) -> None:
    assert not label(stable, shadow).differs


@pytest.mark.parametrize(
    ("stable", "shadow"), [(2, 3), ("cat", "Cat"), (True, 1), (0, False), (None, 0), (2, "2"), ([True], [1])]
)
def test_another_label_differs(stable: object, shadow: object) -> None:
    assert label(stable, shadow).differs
    assert label(shadow, stable).differs


def test_of_several_labels_the_first_that_differs_is_told() -> None:
    assert label(["a", "b", "c"], ["a", "x", "y"]).where == "/1"
    assert label(tensor([1, 2], "INT64"), tensor([1, 3], "INT64")).where == "/1"
    assert label(["a"], ["a", "b"]).unlike == "of another shape"


# --- numbers


def test_numbers_within_the_tolerance_of_their_type_are_alike() -> None:
    for near in (1.00005, 0.99995):
        assert not within(1.0, near, None, None).differs
        assert not within(tensor([1.0]), tensor([near]), None, None).differs
    assert within(1.0, 1.001, None, None).differs
    assert not within(tensor([1.0], "FP16"), tensor([1.01], "FP16"), None, None).differs
    assert not within(tensor([1.0], "BF16"), tensor([1.01], "FP32"), None, None).differs
    assert within(tensor([7], "INT64"), tensor([8], "INT64"), None, None).differs
    assert not within(1.0, 1.4, 0.5, 0.0).differs


def test_the_largest_and_the_mean_difference_are_told_and_where() -> None:
    outcome = within([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 4.5]], 0.25, 0.0)
    assert (outcome.value, outcome.mean, outcome.distance) == (0.5, 0.125, 2.0)
    assert within([1.0, 2.0, 3.0], [1.0, 2.0, 9.0], None, None).where == "/2"


def test_nan_is_like_nan_and_unlike_any_number() -> None:
    assert not within([NAN, 1.0], [NAN, 1.0], None, None).differs
    assert not within([None, 1.0], [NAN, 1.0], None, None).differs
    for beside in (0.0, math.inf):
        assert within([NAN], [beside], None, None)[:2] == (math.inf, math.inf)
        assert within([beside], [None], None, None).distance == math.inf


def test_infinity_is_like_itself_alone() -> None:
    assert not within([math.inf], [math.inf], None, None).differs
    assert within([math.inf], [-math.inf], None, None).differs
    assert within([1.0], [math.inf], None, None).differs


@pytest.mark.parametrize(
    ("stable", "shadow", "why"),
    [
        ([1.0], [1.0, 2.0], "of another shape"),
        ([[1.0, 2.0]], [[1.0], [2.0]], "of another shape"),
        (tensor([1.0, 2.0], shape=(1, 2)), tensor([1.0, 2.0], shape=(2, 1)), "of another shape"),
        ([1.0], ["1.0"], "not numbers"),
        ({"a": 1}, {"a": 1}, "not numbers"),
        ([10**400], [1.0], "too large a number"),
        ([0.0] * (MAX_ELEMENTS + 1), [0.0] * (MAX_ELEMENTS + 1), "too large"),
    ],
)
def test_what_are_no_numbers_of_one_shape_is_unlike(stable: object, shadow: object, why: str) -> None:
    outcome = within(stable, shadow, None, None)
    assert (outcome.unlike, outcome.distance, outcome.value) == (why, math.inf, None)


def test_a_tensor_and_a_list_are_compared_by_their_elements() -> None:
    assert not within(tensor([1.0, 2.0], shape=(2, 1)), [1.0, 2.0], None, None).differs


def test_an_absolute_difference_counts_above_what_is_allowed() -> None:
    assert not absolute([1.0, 100.0], [1.25, 100.0], 0.25).differs
    assert absolute([1.0, 100.0], [1.25, 100.5], 0.25).distance == 2.0


def test_a_relative_difference_is_a_share_of_stable_s_number() -> None:
    assert relative([100.0], [101.0], 0.02).value == pytest.approx(0.01)
    assert relative([100.0], [103.0], 0.02).differs
    assert relative([0.0], [1e-9], 0.5).distance == math.inf
    assert not relative([0.0], [0.0], 0.5).differs


def test_a_cosine_is_of_directions_not_of_lengths() -> None:
    assert not cosine([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], None).differs
    assert cosine([1.0, 0.0], [0.0, 1.0], None).value == pytest.approx(0.0)
    assert not cosine([1e300, 1e300], [1e300, 1e300], None).differs
    assert cosine([0.0, 0.0], [1.0, 0.0], None).differs
    assert not cosine([0.0, 0.0], [0.0, 0.0], None).differs
    assert cosine([NAN, 0.0], [1.0, 0.0], None).unlike == "no direction"


def test_of_several_vectors_the_least_alike_counts() -> None:
    rows = tensor([1.0, 0.0, 0.0, 1.0], shape=(2, 2)), tensor([1.0, 0.0, 1.0, 0.0], shape=(2, 2))
    outcome = cosine(*rows, 0.5)
    assert (outcome.value, outcome.mean, outcome.where) == (0.0, 0.5, "/1")
    assert outcome.differs


# --- probabilities


def entropy(share: float) -> float:
    return -share * math.log2(share) - (1 - share) * math.log2(1 - share)


def test_the_divergence_is_jensen_and_shannon_s_in_bits() -> None:
    assert probabilities([1.0, 0.0], [0.0, 1.0], None).value == pytest.approx(1.0)
    # The entropy of the middle less the mean of both entropies.
    by_entropy = entropy(0.7) - (entropy(0.5) + entropy(0.9)) / 2
    assert probabilities([0.5, 0.5], [0.9, 0.1], None).value == pytest.approx(by_entropy)
    assert probabilities([0.5, 0.5], [0.9, 0.1], None).differs
    assert not probabilities([0.5, 0.5], [0.49, 0.51], None).differs


def test_classes_are_told_by_name_and_one_that_is_not_named_has_nothing() -> None:
    assert not probabilities({"cat": 0.9, "dog": 0.1}, {"dog": 0.1, "cat": 0.9}, None).differs
    assert probabilities({"cat": 1.0}, {"dog": 1.0}, None).value == pytest.approx(1.0)


def test_rows_that_do_not_sum_to_1_are_divided_and_noted() -> None:
    outcome = probabilities([2.0, 2.0], [0.5, 0.5], None)
    assert not outcome.differs
    assert outcome.note
    assert not probabilities([0.5, 0.499], [0.5, 0.501], None).note


@pytest.mark.parametrize("row", [[-0.5, 1.5], [0.0, 0.0], [NAN, 1.0], ["a", "b"], [math.inf, 0.0]])
def test_what_is_no_distribution_is_unlike(row: list[Any]) -> None:
    assert probabilities(row, [0.5, 0.5], None).unlike == "no probabilities"


def test_of_several_rows_the_farthest_counts() -> None:
    outcome = probabilities([[0.5, 0.5], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]], None)
    assert (outcome.value, outcome.mean) == pytest.approx((1.0, 0.5))
    assert outcome.where == "/1"


def test_the_largest_difference_of_a_probability_is_told_where_it_is_asked_for() -> None:
    assert probability([0.5, 0.5], [0.6, 0.4], 0.2).value == pytest.approx(0.1)
    assert probability([0.5, 0.5], [0.8, 0.2], 0.2).differs


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=8), st.lists(st.floats(0.0, 1e6), min_size=1, max_size=8))
def test_a_divergence_is_symmetric_and_between_0_and_1(one: list[float], other: list[float]) -> None:
    there, back = probabilities(one, other, None), probabilities(other, one, None)
    assert there.unlike == back.unlike
    if there.value is not None and back.value is not None:
        assert there.value == pytest.approx(back.value, abs=1e-9)
        assert 0.0 <= there.value <= 1.0


# --- ranking


def test_an_overlap_is_of_the_first_items_in_whatever_order() -> None:
    assert ranking([1, 2, 3, 4], [2, 1, 3, 9], 3, None).value == 1.0
    assert ranking([1, 2, 3, 4], [2, 1, 9, 3], 3, None).value == pytest.approx(2 / 3)
    assert ranking(["a", "b"], ["a", "c"], 10, 0.5).value == 0.5
    assert not ranking(["a", "b"], ["a", "c"], 10, 0.5).differs
    assert ranking(["a", "b"], ["a", "c"], 10, None).differs


def test_numbers_with_a_fraction_are_scores() -> None:
    assert ranking([0.1, 0.9, 0.5], [0.2, 0.5, 0.9], 2, None).value == 1.0
    assert ranking([0.1, 0.9, 0.5], [0.9, 0.8, 0.1], 1, None).value == 0.0
    assert ranking({"a": 0.1, "b": 0.9}, {"a": 0.3, "b": 0.4}, 1, None).value == 1.0
    assert ranking([NAN, 0.9, 0.5], [0.1, 0.9, 0.5], 2, None).value == 1.0


def test_of_several_rankings_the_least_counts() -> None:
    outcome = ranking(tensor([1, 2, 3, 4], "INT64", (2, 2)), tensor([1, 2, 8, 9], "INT64", (2, 2)), 2, None)
    assert (outcome.value, outcome.mean, outcome.where) == (0.0, 0.5, "/1")


@pytest.mark.parametrize(
    ("stable", "shadow", "why"),
    [([[1], [2]], [[1]], "of another shape"), ([None], [1], "no ranking"), ([1.0], ["a"], "no ranking")],
)
def test_what_is_no_ranking_is_unlike(stable: object, shadow: object, why: str) -> None:
    assert ranking(stable, shadow, 10, None).unlike == why


# --- text


def table(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for at, left in enumerate(one, 1):
        before, row[0] = row[0], at
        for to, right in enumerate(other, 1):
            before, row[to] = row[to], min(row[to] + 1, row[to - 1] + 1, before + (left != right))
    return row[-1]


@given(st.text("ab c", max_size=80), st.text("ab c", max_size=80))
def test_edits_are_those_of_the_table(one: str, other: str) -> None:
    assert edits(one, other) == table(one, other)


def test_text_differs_by_the_share_of_its_characters() -> None:
    assert not text("a cat", "a cat", None).differs
    assert text("a cat", "a bat", None).value == 0.2
    assert not text("a cat", "a bat", 0.2).differs
    assert text("", "x", None).value == 1.0
    assert text("cat", None, 0.5).value == 1.0
    assert text(["a", "cat"], ["a", "bat"], None).where == "/1"
    assert text(["a"], ["a", "b"], None).unlike == "of another shape"


def test_what_follows_the_first_characters_counts_as_one_edit() -> None:
    start = "x" * MAX_CHARACTERS
    assert text(f"{start}abc", f"{start}xyz", None).value == 1 / MAX_CHARACTERS


def test_much_text_is_too_large() -> None:
    many = 9
    one, other = ["a" * MAX_CHARACTERS] * many, ["b" * MAX_CHARACTERS] * many
    assert text(one, other, None).unlike == "too large"
    assert not text(one, one[:], None).differs


def test_words_are_kept_from_the_start_on() -> None:
    assert words_kept("the cat sat down", "the cat ran off") == 0.5
    assert text("the cat sat down", "the cat ran off", None).words == 0.5
    assert text("", "", None).words == 1.0


# --- structure


def compared(stable: object, shadow: object, allowed: float | None = None) -> Outcome:
    return structure(stable, shadow, allowed, None, None)


def test_values_are_alike_with_numbers_within_their_tolerance() -> None:
    stable = {"label": "cat", "scores": [0.1, 0.9], "deep": [{"a": None, "b": True}]}
    assert not compared(stable, {"deep": [{"b": True, "a": None}], "label": "cat", "scores": [0.100001, 0.9]}).differs
    assert not compared(2, 2.0).differs
    assert not compared({"data": tensor([1.0], "FP16")}, {"data": tensor([1.01], "FP16")}).differs


@pytest.mark.parametrize(
    ("stable", "shadow", "count", "where"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, 1, "/b"),
        ({"a": 1}, {"a": 1, "b/c": 2}, 1, "/b~1c"),
        ({"a": [1, 2, 3]}, {"a": [1, 2]}, 1, "/a"),
        ({"a": [1, 2, 3]}, {"a": [9, 2, 8]}, 2, "/a/0"),
        ({"a": True}, {"a": 1}, 1, "/a"),
        ([1.0, "x"], [1.5, "y"], 2, "/0"),
        ({"a": {"b": {"c": "x"}}}, {"a": {"b": {"c": "y"}}}, 1, "/a/b/c"),
        ("cat", ["cat"], 1, ""),
        ({"d": tensor([1, 2], "INT8")}, {"d": tensor([1, 3], "INT8")}, 1, "/d/1"),
        ({"d": tensor([1, 2], "INT8")}, {"d": tensor([1, 2], "INT16")}, 1, "/d"),
    ],
)
def test_what_is_not_the_same_is_counted_and_found(stable: object, shadow: object, count: int, where: str) -> None:
    outcome = compared(stable, shadow)
    assert outcome.differs
    assert (outcome.value, outcome.where) == (count, where)


def test_a_number_differs_by_how_many_times_what_is_allowed() -> None:
    assert compared([0.0], [2e-5]).distance == pytest.approx(2.0)
    assert compared([0.0, "x"], [2e-5, "y"]).distance == math.inf
    assert compared([10**400], [1.0]).distance == math.inf


def test_some_values_may_be_allowed_to_differ() -> None:
    assert not compared([1, 2, 3], [9, 2, 3], allowed=1.0).differs
    assert compared([1, 2, 3], [9, 8, 3], allowed=1.0).distance == 2.0


def test_a_tolerance_of_policy_is_for_every_number() -> None:
    assert not structure({"a": 1.0, "b": [2]}, {"a": 1.4, "b": [2.5]}, None, 0.5, 0.0).differs
    assert structure(tensor([1.0], "FP16"), tensor([1.01], "FP16"), None, None, 0.0).distance == pytest.approx(
        1.0, rel=0.01
    )


def test_too_many_values_are_too_large() -> None:
    assert compared([0] * (MAX_ELEMENTS + 1), [1] * (MAX_ELEMENTS + 1)).unlike == "too large"


# --- all


@given(values)
def test_every_value_is_the_same_as_itself_written_again(value: Any) -> None:
    again = _again(value)
    assert not label(value, again).differs
    assert not compared(value, again).differs
    assert not text(value, again, None).differs


@given(values, values)
def test_whatever_is_compared_comes_to_an_outcome(one: Any, other: Any) -> None:
    outcomes = [
        label(one, other),
        within(one, other, None, None),
        absolute(one, other, None),
        relative(one, other, None),
        cosine(one, other, None),
        probabilities(one, other, None),
        probability(one, other, None),
        ranking(one, other, 3, None),
        text(one, other, None),
        compared(one, other),
    ]
    for outcome in outcomes:
        assert outcome.distance >= 0.0
        assert not outcome.unlike or outcome.differs
    assert rows_of(one) is not None


def _again(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _again(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [_again(item) for item in value]
    return value + 0 if isinstance(value, float) else value
