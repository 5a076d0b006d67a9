"""Writes the rule file of a policy: every objective that a route names, and what no objective knows of."""

from __future__ import annotations

from textwrap import dedent

from deploy.prometheus.documents import written
from deploy.prometheus.mesh_rules import mesh_group
from deploy.prometheus.rule import Group, Places, rule_document
from deploy.prometheus.slo_rules import slo_group
from deploy.prometheus.windows import step_s
from policies.snapshot.generation import Snapshot, objectives_by_model
from policies.snapshot.slos import Objective
from policies.units import duration_text

RULES_FILE = "penstock-rules.yaml"


def used_objectives(snapshot: Snapshot) -> list[Objective]:
    """Return the objectives that some route names, in the order of policy."""
    used = {one.name for own in objectives_by_model(snapshot).values() for one in own}
    return [one for one in snapshot.objectives.values() if one.name in used]


def groups(objectives: list[Objective], places: Places) -> list[Group]:
    """Return all groups of rules."""
    step = step_s(objectives)
    return [*(slo_group(one, step, places) for one in objectives), mesh_group(places)]


def rules(objectives: list[Objective], places: Places) -> str:
    """Return the rule file."""
    return written(rule_document(groups(objectives, places)), about=_about(objectives))


def _about(objectives: list[Objective]) -> str:
    step = duration_text(float(step_s(objectives)))
    longest = duration_text(max((one.period_s for one in objectives), default=0.0))
    lines = dedent(
        f"""\
        Written by `penstock slo export prometheus` from slos.yaml. Change that, and write this anew.

        Each group's interval belongs to its rules: events are counted from one evaluation to the next, {step} apart.
        Scrape the gateway at least as often, and keep samples for {longest} and a day more
        (--storage.tsdb.retention.time), or budgets are those of the time that is kept.
        """
    )
    guarded = any(one.guards.chance_below for one in objectives)
    chance = dedent(
        """\

        `chance_below` asks for a binomial tail, which Prometheus cannot sum. slo_model:penstock_slo_chance:ln is the
        logarithm of an upper bound: alerts may fire a few bad events later than the gateway's own, and never earlier.
        """
    )
    return lines + (chance if guarded else "")
