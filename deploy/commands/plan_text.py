"""A plan in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from gateway.control.slo_words import length
from gateway.trial.amounts import used_text
from gateway.trial.plan import CanaryTaken, LimitImpact, Plan, QuotaForecast, TenantImpact, TrafficReport
from policies.units import percent_text

# What a person reads; `--json` has all.
_SHOWN = 20


def describe(plan: Plan) -> list[str]:
    """Return the lines that a person reads."""
    lines = ["what changes:", *(f"  {change}" for change in plan.changes or ("nothing",))]
    if plan.traffic is None:
        return [*lines, "", "no traffic was replayed"]
    lines += ["", *_traffic(plan.traffic)]
    if not plan.traffic.requests:
        return lines
    lines += ["", *_outcome(plan)]
    lines += _section("canaries are taken where they stand:", [_canary(canary) for canary in plan.canaries])
    lines += _section("for whom:", [line for tenant in plan.tenants for line in _tenant(tenant)])
    lines += _section("limits:", [_limit(limit) for limit in plan.limits])
    lines += _section("quotas:", [_quota(quota) for quota in plan.quotas])
    lines += _section("nothing in this traffic matches:", list(_unused(plan)))
    lines += _section("not modelled:", list(plan.not_modelled))
    return lines


def share_text(share: float) -> str:
    """Write a share with one decimal; what is not quite nothing or not quite all is not rounded to it."""
    if 0.0 < share < 0.001:
        return "under 0.1%"
    return "over 99.9%" if 0.999 < share < 1.0 else f"{share:.1%}"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    rest = len(lines) - _SHOWN
    more = [f"  and {rest} more; --json has all"] if rest > 0 else []
    return ["", title, *(f"  {line}" for line in lines[:_SHOWN]), *more]


def _traffic(traffic: TrafficReport) -> Iterator[str]:
    if not traffic.requests:
        torn = f"; {traffic.skipped:,} pieces could not be read" if traffic.skipped else ""
        yield f"no request was recorded in that time{torn}"
        return
    span = length(max(1.0, traffic.last_s - traffic.first_s))
    yield (
        f"replayed {traffic.requests:,} requests of {span}, {_moment(traffic.first_s)} to {_moment(traffic.last_s)}; "
        f"{share_text(traffic.as_recorded)} of them are decided by the policy before as they were then"
    )
    if traffic.lost or traffic.skipped or traffic.late:
        yield (
            f"not whole: {traffic.lost:,} records were lost, {traffic.skipped:,} torn pieces (about a second of "
            f"one worker each, {share_text(traffic.unreadable)} of what was read) were skipped, "
            f"{traffic.late:,} requests came out of order"
        )
    if traffic.assumed:
        yield (
            f"assumed: {traffic.assumed:,} requests that were refused then and are admitted now last as long and use "
            "as much as those of their version that were answered before them, on average; of bytes, what they "
            "announced and the mean answer"
        )
    if traffic.unknown:
        yield (
            f"assumed: {traffic.unknown:,} that were refused before any other of their version was answered last no "
            "longer than their refusal, and use what would be reserved for them"
        )
    if traffic.unidentified:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(traffic.unidentified.items()))
        yield f"not replayed, because nobody was known to call: {counts}"


def _outcome(plan: Plan) -> Iterator[str]:
    yield f"newly refused:   {plan.new_refusals:,} requests, {share_text(plan.new_refusal_share)}"
    yield f"newly admitted:  {plan.new_admissions:,} requests"
    yield f"other version:   {plan.moved:,} requests"


def _tenant(impact: TenantImpact) -> Iterator[str]:
    of = f"tenant {impact.tenant}, {impact.requests:,} requests"
    for count in impact.newly_refused:
        by = f" by {count.limits}" if count.limits else ""
        yield f"{of}: {count.requests:,} newly refused{by} ({count.reason})"
    for count in impact.newly_admitted:
        yield f"{of}: {count.requests:,} newly admitted, refused before ({count.reason})"
    for move in impact.moved:
        yield f"{of}: {move.requests:,} of {move.model} go to version {move.after} instead of {move.before}"
    if impact.refused_otherwise:
        yield f"{of}: {impact.refused_otherwise:,} stay refused, for another reason"


def _canary(canary: CanaryTaken) -> str:
    name = f"{canary.canary} of {canary.model}, version {canary.version}"
    if canary.before is None:
        return f"{name}: begins at its first step, {percent_text(canary.after or 0.0)}"
    source = "" if canary.is_known else ", its first step, since no running mesh said where it stands"
    then = "gone" if canary.after is None else percent_text(canary.after)
    return f"{name}: {percent_text(canary.before)}{source}; after the change {then}"


def _limit(limit: LimitImpact) -> str:
    would = f"; would refuse {limit.would_refuse:,}, if its mode were not observe" if limit.would_refuse else ""
    return f"{limit.limit}: refuses {limit.refused_after:,}, before {limit.refused_before:,}{would}"


def _quota(quota: QuotaForecast) -> str:
    used = f"{used_text(quota.used, quota.limit, quota.meter)} used at the end"
    when = "" if quota.ran_out_s is None else f", used up {_moment(quota.ran_out_s)}"
    pace = "" if quota.runs_out_s is None else f", at this pace used up {_moment(quota.runs_out_s)}"
    return f"{quota.quota} of tenant {quota.tenant}: {used}{when or pace}"


def _unused(plan: Plan) -> Iterator[str]:
    for sort, names in (
        ("limit", plan.unused_limits),
        ("model", plan.unused_models),
        ("tenant", plan.unused_tenants),
    ):
        if names:
            shown = ", ".join(names[:_SHOWN])
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            yield f"{sort}{'s' if len(names) > 1 else ''} {shown}{more}"


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
