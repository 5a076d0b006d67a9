"""What changes in releases is told with what follows for those whose requests they are."""

from msgspec.structs import replace

from policies.diff import changes
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Tier
from policies.snapshot.mesh import Mesh
from policies.snapshot.release import Canary, CanaryStep, ChooseRule, Feedback, Judge, LeftOut, Recording, Shadow, When
from policies.snapshot.route import Launch, Route, Version
from policies.snapshot.tenant import Tenant

STEPS = (CanaryStep(0.05, 120.0, 200), CanaryStep(0.25, 300.0), CanaryStep(1.0))
CANARY = Canary("first", "2", STEPS, Judge("1"), sticky_by=("header:x-user-id", "tenant"))
SHADOW = Shadow("dark", "3", 0.2)
VERSIONS = {name: Version(name, Launch(f"digits-{name}.mar")) for name in ("1", "2", "3")}
ROUTE = Route("digits", "us", VERSIONS, "1")
TENANT = Tenant("ads", "us", "gold", (), ("digits",), is_copied=True)
OTHERS = {"labs": replace(TENANT, name="labs", may_call=("*",)), "law": replace(TENANT, name="law", is_copied=False)}
BEFORE = Snapshot(1, "", Mesh("m"), {"gold": Tier("gold")}, {"ads": TENANT, **OTHERS}, {"digits": ROUTE})


def with_route(**parts: object) -> Snapshot:
    return replace(BEFORE, routes={"digits": replace(ROUTE, **parts)})


def told(before: Canary, after: Canary) -> tuple[str, ...]:
    return changes(with_route(canary=before), with_route(canary=after))


def test_a_canary_begins_with_its_steps_and_who_is_in_it() -> None:
    assert changes(BEFORE, with_route(canary=CANARY)) == (
        "route digits: canary first begins: version 2 for 5%, 25%, 100% of requests by header:x-user-id, else tenant",
    )


def test_a_canary_that_goes_leaves_its_version_stable_or_idle() -> None:
    assert changes(with_route(canary=CANARY), BEFORE) == ("route digits: canary first is gone: it has no requests now",)
    assert changes(with_route(canary=CANARY), with_route(stable="2")) == (
        "route digits: stable 1 -> 2",
        "route digits: canary first is gone: its version 2 is stable now",
    )


def test_a_new_id_or_version_begins_anew() -> None:
    assert told(CANARY, replace(CANARY, id="second")) == (
        "route digits: canary second: begins anew at its first step, 5%, and who is in it is drawn anew: it was first",
    )
    assert told(CANARY, replace(CANARY, version="3", steps=STEPS[1:])) == (
        "route digits: canary first: version 2 -> 3: it begins anew at its first step, 25%",
        "route digits: canary first: step 1 5%, for 2m, at least 200 requests -> 25%, for 5m",
        "route digits: canary first: step 2 25%, for 5m -> 100%",
        "route digits: canary first: step 3 100% -> none",
    )


def test_of_an_edited_step_the_lower_share_holds_where_the_canary_is_in_it() -> None:
    steps = (STEPS[0], replace(STEPS[1], share=0.5), replace(STEPS[2], needs_approval=True))
    assert told(CANARY, replace(CANARY, steps=steps)) == (
        "route digits: canary first: step 2 25%, for 5m -> 50%, for 5m; what it has got to stays, but if that is "
        "this step, 25% holds, the lower of the two",
        "route digits: canary first: step 3 100% -> 100%, approval; what it has got to stays",
    )


def test_who_is_drawn_otherwise_is_told() -> None:
    assert told(CANARY, replace(CANARY, sticky_by=(), is_judged=False, never=LeftOut(("law",)))) == (
        "route digits: canary first: sticky_by header:x-user-id, else tenant -> chance: who is in it changes",
        "route digits: canary first: never none -> tenant law",
        "route digits: canary first: decided by its judge -> a person",
    )


def test_rules_are_told_one_by_one_and_in_their_order() -> None:
    qa = ChooseRule("qa", When(tenants=("labs",)), "2")
    pin = ChooseRule("pin", When(headers=(("x-try", "yes"),), scope="pin"), "3")
    both = with_route(choose=(qa, pin))
    assert changes(BEFORE, both) == (
        "route digits: rule pin added: header x-try: yes and scope pin to version 3",
        "route digits: rule qa added: tenant labs to version 2",
    )
    assert changes(both, with_route(choose=(pin, replace(qa, when=When())))) == (
        "route digits: rule qa tenant labs to version 2 -> every request to version 2",
        "route digits: order of rules qa, pin -> pin, qa",
    )
    assert changes(both, with_route(choose=(pin,))) == ("route digits: rule qa removed: tenant labs to version 2",)


def test_whose_requests_are_copied_from_now_on_is_told() -> None:
    with_shadow = with_route(shadows=(SHADOW,))
    assert changes(BEFORE, with_shadow) == (
        "route digits: shadow dark added: version 3 gets copies of 20% of requests",
        "requests of tenants ads, labs for digits will be copied to the shadow dark from now on",
    )
    denied = replace(with_shadow, tenants={**BEFORE.tenants, "ads": replace(TENANT, is_copied=False)})
    assert changes(with_shadow, denied) == (
        "tenant ads: shadow allow -> deny",
        "requests of tenant ads for digits are no longer copied to the shadow dark",
    )
    left_out = with_route(shadows=(replace(SHADOW, never=LeftOut(("ads",))),))
    assert changes(with_shadow, left_out) == (
        "route digits: shadow dark: never none -> tenant ads",
        "requests of tenant ads for digits are no longer copied to the shadow dark",
    )


def test_a_tenant_that_comes_with_consent_is_copied_from_its_first_request() -> None:
    before = replace(with_route(shadows=(SHADOW,)), tenants={"law": OTHERS["law"]})
    assert changes(before, replace(before, tenants={**before.tenants, "ads": TENANT})) == (
        "tenant ads added",
        "requests of tenant ads for digits will be copied to the shadow dark from now on",
    )


def test_a_comparison_of_something_else_begins_anew() -> None:
    changed = replace(SHADOW, version="2", deadline_s=2.0)
    assert changes(with_route(shadows=(SHADOW,)), with_route(shadows=(changed,))) == (
        "route digits: shadow dark: version 3 -> 2; its comparison begins anew",
        "route digits: shadow dark: deadline 5s -> 2s",
    )


def test_recordings_and_late_labels_are_told() -> None:
    after = with_route(record=Recording(0.01), feedback=Feedback("/label"))
    assert changes(BEFORE, after) == (
        "route digits: record added: 1% of requests, at most 64MiB, for 7d",
        "route digits: feedback none -> label /label, for 1d, judged",
        "requests of tenants ads, labs for digits will be recorded from now on",
    )
    assert changes(after, BEFORE) == (
        "route digits: record removed; what is recorded is thrown away",
        "route digits: feedback label /label, for 1d, judged -> none; the labels that are kept are thrown away",
        "requests of tenants ads, labs for digits are no longer recorded",
    )


def test_recordings_of_which_more_is_dropped_than_before_are_told_to_go() -> None:
    before = with_route(record=Recording(0.01, drop_fields=("/user",)))
    after = with_route(record=Recording(0.01, drop_fields=("/user", "/mail")))
    assert changes(before, after) == (
        "route digits: record: drop_fields /user -> /user, /mail; what is recorded is thrown away",
    )
    assert changes(after, before) == ("route digits: record: drop_fields /user, /mail -> /user",)
