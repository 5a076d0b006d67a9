"""Verdicts of shadows, through the comparison itself, are not refuted at the size of a test run."""

from __future__ import annotations

import pytest

from tests.simulations.claims import Claim, examine
from tests.simulations.shadow import CLAIMS

SMALL_RUNS = 8


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_a_claim_about_shadows_is_not_refuted(claim: Claim) -> None:
    found = examine(claim, SMALL_RUNS, is_full=False)
    assert found.holds, str(found)
