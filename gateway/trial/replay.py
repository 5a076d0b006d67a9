"""Replay: recorded requests decided anew, in time order, by two policies, each with limits of its own.

Both policies are simulated, not only the new one: what the simulation cannot know is then the same on both sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from gateway.decide.decision import Decision, Refusal, decide
from gateway.decide.facts import RequestFacts
from gateway.decide.route import INFERENCES
from gateway.decide.stage import Stage
from gateway.decide.tables import Tables
from gateway.errors import CLIENT_GONE
from gateway.trial.memory_counters import NOT_TOLD, Costs, MemoryCounters, Used
from gateway.trial.stages import stages_after, stages_in
from gateway.trial.traffic import Row
from gateway.trial.tried_policy import tried
from policies.snapshot.generation import Snapshot

# Reasons of requests that a pod had, and of which it did not say any more what they used.
_MAY_HAVE_RUN = frozenset(
    {CLIENT_GONE, "deadline_exceeded_running", "gateway_stopped", "inference_lost", "pod_bad_answer", "pod_lost"}
)
_NOTHING: Used = (0, 0, 0, 0)
_NO_STAGES: Mapping[str, Stage] = {}
# Its multiples fill every part of [0, 1) evenly.
_GOLDEN = 0.6180339887498949


class Side:
    """One of the two policies.

    Attributes:
        admitted: requests.
        refused: requests by the limit that refuses them; those of a quota as ``TENANT/QUOTA``.
        observed: requests that an observed limit would refuse.
        ran_out_s: when each quota was used up first, by account.
        assumed: requests refused when they were recorded, and charged here what others of their version used.
        unknown: the same, but before any other of their version was answered.
    """

    def __init__(self, snapshot: Snapshot, costs: Costs, stages: Mapping[str, Stage]) -> None:
        self.snapshot = tried(snapshot)
        self.tables = Tables(self.snapshot)
        self.tables.stages = stages
        self.counters = MemoryCounters(self.snapshot, costs)
        self._costs = costs
        self.admitted = self.assumed = self.unknown = 0
        self.refused: Counter[str] = Counter()
        self.observed: Counter[str] = Counter()
        self.ran_out_s: dict[str, float] = {}

    def decide(self, facts: RequestFacts, used: Used | None, answered_s: float) -> Decision:
        """Decide one request, and charge it.

        Args:
            used: None for one that was refused when it was recorded; nobody knows what it would have used.
            answered_s: when it was over.
        """
        counters, now_s = self.counters, facts.wall_s
        counters.at(now_s)
        decision = decide(self.tables, facts, counters, now_s)
        refusal = decision.refusal
        if refusal is None:
            self.admitted += 1
            if decision.charges:
                if used is None:
                    used, answered_s = self._as_others(decision, facts, answered_s)
                counters.charge(decision.charges, used, answered_s)
        elif refusal.limits:
            self._count_refused(decision, refusal, now_s)
        if decision.observed:
            self.observed.update(decision.observed)
        return decision

    def _as_others(self, decision: Decision, facts: RequestFacts, refused_s: float) -> tuple[Used | None, float]:
        """Return what a request is taken to use that was refused, and when it is taken to be over."""
        if decision.api not in INFERENCES:
            return None, refused_s
        usual = self._costs.of_one_refused(decision.model, decision.version, facts.content_length)
        if usual is None:
            self.unknown += 1
            return None, refused_s
        self.assumed += 1
        used, lasts_s = usual
        return used, facts.wall_s + lasts_s

    def _count_refused(self, decision: Decision, refusal: Refusal, now_s: float) -> None:
        for limit in refusal.limits:
            account = self.tables.account(decision.tenant, limit)
            if account:
                self.refused[f"{decision.tenant}/{limit}"] += 1
                self.ran_out_s.setdefault(account, now_s)
            else:
                self.refused[limit] += 1


class Impact:
    """What changes for one tenant.

    Attributes:
        newly_refused: by (reason, limits).
        newly_admitted: by the reason that refused before.
        moved: by (model, version before, version after).
        refused_otherwise: by (reason before, reason after).
    """

    __slots__ = ("moved", "newly_admitted", "newly_refused", "refused_otherwise")

    def __init__(self) -> None:
        self.newly_refused: Counter[tuple[str, str]] = Counter()
        self.newly_admitted: Counter[str] = Counter()
        self.moved: Counter[tuple[str, str, str]] = Counter()
        self.refused_otherwise: Counter[tuple[str, str]] = Counter()


class Replay:
    """Traffic under two policies.

    Args:
        told: by model, where the canaries of the policy before stand; one that is missing is at its first step.

    Attributes:
        told: as above.
        impacts: by tenant, of those whose requests change.
        requests: by (tenant, model), of those that the new policy's limits are asked about.
        tenants: all requests, by tenant.
        models: requests that find a model under the new policy, by its name.
        as_recorded: requests that the policy before decides as it was recorded.
        late: requests that were recorded so late that they are out of order.
    """

    def __init__(self, before: Snapshot, after: Snapshot, told: Mapping[str, Stage] = _NO_STAGES) -> None:
        self._costs = Costs()
        self.told = told
        stages = stages_in(before, told)
        self.before = Side(before, self._costs, stages)
        self.after = Side(after, self._costs, stages_after(stages, before, after))
        self._sticky_headers = sorted(_sticky_headers(before) | _sticky_headers(after))
        self._taken = 0
        self.count = self.as_recorded = self.late = 0
        self.first_s = self.last_s = 0.0
        self.impacts: dict[str, Impact] = {}
        self.requests: Counter[tuple[str, str]] = Counter()
        self.tenants: Counter[str] = Counter()
        self.models: Counter[str] = Counter()
        self._unseeded = {
            tenant.name: {quota.name for quota in tenant.quotas} for tenant in before.tenants.values() if tenant.quotas
        }

    def run(self, chunks: Iterable[list[Row]], progress: Callable[[int], None]) -> None:
        """Take all traffic; ``progress`` is told now and then how much that is so far."""
        for rows in chunks:
            for row in rows:
                self._take(row)
            self.count += len(rows)
            progress(self.count)

    def _take(self, row: Row) -> None:
        at_us, caller, ended, content_length, _, _, _, _, duration_us, _ = row
        now_s = at_us / 1e6
        if now_s < self.last_s:
            self.late += 1
            now_s = self.last_s
        self.last_s = now_s
        self.first_s = self.first_s or now_s
        if caller.tenant in self._unseeded:
            self._seed(row, now_s)
        used = None if ended.refusal else _used(row)
        facts = RequestFacts(
            caller.method,
            caller.path,
            caller.credential,
            caller.pinned_version,
            caller.timeout_ms,
            content_length,
            now_s,
            *self._unrecorded(),
        )
        answered_s = now_s + duration_us / 1e6
        before = self.before.decide(facts, used, answered_s)
        after = self.after.decide(facts, used, answered_s)
        if not ended.refusal and not ended.reason and (before.api or after.api) in INFERENCES:
            self._learn(row)
        self._count(caller.tenant, ended.refusal, before, after)

    def _unrecorded(self) -> tuple[tuple[tuple[str, str], ...], float]:
        """Headers and chance of the next request: of one whose headers nobody kept, each is some caller's own."""
        self._taken += 1
        own = str(self._taken)
        return tuple((name, own) for name in self._sticky_headers), self._taken * _GOLDEN % 1.0

    def _learn(self, row: Row) -> None:
        """Take note of an answered request, for those of which nobody knows what they would have used."""
        _, _, ended, _, device_us, request_bytes, response_bytes, tokens, duration_us, _ = row
        self._costs.learn(ended.model, ended.version, request_bytes, response_bytes, device_us, tokens, duration_us)

    def _count(self, tenant: str, recorded: str, before: Decision, after: Decision) -> None:
        refused_before = "" if before.refusal is None else before.refusal.reason
        refused_after = "" if after.refusal is None else after.refusal.reason
        if refused_before == recorded:
            self.as_recorded += 1
        self.tenants[tenant] += 1
        if after.model:
            self.models[after.model] += 1
            if after.refusal is None or after.refusal.limits:
                self.requests[tenant, after.model] += 1
        if refused_before != refused_after or before.version != after.version:
            self._compare(tenant, before, after)

    def _compare(self, tenant: str, before: Decision, after: Decision) -> None:
        impact = self.impacts.get(tenant)
        if impact is None:
            impact = self.impacts[tenant] = Impact()
        match before.refusal, after.refusal:
            case None, None:
                impact.moved[before.model, before.version, after.version] += 1
            case None, Refusal() as refusal:
                impact.newly_refused[refusal.reason, ", ".join(refusal.limits)] += 1
            case Refusal() as refusal, None:
                impact.newly_admitted[refusal.reason] += 1
            case Refusal() as old, Refusal() as new:
                impact.refused_otherwise[old.reason, new.reason] += 1

    def _seed(self, row: Row, now_s: float) -> None:
        """Begin a quota with the use that it had when its first request was recorded."""
        _, caller, ended, content_length, *_, left = row
        unseeded = self._unseeded[caller.tenant]
        for name, left_after in zip(ended.rooms, left, strict=False):
            if name not in unseeded:
                continue
            unseeded.discard(name)
            account = self.before.tables.account(caller.tenant, name)
            quota = self.before.counters.quotas[account].quota
            own = {"requests": 1, "bytes": content_length}.get(quota.meter, 0)
            for side in (self.before, self.after):
                use = side.counters.quotas.get(account)
                if use is not None:
                    use.begin(max(0, quota.limit - left_after - own), now_s)
        if not unseeded:
            del self._unseeded[caller.tenant]


def _sticky_headers(snapshot: Snapshot) -> set[str]:
    """The headers that keep callers on one version of some model."""
    keys = {key for route in snapshot.routes.values() if route.canary for key in route.canary.sticky_by}
    return {key.partition(":")[2] for key in keys if key.startswith("header:")}


def _used(row: Row) -> Used:
    """Return what the gateway charged an admitted request in the end, as ``settlement`` does.

    One that no pod had costs nothing, whatever length it announced.
    """
    _, _, ended, _, device_us, request_bytes, response_bytes, tokens, _, _ = row
    if device_us < 0:
        if ended.reason and ended.reason not in _MAY_HAVE_RUN:
            return _NOTHING
        return 1, request_bytes + response_bytes, NOT_TOLD, NOT_TOLD
    return 1, request_bytes + response_bytes, device_us, tokens
