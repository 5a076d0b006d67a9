"""Each sort of objective says in a sentence what it counts, and when that is good."""

from __future__ import annotations

import pytest

from policies.snapshot.slos import Objective
from telemetry.slo.wording import good_when
from tests.telemetry.slo.objectives import about_labels, about_loads, objective


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (objective(), "A request is good when its status is below 500."),
        (objective(within_s=0.25), "A request is good when its status is below 500 and it was answered within 250ms."),
        (
            objective(first_byte_within_s=0.5),
            "A request is good when its status is below 500 and the first byte of its answer came within 500ms.",
        ),
        (
            objective(pod="ready"),
            "A request is good when its pod was ready for it, and there was no cold start to wait for.",
        ),
        (about_loads(10.0), "A load of a pod is good when the model was ready within 10s."),
        (about_labels(), "An answer whose label was told later is good when that was right."),
    ],
)
def test_an_objective_says_when_an_event_is_good(one: Objective, sentence: str) -> None:
    assert good_when(one) == sentence
