"""Runs Debian's promtool on rules and tests of ours."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from deploy.prometheus.documents import Data, written
from deploy.prometheus.promtool import Case, rule_test, unit_tests
from deploy.prometheus.rule import Places
from deploy.prometheus.rule_file import RULES_FILE, rules
from deploy.prometheus.scenarios import Scenario
from policies.snapshot.slos import Objective

MODEL = "digits"


def judged(folder: Path, tests: str, rule_file: str) -> str:
    """Return what promtool says against the tests; "" when it agrees with them."""
    (folder / RULES_FILE).write_text(rule_file)
    file = folder / "rules.test.yaml"
    file.write_text(tests)
    told = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False, timeout=1700
    )
    return "" if told.returncode == 0 else told.stdout + told.stderr


def tried(folder: Path, objective: Objective, scenario: Scenario, step: int, more: Iterable[Data] = ()) -> str:
    """Return where an objective's own rules and the embedded engine differ on this traffic; "" where nowhere."""
    tests = written(unit_tests([rule_test([Case(objective, MODEL, scenario)], step, more)], step))
    return judged(folder, tests, rules([objective], Places()))
