"""What changes in releases on live traffic: who gets which version, whose requests are copied, and what begins anew."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Final, NamedTuple

from policies import units
from policies.snapshot.generation import Snapshot
from policies.snapshot.release import (
    Canary,
    CanaryStep,
    Capacity,
    ChooseRule,
    Compare,
    Feedback,
    Judge,
    LeftOut,
    Recording,
    Shadow,
    ShadowLimits,
    When,
)
from policies.snapshot.route import Route
from policies.snapshot.tenant import Tenant, may_call
from policies.wording import ABSENT, changed, duration_text, names_text

MAX_NAMED: Final = 10


def release_changes(subject: str, before: Route, after: Route) -> Iterator[str]:
    """Every difference in what a route says of releases."""
    yield from _rule_changes(subject, before.choose, after.choose)
    yield from _canary_changes(subject, before, after)
    yield from _shadows_changes(subject, before, after)
    yield from _recording_changes(subject, before.record, after.record)
    yield from _feedback_changes(subject, before.feedback, after.feedback)


def copying_changes(before: Snapshot, after: Snapshot) -> Iterator[str]:
    """Whose requests will be copied or recorded from now on, and whose no longer."""
    old, new = _copied(before), _copied(after)
    for copying in sorted(old.keys() | new.keys()):
        was, is_now = old.get(copying, frozenset()), new.get(copying, frozenset())
        if begun := sorted(is_now - was):
            yield f"requests of {_named(begun)} for {copying.model} will be {copying.what} from now on"
        if ended := sorted(was - is_now):
            yield f"requests of {_named(ended)} for {copying.model} are no longer {copying.what}"


def is_copied(tenant: Tenant, model: str, never: LeftOut) -> bool:
    """Whether a tenant's requests for a model are copied, by its own word and the route's."""
    is_left_out = tenant.name in never.tenants or tenant.tier in never.tiers
    return tenant.is_copied and not is_left_out and may_call(tenant, model)


class _Copying(NamedTuple):
    """One use of requests, as it reads after "will be"."""

    model: str
    what: str


def _copied(snapshot: Snapshot) -> Mapping[_Copying, frozenset[str]]:
    """The tenants whose requests are used, by use."""
    uses = [
        (_Copying(route.model, f"copied to the shadow {shadow.name}"), shadow.never)
        for route in snapshot.routes.values()
        for shadow in route.shadows
        if shadow.sample
    ]
    uses += [
        (_Copying(route.model, "recorded"), route.record.never)
        for route in snapshot.routes.values()
        if route.record and route.record.sample
    ]
    willing = [tenant for tenant in snapshot.tenants.values() if tenant.is_copied]
    return {
        copying: frozenset(tenant.name for tenant in willing if is_copied(tenant, copying.model, never))
        for copying, never in uses
    }


def _named(tenants: list[str]) -> str:
    shown = ", ".join(tenants[:MAX_NAMED])
    more = f" and {len(tenants) - MAX_NAMED} more" if len(tenants) > MAX_NAMED else ""
    return f"tenant{'' if len(tenants) == 1 else 's'} {shown}{more}"


def _rule_changes(subject: str, before: tuple[ChooseRule, ...], after: tuple[ChooseRule, ...]) -> Iterator[str]:
    old, new = ({rule.name: rule for rule in rules} for rules in (before, after))
    for name in sorted(old.keys() | new.keys()):
        rule = f"{subject}: rule {name}"
        if name not in old:
            yield f"{rule} added: {_rule_text(new[name])}"
        elif name not in new:
            yield f"{rule} removed: {_rule_text(old[name])}"
        else:
            yield from changed(subject, f"rule {name}", _rule_text(old[name]), _rule_text(new[name]))
    kept = [tuple(name for name in rules if name in old and name in new) for rules in (old, new)]
    yield from changed(subject, "order of rules", *map(names_text, kept))


def _rule_text(rule: ChooseRule) -> str:
    return f"{when_text(rule.when)} to version {rule.version}"


def when_text(when: When) -> str:
    """Which requests a rule is for."""
    parts = [f"tenant {' or '.join(when.tenants)}"] if when.tenants else []
    parts += [f"tier {' or '.join(when.tiers)}"] if when.tiers else []
    parts += [f"header {name}: {value}" for name, value in when.headers]
    parts += [f"scope {when.scope}"] if when.scope else []
    return " and ".join(parts) or "every request"


def _canary_changes(subject: str, before: Route, after: Route) -> Iterator[str]:
    old, new = before.canary, after.canary
    if old is None and new is not None:
        steps = ", ".join(units.percent_text(step.share) for step in new.steps)
        who = _sticky_text(new.sticky_by)
        yield f"{subject}: canary {new.id} begins: version {new.version} for {steps} of requests by {who}"
    elif old is not None and new is None:
        then = f"its version {old.version} is stable now" if after.stable == old.version else "it has no requests now"
        yield f"{subject}: canary {old.id} is gone: {then}"
    elif old is not None and new is not None:
        yield from _canary_differences(subject, old, new)


def _canary_differences(route: str, before: Canary, after: Canary) -> Iterator[str]:
    subject = f"{route}: canary {after.id}"
    begins = f"begins anew at its first step, {units.percent_text(after.steps[0].share)}"
    if before.id != after.id:
        yield f"{subject}: {begins}, and who is in it is drawn anew: it was {before.id}"
    if before.version != after.version:
        yield f"{subject}: version {before.version} -> {after.version}: it {begins}"
    is_anew = before.id != after.id or before.version != after.version
    yield from _step_changes(subject, before.steps, after.steps, is_anew)
    for sentence in changed(subject, "sticky_by", _sticky_text(before.sticky_by), _sticky_text(after.sticky_by)):
        yield f"{sentence}: who is in it changes"
    yield from changed(subject, "never", _left_out_text(before.never), _left_out_text(after.never))
    yield from _judge_changes(subject, before, after)
    yield from changed(subject, "on_harm", before.on_harm, after.on_harm)
    yield from changed(subject, "on_pass", before.on_pass, after.on_pass)
    yield from changed(subject, "capacity", _capacity_text(before.capacity), _capacity_text(after.capacity))


def _sticky_text(keys: tuple[str, ...]) -> str:
    return ", else ".join(keys) or "chance"


def _left_out_text(never: LeftOut) -> str:
    parts = [f"tenant {' or '.join(never.tenants)}"] if never.tenants else []
    parts += [f"tier {' or '.join(never.tiers)}"] if never.tiers else []
    return ", ".join(parts) or ABSENT


def _step_changes(
    subject: str, before: tuple[CanaryStep, ...], after: tuple[CanaryStep, ...], is_anew: bool
) -> Iterator[str]:
    """How far the canary has got only its state knows."""
    for number, (old, new) in enumerate(zip_longest(before, after), start=1):
        if old == new:
            continue
        sentence = f"{subject}: step {number} {_step_text(old)} -> {_step_text(new)}"
        if is_anew:
            yield sentence
        elif old is None or new is None or old.share == new.share:
            yield f"{sentence}; what it has got to stays"
        else:
            lower = units.percent_text(min(old.share, new.share))
            yield f"{sentence}; what it has got to stays, but if that is this step, {lower} holds, the lower of the two"


def _step_text(step: CanaryStep | None) -> str:
    if step is None:
        return ABSENT
    parts = [units.percent_text(step.share)]
    parts += [f"for {units.duration_text(step.hold_s)}"] if step.hold_s else []
    parts += [f"at least {step.at_least} requests"] if step.at_least else []
    parts += ["approval"] if step.needs_approval else []
    parts += [f"shadow {step.requires_shadow} the same"] if step.requires_shadow else []
    return ", ".join(parts)


def _judge_changes(subject: str, before: Canary, after: Canary) -> Iterator[str]:
    old, new = before.judge, after.judge
    yield from changed(subject, "decided by", _judged_text(before.is_judged), _judged_text(after.is_judged))
    yield from changed(subject, "compare_to", old.compare_to, new.compare_to)
    for word in ("harmful_above", "safe_below"):
        yield from changed(subject, word, *(units.factor_text(getattr(judge, word)) for judge in (old, new)))
    yield from changed(subject, "alpha", f"{old.alpha:g}", f"{new.alpha:g}")
    yield from changed(subject, "burn", _burn_text(old), _burn_text(new))
    yield from changed(subject, "no_traffic_for", duration_text(old.no_traffic_s), duration_text(new.no_traffic_s))


def _judged_text(is_judged: bool) -> str:
    return "its judge" if is_judged else "a person"


def _burn_text(judge: Judge) -> str:
    above = ABSENT if judge.burn_above is None else f"rollback_above {judge.burn_above:g}"
    return f"{above} over {units.duration_text(judge.burn_over_s)}"


def _capacity_text(capacity: Capacity | None) -> str:
    if capacity is None:
        return ABSENT
    kept = units.duration_text(capacity.keep_stable_s)
    room = units.factor_text(capacity.room)
    return f"{capacity.ready_pods_at_least} ready pods with room for {room}, stable kept for {kept}"


def _shadows_changes(subject: str, before: Route, after: Route) -> Iterator[str]:
    old, new = ({shadow.name: shadow for shadow in route.shadows} for route in (before, after))
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            sample = units.percent_text(new[name].sample)
            yield f"{subject}: shadow {name} added: version {new[name].version} gets copies of {sample} of requests"
        elif name not in new:
            yield f"{subject}: shadow {name} removed: version {old[name].version} gets no copies"
        else:
            yield from _shadow_differences(f"{subject}: shadow {name}", old[name], new[name])
    kept = [tuple(name for name in shadows if name in old and name in new) for shadows in (old, new)]
    yield from changed(subject, "order of shadows", *map(names_text, kept))


def _shadow_differences(subject: str, before: Shadow, after: Shadow) -> Iterator[str]:
    what_is_compared = [
        *changed(subject, "version", before.version, after.version),
        *changed(subject, "sample", units.percent_text(before.sample), units.percent_text(after.sample)),
        *changed(subject, "outputs", _outputs_text(before.outputs), _outputs_text(after.outputs)),
        *_shadow_verdict_changes(subject, before, after),
    ]
    yield from (f"{sentence}; its comparison begins anew" for sentence in what_is_compared)
    yield from changed(subject, "sample_by", _sticky_text(before.sample_by), _sticky_text(after.sample_by))
    yield from changed(subject, "never", _left_out_text(before.never), _left_out_text(after.never))
    yield from changed(
        subject, "repeat_stable", *(units.percent_text(shadow.repeat_stable) for shadow in (before, after))
    )
    yield from _shadow_limit_changes(subject, before, after)
    yield from changed(subject, "deadline", duration_text(before.deadline_s), duration_text(after.deadline_s))
    old, new = before.privacy, after.privacy
    yield from changed(subject, "drop_headers", names_text(old.drop_headers), names_text(new.drop_headers))
    yield from changed(subject, "drop_fields", names_text(old.drop_fields), names_text(new.drop_fields))
    yield from changed(subject, "keep", old.keep, new.keep)
    yield from changed(subject, "for", duration_text(old.keep_s), duration_text(new.keep_s))


def _shadow_verdict_changes(subject: str, before: Shadow, after: Shadow) -> Iterator[str]:
    old, new = before.verdict, after.verdict
    shares = (units.percent_text(verdict.worse_above_noise) for verdict in (old, new))
    yield from changed(subject, "worse_if_above_noise_by", *shares)
    yield from changed(subject, "alpha", f"{old.alpha:g}", f"{new.alpha:g}")
    yield from changed(subject, "at_least", str(old.at_least), str(new.at_least))


def _shadow_limit_changes(subject: str, before: Shadow, after: Shadow) -> Iterator[str]:
    old, new = before.limits, after.limits
    yield from changed(subject, "in_flight", str(old.in_flight), str(new.in_flight))
    yield from changed(subject, "device_time", _device_time_text(old), _device_time_text(new))
    shares = (units.percent_text(limits.busy_share) for limits in (old, new))
    yield from changed(subject, "stop_when_pool_busy", *shares)


def _device_time_text(limits: ShadowLimits) -> str:
    if limits.device_s is None:
        return ABSENT
    return f"{units.duration_text(limits.device_s)} per {units.duration_text(limits.device_per_s)}"


def _outputs_text(outputs: Iterable[Compare]) -> str:
    return " and ".join(_output_text(output) for output in outputs) or ABSENT


def _output_text(output: Compare) -> str:
    parts = [f"{output.path or 'the answer'} as {output.kind}"]
    parts += [f"by {output.metric}"] if output.metric else []
    for word in ("differ_above", "differ_below", "atol", "rtol"):
        number = getattr(output, word)
        parts += [] if number is None else [f"{word} {number:g}"]
    return ", ".join(parts)


def _recording_changes(subject: str, before: Recording | None, after: Recording | None) -> Iterator[str]:
    if before is None and after is not None:
        size, kept = units.size_text(after.max_bytes), units.duration_text(after.keep_s)
        yield f"{subject}: record added: {units.percent_text(after.sample)} of requests, at most {size}, for {kept}"
    elif before is not None and after is None:
        yield f"{subject}: record removed; what is recorded is thrown away"
    elif before is not None and after is not None:
        record = f"{subject}: record"
        yield from changed(record, "sample", *(units.percent_text(one.sample) for one in (before, after)))
        yield from changed(record, "at_most", units.size_text(before.max_bytes), units.size_text(after.max_bytes))
        yield from changed(record, "for", duration_text(before.keep_s), duration_text(after.keep_s))
        yield from changed(record, "never", _left_out_text(before.never), _left_out_text(after.never))
        yield from _dropped_changes(record, "drop_headers", before.drop_headers, after.drop_headers)
        yield from _dropped_changes(record, "drop_fields", before.drop_fields, after.drop_fields)


def _dropped_changes(record: str, word: str, before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[str]:
    """What is dropped more than before is in what is recorded already, so that goes."""
    is_more = not set(after) <= set(before)
    for change in changed(record, word, names_text(before), names_text(after)):
        yield f"{change}; what is recorded is thrown away" if is_more else change


def _feedback_changes(subject: str, before: Feedback | None, after: Feedback | None) -> Iterator[str]:
    for change in changed(subject, "feedback", _feedback_text(before), _feedback_text(after)):
        yield f"{change}; the labels that are kept are thrown away" if after is None else change


def _feedback_text(feedback: Feedback | None) -> str:
    if feedback is None:
        return ABSENT
    judged = "judged" if feedback.judged else "not judged"
    return f"label {feedback.label or 'the answer'}, for {units.duration_text(feedback.keep_s)}, {judged}"
