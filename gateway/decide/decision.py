"""Decide: one request, from its facts to a version or a refusal. The same code serves traffic, tests and replays."""

from __future__ import annotations

from msgspec import Struct

from gateway.decide.facts import RequestFacts
from gateway.decide.identity import identify
from gateway.decide.limits import Charge, Counters, charge_rate
from gateway.decide.release import Arm, choose_version
from gateway.decide.route import DEFAULT_SCOPE, METHODS, SCOPES, Api, Target, match_path
from gateway.decide.tables import Caller, Tables
from model_pod.wire.refusals import Refused
from policies.snapshot import Route, default_burst


class Refusal(Struct, frozen=True):
    """Why a request may not enter; ``allow`` lists methods for a 405."""

    reason: str
    message: str
    retry_after_s: float = 0.0
    allow: tuple[str, ...] = ()


class Decision(Struct, frozen=True):
    """What was decided and why.

    Attributes:
        refusal: None admits the request.
        tenant, tier: "" when nobody was identified.
        api: None when no path matched.
        model: "" when there is none of that name, so that nobody can make up names in what is counted by model.
        version: "" for refusals and for the server itself.
        timeout_s: seconds from now in which the answer must be there.
        body_limit_bytes: largest body.
        in_flight: most requests that one pod of the version may have at once.
        charges: what to write to the limits, if the request enters.
    """

    generation: int
    refusal: Refusal | None
    tenant: str = ""
    tier: str = ""
    key_id: str = ""
    api: Api | None = None
    model: str = ""
    version: str = ""
    arm: Arm = Arm.STABLE
    timeout_s: float = 0.0
    body_limit_bytes: int = 0
    in_flight: int = 0
    charges: tuple[Charge, ...] = ()


class _Known:
    """What was found out about a request before it was refused: whom the refusal is counted for."""

    def __init__(self) -> None:
        self.tenant = self.tier = self.key_id = self.model = ""
        self.api: Api | None = None


class _RateLimited(Refused):
    def __init__(self, tenant: str, rate_per_s: float, retry_after_s: float) -> None:
        super().__init__(
            "rate_limited",
            f"tenant {tenant} is over its rate of {rate_per_s:g} requests per second;"
            f" one more fits in {retry_after_s:.3f} s",
        )
        self.retry_after_s = retry_after_s


class _WrongMethod(Refused):
    def __init__(self, method: str, allow: tuple[str, ...]) -> None:
        super().__init__("method_not_allowed", f"this path does not take {method}; use {' or '.join(allow)}")
        self.allow = allow


def decide(tables: Tables, facts: RequestFacts, counters: Counters, now_s: float) -> Decision:
    """Return what becomes of one request.

    Order: who calls (before whether the path exists, so that names do not leak), what for, may it, is there room,
    which version.
    """
    known = _Known()
    try:
        return _admit(tables, facts, counters, now_s, known)
    except _RateLimited as limited:
        refusal = Refusal(limited.reason, limited.message, retry_after_s=limited.retry_after_s)
    except _WrongMethod as wrong:
        refusal = Refusal(wrong.reason, wrong.message, allow=wrong.allow)
    except Refused as refused:
        refusal = Refusal(refused.reason, refused.message)
    return Decision(tables.generation, refusal, known.tenant, known.tier, known.key_id, known.api, known.model)


def _admit(tables: Tables, facts: RequestFacts, counters: Counters, now_s: float, known: _Known) -> Decision:
    caller = identify(tables, facts)
    known.tenant, known.tier, known.key_id = caller.tenant.name, caller.tier.name, caller.key.id
    target = _target(facts)
    known.api = target.api
    if target.api is Api.SERVER_METADATA:
        return Decision(tables.generation, None, known.tenant, known.tier, known.key_id, target.api)
    route = _known_route(tables, target)
    known.model = route.model
    _check_may_call(caller, target)
    body_limit_bytes = min(tables.bounds.body_bytes, route.body_bytes or tables.bounds.body_bytes)
    if facts.content_length > body_limit_bytes:
        raise Refused("body_too_large", f"the body is larger than {body_limit_bytes} bytes")
    choice = choose_version(route, caller, target.version or facts.pinned_version)
    timeout_s = _timeout_s(tables, caller, route, facts.timeout_ms)
    return Decision(
        generation=tables.generation,
        refusal=None,
        tenant=known.tenant,
        tier=known.tier,
        key_id=known.key_id,
        api=target.api,
        model=route.model,
        version=choice.version,
        arm=choice.arm,
        timeout_s=timeout_s,
        body_limit_bytes=body_limit_bytes,
        in_flight=route.versions[choice.version].in_flight,
        charges=_charges(caller, counters, now_s),
    )


def _target(facts: RequestFacts) -> Target:
    target = match_path(facts.path) if facts.path is not None else None
    if target is None:
        raise Refused("path_not_found", "no API lives at this path; try /predictions/MODEL or /v2/models/MODEL/infer")
    allowed = METHODS.get(target.api)
    if allowed and facts.method not in allowed:
        raise _WrongMethod(facts.method, allowed)
    return target


def _known_route(tables: Tables, target: Target) -> Route:
    route = tables.routes.get(target.model)
    if route is None:
        raise Refused("model_not_found", f"no model is called {target.model!r} here")
    return route


def _check_may_call(caller: Caller, target: Target) -> None:
    if not caller.may_call(target.model):
        raise Refused("model_not_allowed", f"tenant {caller.tenant.name} may not call {target.model}")
    scope = SCOPES.get(target.api, DEFAULT_SCOPE)
    if scope not in caller.key.scopes:
        raise Refused("scope_missing", f"the API key {caller.key.id} lacks the scope `{scope}`")


def _timeout_s(tables: Tables, caller: Caller, route: Route, asked_ms: str) -> float:
    """The caller's time, else its tier's, within the route's and the mesh's ceilings."""
    ceiling_s = min(tables.bounds.max_deadline_s, route.timeout_s or tables.bounds.max_deadline_s)
    if not asked_ms:
        return min(caller.tier.deadline_s or ceiling_s, ceiling_s)
    if not asked_ms.isascii() or not asked_ms.isdigit() or len(asked_ms) > 12:
        raise Refused("bad_header", "penstock-timeout-ms must be a whole number of milliseconds, such as 250")
    if int(asked_ms) == 0:
        raise Refused("deadline_exceeded", "penstock-timeout-ms is 0: there is no time left to answer in")
    return min(int(asked_ms) / 1000.0, ceiling_s)


def _charges(caller: Caller, counters: Counters, now_s: float) -> tuple[Charge, ...]:
    rate_per_s = caller.tier.rate_per_s
    if rate_per_s is None:
        return ()
    burst = caller.tier.burst or default_burst(rate_per_s)
    verdict = charge_rate(caller.rate_limit, rate_per_s, burst, counters.tat_s(caller.rate_limit), now_s)
    if verdict.charge is None:
        raise _RateLimited(caller.tenant.name, rate_per_s, verdict.retry_after_s)
    return (verdict.charge,)
