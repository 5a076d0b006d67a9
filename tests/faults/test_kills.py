"""Requests through kills of workers and pods: lost 0, doubled 0, wrong 0, and every key gets its answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import kills
from tests.faults.ledgers import Outcome
from tests.faults.sizes import sized
from tests.system.conftest import Figure

pytestmark = [pytest.mark.system, pytest.mark.timeout(1800)]


def test_no_kill_loses_doubles_or_falsifies_a_request(tmp_path: Path, figure: Figure) -> None:
    plan = kills.Plan(requests=sized(3000, 100_000), kills=sized(4, 50))
    result = kills.run(plan, tmp_path, print)
    figure("kill -9 of workers and pods", result.table())
    assert result.violations == {}
    assert [death.kind for death in result.evidence.deaths].count("worker") == plan.kills
    assert [death.kind for death in result.evidence.deaths].count("pod") == plan.kills
    # The kills were felt, or the run proves nothing.
    assert any(end.outcome is not Outcome.WHOLE for end in result.evidence.ends)
