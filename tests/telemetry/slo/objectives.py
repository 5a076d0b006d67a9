"""Objectives as tests need them."""

from __future__ import annotations

from policies.snapshot.slos import BurnAlert, Guards, Objective

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86400.0
NO_GUARDS = Guards(chance_below=0.0)
# The workbook's table, written out: these tests must not take it from the code they test.
PAGE_FAST = BurnAlert("page", "page fast", 14.4, HOUR_S, 5 * MINUTE_S)
PAGE_SLOW = BurnAlert("page", "page slow", 6.0, 6 * HOUR_S, 30 * MINUTE_S)
TICKET_FAST = BurnAlert("ticket", "ticket fast", 3.0, DAY_S, 2 * HOUR_S)
TICKET_SLOW = BurnAlert("ticket", "ticket slow", 1.0, 3 * DAY_S, 6 * HOUR_S)
WORKBOOK = (PAGE_FAST, PAGE_SLOW, TICKET_FAST, TICKET_SLOW)


def objective(
    target: float = 0.999,
    period_s: float = 30 * DAY_S,
    within_s: float | None = None,
    ignore_status: tuple[int, ...] | None = None,
    alerts: tuple[BurnAlert, ...] = WORKBOOK,
    guards: Guards = NO_GUARDS,
    first_byte_within_s: float | None = None,
    pod: str = "",
) -> Objective:
    return Objective(
        name="digits-availability",
        owner="vision-team",
        period_s=period_s,
        target=target,
        status_below=0 if pod else 500,
        within_s=within_s,
        ignore_status=ignore_status,
        alerts=alerts,
        guards=guards,
        first_byte_within_s=first_byte_within_s,
        pod=pod,
    )


def about_loads(within_s: float) -> Objective:
    return Objective("digits-loads", "vision-team", 30 * DAY_S, 0.99, loads_within_s=within_s)


def about_labels() -> Objective:
    return Objective("digits-right", "vision-team", 30 * DAY_S, 0.99, label="right")
