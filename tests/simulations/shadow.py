"""Shadows that are the same model, noisy, or another, through the comparison itself: answers, seconds of it, verdicts.

A run makes each answer as a pod would, has it compared, asks stable again whenever the comparison wants that, and looks
at the report as often as the copies process does: some hundred copies lie between two looks of a busy route.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from gateway.copies.compare.answer import Answer
from gateway.copies.compare.comparison import Comparison
from gateway.copies.messages import Answered
from gateway.copies.reports import ShadowSays
from policies.snapshot.release import Compare, Shadow
from tests.simulations.claims import Claim, Outcome

COPIES_PER_LOOK = 50
FIELDS = b"content-type: application/json\r\n"
LABELS = 50
INPUTS = 2**32

Model = Callable[[Random, int], Any]
"""What a version answers to an input, which is a number; chance is what it does to itself."""

LABEL = (Compare("/label", "label"),)
SCORES = (Compare("/scores", "number"),)


def right(chance: Random, number: int) -> Any:
    """Answer always the same."""
    return {"label": number % LABELS}


def noisy(share: float, chance: Random, number: int) -> Any:
    """Answer something else now and then."""
    return {"label": number % LABELS if chance.random() >= share else chance.randrange(LABELS, 10 * LABELS)}


def retrained(share: float, chance: Random, number: int) -> Any:
    """Answer something else to a share of the inputs, always the same ones."""
    return {"label": LABELS if number < share * INPUTS else number % LABELS}


def undecided_inputs(share: float, chance: Random, number: int) -> Any:
    """Toss a coin on a share of the inputs, which are as likely either way."""
    return {"label": chance.randrange(2) if number < share * INPUTS else number % LABELS}


def scores(error: float, chance: Random, number: int) -> Any:
    """Answer numbers that are off by a relative error."""
    return {"scores": [(number % 7 + each) * (1.0 + chance.uniform(-error, error)) for each in range(4)]}


def said_of(
    stable: Model, shadow: Model, outputs: tuple[Compare, ...], most: int, lost: float, share: float, chance: Random
) -> tuple[ShadowSays, int]:
    """Return the verdict, and after how many copies it came; at most so many.

    Args:
        lost: share of second answers that never come.
        share: of the copies, whose second answers may be asked for.
    """
    comparison = Comparison(Shadow("dark", "2", 0.1, outputs=outputs, repeat_stable=share), "digits", 1)
    run = chance.getrandbits(64)
    for number in range(1, most + 1):
        given = chance.randrange(INPUTS)
        request = _answered(f"{run}-{number}")
        first = _answer(stable(chance, given))
        if comparison.compared(request, 64, first, _answer(shadow(chance, given)), float(number)) and (
            chance.random() >= lost
        ):
            comparison.repeated(request, first, _answer(stable(chance, given)), float(number))
        if number % COPIES_PER_LOOK == 0:
            says = comparison.report(float(number)).says
            if says is not ShadowSays.NOT_ENOUGH:
                return says, number
    return ShadowSays.NOT_ENOUGH, most


def _answer(value: Any) -> Answer:
    return Answer(200, FIELDS, json.dumps(value).encode(), 0.01, 100)


def _answered(request_id: str) -> Answered:
    return Answered(
        request_id,
        request_id,
        "",
        False,
        0.0,
        "digits",
        "1",
        "stable",
        "ads",
        "gold",
        "POST",
        "/predictions/digits",
        (),
        200,
        FIELDS,
        0.01,
        100,
        ("dark",),
    )


def called(
    says: ShadowSays,
    stable: Model,
    shadow: Model,
    within: int,
    chance: Random,
    is_full: bool,
    outputs: tuple[Compare, ...] = LABEL,
    lost: float = 0.0,
    share: float = 0.02,
) -> Outcome:
    """One shadow: whether this is the verdict, within so many copies."""
    found, after = said_of(stable, shadow, outputs, within, lost, share, chance)
    return Outcome(found is says, after)


DIFFERS, SAME = ShadowSays.DIFFERS, ShadowSays.SAME

CLAIMS = (
    Claim(
        "a shadow that disagrees on 3 % of inputs is called within 2,000 copies",
        partial(called, DIFFERS, right, partial(retrained, 0.03), 2000),
        0.98,
        is_at_most=False,
    ),
    Claim(
        "a shadow that disagrees on 3 % of inputs is called the same",
        partial(called, SAME, right, partial(retrained, 0.03), 2000),
        0.01,
    ),
    Claim(
        "the same model is called the same within 1,000 copies",
        partial(called, SAME, right, right, 1000),
        0.99,
        is_at_most=False,
    ),
    Claim(
        "float noise within the tolerance is called the same within 1,000 copies",
        partial(called, SAME, partial(scores, 2e-5), partial(scores, 2e-5), 1000, outputs=SCORES),
        0.99,
        is_at_most=False,
    ),
    Claim(
        "a model that is noisy on 5 % of requests is said to differ from itself",
        partial(called, DIFFERS, partial(noisy, 0.05), partial(noisy, 0.05), 2000),
        0.01,
    ),
    Claim(
        "a model that is noisy on 40 % of requests is said to differ from itself",
        partial(called, DIFFERS, partial(noisy, 0.4), partial(noisy, 0.4), 2000),
        0.01,
    ),
    Claim(
        "a model that tosses a coin on 10 % of inputs is said to differ from itself",
        partial(called, DIFFERS, partial(undecided_inputs, 0.1), partial(undecided_inputs, 0.1), 2000),
        0.01,
    ),
    Claim(
        "a noisy model, half of the second answers lost, is said to differ from itself",
        partial(called, DIFFERS, partial(noisy, 0.05), partial(noisy, 0.05), 2000, lost=0.5),
        0.01,
    ),
    Claim(
        "a shadow that disagrees on 3 % of inputs, half of the second answers lost, is called the same",
        partial(called, SAME, right, partial(retrained, 0.03), 2000, lost=0.5),
        0.01,
    ),
    Claim(
        "a shadow that disagrees on just what is allowed is said to differ",
        partial(called, DIFFERS, right, partial(retrained, 0.01), 2000),
        0.01,
    ),
    Claim(
        "a shadow that disagrees on 3 % of inputs beside 2 % of noise is called within 6,000 copies",
        partial(called, DIFFERS, partial(noisy, 0.02), partial(retrained, 0.05), 6000, share=0.1),
        0.5,
        is_at_most=False,
    ),
    Claim(
        "another model is called within 500 copies",
        partial(called, DIFFERS, right, partial(retrained, 1.0), 500),
        0.99,
        is_at_most=False,
    ),
)
