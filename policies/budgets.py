"""Limits limit something and somebody; a quota's amount fits what it counts, and each step of its ladder can happen."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from policies import units
from policies.errors import PolicyError, quoted
from policies.kinds import LIMITS, ROUTE, TENANT, PolicyFile
from policies.nodes import Found, Node, Scalar, Sequence, entry_of, find, text_of
from policies.nodes import Mapping as MappingNode
from policies.snapshot.tenant import EVERY_MODEL

# Where limits stand, by kind of file; a tier may also be there for its deadline alone.
LIMITS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    LIMITS.tag: ("tiers.*", "shared[]"),
    TENANT.tag: ("limits",),
    ROUTE.tag: ("limits",),
}
BOUNDS: Final = ("rate", "in_flight")
# Counters are kept by name in a table of twice as many rows, and those of names that went are cleared later.
MAX_COUNTERS: Final = 60_000
# With a ladder that reaches ten times as far, this still fits 64 bits: 285 years of one device, 8 PiB.
MAX_AMOUNT: Final = 2**53
_US_PER_S: Final = 1_000_000
SMALLEST_SHARE: Final = 0.01
LARGEST_SHARE: Final = 10.0
CALENDAR: Final = "calendar-"
# The meter that an amount of each unit is for.
_METERS: Final = {"duration": "device_time", "size": "bytes"}
_SPOKEN: Final = {
    "requests": "requests are counted",
    "tokens": "tokens are counted",
    "bytes": "bytes are a size or a count",
    "device_time": "device_time is a length of time",
    "gpu_time": "gpu_time is a length of time",
}


class _Mistake(NamedTuple):
    line: int
    column: int
    problem: str
    fix: str


class _Caller(NamedTuple):
    name: str
    tier: str
    models: frozenset[str]


class _Step(NamedTuple):
    key: Scalar
    share: float
    action: str


def check(files: Iterable[PolicyFile]) -> list[PolicyError]:
    """Every limit and quota that could not mean what it says, and more of them than there is room for."""
    known = list(files)
    errors: list[PolicyError] = []
    for file in known:
        if file.root is not None:
            for path in LIMITS_OF.get(file.kind.tag, ()):
                for found in find(file.root, path):
                    errors += _at(file, _limit(found, is_tier=path == "tiers.*"))
            for quota in find(file.root, "quotas[]") if file.kind is TENANT else ():
                errors += _at(file, _quota(quota.node))
    return [*errors, *_matching_nothing(known), *_too_many(known)]


def _at(file: PolicyFile, mistakes: Iterable[_Mistake]) -> list[PolicyError]:
    return [PolicyError(file.path, *mistake) for mistake in mistakes]


def _limit(found: Found, is_tier: bool) -> Iterator[_Mistake]:
    limit = found.node
    burst, mode = entry_of(limit, "burst"), entry_of(limit, "mode")
    is_bound = any(entry_of(limit, name) for name in BOUNDS)
    if burst and not entry_of(limit, "rate"):
        end = "so nothing limits it" if not is_bound else "so the burst means nothing"
        problem = f"{found.name} has a burst and no rate, {end}"
        yield _Mistake(burst.key.line, burst.key.column, problem, "Add a rate, or remove burst.")
    elif is_tier and mode and not is_bound:
        problem = f"{found.name} has a mode and nothing that it could be of"
        yield _Mistake(mode.key.line, mode.key.column, problem, "Add a rate or in_flight, or remove mode.")
    elif isinstance(limit, MappingNode) and not is_tier and not is_bound:
        fix = "Add a rate such as 300/s, or in_flight, or remove it."
        name = "this shared limit" if found.name.endswith("[]") else found.name
        yield _Mistake(found.line, found.column, f"{name} has neither rate nor in_flight, so nothing is limited", fix)
    to = entry_of(limit, "applies_to")
    if to and isinstance(to.value, MappingNode) and not to.value.entries:
        problem = "applies_to names nothing, and a limit must say whose requests it is for"
        yield _Mistake(to.key.line, to.key.column, problem, "Name at least one of route, tenant and tier.")


def _matching_nothing(files: list[PolicyFile]) -> Iterator[PolicyError]:
    """Shared limits that no tenant's request can draw from; silent while names lead nowhere, which is told."""
    callers = [_caller(file) for file in files if file.kind is TENANT]
    models = frozenset(file.stem for file in files if file.kind is ROUTE)
    for file in files:
        tiers = {found.name.removeprefix("tiers.") for found in find(file.root, "tiers.*")} if file.root else set()
        if any(caller.tier not in tiers or not caller.models <= {*models, EVERY_MODEL} for caller in callers):
            continue
        for shared in find(file.root, "shared[]") if file.root and file.kind is LIMITS else ():
            to = entry_of(shared.node, "applies_to")
            if to and isinstance(to.value, MappingNode) and to.value.entries:
                wanted = [_texts(to.value, name) for name in ("route", "tenant", "tier")]
                known = (models, {caller.name for caller in callers}, tiers)
                resolves = all(names <= there for names, there in zip(wanted, known, strict=True))
                if resolves and (why := _why_nobody(callers, *wanted)):
                    fix = "Name others, or remove the limit."
                    name = quoted(text_of(shared.node, "name"))
                    problem = f"the shared limit {name} matches nothing: {why}"
                    yield PolicyError(file.path, to.key.line, to.key.column, problem, fix)


def _caller(file: PolicyFile) -> _Caller:
    """Who a tenant's file speaks of; of no tier while it does not say enough."""
    if file.root is None or entry_of(file.root, "may_call") is None:
        return _Caller(file.stem, "", frozenset())
    return _Caller(file.stem, text_of(file.root, "tier"), _texts(file.root, "may_call"))


def _texts(node: MappingNode, name: str) -> frozenset[str]:
    """What is written under a key, by itself or in a list."""
    entry = entry_of(node, name)
    if entry is None:
        return frozenset()
    items = entry.value.items if isinstance(entry.value, Sequence) else (entry.value,)
    return frozenset(item.text for item in items if isinstance(item, Scalar))


def _why_nobody(callers: list[_Caller], models: frozenset[str], tenants: frozenset[str], tiers: frozenset[str]) -> str:
    """Why no tenant is meant; "" when one is."""
    meant = [
        caller
        for caller in callers
        if caller.name in (tenants or (caller.name,)) and caller.tier in (tiers or (caller.tier,))
    ]
    if any(not models or models & caller.models or EVERY_MODEL in caller.models for caller in meant):
        return ""
    who = "none of these tenants" if tenants else "no tenant"
    if not meant:
        return f"{who} is of the tier {' or '.join(sorted(tiers))}" if tiers else "there is no tenant"
    of_tier = f" of the tier {' or '.join(sorted(tiers))}" if tiers else ""
    return f"{who}{of_tier} may call {' or '.join(sorted(models))}"


def _too_many(files: list[PolicyFile]) -> Iterator[PolicyError]:
    of_tier: dict[str, int] = {}
    count = 0
    roots = [(file.kind, file.root) for file in files if file.root is not None]
    for kind, root in roots:
        if kind is LIMITS:
            of_tier = {one.name.removeprefix("tiers."): _bounds(one.node) for one in find(root, "tiers.*")}
            count += sum(_bounds(one.node) for one in find(root, "shared[]"))
    for kind, root in roots:
        limits = entry_of(root, "limits")
        count += _bounds(limits.value) if limits else 0
        if kind is TENANT:
            quotas = entry_of(root, "quotas")
            count += of_tier.get(text_of(root, "tier"), 0)
            count += len(quotas.value.items) if quotas and isinstance(quotas.value, Sequence) else 0
    if count > MAX_COUNTERS:
        problem = f"these limits and quotas need {count} counters, and there is room for {MAX_COUNTERS}"
        fix = "Give fewer tenants limits of their own, or divide the tenants over two meshes."
        yield PolicyError(".", 1, 1, problem, fix)


def _bounds(limit: Node) -> int:
    return sum(entry_of(limit, name) is not None for name in BOUNDS)


def _quota(quota: Node) -> Iterator[_Mistake]:
    limit, zone, ladder = (entry_of(quota, name) for name in ("limit", "zone", "at"))
    meter = text_of(quota, "meter")
    if limit and isinstance(limit.value, Scalar) and meter in _SPOKEN:
        yield from _amount(limit.value, meter)
    if zone and isinstance(zone.value, Scalar) and text_of(quota, "per"):
        yield from _zone(zone.key, zone.value, text_of(quota, "per"))
    if ladder and isinstance(ladder.value, MappingNode):
        yield from _ladder(list(_steps(ladder.value)))


def _amount(limit: Scalar, meter: str) -> Iterator[_Mistake]:
    """A count, size or length of time, as the meter is, that is neither nothing nor beyond counting."""
    unit = next((unit for unit in _METERS if units.quantity(limit.text, unit) is not None), "count")
    if unit == "count" and not isinstance(limit.value, int):
        return
    fitting = {"bytes": ("size", "count"), "requests": ("count",), "tokens": ("count",)}.get(meter, ("duration",))
    if unit not in fitting:
        yield _at_node(limit, f"{_SPOKEN[meter]}, and {limit.text} is not that", _amount_fix(limit.text, unit, meter))
        return
    amount = float(limit.text) if unit == "count" else units.read(limit.text, unit)
    amount = round(amount * _US_PER_S) if unit == "duration" else amount
    if amount < 1:
        yield _at_node(limit, f"{limit.text} lets no request through", "Write more than 0.")
    elif amount > MAX_AMOUNT:
        largest = units.size_text(MAX_AMOUNT) if unit == "size" else "2000000h"
        yield _at_node(limit, f"{limit.text} is more than can be counted", f"Write {largest} or less.")


def _amount_fix(text: str, unit: str, meter: str) -> str:
    if unit in _METERS:
        example = {"bytes": "2TiB", "requests": "1000000", "tokens": "1000000"}.get(meter, "200h")
        return f"Write one such as {example}, or meter: {_METERS[unit]}."
    lengths = [f"{text}{suffix}" for suffix in ("h", "m", "s")]
    if units.quantity(lengths[0], "duration") is None:
        return "Write one such as 200h."
    return f"Write {', '.join(lengths[:-1])} or {lengths[-1]}."


def _at_node(node: Scalar, problem: str, fix: str) -> _Mistake:
    return _Mistake(node.line, node.column, problem, fix)


def _zone(key: Scalar, zone: Scalar, per: str) -> Iterator[_Mistake]:
    if not per.startswith(CALENDAR):
        problem = f"{per} is the same everywhere and has no time zone"
        yield _at_node(key, problem, "Remove zone, or write a calendar period, such as calendar-day.")
    elif isinstance(zone.value, str) and not zone_exists(zone.text):
        yield _at_node(zone, f"there is no time zone {quoted(zone.text)}", _zone_fix(zone.text))


@cache
def zone_exists(name: str) -> bool:
    """Whether the machine knows a time zone by its name in the IANA database."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _zone_fix(name: str) -> str:
    by_lowered = {zone.lower(): zone for zone in available_timezones()}
    lowered = name[:60].lower().replace(" ", "_")
    # Who knows the city and not its continent writes the city alone.
    by_city = [zone for one, zone in sorted(by_lowered.items()) if one.rpartition("/")[2] == lowered]
    close = by_city or [by_lowered[one] for one in difflib.get_close_matches(lowered, sorted(by_lowered), n=1)]
    return f'Did you mean "{close[0]}"?' if close else "Write its name in the IANA database, such as Europe/Berlin."


def _steps(ladder: MappingNode) -> Iterator[_Step]:
    for entry in ladder.entries.values():
        share = units.quantity(entry.key.text, "percent")
        if share is not None and isinstance(entry.value, Scalar):
            yield _Step(entry.key, share, entry.value.text)


def _ladder(steps: list[_Step]) -> Iterator[_Mistake]:
    refusing = min((step for step in steps if step.action == "refuse"), key=lambda step: step.share, default=None)
    seen: list[_Step] = []
    for step in steps:
        same_share = next((one for one in seen if one.share == step.share), None)
        same_action = next((one for one in seen if one.action == step.action != "warn"), None)
        if not SMALLEST_SHARE <= step.share <= LARGEST_SHARE:
            end = "less than 1%" if step.share < SMALLEST_SHARE else "more than 1000%"
            yield _at_node(step.key, f"{step.key.text} is {end} of the limit", "Write 1% to 1000%.")
        elif same_share:
            problem = f"a step at {step.key.text} is here already, in line {same_share.key.line}"
            yield _at_node(step.key, problem, "Keep one of the two.")
        elif same_action:
            problem = f"two steps {step.action}, and the upper one changes nothing"
            yield _at_node(step.key, problem, f"Keep {min(step, same_action, key=lambda one: one.share).key.text}.")
        elif refusing and step.share > refusing.share:
            problem = f"this never happens: from {refusing.key.text} on requests are refused"
            yield _at_node(step.key, problem, f"Write less than {refusing.key.text}.")
        seen.append(step)
