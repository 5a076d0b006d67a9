"""Each rule of a route can match, each step of its canary can begin and pass, and its judge has something to go by."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, NamedTuple

from policies import units
from policies.burn_alerts import FINEST_SLOT_S, SHORTEST_WINDOW_SLOTS
from policies.errors import PolicyError, quoted
from policies.kinds import LIMITS, MESH, ROUTE, SLOS, TENANT, PolicyFile
from policies.mistakes import Mistake, placed
from policies.nodes import Mapping, Node, Scalar, Sequence, entry_of, find, text_of
from policies.quantities import quantity_at
from policies.references import near_name
from policies.snapshot.release import CLAIM

SHORTEST_BURN_S: Final = SHORTEST_WINDOW_SLOTS * FINEST_SLOT_S
EVERYBODY: Final = 1.0
TENANT_KEY: Final = "tenant"
# Headers by which nothing is decided but who calls.
CREDENTIALS: Final = ("authorization", "proxy-authorization", "cookie")


@dataclass(frozen=True, slots=True)
class _Known:
    """What other files say.

    Attributes:
        tiers: of each tenant, as far as its file can be read.
        tier_names: of all there are.
        has_issuer: some issuer's tokens are accepted, or nobody can say.
        targets: of each objective, where they are a share.
    """

    tiers: dict[str, str] = field(default_factory=dict)
    tier_names: frozenset[str] = frozenset()
    has_issuer: bool = True
    targets: dict[str, float] = field(default_factory=dict)


class _When(NamedTuple):
    tenants: frozenset[str]
    tiers: frozenset[str]
    headers: frozenset[tuple[str, str]]
    scope: str


def check(files: Iterable[PolicyFile]) -> list[PolicyError]:
    """Every rule that nothing reaches, step that cannot be, and judge without a measure."""
    listed = list(files)
    known = _Known(_tiers(listed), _tier_names(listed), accepts_tokens(listed), _targets(listed))
    errors: list[PolicyError] = []
    for file in listed:
        if file.kind is ROUTE and file.root is not None:
            errors += [placed(file, mistake) for mistake in _mistakes(file.root, known)]
    return errors


def sticky_mistakes(node: Node, name: str, *, has_issuer: bool) -> Iterator[Mistake]:
    """Keys that no request has, keys behind one that every request has, and credentials."""
    entry = entry_of(node, name)
    keys = entry.value.items if entry and isinstance(entry.value, Sequence) else ()
    words = [key for key in keys if isinstance(key, Scalar)]
    for place, key in enumerate(words):
        if TENANT_KEY in [before.text for before in words[:place]]:
            problem = f"{quoted(key.text)} is never used: every request has the tenant that is before it"
            yield Mistake(key, problem, "Put tenant last, or remove this.")
        elif key.text.lower().removeprefix("header:") in CREDENTIALS:
            problem = f"{quoted(key.text)} is a credential, by which nothing is decided but who calls"
            yield Mistake(key, problem, "Write tenant, or another header.")
        elif key.text.startswith(CLAIM) and not has_issuer:
            problem = f"no request has {quoted(key.text)}: no issuer's tokens are accepted"
            yield Mistake(key, problem, "Add the issuer to auth.jwt of mesh.yaml, or remove it here.")


def accepts_tokens(files: Iterable[PolicyFile]) -> bool:
    """Whether some issuer's tokens are accepted, or nobody can say."""
    meshes = [file for file in files if file.kind is MESH]
    return any(mesh.root is None or any(find(mesh.root, "auth.jwt[]")) for mesh in meshes)


def _tiers(files: list[PolicyFile]) -> dict[str, str]:
    return {file.stem: text_of(file.root, "tier") for file in files if file.kind is TENANT and file.root is not None}


def _tier_names(files: list[PolicyFile]) -> frozenset[str]:
    limits = [file.root for file in files if file.kind is LIMITS and file.root is not None]
    return frozenset(tier.name.removeprefix("tiers.") for root in limits for tier in find(root, "tiers.*"))


def _targets(files: list[PolicyFile]) -> dict[str, float]:
    slos = [slo.node for file in files if file.kind is SLOS and file.root for slo in find(file.root, "slos[]")]
    return {text_of(slo, "name"): target for slo in slos for _, target in quantity_at(slo, "objective", "percent")}


def _mistakes(route: Mapping, known: _Known) -> Iterator[Mistake]:
    yield from _rules(route, known)
    canary = entry_of(route, "canary")
    if canary and isinstance(canary.value, Mapping):
        yield from _versions(route, canary.value)
        yield from sticky_mistakes(canary.value, "sticky_by", has_issuer=known.has_issuer)
        yield from _steps(route, canary.value)
        yield from _judge(route, canary.value, known)
        yield from _capacity(canary.value)


def _rules(route: Mapping, known: _Known) -> Iterator[Mistake]:
    before: list[tuple[str, _When]] = []
    for rule in find(route, "choose[]"):
        when = entry_of(rule.node, "when")
        if when is None or not isinstance(when.value, Mapping):
            continue
        yield from _credentials(when.value)
        asked = _when(when.value)
        if asked.tenants and _matches_none(asked, known):
            problem = "this rule matches nobody: none of its tenants is of its tiers"
            yield Mistake(when.key, problem, "Remove tenant or tier, or name others.")
            continue
        name = text_of(rule.node, "name")
        for earlier, wider in before:
            if _takes_all(wider, asked, known):
                problem = f"the rule {quoted(name)} is never reached: {quoted(earlier)} takes all of its requests"
                yield Mistake(rule.node, problem, f"Put it before {quoted(earlier)}, or remove it.")
                break
        before.append((name, asked))


def _credentials(when: Mapping) -> Iterator[Mistake]:
    headers = entry_of(when, "header")
    for name, entry in headers.value.entries.items() if headers and isinstance(headers.value, Mapping) else ():
        if name in CREDENTIALS:
            problem = f"{name} is a credential, by which nothing is decided but who calls"
            yield Mistake(entry.key, problem, "Name tenants, or another header.")


def _when(node: Mapping) -> _When:
    headers = {(one.name.partition(".")[2], _text(one.node)) for one in find(node, "header.*")}
    tenants, tiers = (frozenset(_text(one.node) for one in find(node, path)) for path in ("tenant[]", "tier[]"))
    return _When(tenants, tiers, frozenset(headers), text_of(node, "scope"))


def _text(node: Node) -> str:
    return node.text if isinstance(node, Scalar) else ""


def _matches_none(when: _When, known: _Known) -> bool:
    """Whether none of the tenants is of the tiers; silent while a name leads nowhere, which is told."""
    if not when.tiers or not when.tiers <= known.tier_names:
        return False
    return all(known.tiers.get(name, "") in known.tier_names - when.tiers for name in when.tenants)


def _takes_all(wider: _When, other: _When, known: _Known) -> bool:
    """Whether every request that the other rule is for matches the first one too."""
    has_tenant = not wider.tenants or (bool(other.tenants) and other.tenants <= wider.tenants)
    by_tenant = bool(other.tenants) and all(known.tiers.get(name, "") in wider.tiers for name in other.tenants)
    has_tier = not wider.tiers or (bool(other.tiers) and other.tiers <= wider.tiers) or by_tenant
    return has_tenant and has_tier and wider.headers <= other.headers and wider.scope in ("", other.scope)


def _versions(route: Mapping, canary: Mapping) -> Iterator[Mistake]:
    stable, version = text_of(route, "stable"), entry_of(canary, "version")
    if version and stable and text_of(canary, "version") == stable:
        problem = f"the canary is of version {quoted(stable)}, which is stable: it has every request already"
        yield Mistake(version.value, problem, "Name the new version, or remove the canary.")
    judge = entry_of(canary, "judge")
    compared = entry_of(judge.value, "compare_to") if judge else None
    if judge and compared and stable and text_of(judge.value, "compare_to") != stable:
        told = quoted(text_of(judge.value, "compare_to"))
        problem = f"the canary is compared to {told}, and requests that are not in it go to {quoted(stable)}"
        yield Mistake(compared.value, problem, "Write the stable version, or remove compare_to.")


def _steps(route: Mapping, canary: Mapping) -> Iterator[Mistake]:
    steps = [found.node for found in find(canary, "steps[]")]
    before: Scalar | None = None
    before_share = 0.0
    for number, step in enumerate(steps, start=1):
        for node, share in quantity_at(step, "share", "percent"):
            yield from _share(node, share, before, before_share)
            if entry_of(step, "hold") is None and (number < len(steps) or share < EVERYBODY):
                yield Mistake(step, "this step has no hold, so it would be over at once", "Add one, such as hold: 15m.")
            before, before_share = node, share
        yield from _requirement(route, canary, step)


def _share(node: Scalar, share: float, before: Scalar | None, before_share: float) -> Iterator[Mistake]:
    if share == 0:
        yield Mistake(node, "a step of 0% gives the new version nothing", "Write more, or remove the step.")
    elif before is not None and before_share >= EVERYBODY:
        yield Mistake(node, "this step comes after 100%, when every request is on the new version", "Remove the step.")
    elif before is not None and share <= before_share:
        problem = f"{node.text} is not more than the step before it, {before.text}"
        yield Mistake(node, problem, "Write shares that rise, such as 1%, 5%, 25%, 100%.")


def _requirement(route: Mapping, canary: Mapping, step: Node) -> Iterator[Mistake]:
    required = entry_of(step, "requires")
    name = text_of(step, "requires").removeprefix("shadow/").removesuffix(" same")
    if not required or not text_of(step, "requires").startswith("shadow/"):
        return
    versions = {text_of(one.node, "name"): text_of(one.node, "version") for one in find(route, "shadow[]")}
    if name not in versions:
        fix = near_name(name, frozenset(versions), "shadow", is_item=False)
        yield Mistake(required.value, f"there is no shadow {quoted(name)}", fix)
    elif versions[name] != text_of(canary, "version"):
        problem = f"the shadow {quoted(name)} is of version {quoted(versions[name])}, not the canary's"
        fix = f"Name a shadow of version {quoted(text_of(canary, 'version'))}, or remove requires."
        yield Mistake(required.value, problem, fix)


def _judge(route: Mapping, canary: Mapping, known: _Known) -> Iterator[Mistake]:
    judge = entry_of(canary, "judge")
    if judge is None or not isinstance(judge.value, Mapping):
        return
    if not _objectives(route):
        problem = "nothing says what a bad event of this model is, so a judge has nothing to go by"
        yield Mistake(judge.key, problem, "Add slo, with an objective of slos.yaml, or remove judge.")
    bad_events, burn = (entry_of(judge.value, name) for name in ("bad_events", "burn"))
    yield from _bad_events(bad_events.value) if bad_events else ()
    yield from _burn(route, burn.value, known) if burn else ()
    for node, length_s in quantity_at(judge.value, "no_traffic_for", "duration"):
        if length_s == 0:
            yield Mistake(node, f"{node.text} is no time", "Write more than 0s; 2h is usual.")


def _objectives(route: Mapping) -> list[str]:
    """The names of a route's objectives, one by itself or a list of them."""
    names = (_text(one.node) for path in ("slo", "slo[]") for one in find(route, path))
    return [name for name in names if name]


def _bad_events(bad_events: Node) -> Iterator[Mistake]:
    for node, factor in quantity_at(bad_events, "harmful_above", "factor"):
        if factor < 1:
            problem = f"{node.text} would call a canary harmful that has fewer bad events than stable"
            yield Mistake(node, problem, "Write 1x or more; 1.2x is usual.")
    for node, factor in quantity_at(bad_events, "safe_below", "factor"):
        if factor <= 1:
            problem = f"with {node.text}, a canary that is as good as stable is never called safe"
            yield Mistake(node, problem, "Write more than 1x; 1.5x is usual.")


def _burn(route: Mapping, burn: Node, known: _Known) -> Iterator[Mistake]:
    for node, length_s in quantity_at(burn, "over", "duration"):
        if length_s < SHORTEST_BURN_S:
            slot = units.duration_text(FINEST_SLOT_S)
            problem = f"events are counted in slots of {slot}, and {node.text} holds too few of them"
            yield Mistake(node, problem, f"Write {units.duration_text(SHORTEST_BURN_S)} or more; 15m is usual.")
    above = entry_of(burn, "rollback_above")
    factor = above.value.value if above and isinstance(above.value, Scalar) else None
    targets = [known.targets[name] for name in _objectives(route) if name in known.targets]
    if above and targets and isinstance(factor, int | float) and min(targets) > 0 and max(targets) < 1:
        # Nothing burns faster than all events bad.
        fastest = max(1 / (1 - Fraction(repr(target))) for target in targets)
        if Fraction(repr(factor)) >= fastest:
            problem = f"this never happens: the budget burns at most {float(fastest):g} times too fast"
            yield Mistake(above.value, problem, f"Write less than {float(fastest):g}.")


def _capacity(canary: Mapping) -> Iterator[Mistake]:
    capacity = entry_of(canary, "capacity")
    for node, factor in quantity_at(capacity.value, "room", "factor") if capacity else ():
        if factor < 1:
            problem = f"with {node.text}, a step would begin that the pods cannot answer"
            yield Mistake(node, problem, "Write 1x or more; 1.3x is usual.")
