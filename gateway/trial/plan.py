"""Plan: what a new policy would have done to recorded traffic, as a report that people and programs read."""

from __future__ import annotations

from msgspec import Struct

from gateway.decide.stage import Stage
from gateway.decide.tables import account_of
from gateway.decisions.folder import Read
from gateway.trial.memory_counters import QuotaUse
from gateway.trial.replay import Impact, Replay, Side
from policies import diff
from policies.snapshot.generation import Snapshot
from policies.snapshot.tenant import Key, Quota

NOT_MODELLED = (
    "callers that try again or call less once they are refused: the traffic is taken as it was",
    "pods: whether one was ready or busy is not decided by policy, so that who found none finds none and costs "
    "nothing; a new version is taken to cost what the old did",
    "what a request would have used that a limit refused when it was recorded, and for how long: the mean of those of "
    "its version that were answered before it, and of bytes what it announced with the mean answer",
    "use of a quota from before the traffic begins leaves its window as if it had been used when the traffic begins; "
    "rates begin unused",
    "grants on top of quotas, and credentials that were revoked beside the files",
    "headers, which are not recorded: a rule that looks at one is taken not to match, and each request is taken to "
    "have a sticky key of its own where that is a header; a claim is taken not to be there",
    "how far a canary will get: it is taken where it stands now, and a new one at its first step",
    "what is in a token: one of the tenant's issuer is taken to be signed, dated and meant as before",
)

# What is left speaks for what is missing only while it is the greater part.
_MOST_UNREADABLE = 0.5
_ANY_KEY = Key("", "", ())


class ReasonCount(Struct, frozen=True):
    """Requests of one kind; ``limits`` names those that refuse, "" when it is no limit."""

    reason: str
    limits: str
    requests: int


class Move(Struct, frozen=True):
    """Requests that another version answers."""

    model: str
    before: str
    after: str
    requests: int


class TenantImpact(Struct, frozen=True):
    """What changes for one tenant.

    Attributes:
        requests: all of the tenant's in the traffic.
        refused_otherwise: requests that stay refused, for another reason.
    """

    tenant: str
    requests: int
    newly_refused: tuple[ReasonCount, ...]
    newly_admitted: tuple[ReasonCount, ...]
    moved: tuple[Move, ...]
    refused_otherwise: int

    @property
    def new_refusals(self) -> int:
        """How many requests are refused that were not."""
        return sum(count.requests for count in self.newly_refused)


class LimitImpact(Struct, frozen=True):
    """What one limit does; those of quotas are called ``TENANT/QUOTA``.

    Attributes:
        refused_before, refused_after: requests that it refuses, perhaps together with others.
        would_refuse: requests that it would refuse if its mode were not observe.
    """

    limit: str
    refused_before: int
    refused_after: int
    would_refuse: int


class QuotaForecast(Struct, frozen=True):
    """A quota that is used up in the traffic, or will be at its pace.

    Attributes:
        used, limit: at the traffic's end, in the meter's unit.
        ran_out_s: when the first request was refused, seconds since the epoch; None when none was.
        runs_out_s: when it will be used up at the traffic's pace; None when it lasts.
    """

    tenant: str
    quota: str
    meter: str
    used: int
    limit: int
    ran_out_s: float | None
    runs_out_s: float | None


class TrafficReport(Struct, frozen=True):
    """What was replayed.

    Attributes:
        requests: with a known caller; ``unidentified`` counts the others, which are not replayed, by reason.
        lost: requests whose records could not be kept.
        skipped: torn or unreadable pieces of the records, each about a second of one worker.
        unreadable: which share of the records' bytes they are.
        late: requests out of order.
        as_recorded: share of requests that the policy before decides as it was recorded.
        assumed: requests that were refused when they were recorded and that the new policy admits and counts: each is
            taken to use as much, and to last as long, as those of its version that were answered before it did.
        unknown: the same, of which none was answered before: what would be reserved, for as long as the refusal took.
    """

    requests: int
    first_s: float
    last_s: float
    lost: int
    skipped: int
    unreadable: float
    late: int
    unidentified: dict[str, int]
    as_recorded: float
    assumed: int = 0
    unknown: int = 0


class CanaryTaken(Struct, frozen=True):
    """Where a canary is taken to stand.

    Attributes:
        before, after: its share under each policy; None where that has no such canary.
        is_known: a running mesh said where it stands; otherwise it is taken at its first step.
    """

    model: str
    canary: str
    version: str
    before: float | None
    after: float | None
    is_known: bool


class Plan(Struct, frozen=True):
    """What a new policy would have done.

    Attributes:
        changes: between the two policies, a sentence each.
        traffic: None when none was asked for.
        new_refusals: requests that are refused and were not.
        unused_limits, unused_models, unused_tenants: of the new policy, those that no request concerns.
        canaries: where those of both policies are taken to stand.
    """

    changes: tuple[str, ...]
    traffic: TrafficReport | None = None
    new_refusals: int = 0
    new_admissions: int = 0
    moved: int = 0
    tenants: tuple[TenantImpact, ...] = ()
    limits: tuple[LimitImpact, ...] = ()
    quotas: tuple[QuotaForecast, ...] = ()
    unused_limits: tuple[str, ...] = ()
    unused_models: tuple[str, ...] = ()
    unused_tenants: tuple[str, ...] = ()
    not_modelled: tuple[str, ...] = ()
    canaries: tuple[CanaryTaken, ...] = ()

    @property
    def new_refusal_share(self) -> float:
        """Of all requests; 0.0 without traffic."""
        return self.new_refusals / self.traffic.requests if self.traffic and self.traffic.requests else 0.0


def plan_without_traffic(before: Snapshot, after: Snapshot) -> Plan:
    """Return what changes in the files alone."""
    return Plan(diff.changes(before, after))


def doubt(plan: Plan) -> str:
    """Return why a plan's traffic shows nothing of what the policy would do; "" where it does."""
    traffic = plan.traffic
    if traffic is None or not traffic.requests:
        return "no request was replayed, so nothing shows how many would be refused"
    if traffic.unreadable > _MOST_UNREADABLE:
        return f"most of the recorded traffic cannot be read, {traffic.unreadable:.1%} of its bytes"
    return ""


def plan_of(replay: Replay, read: Read) -> Plan:
    """Return what a replay found.

    Args:
        read: what reading the traffic said.
    """
    before, after = replay.before, replay.after
    impacts = [_tenant_impact(name, impact, replay.tenants[name]) for name, impact in replay.impacts.items()]
    impacts.sort(key=lambda impact: (-impact.new_refusals, impact.tenant))
    return Plan(
        changes=diff.changes(before.snapshot, after.snapshot),
        traffic=TrafficReport(
            requests=replay.count,
            first_s=replay.first_s,
            last_s=replay.last_s,
            lost=read.lost,
            skipped=read.skipped,
            unreadable=read.unreadable,
            late=replay.late,
            unidentified=read.unidentified,
            as_recorded=replay.as_recorded / replay.count if replay.count else 1.0,
            assumed=after.assumed,
            unknown=after.unknown,
        ),
        new_refusals=sum(impact.new_refusals for impact in impacts),
        new_admissions=sum(count.requests for impact in impacts for count in impact.newly_admitted),
        moved=sum(move.requests for impact in impacts for move in impact.moved),
        tenants=tuple(impacts),
        limits=_limit_impacts(before, after),
        quotas=_forecasts(after, replay.first_s, replay.last_s),
        unused_limits=_unused_limits(replay),
        unused_models=tuple(sorted(after.snapshot.routes.keys() - replay.models.keys())),
        unused_tenants=tuple(sorted(after.snapshot.tenants.keys() - replay.tenants.keys())),
        not_modelled=NOT_MODELLED,
        canaries=_canaries(replay),
    )


def _canaries(replay: Replay) -> tuple[CanaryTaken, ...]:
    """The canaries of both policies; one that begins anew is another one."""
    before, after = replay.before.tables.stages, replay.after.tables.stages
    taken: list[CanaryTaken] = []
    for model in sorted(before.keys() | after.keys()):
        old, new = before.get(model), after.get(model)
        is_known = model in replay.told
        if old is not None and _is_same(old, new):
            taken.append(_taken(old, old.share, new.share if new else None, is_known))
            continue
        if old is not None:
            taken.append(_taken(old, old.share, None, is_known))
        if new is not None:
            taken.append(_taken(new, None, new.share, is_known=False))
    return tuple(taken)


def _taken(stage: Stage, before: float | None, after: float | None, is_known: bool) -> CanaryTaken:
    return CanaryTaken(stage.model, stage.canary, stage.version, before, after, is_known)


def _is_same(stage: Stage, other: Stage | None) -> bool:
    return other is not None and (stage.canary, stage.version) == (other.canary, other.version)


def _tenant_impact(tenant: str, impact: Impact, requests: int) -> TenantImpact:
    return TenantImpact(
        tenant,
        requests,
        tuple(ReasonCount(reason, limits, n) for (reason, limits), n in impact.newly_refused.most_common()),
        tuple(ReasonCount(reason, "", n) for reason, n in impact.newly_admitted.most_common()),
        tuple(Move(model, old, new, n) for (model, old, new), n in impact.moved.most_common()),
        impact.refused_otherwise.total(),
    )


def _limit_impacts(before: Side, after: Side) -> tuple[LimitImpact, ...]:
    names = before.refused.keys() | after.refused.keys() | after.observed.keys()
    found = [LimitImpact(name, before.refused[name], after.refused[name], after.observed[name]) for name in names]
    return tuple(sorted(found, key=lambda limit: (-limit.refused_after, -limit.would_refuse, limit.limit)))


def _forecasts(side: Side, first_s: float, last_s: float) -> tuple[QuotaForecast, ...]:
    found: list[QuotaForecast] = []
    for tenant in side.snapshot.tenants.values():
        for quota in tenant.quotas:
            account = account_of(tenant.name, quota)
            use = side.counters.quotas[account]
            ran_out_s = side.ran_out_s.get(account)
            runs_out_s = _runs_out_s(quota, use, last_s - first_s, last_s)
            if ran_out_s is not None or runs_out_s is not None:
                used = use.standing(last_s).used
                found.append(
                    QuotaForecast(tenant.name, quota.name, quota.meter, used, quota.limit, ran_out_s, runs_out_s)
                )
    return tuple(sorted(found, key=lambda forecast: (forecast.ran_out_s or forecast.runs_out_s or 0.0, forecast.quota)))


def _runs_out_s(quota: Quota, use: QuotaUse, span_s: float, last_s: float) -> float | None:
    """When the use reaches the limit at the traffic's pace, if that is before the window lets go of use."""
    if not use.total or span_s <= 0.0:
        return None
    standing = use.standing(last_s)
    most = quota.limit * (quota.refuse_share or 1.0)
    at_s = last_s + max(0.0, most - standing.used) / (use.total / span_s)
    return at_s if at_s < standing.resets_at_s else None


def _unused_limits(replay: Replay) -> tuple[str, ...]:
    """Limits of the new policy that no request draws on; a tier's is used when any tenant of it uses it."""
    tables, snapshot = replay.after.tables, replay.after.snapshot
    used: set[str] = set()
    for tenant, model in replay.requests:
        caller = tables.caller(snapshot.tenants[tenant], _ANY_KEY)
        admission = tables.admission(caller, snapshot.routes[model])
        used.update(rate.name for rate in admission.rates)
        used.update(slot.name.removesuffix("/in_flight") for slot in admission.slots)
    tenants = snapshot.tenants.values()
    defined = [tier.limit for tier in snapshot.tiers.values()]
    defined += [tenant.limit for tenant in tenants]
    defined += [route.limit for route in snapshot.routes.values()]
    defined += [shared.limit for shared in snapshot.shared]
    return tuple(sorted({limit.name for limit in defined if limit is not None} - used))
