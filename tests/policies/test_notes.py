"""What is no mistake and may still not be meant is told in one sentence each."""

from msgspec.structs import replace

from policies.notes import EXPIRED_FOR_S, MAX_NAMED, notes
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Limit, Tier
from policies.snapshot.mesh import JwtIssuer, Mesh, Role
from policies.snapshot.release import Canary, CanaryStep, Capacity, ChooseRule, Judge, LeftOut, Recording, Shadow, When
from policies.snapshot.route import Launch, Route, Version
from policies.snapshot.slos import Objective
from policies.snapshot.tenant import Key, Tenant, TenantJwt

NOW_S = 1_800_000_000.0
KEY = Key("one", "0" * 64, ("infer",))
TENANT = Tenant("ads", "us", "gold", (KEY,), ("ranker",))
ROUTE = Route("ranker", "us", {"1": Version("1", Launch("ranker.mar"))}, "1")
SSO = JwtIssuer("sso", "https://sso.example", ("mesh",), ("ES256",), "https://sso.example/keys", "tenant_id")
GOOD = Snapshot(1, "", Mesh("m"), {"gold": Tier("gold")}, {"ads": TENANT}, {"ranker": ROUTE})


def with_tenant(**changes: object) -> Snapshot:
    return replace(GOOD, tenants={"ads": replace(TENANT, **changes)})


def test_of_what_is_as_it_should_be_nothing_is_said() -> None:
    assert notes(GOOD, NOW_S) == ()


def test_who_has_no_credential_and_who_may_call_nothing_is_named() -> None:
    assert notes(with_tenant(keys=(), may_call=()), NOW_S) == (
        "no file names a key, token or certificate of tenant ads",
        "tenant ads may call nothing: may_call is empty",
    )
    assert notes(with_tenant(keys=(), certificates=("spiffe://a",)), NOW_S) == ()


def test_a_key_that_ended_just_now_is_left_for_a_while() -> None:
    ended = replace(KEY, id="old", not_after_s=NOW_S)
    assert notes(with_tenant(keys=(KEY, ended)), NOW_S) == ()
    assert notes(with_tenant(keys=(ended,)), NOW_S) == ("every key of tenant ads has expired",)
    assert notes(with_tenant(keys=(KEY, ended)), NOW_S + EXPIRED_FOR_S) == (
        "key old can be removed: expired for more than 30 days",
    )


def test_a_tenant_s_limit_that_its_tier_never_lets_it_reach_is_noted() -> None:
    gold = Tier("gold", Limit("tier/gold", rate_per_s=100.0, burst=100, in_flight=8))

    def told(own: Limit, tier: Tier = gold) -> tuple[str, ...]:
        return notes(replace(with_tenant(limit=own), tiers={"gold": tier}), NOW_S)

    rate = ("the rate of tenant ads limits nothing: the tier allows no more than that",)
    in_flight = ("the in_flight of tenant ads limits nothing: the tier allows no more than that",)
    assert told(Limit("tenant/ads", rate_per_s=100.0, burst=100, in_flight=9)) == rate + in_flight
    assert told(Limit("tenant/ads", rate_per_s=200.0, burst=10, in_flight=7)) == ()
    assert told(Limit("tenant/ads", rate_per_s=90.0, burst=200)) == ()
    assert gold.limit is not None
    observing = replace(gold, limit=replace(gold.limit, observe=True))
    assert told(Limit("tenant/ads", rate_per_s=200.0, burst=200), observing) == ()


def test_tiers_issuers_and_objectives_of_nobody_are_named() -> None:
    objective = Objective("fast", "us", 3600.0, 0.99, 500)
    idle = replace(
        GOOD, tiers={**GOOD.tiers, "free": Tier("free")}, mesh=Mesh("m", jwt=(SSO,)), objectives={"fast": objective}
    )
    assert notes(idle, NOW_S) == (
        "nothing is counted for the objective fast: no route names it",
        "no tenant is of tier free",
        "no tenant and no role has tokens of issuer sso",
    )


def test_an_issuer_is_used_by_a_tenant_or_by_a_role() -> None:
    mesh = Mesh("m", jwt=(SSO,))
    by_tenant = replace(with_tenant(jwt=TenantJwt("sso", "ads")), mesh=mesh)
    by_role = replace(GOOD, mesh=replace(mesh, roles=(Role("ops", ("group:ops",), ("policy.read",)),)))
    assert notes(by_tenant, NOW_S) == notes(by_role, NOW_S) == ()


def test_many_names_are_cut_short() -> None:
    tiers = {f"t{number:02}": Tier(f"t{number:02}") for number in range(MAX_NAMED + 5)}
    (note,) = notes(replace(GOOD, tiers={**GOOD.tiers, **tiers}), NOW_S)
    assert note == f"no tenant is of tiers {', '.join(sorted(tiers)[:MAX_NAMED])} and 5 more"


def test_a_weight_that_nobody_of_the_same_priority_shares_with_is_noted() -> None:
    tiers = {"gold": Tier("gold", weight=6), "silver": Tier("silver", priority=-1)}
    labs = replace(TENANT, name="labs", tier="silver")
    snapshot = replace(GOOD, tiers=tiers, tenants={"ads": TENANT, "labs": labs})
    assert notes(snapshot, NOW_S) == ("the weight of tier gold decides nothing: no other tier has the same priority",)
    together = replace(snapshot, tiers={**tiers, "silver": Tier("silver")})
    assert notes(together, NOW_S) == ()


SHADOW = Shadow("dark", "2", 0.1)


def told_of(**parts: object) -> tuple[str, ...]:
    return notes(replace(GOOD, routes={"ranker": replace(ROUTE, **parts)}), NOW_S)


def test_what_is_copied_of_nobody_is_noted_with_why() -> None:
    none = "the shadow dark of ranker copies 0 requests: "
    assert told_of(shadows=(SHADOW,)) == (f"{none}no tenant that may call it has shadow: allow",)
    assert told_of(record=Recording(0.1)) == (
        "record of ranker keeps 0 requests: no tenant that may call it has shadow: allow",
    )
    allowing = with_tenant(is_copied=True)
    copied = replace(allowing, routes={"ranker": replace(ROUTE, shadows=(SHADOW,))})
    assert notes(copied, NOW_S) == ()
    left_out = replace(SHADOW, never=LeftOut(tiers=("gold",)))
    assert notes(replace(copied, routes={"ranker": replace(ROUTE, shadows=(left_out,))}), NOW_S) == (
        f"{none}never leaves out every tenant that has shadow: allow",
    )
    idle = replace(SHADOW, sample=0.0)
    assert notes(replace(copied, routes={"ranker": replace(ROUTE, shadows=(idle,))}), NOW_S) == (
        f"{none}its sample is 0%",
    )


def test_a_rule_by_a_header_that_anybody_can_send_is_noted() -> None:
    by_header = ChooseRule("try", When(headers=(("x-try", "yes"),)), "1")
    assert told_of(choose=(by_header,)) == (
        "any caller of ranker can send the headers of rule try, and so choose its version: "
        "add scope: pin if that is not meant",
    )
    scoped = replace(by_header, when=replace(by_header.when, scope="pin"))
    known = replace(by_header, when=replace(by_header.when, tenants=("ads",)))
    assert told_of(choose=(scoped, known)) == ()


def test_a_canary_that_too_few_keys_judge_is_noted() -> None:
    by_tenant = Canary("first", "2", (CanaryStep(1.0),), Judge("1"), is_judged=True, sticky_by=("tenant",))
    (note,) = told_of(canary=by_tenant)
    assert note.startswith("the canary first of ranker may fail every request and not be called harmful")
    for enough in (
        replace(by_tenant, judge=Judge("1", burn_above=6.0)),
        replace(by_tenant, sticky_by=("header:x-user-id", "tenant")),
        replace(by_tenant, is_judged=False),
    ):
        assert told_of(canary=enough) == ()


def test_a_canary_that_waits_for_more_pods_than_there_will_be_is_noted() -> None:
    held = Canary("first", "1", (CanaryStep(1.0),), Judge("1", burn_above=6.0), sticky_by=("tenant",))
    assert told_of(canary=replace(held, capacity=Capacity(ready_pods_at_least=2))) == (
        "the canary first of ranker gets no requests: its capacity waits for 2 ready pods, and version 1 has a count "
        "of 1",
    )
    assert told_of(canary=replace(held, capacity=Capacity(ready_pods_at_least=1))) == ()


def test_a_canary_that_gets_nothing_or_keeps_nobody_is_noted() -> None:
    canary = Canary("first", "2", (CanaryStep(1.0),), Judge("1", burn_above=6.0), sticky_by=("tenant",))
    assert told_of(canary=canary) == ()
    every = ChooseRule("now", When(), "1")
    assert told_of(canary=canary, choose=(every,)) == (
        "the canary first of ranker gets no requests: rule now takes all of them",
    )
    assert told_of(canary=replace(canary, never=LeftOut(("ads",)))) == (
        "the canary first of ranker gets no requests: never leaves out all who may call it",
    )
    assert told_of(canary=replace(canary, sticky_by=())) == (
        "callers of ranker change between versions from request to request while the canary first runs: "
        "sticky_by keeps them on one",
    )
    undecided = replace(canary, judge=Judge("1", harmful_above=2.0, safe_below=1.5, burn_above=6.0))
    assert told_of(canary=undecided) == (
        "between its safe_below and harmful_above, the judge of the canary first of ranker calls a version neither "
        "safe nor harmful",
    )
