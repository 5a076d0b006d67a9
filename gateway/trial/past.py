"""The past: a recorded request explained by the policy of its time, and decided anew by another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec.structs import replace

from gateway.decide.facts import RequestFacts
from gateway.decide.limits import interval_ns, nanoseconds
from gateway.decide.release import Arm
from gateway.decide.stage import Stage
from gateway.decide.tables import Admission, QuotaBound, Tables
from gateway.decisions.records import Ended, Record, facts_of
from gateway.errors import REASONS, status_of
from gateway.trial.explanation import REFUSED, Explanation, Step, explain
from gateway.trial.requests import CHANCE
from gateway.trial.stages import stage_at
from gateway.trial.stated_counters import StatedCounters, standing_of
from gateway.trial.tried_policy import tried_tables
from policies.snapshot.generation import Snapshot
from policies.snapshot.tenant import Key

_ANY_KEY = Key("", "", ())
# Of the trial's own clock, on which only distances count.
_NOW_S = 1e6
_ADMITTED = 200
# Which step an admitted request was refused at; one that came to a pod had all of them behind it.
_STEP_OF = {
    "no_pod_ready": "pods",
    "pods_busy": "queue",
    "quota_demoted": "queue",
    "shed": "queue",
    "waited_too_long": "queue",
    "would_be_late": "queue",
}
_ANSWER = "answer"
_NO_STAGES: Mapping[str, Stage] = {}


@dataclass(frozen=True)
class Decided:
    """What a policy decides of one request, and every step to it; of a past one also how that ended.

    Attributes:
        status, reason: 200 and "" for a request that may go to a pod, and was not refused after that.
        version: "" where the policy refuses it.
    """

    generation: int
    status: int
    reason: str
    message: str
    version: str
    steps: list[Step]


@dataclass(frozen=True)
class RecordedReport:
    """What was kept of a request.

    Attributes:
        at: of the decision, RFC 3339.
        asked_version: by the path; ``pinned_version`` is the header's.
        status, reason: what the caller got, whoever refused.
        refused_by: limits that refused it.
        left: of its limits, once it was charged.
        device_us: microseconds of devices; -1 when no pod said.
    """

    at: str
    tenant: str
    credential_id: str
    method: str
    api: str
    model: str
    asked_version: str
    pinned_version: str
    timeout_ms: str
    content_length: int
    generation: int
    version: str
    arm: str
    status: int
    reason: str
    refused_by: list[str]
    left: dict[str, int]
    observed: list[str]
    warned: list[str]
    demoted_by: str
    duration_s: float
    device_us: int
    request_bytes: int
    response_bytes: int
    tokens: int


@dataclass(frozen=True)
class PastReport:
    """One recorded request, decided anew.

    Attributes:
        then: by the policy of its time, with what was left of limits then; null when that is not kept any more.
        now: by the policy in force, with its rates unused and its quotas used as then.
    """

    request_id: str
    recorded: RecordedReport
    then: Decided | None
    now: Decided


def past_report(
    request_id: str, record: Record, then: Snapshot | None, now: Snapshot, stages: Mapping[str, Stage] = _NO_STAGES
) -> PastReport:
    """Explain a recorded request.

    Args:
        then: the policy of its generation; None when it is not kept any more.
        stages: by model, where canaries stand now.
    """
    tables = None if then is None else tried_tables(then)
    return PastReport(
        request_id,
        _recorded(record),
        None if tables is None else _as_it_ended(decided(explained_then(tables, record)), record.ended),
        decided(_explained_now(tried_tables(now), tables, record, stages)),
    )


def _recorded(record: Record) -> RecordedReport:
    asked, ended = record.asked, record.ended
    return RecordedReport(
        at=datetime.fromtimestamp(record.at_s, UTC).isoformat(timespec="milliseconds"),
        tenant=asked.tenant,
        credential_id=asked.credential_id,
        method=asked.method,
        api=asked.api,
        model=asked.model,
        asked_version=asked.version,
        pinned_version=asked.pinned_version,
        timeout_ms=asked.timeout_ms,
        content_length=record.content_length,
        generation=ended.generation,
        version=ended.version,
        arm=ended.arm,
        status=ended.status,
        reason=ended.reason,
        refused_by=list(ended.limits),
        left=dict(zip(ended.rooms, record.left, strict=False)),
        observed=list(ended.observed),
        warned=list(ended.warned),
        demoted_by=ended.demoted_by,
        duration_s=record.duration_s,
        device_us=record.device_us,
        request_bytes=record.request_bytes,
        response_bytes=record.response_bytes,
        tokens=record.tokens,
    )


def decided(explanation: Explanation) -> Decided:
    """Return an explanation as it is reported."""
    decision, refusal = explanation.decision, explanation.decision.refusal
    status, reason, message = _ADMITTED, "", ""
    if refusal is not None:
        status, reason, message = status_of(refusal.reason), refusal.reason, refusal.message
    return Decided(decision.generation, status, reason, message, decision.version, list(explanation.steps))


def _as_it_ended(then: Decided, ended: Ended) -> Decided:
    """Return a decision with what came after it: whom policy lets in may still find no place, no pod or no answer."""
    reason = REASONS.get(ended.reason)
    if then.reason or ended.refusal or reason is None:
        return then
    about = _STEP_OF.get(ended.reason, _ANSWER)
    step = Step(about, REFUSED, f"{reason.name}: {reason.meaning}")
    known = [one.about for one in then.steps]
    before = then.steps[: known.index(about)] if about in known else then.steps
    return Decided(then.generation, ended.status, reason.name, reason.meaning, then.version, [*before, step])


def explained_then(tables: Tables, record: Record) -> Explanation:
    """Explain a request by the policy of its time, with limits that leave what they left then."""
    admission = _admission(tables, record)
    counters = StatedCounters({}) if admission is None else _counters_then(admission, record)
    tables.stages = _stages_then(tables, record)
    return explain(tables, _facts(tables, record), counters, _NOW_S, is_recorded=True)


def _explained_now(tables: Tables, then: Tables | None, record: Record, stages: Mapping[str, Stage]) -> Explanation:
    """Explain it by another policy; what was used of a quota follows from its limit then."""
    admission_now = _admission(tables, record)
    admission_then = admission_now if then is None else _admission(then, record)
    used: dict[str, int] = {}
    if admission_then is not None:
        used = {bound.account: _stood(bound, record)[0] for bound in admission_then.quotas}
    quotas = admission_now.quotas if admission_now is not None else ()
    standings = {bound.account: standing_of(bound.quota.limit, used.get(bound.account, 0)) for bound in quotas}
    tables.stages = _stages_now(tables, then, record, stages)
    facts = _facts(tables if then is None else then, record)
    return explain(tables, facts, StatedCounters(standings), _NOW_S, is_recorded=True)


def _facts(then: Tables, record: Record) -> RequestFacts:
    """What is known of a request, and of its headers those without which no rule would have sent it where it went."""
    facts = facts_of(record.asked, record.content_length, record.at_s)
    route = then.routes.get(record.ended.model)
    if route is None or record.ended.arm != Arm.PINNED or record.asked.version or record.asked.pinned_version:
        return replace(facts, draw=CHANCE)
    rules = [rule for rule in route.choose if rule.version == record.ended.version and rule.when.headers]
    return replace(facts, draw=CHANCE, headers=rules[0].when.headers if rules else ())


def _stages_then(tables: Tables, record: Record) -> dict[str, Stage]:
    """A stage at which the request gets the version that it had."""
    route = tables.routes.get(record.ended.model)
    return {} if route is None else stage_at(route, 1.0 if record.ended.arm == Arm.CANARY else 0.0)


def _stages_now(
    tables: Tables, then: Tables | None, record: Record, stages: Mapping[str, Stage]
) -> Mapping[str, Stage]:
    """Where canaries stand now; a request is taken to be in the same canary as then, as long as that has a share."""
    model = record.ended.model
    stage = stages.get(model)
    was = None if then is None or model not in then.routes else then.routes[model].canary
    if stage is None or was is None or (was.id, was.version) != (stage.canary, stage.version):
        return stages
    if stage.share in (0.0, 1.0) or model not in tables.routes:
        return stages
    return {model: replace(stage, share=1.0 if record.ended.arm == Arm.CANARY else 0.0)}


def _admission(tables: Tables, record: Record) -> Admission | None:
    tenant = tables.tenants.get(record.asked.tenant)
    route = tables.routes.get(record.ended.model)
    if tenant is None or route is None:
        return None
    return tables.admission(tables.caller(tenant, _ANY_KEY), route)


def _counters_then(admission: Admission, record: Record) -> StatedCounters:
    """Limits such that what is left is what was recorded: of a request that one of them refused, uncharged."""
    left = _left(record)
    own = 0 if record.ended.limits else 1
    full = {*record.ended.limits, *record.ended.observed}
    now_ns = nanoseconds(_NOW_S)
    tats_ns, held, standings = {}, {}, {}
    for rate in admission.rates:
        spent = rate.burst if rate.name in full else rate.burst - own - left.get(rate.name, rate.burst - own)
        tats_ns[rate.key] = now_ns + spent * interval_ns(rate.rate_per_s)
    for slot in admission.slots:
        held[slot.key] = slot.most if slot.name in full else slot.most - own - left.get(slot.name, slot.most - own)
    for bound in admission.quotas:
        used, is_pending = _stood(bound, record)
        standing = standing_of(bound.quota.limit, used)
        standings[bound.account] = replace(standing, left=0) if is_pending else standing
    return StatedCounters(standings, tats_ns, held)


def _left(record: Record) -> dict[str, int]:
    return dict(zip(record.ended.rooms, record.left, strict=False))


def _stood(bound: QuotaBound, record: Record) -> tuple[int, bool]:
    """Return what was used of a quota before the request, and whether it waited for the ledger."""
    quota, ended = bound.quota, record.ended
    left = _left(record).get(quota.name)
    if left is None:
        return 0, quota.name in ended.limits
    least = max(1, record.content_length) if quota.meter == "bytes" else 1
    used = max(0, quota.limit - left - (0 if ended.limits else least))
    if quota.name not in ended.limits:
        return used, False
    most = None if bound.refuse_share is None else quota.limit * bound.refuse_share
    is_first = ended.limits[0] == quota.name
    # What is left tells only of the first limit that refuses why it does: nothing left is then taken for used up.
    is_pending = ended.refusal == "quota_pending" if is_first else left > 0 and (most is None or used + least <= most)
    if is_pending or most is None:
        return used, True
    return max(used, int(most) - least + 1), False
