"""Explanation: every step of one decision in its order, by the functions that ``decide()`` itself is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from msgspec import Struct

from gateway.decide.admission import Admitted, Work, admit
from gateway.decide.decision import (
    Decision,
    body_limit_of,
    check_may_call,
    decide,
    route_of,
    target_of,
    timeout_of,
)
from gateway.decide.facts import RequestFacts
from gateway.decide.identity import identify
from gateway.decide.limits import Counters
from gateway.decide.route import ABOUT_THE_SERVER, DEFAULT_SCOPE, SCOPES, Target
from gateway.decide.tables import Admission, Caller, QuotaBound, RateBound, SlotBound, Tables
from gateway.trial.amounts import amount_text, used_text
from gateway.trial.release_steps import chosen, copy_says, released, version_says
from model_pod.wire.refusals import Refused
from policies.snapshot.limits import Tier
from policies.snapshot.route import Route, Version
from policies.snapshot.tenant import EVERY_MODEL
from policies.units import duration_text, percent_text, rate_text, size_text

OK, REFUSED, OBSERVED, WARNED, DEMOTED = "ok", "refused", "observed", "warned", "demoted"


@dataclass(frozen=True)
class Step:
    """One thing that was looked at.

    Attributes:
        about: credential, tenant, path, model, may call, scope, body, version, deadline, limits, limit NAME,
            quota NAME, pods, queue, shadow NAME, record or feedback; of a past request also answer.
        verdict: ok, refused, observed (a limit that would refuse if it were enforced), warned, demoted; of a shadow and
            of record: copied or left out.
        says: what was found, and why that follows.
    """

    about: str
    verdict: str
    says: str


class Explanation(Struct, frozen=True):
    """One decision and how it came about."""

    decision: Decision
    steps: tuple[Step, ...]


def explain(
    tables: Tables, facts: RequestFacts, counters: Counters, now_s: float, *, is_recorded: bool = False
) -> Explanation:
    """Return what ``decide()`` returns for the same facts, and every step on the way there.

    Args:
        is_recorded: the request is a past one, of which headers and claims are not known any more.
    """
    walk = _Walk(tables, facts, counters, now_s, is_recorded)
    steps: list[Step] = []
    try:
        steps.extend(walk.steps())
    except Refused as refused:
        steps = [*walk.done, Step(walk.refused_about(refused.reason), REFUSED, f"{refused.reason}: {refused.args[0]}")]
    return Explanation(decide(tables, facts, counters, now_s), tuple(steps))


class _Walk:
    """The steps so far, and what the next one looks at."""

    def __init__(
        self, tables: Tables, facts: RequestFacts, counters: Counters, now_s: float, is_recorded: bool
    ) -> None:
        self.done: list[Step] = []
        self._about = ""
        self._tables = tables
        self._facts = facts
        self._counters = counters
        self._now_s = now_s
        self._is_recorded = is_recorded

    def steps(self) -> list[Step]:
        """Take every step; raises ``Refused`` at the first that refuses, limits aside, which are all looked at."""
        tables, facts = self._tables, self._facts
        self._about = "credential"
        caller = identify(tables, facts.credential, facts.wall_s)
        self._ok(_credential_says(caller))
        self._about = "tenant"
        self._ok(f"{caller.tenant.name} of {caller.tenant.owner}, tier {caller.tier.name}")
        self._about = "path"
        target = target_of(facts)
        self._ok(f"{facts.method} {facts.path} asks for {target.api}" + (f" of {target.model}" if target.model else ""))
        if target.api not in ABOUT_THE_SERVER:
            self._about_a_model(caller, target)
        return self.done

    def _about_a_model(self, caller: Caller, target: Target) -> None:
        tables, facts = self._tables, self._facts
        self._about = "model"
        route = route_of(tables, target)
        self._ok(f"{route.model} is served; its route belongs to {route.owner}")
        self._about = "may call"
        check_may_call(caller, target)
        self._ok(_may_call_says(caller, route))
        self._about = "scope"
        self._ok(f"{target.api} needs the scope {SCOPES.get(target.api, DEFAULT_SCOPE)}; the credential has it")
        self._about = "body"
        limit_bytes = body_limit_of(tables, route, facts.content_length)
        self._ok(f"{facts.content_length} bytes, at most {size_text(limit_bytes)}")
        self._about = "version"
        one = released(tables, route, caller, target, facts, is_recorded=self._is_recorded)
        choice = chosen(one)
        self._ok(version_says(one, choice))
        self._about = "deadline"
        timeout_s = timeout_of(tables, caller, route, facts.timeout_ms)
        source = "as asked, within the ceilings" if facts.timeout_ms else "of the tier, route and mesh, the shortest"
        self._ok(f"{duration_text(timeout_s)}: {source}")
        if self._has_room(caller, route, choice.version):
            self._about = "pods"
            self._ok(_pods_say(route.versions[choice.version]))
            self._about = "queue"
            self._ok(_queue_says(caller.tier))
            self.done += [Step(*said) for said in copy_says(one, choice)]

    def _has_room(self, caller: Caller, route: Route, version: str) -> bool:
        """Look at every limit, as a decision does."""
        facts = self._facts
        admission = self._tables.admission(caller, route)
        work = Work(route.model, version, facts.content_length)
        admitted = admit(admission, self._counters, work, facts.wall_s, self._now_s)
        self.done += _limit_steps(admission, admitted, self._counters)
        if not self.done[-1].about.startswith(("limit ", "quota ")):
            self.done.append(Step("limits", OK, "no limit and no quota is drawn on"))
        return not admitted.obstacles

    def refused_about(self, reason: str) -> str:
        """Return which step refused: one function looks at two things."""
        return "scope" if reason == "scope_missing" and self._about == "may call" else self._about

    def _ok(self, says: str) -> None:
        self.done.append(Step(self._about, OK, says))


def _credential_says(caller: Caller) -> str:
    name = caller.key.id or "a credential of the tenant"
    scopes = ", ".join(caller.key.scopes)
    return f"{name} is known and valid now; it has the scopes {scopes}"


def _may_call_says(caller: Caller, route: Route) -> str:
    if route.model in caller.models:
        return f"may_call of {caller.tenant.name} names {route.model}"
    return f'may_call of {caller.tenant.name} has "{EVERY_MODEL}", every model'


def _pods_say(version: Version) -> str:
    if version.launch is not None:
        source = f"{version.launch.count} started from {version.launch.archive}"
    elif version.static is not None:
        source = f"at {', '.join(version.static.addresses)}"
    elif version.dns:
        source = f"at every address of {version.dns}"
    else:
        source = "none"
    return f"version {version.name}: {source}; whether one is ready is seen when a request is sent, not decided here"


def _queue_says(tier: Tier) -> str:
    if not tier.queue_wait_s:
        return f"tier {tier.name}: refused at once when the pods are busy"
    who = f"at most {tier.queue_length} of the tenant for {duration_text(tier.queue_wait_s)}"
    first = ", refused first" if tier.priority < 0 else ""
    return f"tier {tier.name}: when the pods are busy, {who}; priority {tier.priority}{first}, weight {tier.weight}"


def _limit_steps(admission: Admission, admitted: Admitted, counters: Counters) -> Iterator[Step]:
    obstacles = {obstacle.limit: obstacle for obstacle in admitted.obstacles}
    rooms = {room.limit: room for room in admitted.rooms}
    bounds: tuple[RateBound | SlotBound | QuotaBound, ...] = (*admission.rates, *admission.slots, *admission.quotas)
    for bound in bounds:
        name = bound.quota.name if isinstance(bound, QuotaBound) else bound.name
        about = f"quota {name}" if isinstance(bound, QuotaBound) else f"limit {name}"
        what = _bound_text(bound, counters)
        if name in obstacles:
            yield Step(about, REFUSED, f"{what}; {obstacles[name].reason}: {obstacles[name].message}")
        elif name in admitted.observed:
            yield Step(about, OBSERVED, f"{what}; it has no room, which is only counted: mode is observe")
        elif isinstance(bound, QuotaBound):
            yield Step(about, _rung(name, admitted), what)
        else:
            charged = "" if obstacles else " after this one"
            left = f"; {rooms[name].left} left{charged}" if name in rooms else "; it has room; mode is observe"
            yield Step(about, OK, what + left)


def _rung(quota: str, admitted: Admitted) -> str:
    if quota == admitted.demoted_by:
        return DEMOTED
    return WARNED if quota in admitted.warned else OK


def _bound_text(bound: RateBound | SlotBound | QuotaBound, counters: Counters) -> str:
    match bound:
        case RateBound():
            return f"{rate_text(bound.rate_per_s)}, {bound.burst} at once"
        case SlotBound():
            return f"{bound.most} in flight at most, {counters.in_flight(bound.key)} now"
        case QuotaBound(quota=quota):
            standing = counters.standing(bound.account)
            if standing is None:
                return f"{amount_text(quota.limit, quota.meter)} {quota.per}, not granted yet"
            ladder = ", ".join(f"{percent_text(step.share)} {step.action}" for step in quota.ladder)
            used = used_text(standing.used, standing.limit, quota.meter)
            return f"{used} ({quota.per}) used, {standing.used / max(1, standing.limit):.1%}; steps: {ladder}"
