"""Decide: one request, from its facts to a version or a refusal. The same code serves traffic, tests and replays."""

from __future__ import annotations

from msgspec import Struct

from gateway.decide.admission import Admitted, Room, Work, admit
from gateway.decide.copying import Copies, copies_of, copying_of, is_compared
from gateway.decide.credentials import KeyShown
from gateway.decide.facts import RequestFacts
from gateway.decide.identity import check_still_valid, identify
from gateway.decide.limits import Charge, Counters
from gateway.decide.placed import Placed, at, remember
from gateway.decide.release import Arm, Choice, Fork, StickyKeys, Trial, asked_version, choose, fork_of
from gateway.decide.route import (
    ABOUT_THE_SERVER,
    DEFAULT_SCOPE,
    FEEDBACK_BYTES,
    INFERENCES,
    METHODS,
    SCOPES,
    Api,
    Target,
    match_path,
)
from gateway.decide.tables import Caller, Tables
from model_pod.wire.refusals import Refused
from policies.snapshot.route import Route


class Refusal(Struct, frozen=True):
    """Why a request may not enter.

    Attributes:
        allow: methods, for a 405.
        limits: every limit that refuses; the first is the one that ``reason`` and ``message`` are about.
        wanted: what the request needs of each quota that it waits for.
    """

    reason: str
    message: str
    retry_after_s: float = 0.0
    allow: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    wanted: tuple[tuple[str, int], ...] = ()


class Decision(Struct, frozen=True):
    """What was decided and why.

    Attributes:
        refusal: None admits the request.
        tenant, tier, key_id: "" when nobody was identified.
        scopes: what the credential allows.
        api: None when no path matched.
        model: "" when there is none of that name, so that nobody can make up names in what is counted by model.
        version: "" for refusals and for the server itself.
        timeout_s: seconds from now in which the answer must be there.
        body_limit_bytes: largest body.
        in_flight: most requests that one pod of the version may have at once.
        charges: what to write to the limits, if the request enters.
        policy, rooms: what its limits are (``RateLimit-Policy``), and what is left of each.
        observed: limits that would refuse the request if they were enforced.
        warned: quotas that are used up to a step that warns.
        demoted_by: the quota beyond which the request is served only while pods have room to spare; "" for none.
        rule: the ``choose`` rule that chose the version; "" for none.
        trial: its part in the comparison of a canary with stable; None for none.
        copies: what it is copied for once it is answered; None for nothing.
    """

    generation: int
    refusal: Refusal | None
    tenant: str = ""
    tier: str = ""
    key_id: str = ""
    scopes: tuple[str, ...] = ()
    api: Api | None = None
    model: str = ""
    version: str = ""
    arm: Arm = Arm.STABLE
    timeout_s: float = 0.0
    body_limit_bytes: int = 0
    in_flight: int = 0
    charges: tuple[Charge, ...] = ()
    policy: str = ""
    rooms: tuple[Room, ...] = ()
    observed: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    demoted_by: str = ""
    rule: str = ""
    trial: Trial | None = None
    copies: Copies | None = None


class _Known:
    """What was found out about a request before it was refused: whom the refusal is counted for."""

    __slots__ = ("api", "caller", "model")

    def __init__(self) -> None:
        self.caller: Caller | None = None
        self.api: Api | None = None
        self.model = ""


class _Limited(Refused):
    def __init__(self, admitted: Admitted, policy: str) -> None:
        first = admitted.obstacles[0]
        super().__init__(first.reason, first.message)
        # One that waits for the longest to have room is admitted by all of them.
        self.retry_after_s = max(obstacle.retry_after_s for obstacle in admitted.obstacles)
        self.admitted = admitted
        self.policy = policy


class _WrongMethod(Refused):
    def __init__(self, method: str, allow: tuple[str, ...]) -> None:
        super().__init__("method_not_allowed", f"this path does not take {method}; use {' or '.join(allow)}")
        self.allow = allow


def decide(tables: Tables, facts: RequestFacts, counters: Counters, now_s: float) -> Decision:
    """Return what becomes of one request.

    Order: who calls (before whether the path exists, so that names do not leak), what for, may it, which version, is
    there room.
    """
    known = _NOTHING_KNOWN
    placed: Placed | None = tables.placed.get((facts.credential, facts.method, facts.path, facts.pinned_version))
    try:
        if placed is None:
            known = _Known()
            placed = _place_anew(tables, facts, known)
            if placed is None:
                return _about_the_server(tables, facts, known)
        else:  # what may have changed since the place was found
            key = placed.caller.key
            has_dates = key.not_after_s is not None or key.not_before_s is not None
            if has_dates or key.id in tables.revoked or type(facts.credential) is not KeyShown:
                check_still_valid(tables, key, facts.credential, facts.wall_s)
        trial = copies = None
        if placed.fork is not None or placed.copying is not None:
            placed, trial, copies = with_version(tables, placed, facts)
        return _admit(tables, facts, counters, now_s, placed, trial, copies)
    except _Limited as limited:
        obstacles = limited.admitted.obstacles
        limits = tuple(obstacle.limit for obstacle in obstacles)
        wanted = tuple((obstacle.limit, obstacle.wanted) for obstacle in obstacles if obstacle.wanted)
        refusal = Refusal(limited.reason, limited.message, limited.retry_after_s, limits=limits, wanted=wanted)
        return _refused(tables, refusal, placed, known, limited)
    except _WrongMethod as wrong:
        refusal = Refusal(wrong.reason, wrong.message, allow=wrong.allow)
    except Refused as refused:
        refusal = Refusal(refused.reason, refused.message)
    return _refused(tables, refusal, placed, known)


def _about_the_server(tables: Tables, facts: RequestFacts, known: _Known) -> Decision:
    body_limit_bytes = FEEDBACK_BYTES if known.api is Api.FEEDBACK else 0
    if body_limit_bytes and facts.content_length > body_limit_bytes:
        raise Refused("body_too_large", f"the body is larger than {body_limit_bytes} bytes")
    return Decision(tables.generation, None, *_names(known.caller), known.api, body_limit_bytes=body_limit_bytes)


def _refused(
    tables: Tables, refusal: Refusal, placed: Placed | None, known: _Known, limited: _Limited | None = None
) -> Decision:
    caller, api, model = known.caller, known.api, known.model
    if placed is not None:
        caller, api, model = placed.caller, placed.api, placed.route.model
    if limited is None:
        return Decision(tables.generation, refusal, *_names(caller), api, model)
    admitted = limited.admitted
    return Decision(
        tables.generation,
        refusal,
        *_names(caller),
        api,
        model,
        policy=limited.policy,
        rooms=admitted.rooms,
        observed=admitted.observed,
    )


def _names(caller: Caller | None) -> tuple[str, str, str, tuple[str, ...]]:
    """Tenant, tier, credential and scopes of a decision."""
    return (
        ("", "", "", ()) if caller is None else (caller.tenant.name, caller.tier.name, caller.key.id, caller.key.scopes)
    )


def _place_anew(tables: Tables, facts: RequestFacts, known: _Known) -> Placed | None:
    placed = place(tables, facts, known)
    if placed is not None:
        remember(tables, (facts.credential, facts.method, facts.path, facts.pinned_version), placed)
    return placed


def with_version(tables: Tables, placed: Placed, facts: RequestFacts) -> tuple[Placed, Trial | None, Copies | None]:
    """Return the place of this very request, its part in a canary's trial, and what it is copied for."""
    keys = StickyKeys(placed.caller.tenant.name, facts.headers, facts.credential)
    trial = copies = None
    stage = tables.stages.get(placed.route.model)
    if placed.fork is not None:
        choice = choose(placed.fork, stage, keys, facts.draw)
        placed, trial = at(placed, choice), choice.trial
    if placed.copying is not None:
        is_measure = is_compared(placed.arm, stage)
        copies = copies_of(placed.copying, placed.version, keys, facts.draw, is_compared=is_measure)
    return placed, trial, copies


def _admit(
    tables: Tables,
    facts: RequestFacts,
    counters: Counters,
    now_s: float,
    placed: Placed,
    trial: Trial | None,
    copies: Copies | None,
) -> Decision:
    body_limit_bytes = placed.body_limit_bytes
    if facts.content_length > body_limit_bytes:
        raise Refused("body_too_large", f"the body is larger than {body_limit_bytes} bytes")
    timeout_s = placed.usual_timeout_s
    if facts.timeout_ms:
        timeout_s = timeout_of(tables, placed.caller, placed.route, facts.timeout_ms)
    work = Work(placed.route.model, placed.version, facts.content_length)
    admitted = admit(placed.admission, counters, work, facts.wall_s, now_s)
    if admitted.obstacles:
        raise _Limited(admitted, placed.admission.policy)
    return decided(tables.generation, placed, timeout_s, admitted, trial, copies)


def decided(
    generation: int,
    placed: Placed,
    timeout_s: float,
    admitted: Admitted,
    trial: Trial | None = None,
    copies: Copies | None = None,
) -> Decision:
    """Return the decision on a request that belongs there and may enter."""
    caller = placed.caller
    return Decision(
        generation,
        None,
        caller.tenant.name,
        caller.tier.name,
        caller.key.id,
        caller.key.scopes,
        placed.api,
        placed.route.model,
        placed.version,
        placed.arm,
        timeout_s,
        placed.body_limit_bytes,
        placed.in_flight,
        admitted.charges,
        placed.admission.policy,
        admitted.rooms,
        admitted.observed,
        admitted.warned,
        admitted.demoted_by,
        placed.rule,
        trial,
        copies,
    )


def place(tables: Tables, facts: RequestFacts, known: _Known) -> Placed | None:
    """Return where a request belongs, which is the same for every other that asks the same with the same credential.

    None stands for a request about the server itself. What depends on time, size or use is left to ``decide``.

    Raises:
        Refused: it belongs nowhere.
    """
    known.caller = caller = identify(tables, facts.credential, facts.wall_s)
    target = target_of(facts)
    known.api = target.api
    if target.api in ABOUT_THE_SERVER:
        return None
    route = route_of(tables, target)
    known.model = route.model
    check_may_call(caller, target)
    body_limit_bytes = body_limit_of(tables, route, facts.content_length)
    is_inference = target.api in INFERENCES
    chosen: Choice | Fork | None = asked_version(route, caller, target.version or facts.pinned_version)
    if chosen is None:
        chosen = fork_of(route, caller) if is_inference else Choice(route.stable, Arm.STABLE)
    choice, fork = (chosen.usual, chosen) if isinstance(chosen, Fork) else (chosen, None)
    return Placed(
        caller,
        target.api,
        route,
        choice.version,
        choice.arm,
        tables.admission(caller, route),
        body_limit_bytes,
        route.versions[choice.version].in_flight,
        timeout_of(tables, caller, route, ""),
        choice.rule,
        fork,
        copying_of(route, caller) if is_inference else None,
    )


def target_of(facts: RequestFacts) -> Target:
    """Return what is asked; raises ``Refused``: path_not_found or method_not_allowed."""
    target = match_path(facts.path) if facts.path is not None else None
    if target is None:
        raise Refused("path_not_found", "no API lives at this path; try /predictions/MODEL or /v2/models/MODEL/infer")
    allowed = METHODS.get(target.api)
    if allowed and facts.method not in allowed:
        raise _WrongMethod(facts.method, allowed)
    return target


def route_of(tables: Tables, target: Target) -> Route:
    """Return the route of the model; raises ``Refused``: model_not_found."""
    route = tables.routes.get(target.model)
    if route is None:
        raise Refused(
            "model_not_found", f"no model is called {target.model!r} here; GET /me says which there are for you"
        )
    return route


def check_may_call(caller: Caller, target: Target) -> None:
    """Raise ``Refused`` where the caller may not: model_not_allowed or scope_missing."""
    if not caller.may_call(target.model):
        raise Refused(
            "model_not_allowed",
            f"tenant {caller.tenant.name} may not call {target.model}; GET /me says what it may,"
            " the platform team lets it call more",
        )
    scope = SCOPES.get(target.api, DEFAULT_SCOPE)
    if scope not in caller.key.scopes:
        raise Refused("scope_missing", f"the API key {caller.key.id} lacks the scope `{scope}`")


def body_limit_of(tables: Tables, route: Route, content_length: int) -> int:
    """Return the largest body that the route takes; raises ``Refused``: body_too_large."""
    limit_bytes = min(tables.bounds.body_bytes, route.body_bytes or tables.bounds.body_bytes)
    if content_length > limit_bytes:
        raise Refused("body_too_large", f"the body is larger than {limit_bytes} bytes")
    return limit_bytes


def timeout_of(tables: Tables, caller: Caller, route: Route, asked_ms: str) -> float:
    """Return the caller's time, else its tier's, within the route's and the mesh's ceilings, in seconds.

    Raises:
        Refused: bad_header or deadline_exceeded.
    """
    ceiling_s = min(tables.bounds.max_deadline_s, route.timeout_s or tables.bounds.max_deadline_s)
    if not asked_ms:
        return min(caller.tier.deadline_s or ceiling_s, ceiling_s)
    if not asked_ms.isascii() or not asked_ms.isdigit() or len(asked_ms) > 12:
        raise Refused("bad_header", "penstock-timeout-ms must be a whole number of milliseconds, such as 250")
    if int(asked_ms) == 0:
        raise Refused("deadline_exceeded", "penstock-timeout-ms is 0: there is no time left to answer in")
    return min(int(asked_ms) / 1000.0, ceiling_s)


_NOTHING_KNOWN = _Known()
