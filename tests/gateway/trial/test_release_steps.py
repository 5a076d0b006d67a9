"""Why a request gets its version, and what it is copied for, is explained by what decides it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.decide.credentials import Recorded
from gateway.decide.decision import decide
from gateway.decide.facts import RequestFacts
from gateway.decide.tables import Tables
from gateway.trial.explanation import Step, explain
from gateway.trial.stages import stage_at
from gateway.trial.stated_counters import StatedCounters
from gateway.trial.tried_policy import tried_tables
from policies.snapshot.generation import Snapshot
from policies.snapshot.release import Canary, CanaryStep, ChooseRule, Feedback, Judge, LeftOut, Recording, Shadow, When
from policies.snapshot.samples import Sampling
from tests.gateway.policy import KEY, policy

CANARY = Canary("first", "2", (CanaryStep(0.05, 60.0), CanaryStep(1.0)), Judge("1"), sticky_by=("header:x-user-id",))
SHADOWS = (Shadow("dark", "3", 0.5, ("header:x-user-id",)), Shadow("two", "2", 1.0))
RULES = (
    ChooseRule("try", When(headers=(("x-try", "yes"),), scope="pin"), "3"),
    ChooseRule("others", When(tenants=("labs",)), "2"),
)
FACTS = RequestFacts("POST", "/predictions/digits", Recorded("ads", f"id-{KEY}"), "", "", 0, 2000.0, draw=0.5)
UNUSED = StatedCounters({})


def with_route(**parts: object) -> Snapshot:
    """A policy whose tenants ads and labs allow copies, and law does not."""
    snapshot = policy()
    route = snapshot.routes["digits"]
    versions = {**route.versions, "3": replace(route.versions["2"], name="3")}
    ads = replace(snapshot.tenants["ads"], is_copied=True)
    tenants = {
        "ads": ads,
        "labs": replace(ads, name="labs", keys=()),
        "law": replace(ads, name="law", keys=(), is_copied=False),
    }
    return replace(snapshot, tenants=tenants, routes={"digits": replace(route, versions=versions, **parts)})


def tables_at(snapshot: Snapshot, share: float | None) -> Tables:
    tables = tried_tables(snapshot)
    tables.stages = {} if share is None else stage_at(snapshot.routes["digits"], share)
    return tables


def step(about: str, tables: Tables, facts: RequestFacts = FACTS) -> Step:
    (found,) = [one for one in explain(tables, facts, UNUSED, 0.0).steps if one.about == about]
    return found


def with_user(user: str) -> RequestFacts:
    return replace(FACTS, headers=(("x-user-id", user),))


def test_the_sticky_key_is_named_with_the_share_and_where_it_lies() -> None:
    tables = tables_at(with_route(canary=CANARY), 0.25)
    said = {step("version", tables, with_user(f"u-{number}")).says for number in range(40)}
    inside = [says for says in said if says.startswith("2: ")]
    outside = [says for says in said if says.startswith("1: ")]
    assert inside[0].startswith(
        "2: in the canary first, whose share is 25%: sticky key header:x-user-id, which lies at"
    )
    assert outside[0].startswith("1: the stable one; not in the canary first, whose share is 25%: sticky key header:")
    assert all(float(says.rsplit(" ", 1)[1].removesuffix("%")) < 25.0 for says in inside)
    assert all(float(says.rsplit(" ", 1)[1].removesuffix("%")) >= 25.0 for says in outside)


def test_without_a_sticky_key_chance_is_named() -> None:
    snapshot = with_route(canary=CANARY)
    says = (
        "not in the canary first, whose share is 25%: sticky key none, so by chance: this one is taken to lie at 50.00%"
    )
    assert step("version", tables_at(snapshot, 0.25)).says == f"1: the stable one; {says}"
    assert step("version", tables_at(snapshot, 0.75)).says.startswith("2: in the canary first, whose share is 75%")


def test_a_canary_that_is_not_for_a_request_is_said_to_be_so() -> None:
    snapshot = with_route(canary=CANARY)
    assert step("version", tables_at(snapshot, None)).says == "1: the stable one; the canary first has not begun"
    left_out = with_route(canary=replace(CANARY, never=LeftOut(("ads",))))
    assert step("version", tables_at(left_out, 1.0)).says == "1: the stable one; the canary first leaves out tenant ads"
    by_tier = with_route(canary=replace(CANARY, never=LeftOut(tiers=("gold",))))
    assert step("version", tables_at(by_tier, 1.0)).says == "1: the stable one; the canary first leaves out tier gold"
    asked = replace(FACTS, path="/predictions/digits/1")
    assert step("version", tables_at(snapshot, 1.0), asked).says == "1: the stable one, which the caller asks for"


def test_the_rule_that_chose_is_named_with_what_it_is_for() -> None:
    tables = tables_at(with_route(canary=CANARY, choose=RULES), 1.0)
    tried = replace(FACTS, headers=(("x-try", "yes"),))
    labs = replace(FACTS, credential=Recorded("labs"))
    says = "3: the rule try sends it there, which is for header x-try: yes and scope pin"
    assert step("version", tables, tried).says == says
    assert step("version", tables, labs).says == "2: the rule others sends it there, which is for tenant labs"
    assert step("version", tables).says.startswith("2: in the canary first")


def test_each_shadow_says_whether_it_gets_a_copy_and_why_not() -> None:
    tables = tables_at(with_route(shadows=SHADOWS, record=Recording(1.0), feedback=Feedback("/label")), None)
    by_verdict = {step("shadow dark", tables, with_user(f"u-{number}")).verdict: number for number in range(40)}
    assert by_verdict.keys() == {"copied", "left out"}
    copied = step("shadow dark", tables, with_user(f"u-{by_verdict['copied']}"))
    assert copied.says.startswith("version 3 gets 50%: sticky key header:x-user-id, which lies at ")
    assert step("shadow two", tables).says.startswith("version 2 gets 100%: sticky key none, so by chance, which lies")
    assert step("record", tables) == Step("record", "copied", "100% of requests, by chance")
    assert step("feedback", tables).says == "the right label may be told for 1d after the answer"
    pinned = replace(FACTS, pinned_version="2")
    assert step("shadow two", tables, pinned) == Step(
        "shadow two", "left out", "version 2 answers it: there is nothing to compare"
    )


def test_who_does_not_consent_is_copied_nowhere() -> None:
    never = LeftOut(("labs",))
    shadows = (replace(SHADOWS[0], sample=1.0, never=never),)
    tables = tables_at(with_route(shadows=shadows, record=Recording(1.0, never=never)), None)
    denied = "tenant law does not allow it; `shadow: allow` in its file would"
    law, labs = (replace(FACTS, credential=Recorded(name)) for name in ("law", "labs"))
    for about in ("shadow dark", "record"):
        assert step(about, tables, law) == Step(about, "left out", denied)
        assert step(about, tables, labs) == Step(about, "left out", "never leaves out tenant labs")
        assert step(about, tables).verdict == "copied"


def test_whether_it_becomes_a_sample_is_said_with_what_it_is_kept_on_besides() -> None:
    always = Sampling(("/a",), rate=1.0, triggers=("error", "slow"), slower_than_s=1.0, never=LeftOut(("labs",)))
    tables = tables_at(with_route(samples=always), None)
    assert step("samples", tables) == Step("samples", "copied", "100% of requests, by chance, and on error and slow")
    labs = replace(FACTS, credential=Recorded("labs"))
    assert step("samples", tables, labs) == Step("samples", "left out", "never leaves out tenant labs")
    rarely = tables_at(with_route(samples=Sampling(("/a",), triggers=("error",))), None)
    assert step("samples", rarely) == Step("samples", "left out", "0% of requests, by chance, and on error")


users = st.sampled_from(["", "u-1", "u-2", "u-3", "u-4"])
requests = st.builds(
    lambda tenant, path, user, tries, pinned, draw: RequestFacts(
        "POST",
        path,
        Recorded(tenant),
        pinned,
        "",
        0,
        2000.0,
        (("x-user-id", user), *((("x-try", "yes"),) if tries else ())),
        draw,
    ),
    st.sampled_from(["ads", "labs", "law"]),
    st.sampled_from(["/predictions/digits", "/predictions/digits/2", "/explanations/digits", "/v2/models/digits"]),
    users,
    st.booleans(),
    st.sampled_from(["", "1", "3"]),
    st.floats(0.0, 0.999),
)


@given(requests, st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_what_is_explained_is_what_is_decided(facts: RequestFacts, share: float | None) -> None:
    snapshot = with_route(canary=CANARY, choose=RULES, shadows=SHADOWS, record=Recording(0.5))
    tables = tables_at(snapshot, share)
    decision = decide(tables, facts, UNUSED, 0.0)
    steps = explain(tables, facts, UNUSED, 0.0).steps
    said = {one.about: one for one in steps}
    if decision.refusal is not None:
        assert not any(one.about.startswith("shadow ") for one in steps)
        return
    assert said["version"].says.partition(":")[0] == decision.version
    assert (f"the rule {decision.rule} " in said["version"].says) == bool(decision.rule)
    assert (": in the canary" in said["version"].says) == (decision.arm == "canary")
    copied = {about.removeprefix("shadow ") for about, one in said.items() if one.verdict == "copied"} - {"record"}
    assert copied == set(decision.copies.shadows if decision.copies else ())
    if "record" in said:
        is_recorded = decision.copies is not None and decision.copies.is_recorded
        assert (said["record"].verdict == "copied") == is_recorded
