from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.drift.fields import FLAGS, KINDS, MAX_CLASSES, MEASURES, Field, added_up, is_field
from telemetry.stats.sketch import Sketch, sketched

COUNTS = st.integers(0, 1000)
FIELDS = st.builds(
    Field,
    rows=COUNTS,
    unread=COUNTS,
    measures=st.dictionaries(
        st.sampled_from(MEASURES), st.builds(sketched, st.lists(st.floats(-100, 100), max_size=20)), max_size=3
    ),
    classes=st.dictionaries(st.sampled_from(("0", "1", "cat", "other")), COUNTS),
    kinds=st.dictionaries(st.sampled_from(sorted(KINDS)), COUNTS, max_size=3),
    flags=st.dictionaries(st.sampled_from(FLAGS), COUNTS),
)


@given(FIELDS, FIELDS, FIELDS)
def test_fields_add_up_to_the_same_in_any_order(first: Field, second: Field, third: Field) -> None:
    at_once = added_up((first, second, third))
    assert added_up((added_up((first, second)), third)) == at_once
    assert added_up((third, added_up((second, first)))) == at_once
    assert at_once.rows == first.rows + second.rows + third.rows
    assert is_field(at_once)


def test_no_rows_add_up_to_none() -> None:
    assert added_up(()) == Field()


@pytest.mark.parametrize(
    "field",
    [
        Field(rows=-1),
        Field(unread=2**60),
        Field(measures={"password": Sketch()}),
        Field(measures={"value": Sketch(scale=20)}),
        Field(kinds={"4111-1111": 1}),
        Field(flags={"odd": 1}),
        Field(classes={"x" * 201: 1}),
        Field(classes={str(number): 1 for number in range(MAX_CLASSES + 1)}),
    ],
)
def test_what_is_out_of_bounds_is_told(field: Field) -> None:
    assert not is_field(field)
