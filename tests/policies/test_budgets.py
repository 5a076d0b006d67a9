"""Limits and quotas that could not mean what they say; the catalogue of mistakes has the sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import budgets
from policies.document import parse
from policies.errors import PolicyError
from policies.kinds import PolicyFile, kind_at


def file(path: str, text: str) -> PolicyFile:
    kind = kind_at(path)
    assert kind is not None
    return PolicyFile(path, kind, parse(text.encode(), path).root)


def tenant(name: str, rest: str = "", tier: str = "gold", may_call: str = "[ranker]") -> PolicyFile:
    return file(f"tenants/{name}.yaml", f"name: {name}\ntier: {tier}\n{rest}may_call: {may_call}\n")


def limits(rest: str) -> PolicyFile:
    return file("limits.yaml", f"{rest}tiers:\n  gold: {{rate: 5/s, in_flight: 3}}\n  free: {{deadline: 2s}}\n")


def quota(rest: str) -> list[PolicyError]:
    return budgets.check([tenant("a", f"quotas:\n  - {{name: q, {rest}}}\n")])


ROUTE = file("routes/ranker.yaml", "model: ranker\n")


@pytest.mark.parametrize(
    "written",
    [
        "meter: requests, limit: 5, per: calendar-day",
        "meter: requests, limit: 1000000000000000, per: rolling-24h",
        "meter: bytes, limit: 2TiB, per: calendar-month, zone: Europe/Berlin",
        "meter: bytes, limit: 5000, per: calendar-hour",
        "meter: device_time, limit: 200h, per: rolling-30d, at: {50%: warn, 80%: warn, 100%: demote, 120%: refuse}",
        "meter: gpu_time, limit: 0.5ms, per: calendar-week, zone: UTC, at: {100%: warn}",
        "meter: tokens, limit: 7, per: rolling-7d, at: {1%: refuse}",
        "meter: tokens, limit: 7, per: rolling-7d, at: {1000%: refuse, 999%: demote}",
    ],
)
def test_good_quotas_are_left_alone(written: str) -> None:
    assert quota(written) == []


@pytest.mark.parametrize(
    "applies_to",
    [
        "{tier: [gold]}",
        "{tenant: [a]}",
        "{route: ranker}",
        "{route: [ranker], tenant: [a, b], tier: [gold, free]}",
        "{tier: [free], tenant: [b]}",
    ],
)
def test_a_shared_limit_of_somebody_is_left_alone(applies_to: str) -> None:
    files = [limits(f"shared:\n  - {{name: s, applies_to: {applies_to}, rate: 5/s}}\n"), ROUTE]
    assert budgets.check([*files, tenant("a"), tenant("b", tier="free", may_call="['*']")]) == []


@pytest.mark.parametrize(("tier", "may_call"), [("''", "[ranker]"), ("gld", "[ranker]"), ("free", "[rankr]")])
def test_a_mistake_in_a_tenant_s_file_is_not_told_a_second_time_by_a_limit(tier: str, may_call: str) -> None:
    shared = limits("shared:\n  - {name: s, applies_to: {tier: [free], route: ranker}, rate: 5/s}\n")
    assert "matches nothing" in budgets.check([shared, ROUTE, tenant("a")])[0].problem
    assert budgets.check([shared, ROUTE, tenant("a"), tenant("b", tier=tier, may_call=may_call)]) == []


def test_while_a_tenant_cannot_be_read_nobody_says_what_it_may_call() -> None:
    unreadable = PolicyFile("tenants/b.yaml", tenant("b").kind, None)
    shared = limits("shared:\n  - {name: s, applies_to: {tier: [free]}, rate: 5/s}\n")
    assert "matches nothing" in budgets.check([shared, ROUTE, tenant("a")])[0].problem
    assert budgets.check([shared, ROUTE, tenant("a"), unreadable]) == []


def test_as_many_counters_as_there_is_room_for_are_taken_and_not_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of the tier for each tenant, two of its own, one quota, one of a model, one that is shared."""
    own = "limits: {rate: 5/s, in_flight: 3}\nquotas:\n  - {name: q, meter: requests, limit: 5, per: rolling-1h}\n"
    files = [
        limits("shared:\n  - {name: s, applies_to: {tier: [gold]}, rate: 5/s}\n"),
        file("routes/ranker.yaml", "model: ranker\nlimits: {rate: 5/s}\n"),
        *(tenant(name, own) for name in "abc"),
        tenant("free", tier="free"),
    ]
    monkeypatch.setattr(budgets, "MAX_COUNTERS", 3 * 5 + 2)
    assert budgets.check(files) == []
    monkeypatch.setattr(budgets, "MAX_COUNTERS", 3 * 5 + 1)
    (error,) = budgets.check(files)
    assert error.problem == "these limits and quotas need 17 counters, and there is room for 16"


STEPS = st.dictionaries(st.integers(1, 1000), st.sampled_from(["warn", "demote", "refuse"]), min_size=1, max_size=6)


@given(STEPS)
def test_a_ladder_is_taken_exactly_when_each_of_its_steps_changes_something(steps: dict[int, str]) -> None:
    at = ", ".join(f"{share}%: {action}" for share, action in steps.items())
    refusals = [share for share, action in steps.items() if action == "refuse"]
    demotions = [share for share, action in steps.items() if action == "demote"]
    is_sound = (
        len(refusals) <= 1 and len(demotions) <= 1 and all(share <= min(refusals, default=1000) for share in steps)
    )
    assert (quota(f"meter: requests, limit: 5, per: rolling-1h, at: {{{at}}}") == []) == is_sound


@pytest.mark.parametrize(
    ("name", "exists"),
    [("Europe/Berlin", True), ("UTC", True), ("Europe", False), ("../x", False), ("/etc/zone", False)],
)
def test_a_time_zone_is_one_of_the_database_and_no_other_file(name: str, exists: bool) -> None:
    assert budgets.zone_exists(name) is exists
