"""Wording: what an objective's events are, and when one is good, as a sentence for people."""

from __future__ import annotations

from policies.snapshot.slos import Objective
from policies.units import duration_text


def good_when(objective: Objective) -> str:
    """Say what an objective counts, and what is good of it."""
    if objective.loads_within_s is not None:
        return f"A load of a pod is good when the model was ready within {duration_text(objective.loads_within_s)}."
    if objective.label:
        return f"An answer whose label was told later is good when that was {objective.label}."
    if objective.pod:
        return f"A request is good when its pod was {objective.pod} for it, and there was no cold start to wait for."
    in_time = ""
    if objective.within_s is not None:
        in_time = f" and it was answered within {duration_text(objective.within_s)}"
    elif objective.first_byte_within_s is not None:
        in_time = f" and the first byte of its answer came within {duration_text(objective.first_byte_within_s)}"
    return f"A request is good when its status is below {objective.status_below}{in_time}."
