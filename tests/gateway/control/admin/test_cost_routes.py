"""Costs over ASGI: by whom, of which model, and only to who may see them."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from gateway.control.admin import cost_routes
from gateway.control.callers import AdminCaller, Gate
from gateway.control.cost_totals import Cost, CostKind, CostTotals
from gateway.control.management import make_app
from gateway.decide.authorization import LOCAL, Actor
from policies.snapshot.mesh import Role

SINCE_S = 1_767_225_600.0
OF_DIGITS = Actor("key:k1", (Role("cost", subjects=("key:k1",), may=("quota.read",), models=("digits",)),))
ON_CALL = Actor("key:k2", (Role("on-call", subjects=("key:k2",), may=("slo.read",)),))


def ask(query: str = "", actor: Actor = LOCAL) -> httpx.Response:
    """Ask as somebody who has signed in."""
    totals = CostTotals(SINCE_S)
    totals.by_kind = {
        CostKind("ads", "digits"): Cost(3, 2_500_000, 900, 0),
        CostKind("ads", "text"): Cost(1, 4_000_000, 80, 17),
        CostKind("web", "digits"): Cost(2, 500_000, 100, 0),
    }

    totals.by_version = {("digits", "1"): Cost(5, 3_000_000, 1000, 0), ("text", "2"): Cost(1, 4_000_000, 80, 17)}

    def sign_in(_: AdminCaller) -> Actor:
        return actor

    app = make_app([cost_routes.router(totals)], lambda: Gate(("127.0.0.1",)), sign_in)

    async def exchange() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8081") as client:
            return await client.get(f"/admin/costs{query}")

    return asyncio.run(exchange())


def rows(answer: httpx.Response) -> list[tuple[str, str, float]]:
    """Return whose and what for, and device seconds."""
    told: list[dict[str, Any]] = answer.json()["rows"]
    return [(row["tenant"], row["model"], row["device_s"]) for row in told]


def test_the_dearest_come_first_and_all_are_in_the_total() -> None:
    answer = ask("?most=2")
    assert rows(answer) == [("ads", "text", 4.0), ("ads", "digits", 2.5)]
    assert answer.json()["left_out"] == 1
    assert answer.json()["since"] == "2026-01-01T00:00:00.000+00:00"
    assert answer.json()["total"] == {
        "tenant": "",
        "model": "",
        "requests": 6,
        "device_s": 7.0,
        "body_bytes": 1080,
        "tokens": 17,
    }


def test_one_tenant_can_be_asked_for() -> None:
    assert rows(ask("?tenant=web")) == [("web", "digits", 0.5)]
    assert rows(ask("?tenant=nobody")) == []


def test_a_role_for_some_models_sees_what_these_cost_and_no_more() -> None:
    answer = ask(actor=OF_DIGITS)
    assert rows(answer) == [("ads", "digits", 2.5), ("web", "digits", 0.5)]
    assert answer.json()["total"]["device_s"] == 3.0


def test_without_the_permission_nothing_is_told() -> None:
    answer = ask(actor=ON_CALL)
    assert (answer.status_code, answer.json()["reason"]) == (403, "permission_missing")


def test_so_many_rows_are_refused_in_a_sentence() -> None:
    assert (ask("?most=0").status_code, ask("?most=10001").json()["reason"]) == (400, "bad_query")


def test_the_same_is_told_by_version_and_not_of_one_tenant() -> None:
    versions = [(row["model"], row["version"], row["device_s"]) for row in ask().json()["versions"]]
    assert versions == [("text", "2", 4.0), ("digits", "1", 3.0)]
    assert [row["model"] for row in ask(actor=OF_DIGITS).json()["versions"]] == ["digits"]
    assert ask("?tenant=ads").json()["versions"] == []
    assert len(ask("?most=1").json()["versions"]) == 1
