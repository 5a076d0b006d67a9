"""Replay: recorded requests decided anew, in time order, by two policies, each with limits of its own.

Both policies are simulated, not only the new one: what the simulation cannot know is then the same on both sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from gateway.decide.decision import Decision, Refusal, decide
from gateway.decide.facts import RequestFacts
from gateway.decide.tables import Tables
from gateway.trial.memory_counters import Costs, MemoryCounters, Used
from gateway.trial.traffic import Row
from gateway.trial.tried_policy import tried
from policies.snapshot import Snapshot


class Side:
    """One of the two policies.

    Attributes:
        admitted: requests.
        refused: requests by the limit that refuses them; those of a quota as ``TENANT/QUOTA``.
        observed: requests that an observed limit would refuse.
        ran_out_s: when each quota was used up first, by account.
    """

    def __init__(self, snapshot: Snapshot, costs: Costs) -> None:
        self.snapshot = tried(snapshot)
        self.tables = Tables(self.snapshot)
        self.counters = MemoryCounters(self.snapshot, costs)
        self.admitted = 0
        self.refused: Counter[str] = Counter()
        self.observed: Counter[str] = Counter()
        self.ran_out_s: dict[str, float] = {}

    def decide(self, facts: RequestFacts, used: Used | None, answered_s: float) -> Decision:
        """Decide one request, and charge it."""
        counters, now_s = self.counters, facts.wall_s
        counters.at(now_s)
        decision = decide(self.tables, facts, counters, now_s)
        refusal = decision.refusal
        if refusal is None:
            self.admitted += 1
            if decision.charges:
                counters.charge(decision.charges, used, answered_s)
        elif refusal.limits:
            self._count_refused(decision, refusal, now_s)
        if decision.observed:
            self.observed.update(decision.observed)
        return decision

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

    Attributes:
        impacts: by tenant, of those whose requests change.
        requests: by (tenant, model), of those that the new policy's limits are asked about.
        tenants: all requests, by tenant.
        models: requests that find a model under the new policy, by its name.
        as_recorded: requests that the policy before decides as it was recorded.
        late: requests that were recorded so late that they are out of order.
    """

    def __init__(self, before: Snapshot, after: Snapshot) -> None:
        self._costs = Costs()
        self.before, self.after = Side(before, self._costs), Side(after, self._costs)
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
        used = None if ended.refusal else self._used(row)
        facts = RequestFacts(
            caller.method,
            caller.path,
            caller.credential,
            caller.pinned_version,
            caller.timeout_ms,
            content_length,
            now_s,
        )
        answered_s = now_s + duration_us / 1e6
        before = self.before.decide(facts, used, answered_s)
        after = self.after.decide(facts, used, answered_s)
        self._count(caller.tenant, ended.refusal, before, after)

    def _used(self, row: Row) -> Used:
        """Return what an admitted request used, and take note of it for those that nobody knows it of."""
        _, _, ended, _, device_us, request_bytes, response_bytes, tokens, _, _ = row
        used = (0 if ended.reason else 1, request_bytes + response_bytes, max(0, device_us), tokens)
        if device_us >= 0:
            self._costs.learn(ended.model, ended.version, used)
        return used

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
