"""``penstock policy test``: tries the requests of ``tests/*.yaml``, and shows how a wrong one was decided."""

from __future__ import annotations

import argparse

import msgspec

from deploy.commands.policy_files import NoPolicyThere, read_directory, tell
from gateway.trial.explanation import Step, explain
from gateway.trial.policy_tests import Trial, counters_of, request_of, stages_of, trials, with_sure_shadows
from gateway.trial.requests import facts_of
from gateway.trial.tried_policy import tried_tables
from policies.snapshot.generation import Snapshot

SUMMARY = "try the requests of a directory's tests/, as every load does"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("directory", metavar="DIR", help="the policy directory")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")


def run(options: argparse.Namespace) -> int:
    """Try every test; 1 when one fails."""
    try:
        snapshot = read_directory(options.directory, is_tested=False)
    except NoPolicyThere as error:
        return tell("test", error)
    tried = trials(snapshot)
    has_failed = any(trial.wrong for trial in tried)
    if options.json:
        tests = [
            {
                "name": trial.test.name,
                "place": trial.test.place,
                "ok": not trial.wrong,
                "wrong": trial.wrong,
                "steps": steps(snapshot, trial),
            }
            for trial in tried
        ]
        print(msgspec.json.encode({"ok": not has_failed, "tests": tests}).decode())
    else:
        print("\n".join(describe(snapshot, tried)))
    return 1 if has_failed else 0


def steps(snapshot: Snapshot, trial: Trial) -> tuple[Step, ...]:
    """Return every step to the decision of a test."""
    facts = facts_of(request_of(trial.test), wall_s=0.0)
    counters = counters_of(trial.test, snapshot.tenants.get(trial.test.tenant))
    tables = tried_tables(with_sure_shadows(snapshot))
    tables.stages = stages_of(trial.test, snapshot)
    return explain(tables, facts, counters, now_s=0.0).steps


def describe(snapshot: Snapshot, tried: list[Trial]) -> list[str]:
    """Return a line for every test, and the steps of those that fail."""
    lines: list[str] = []
    for trial in tried:
        lines.append(f"{'FAILED' if trial.wrong else 'ok':<6}  {trial.test.place}: {trial.test.name}")
        if trial.wrong:
            lines += [f"        it {wrong}" for wrong in trial.wrong]
            lines += [f"        {line}" for line in step_lines(steps(snapshot, trial))]
    failed = sum(bool(trial.wrong) for trial in tried)
    if not tried:
        return ["there are no tests: write some in tests/*.yaml"]
    return [*lines, f"{len(tried)} test{'' if len(tried) == 1 else 's'}, {failed} failed"]


def step_lines(taken: tuple[Step, ...] | list[Step]) -> list[str]:
    """Return a line for every step."""
    width = max((len(step.about) for step in taken), default=0)
    return [f"{step.verdict:<8}  {step.about:<{width}}  {step.says}" for step in taken]
