"""What is no mistake and may still not be meant is told in one sentence each."""

from msgspec.structs import replace

from policies.notes import EXPIRED_FOR_S, MAX_NAMED, notes
from policies.snapshot import (
    JwtIssuer,
    Key,
    Launch,
    Limit,
    Mesh,
    Objective,
    Role,
    Route,
    Snapshot,
    Tenant,
    TenantJwt,
    Tier,
    Version,
)

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
