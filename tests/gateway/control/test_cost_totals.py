"""Costs of every tenant, and the report of them."""

from __future__ import annotations

from collections import defaultdict

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.busy_tenants import OTHER
from gateway.control.cost_report import CostRow, costs_report
from gateway.control.cost_totals import MAX_KINDS, MAX_VERSIONS, Cost, CostKind, CostTotals
from gateway.control.messages import RequestCounts

SINCE_S = 1_767_225_600.0
AMOUNTS = st.integers(0, 10**9)
TOLD = st.lists(
    st.tuples(st.sampled_from(["ads", "web", ""]), st.sampled_from(["digits", "text"]), AMOUNTS, AMOUNTS, AMOUNTS)
)


def counts(
    tenant: str, model: str = "digits", device_us: int = 1, body_bytes: int = 0, tokens: int = 0
) -> RequestCounts:
    return RequestCounts(
        model, "1", tenant, "gold", 200, "", (1, 2), 0.5, device_us=device_us, body_bytes=body_bytes, tokens=tokens
    )


@given(TOLD)
def test_costs_are_sums_by_tenant_and_model_and_the_report_s_total_is_all_of_them(
    told: list[tuple[str, str, int, int, int]],
) -> None:
    totals = CostTotals(SINCE_S)
    expected: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for tenant, model, device_us, body_bytes, tokens in told:
        totals.add(counts(tenant, model, device_us, body_bytes, tokens))
        for place, amount in enumerate((3, device_us, body_bytes, tokens)):
            expected[tenant, model][place] += amount
    found = {(kind.tenant, kind.model): cost for kind, cost in totals.by_kind.items()}
    assert found == {kind: Cost(*sums) for kind, sums in expected.items()}
    total = costs_report(SINCE_S, totals.by_kind.items(), most=1).total
    assert total.requests == 3 * len(told)
    assert round(total.device_s * 1e6) == sum(device_us for _, _, device_us, _, _ in told)


def test_beyond_so_many_kinds_tenants_are_counted_as_one() -> None:
    totals = CostTotals(SINCE_S)
    for number in range(MAX_KINDS + 3):
        totals.add(counts(f"t{number}"))
    totals.add(counts("t0"))
    assert len(totals.by_kind) == MAX_KINDS + 1
    assert totals.by_kind[CostKind(OTHER, "digits")].device_us == 3
    assert totals.by_kind[CostKind("t0", "digits")].device_us == 2


def test_the_dearest_come_first_and_what_is_left_out_is_counted() -> None:
    costs = {
        CostKind("a", "digits"): Cost(1, 5, 10, 0),
        CostKind("b", "digits"): Cost(1, 7_000_000, 0, 3),
        CostKind("c", "digits"): Cost(1, 5, 11, 0),
    }
    report = costs_report(SINCE_S, costs.items(), most=2)
    assert [row.tenant for row in report.rows] == ["b", "c"]
    assert report.rows[0] == CostRow("b", "digits", 1, 7.0, 0, 3)
    assert report.since == "2026-01-01T00:00:00.000+00:00"
    assert (report.left_out, report.total) == (1, CostRow("", "", 3, 7.00001, 21, 3))


def test_versions_are_told_apart_up_to_a_bound() -> None:
    totals = CostTotals(SINCE_S)
    for number in range(MAX_VERSIONS + 2):
        totals.add(msgspec.structs.replace(counts("ads"), version=str(number)))
    assert len(totals.by_version) == MAX_VERSIONS + 1
    assert totals.by_version["digits", OTHER].device_us == 2 * totals.by_version["digits", "0"].device_us
