"""The rule file of a policy, without Prometheus: what is in it, and that no two rules are the same."""

from __future__ import annotations

from msgspec.structs import replace

from deploy.prometheus.rule import Places, Record
from deploy.prometheus.rule_file import groups, rules
from policies.snapshot.slos import BurnAlert, Guards
from tests.deploy.prometheus.table import objective


def test_a_window_as_long_as_the_period_is_recorded_once() -> None:
    own = objective("any")
    whole = replace(own, alerts=(BurnAlert("ticket", "ticket 30d", 0.5, own.period_s, 86_400.0),))
    names = [
        (rule.record, *rule.labels.items())
        for group in groups([whole], Places())
        for rule in group.rules
        if isinstance(rule, Record)
    ]
    assert len(names) == len(set(names))


def test_all_groups_of_objectives_are_evaluated_alike() -> None:
    month, week = (
        objective("of a month"),
        replace(objective("of a week"), alerts=(BurnAlert("page", "p", 2.0, 840.0, 70.0),)),
    )
    assert {group.interval for group in groups([month, week], Places())} == {"10s", "30s"}


def test_the_bound_of_chance_is_told_only_where_there_is_one() -> None:
    own = objective("any")
    assert "upper bound" not in rules([own], Places())
    assert "upper bound" in rules([replace(own, guards=Guards(chance_below=0.01))], Places())


def test_links_lead_where_they_are_told_to() -> None:
    written = rules([objective("any")], Places("prod", "https://sre.example/books", "https://hub.example"))
    assert "runbook_url: https://sre.example/books/slo-page-fast.md" in written
    assert "hub_url: https://hub.example/slos/" in written
