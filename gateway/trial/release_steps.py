"""Release steps: why a request gets the version that it gets, and what it is copied for, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from gateway.decide.copying import copies_of, copying_of, is_compared
from gateway.decide.facts import RequestFacts
from gateway.decide.release import (
    KEYS,
    Arm,
    Choice,
    StickyKeys,
    asked_version,
    choose,
    fork_of,
    is_left_out,
    subject_of,
)
from gateway.decide.route import INFERENCES, Target
from gateway.decide.stage import Stage
from gateway.decide.tables import Caller, Tables
from policies.release_diff import when_text
from policies.snapshot.release import Canary, LeftOut, Shadow
from policies.snapshot.route import Route
from policies.units import duration_text, percent_text

COPIED, LEFT_OUT = "copied", "left out"


class Released(Struct, frozen=True):
    """One request whose version is looked for.

    Attributes:
        asked: the version that the caller asks for, "" for none.
        is_recorded: it is a past one, of which headers and claims are not known any more.
    """

    route: Route
    caller: Caller
    target: Target
    asked: str
    keys: StickyKeys
    stage: Stage | None
    draw: float
    is_recorded: bool


def released(
    tables: Tables, route: Route, caller: Caller, target: Target, facts: RequestFacts, *, is_recorded: bool
) -> Released:
    """Return what the version of a request depends on."""
    keys = StickyKeys(caller.tenant.name, facts.headers, facts.credential)
    asked = target.version or facts.pinned_version
    return Released(route, caller, target, asked, keys, tables.stages.get(route.model), facts.draw, is_recorded)


def chosen(one: Released) -> Choice:
    """Return the version of a request; raises ``Refused`` where the caller may not have what it asks for."""
    asked = asked_version(one.route, one.caller, one.asked)
    if asked is not None:
        return asked
    if one.target.api not in INFERENCES:
        return Choice(one.route.stable, Arm.STABLE)
    fork = fork_of(one.route, one.caller)
    return fork if isinstance(fork, Choice) else choose(fork, one.stage, one.keys, one.draw)


def version_says(one: Released, choice: Choice) -> str:
    """Say which version it is, and why."""
    if choice.rule:
        rule = next(rule for rule in one.route.choose if rule.name == choice.rule)
        return f"{choice.version}: the rule {rule.name} sends it there, which is for {when_text(rule.when)}"
    if choice.arm is Arm.PINNED:
        return f"{choice.version}: the caller asks for it, and has the scope pin"
    canary = one.route.canary
    if one.asked:
        return f"{choice.version}: the stable one, which the caller asks for"
    if canary is None or one.target.api not in INFERENCES:
        return f"{choice.version}: the stable one; the caller asks for none"
    if is_left_out(canary.never, one.caller):
        return f"{choice.version}: the stable one; the canary {canary.id} {_never_says(canary.never, one.caller)}"
    return _canary_says(one, choice, canary)


def _canary_says(one: Released, choice: Choice, canary: Canary) -> str:
    stage, is_in = one.stage, choice.arm is Arm.CANARY
    begins = f"{choice.version}: in the canary {canary.id}" if is_in else f"{choice.version}: the stable one"
    if stage is None or (stage.canary, stage.version) != (canary.id, canary.version):
        return f"{begins}; the canary {canary.id} has not begun"
    if one.is_recorded:
        return f"{begins}; by what key it was drawn for the canary {canary.id} is not recorded"
    what = "whose share is" if is_in else f"not in the canary {canary.id}, whose share is"
    separator = ", " if is_in else "; "
    return f"{begins}{separator}{what} {percent_text(stage.share)}: {_lies(one, canary)}"


def _lies(one: Released, canary: Canary) -> str:
    source, key = one.keys.first_of(canary.sticky_by)
    if key is None:
        return f"sticky key none, so by chance: this one is taken to lie at {one.draw:.2%}"
    return f"sticky key {source}, which lies at {subject_of(canary.id, key) / KEYS:.2%}"


def _never_says(never: LeftOut, caller: Caller) -> str:
    who = f"tenant {caller.tenant.name}" if caller.tenant.name in never.tenants else f"tier {caller.tier.name}"
    return f"leaves out {who}"


def copy_says(one: Released, choice: Choice) -> Iterator[tuple[str, str, str]]:
    """Say of each shadow, and of the recording, whether the request is copied for it: what, whether, and why."""
    if one.target.api not in INFERENCES or one.is_recorded:
        return
    copying = copying_of(one.route, one.caller)
    is_measure = is_compared(choice.arm, one.stage)
    copies = None if copying is None else copies_of(copying, choice.version, one.keys, one.draw, is_compared=is_measure)
    for shadow in one.route.shadows:
        is_copied = copies is not None and shadow.name in copies.shadows
        yield f"shadow {shadow.name}", COPIED if is_copied else LEFT_OUT, _shadow_says(one, shadow, choice)
    if one.route.record is not None:
        is_recorded = copies is not None and copies.is_recorded
        record = one.route.record
        why = _consent_says(one, record.never) or f"{percent_text(record.sample)} of requests, by chance"
        yield "record", COPIED if is_recorded else LEFT_OUT, why
    if one.route.samples is not None:
        sampling = one.route.samples
        triggers = f", and on {' and '.join(sampling.triggers)}" if sampling.triggers else ""
        why = _consent_says(one, sampling.never) or f"{percent_text(sampling.rate)} of requests, by chance{triggers}"
        yield "samples", COPIED if copies is not None and copies.is_drawn else LEFT_OUT, why
    if one.route.feedback is not None:
        kept = duration_text(one.route.feedback.keep_s)
        yield "feedback", "ok", f"the right label may be told for {kept} after the answer"


def _shadow_says(one: Released, shadow: Shadow, choice: Choice) -> str:
    if why := _consent_says(one, shadow.never):
        return why
    if shadow.version == choice.version:
        return f"version {choice.version} answers it: there is nothing to compare"
    if not is_compared(choice.arm, one.stage):
        return f"version {choice.version} answers it, as {choice.arm.value}: shadows are compared with the stable one"
    source, key = one.keys.first_of(shadow.sample_by)
    subject = subject_of(shadow.name, repr(one.draw) if key is None else key)
    by = "sticky key none, so by chance" if key is None else f"sticky key {source}"
    return f"version {shadow.version} gets {percent_text(shadow.sample)}: {by}, which lies at {subject / KEYS:.2%}"


def _consent_says(one: Released, never: LeftOut) -> str:
    """Why nothing of this caller's is copied; "" where it may be."""
    if not one.caller.tenant.is_copied:
        return f"tenant {one.caller.tenant.name} does not allow it; `shadow: allow` in its file would"
    return f"never {_never_says(never, one.caller)}" if is_left_out(never, one.caller) else ""
