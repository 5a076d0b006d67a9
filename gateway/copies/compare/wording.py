"""Wording: what is measured of a part, and what a comparison has come to, in sentences for people."""

from __future__ import annotations

from gateway.copies.compare.comparing import first_of, is_likeness
from gateway.copies.compare.leaves import AS_FP32
from gateway.copies.compare.numbers import LEAST_COSINE
from gateway.copies.compare.probabilities import MOST_DIVERGENCE, MOST_GAP
from gateway.copies.compare.ranking import LEAST_OVERLAP
from gateway.copies.compare.tallies import OutputTally
from policies.snapshot.release import Compare

_OF_ITS_TYPE = "what its datatype allows"


def metric(how: Compare, tally: OutputTally) -> str:
    """Return what is measured and when it counts as different: "abs, differs above 0.01"; and what else is known."""
    said = [_rule(how)]
    if is_likeness(how) and tally.has_number:
        said.append(f"the least was {tally.least:.3g}")
    if tally.worded:
        said.append(f"{percent(tally.words / tally.worded)} of the words are the same from the start on")
    if tally.noted:
        said.append(f"{tally.noted:,} with {tally.note}")
    if tally.absent:
        said.append(f"{tally.absent:,} in which neither side has it")
    return "; ".join(said)


def percent(share: float) -> str:
    """Return a share as people read it: 3.1 %, 0.0042 %."""
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.3g} %"


def count(number: int, what: str) -> str:
    """Return a number with a noun: 1 answer, 2,300 answers."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _rule(how: Compare) -> str:
    if how.kind == "label" or how.metric == "equal":
        return "equal, differs when it is not"
    match how.kind:
        case "number":
            return _number_rule(how)
        case "probabilities" if how.metric == "abs":
            return f"largest difference of a probability, differs above {_limit(how.differ_above, MOST_GAP)}"
        case "probabilities":
            return f"Jensen-Shannon divergence in bits, differs above {_limit(how.differ_above, MOST_DIVERGENCE)}"
        case "ranking":
            return f"overlap@{first_of(how)}, differs below {_limit(how.differ_below, LEAST_OVERLAP)}"
        case "text":
            return f"edits as a share of the characters, differs above {_limit(how.differ_above, 0.0)}"
        case _:
            limit = _limit(how.differ_above, 0.0)
            return f"values that are not the same, differs above {limit}; numbers {_tolerance(how)}"


def _number_rule(how: Compare) -> str:
    match how.metric:
        case "cosine":
            return f"cosine, differs below {_limit(how.differ_below, LEAST_COSINE)}"
        case "rel":
            return f"rel, differs above {_OF_ITS_TYPE if how.differ_above is None else f'{how.differ_above:g}'}"
        case "" if how.differ_above is None:
            return f"abs, differs {_tolerance(how)}"
    return f"abs, differs above {_OF_ITS_TYPE if how.differ_above is None else f'{how.differ_above:g}'}"


def _tolerance(how: Compare) -> str:
    if how.atol is None and how.rtol is None:
        return f"beyond {_OF_ITS_TYPE} ({AS_FP32.atol:g} + {AS_FP32.rtol:g} of the number in JSON)"
    atol = AS_FP32.atol if how.atol is None else how.atol
    rtol = AS_FP32.rtol if how.rtol is None else how.rtol
    return f"beyond {atol:g} + {rtol:g} of the number"


def _limit(given: float | None, own: float) -> str:
    return f"{own if given is None else given:g}"
