"""Policy tests: whether ``decide()`` decides the requests of ``tests/*.yaml`` as their writers expect."""

from __future__ import annotations

import difflib

from msgspec import Struct
from msgspec.structs import replace

from gateway.decide.decision import Decision, decide
from gateway.decide.limits import Standing
from gateway.decide.route import Api
from gateway.decide.stage import Stage
from gateway.decide.tables import Tables, account_of
from gateway.errors import REASONS
from gateway.trial.requests import TriedRequest, facts_of
from gateway.trial.stages import stage_at
from gateway.trial.stated_counters import StatedCounters, standing_of
from policies.errors import PolicyError
from policies.snapshot.generation import Snapshot
from policies.snapshot.tenant import Tenant
from policies.snapshot.tests import PolicyTest

_ADMITTED = 200
_MEND = "Mend the policy, or the test if this is what is meant."


class Trial(Struct, frozen=True):
    """One test and what came of it.

    Attributes:
        wrong: a sentence's end for each expectation that does not hold; () when the test holds.
    """

    test: PolicyTest
    decision: Decision
    wrong: tuple[str, ...]


def trials(snapshot: Snapshot) -> list[Trial]:
    """Try every test of a policy."""
    if not snapshot.tests:
        return []
    tables = Tables(with_sure_shadows(snapshot))
    return [_trial(tables, test, stages_of(test, snapshot)) for test in snapshot.tests]


def with_sure_shadows(snapshot: Snapshot) -> Snapshot:
    """Return a policy whose shadows take every request that they may: tests ask whose are copied, not how many."""
    routes = {
        model: replace(route, shadows=tuple(replace(shadow, sample=1.0) for shadow in route.shadows))
        for model, route in snapshot.routes.items()
    }
    return replace(snapshot, routes=routes)


def stages_of(test: PolicyTest, snapshot: Snapshot) -> dict[str, Stage]:
    """Return where the canary of a test's model stands."""
    route = snapshot.routes.get(test.model)
    return {} if route is None or test.canary_share is None else stage_at(route, test.canary_share)


def failures(snapshot: Snapshot) -> list[PolicyError]:
    """Return an error for every test that fails; while there is one, the policy is not taken."""
    found: list[PolicyError] = []
    for trial in trials(snapshot):
        found += [_error(trial.test, f'the test "{trial.test.name}" {wrong}', _fix(trial)) for wrong in trial.wrong]
    return found


def request_of(test: PolicyTest) -> TriedRequest:
    """Return the request of a test."""
    return TriedRequest(
        model=test.model,
        tenant=test.tenant,
        scopes=test.scopes,
        version=test.version,
        api=Api(test.api),
        headers=test.headers,
    )


def counters_of(test: PolicyTest, tenant: Tenant | None) -> StatedCounters:
    """Return limits that nobody has charged, with the quotas used as the test says."""
    if tenant is None:
        return StatedCounters({})
    return StatedCounters(_standings(tenant, test.used))


def _standings(tenant: Tenant, used: dict[str, float]) -> dict[str, Standing]:
    return {
        account_of(tenant.name, quota): standing_of(quota.limit, round(quota.limit * used.get(quota.name, 0.0)))
        for quota in tenant.quotas
    }


def _trial(tables: Tables, test: PolicyTest, stages: dict[str, Stage]) -> Trial:
    tables.stages = stages
    # No date plays a part: a test's credential is no key of the files.
    facts = facts_of(request_of(test), wall_s=0.0)
    tenant = tables.tenants.get(test.tenant)
    decision = decide(tables, facts, counters_of(test, tenant), now_s=0.0)
    version = decision.version
    if decision.refusal is not None and decision.refusal.limits:
        unused = replace(test, used={})
        version = decide(tables, facts, counters_of(unused, tenant), now_s=0.0).version
    return Trial(test, decision, _wrong(test, decision, version))


def _wrong(test: PolicyTest, decision: Decision, version: str) -> tuple[str, ...]:
    """``version`` is the one that the request goes to, or would go to if no limit refused it."""
    refusal = decision.refusal
    status = _ADMITTED if refusal is None else REASONS[refusal.reason].status
    decided = f"version {decision.version} answers" if refusal is None else f"{refusal.reason}: {refusal.message}"
    wrong: list[str] = []
    if test.expect_reason and test.expect_reason not in REASONS:
        wrong.append(f"expects the reason {test.expect_reason}, and no refusal has that name")
    elif test.expect_reason and (refusal is None or refusal.reason != test.expect_reason):
        wrong.append(f"expects the refusal {test.expect_reason}, but decided is {status} ({decided})")
    elif test.expect_status is not None and test.expect_status != status:
        wrong.append(f"expects status {test.expect_status}, but decided is {status} ({decided})")
    copied = () if decision.copies is None else decision.copies.shadows
    if test.expect_shadows is not None and set(copied) != set(test.expect_shadows):
        wrong.append(
            f"expects copies to {_shadows_text(test.expect_shadows)}, but it is copied to {_shadows_text(copied)}"
        )
    if test.expect_version and version != test.expect_version:
        wrong.append(f"expects version {test.expect_version}, but decided is {status} ({decided})")
    return tuple(wrong)


def _shadows_text(shadows: tuple[str, ...]) -> str:
    return ", ".join(sorted(shadows)) or "no shadow"


def _fix(trial: Trial) -> str:
    reason = trial.test.expect_reason
    if reason and reason not in REASONS:
        close = difflib.get_close_matches(reason, REASONS, n=1)
        return f"Write {close[0]}." if close else "Write a name from docs/reference/reasons.md."
    return _MEND


def _error(test: PolicyTest, problem: str, fix: str) -> PolicyError:
    file, line, column = test.place.rsplit(":", 2)
    return PolicyError(file, int(line), int(column), problem, fix)
