"""Explanations: the same outcome as the decision, whatever is asked, and steps that lead to it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.decide.credentials import Credential, NoCredential, Recorded
from gateway.decide.decision import decide
from gateway.decide.facts import RequestFacts
from gateway.decide.limits import Standing
from gateway.trial.explanation import Step, explain
from gateway.trial.stated_counters import StatedCounters, standing_of
from gateway.trial.tried_policy import tried_tables
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Limit, SharedLimit, Tier
from policies.snapshot.route import Launch, Version
from policies.snapshot.tenant import LadderStep, Quota
from tests.gateway.policy import EXPIRED_KEY, KEY, PLAIN_KEY, policy

ACCOUNT = "tenant/ads/quota/day/requests"
LADDER = (LadderStep(0.5, "warn"), LadderStep(0.8, "demote"), LadderStep(1.0, "refuse"))
DAY = Quota("day", "requests", 100, "calendar-day", ladder=LADDER)
NOW_S, NOW_NS = 50.0, 50 * 10**9


def limited() -> Snapshot:
    snapshot = policy(limit=Limit("tier/gold", 10.0, 20, 5), quotas=(DAY,), body_bytes=1000)
    shared = SharedLimit(Limit("shared/all", 1.0, 1, observe=True), models=("digits",))
    return replace(snapshot, shared=(shared,))


TABLES = tried_tables(limited())
FACTS = RequestFacts("POST", "/predictions/digits", Recorded("ads", f"id-{KEY}"), "", "", 0, wall_s=2000.0)
UNUSED = StatedCounters({ACCOUNT: standing_of(100, 0)})


def steps(facts: RequestFacts = FACTS, counters: StatedCounters = UNUSED) -> tuple[Step, ...]:
    return explain(TABLES, facts, counters, NOW_S).steps


def step(about: str, facts: RequestFacts = FACTS, counters: StatedCounters = UNUSED) -> Step:
    (found,) = [one for one in steps(facts, counters) if one.about == about]
    return found


credentials: st.SearchStrategy[Credential] = st.one_of(
    st.just(NoCredential("key_missing", "no key")),
    st.builds(
        Recorded,
        st.sampled_from(["ads", "nobody"]),
        st.sampled_from(["", f"id-{KEY}", f"id-{PLAIN_KEY}", f"id-{EXPIRED_KEY}", "local", "unknown"]),
    ),
)
paths = st.sampled_from(
    (
        None,
        "/",
        "/me",
        "/v2",
        "/predictions/digits",
        "/predictions/digits/2",
        "/predictions/digits/9",
        "/predictions/secret",
        "/predictions/none",
        "/explanations/digits",
        "/v2/models/digits/infer",
    )
)
facts = st.builds(
    RequestFacts,
    st.sampled_from(["POST", "GET", "PUT"]),
    paths,
    credentials,
    st.sampled_from(["", "1", "2", "9"]),
    st.sampled_from(["", "250", "0", "soon"]),
    st.sampled_from([0, 1000, 1001]),
    st.just(2000.0),
)
standings = st.one_of(
    st.none(), st.builds(Standing, st.integers(0, 5), st.integers(0, 130), st.just(100), st.just(2060.0), st.just(1.0))
)
counters = st.builds(
    lambda standing, tier_tat_ns, shared_tat_ns, held: StatedCounters(
        {} if standing is None else {ACCOUNT: standing},
        {"tenant/ads/tier/rate": tier_tat_ns, "shared/all/rate": shared_tat_ns},
        {"tenant/ads/tier/in_flight": held},
    ),
    standings,
    st.integers(NOW_NS - 10**9, NOW_NS + 3 * 10**9),
    st.integers(NOW_NS - 10**9, NOW_NS + 3 * 10**9),
    st.integers(0, 6),
)


@given(facts, counters)
def test_it_explains_just_what_is_decided(request_facts: RequestFacts, state: StatedCounters) -> None:
    found = explain(TABLES, request_facts, state, NOW_S)
    decision = decide(TABLES, request_facts, state, NOW_S)
    assert found.decision == decision
    refused = [one for one in found.steps if one.verdict == "refused"]
    if decision.refusal is None:
        assert refused == []
    else:
        assert refused[0].says.find(f"{decision.refusal.reason}: {decision.refusal.message}") >= 0
        limits = [one.about.partition(" ")[2] for one in refused if one.about.startswith(("limit ", "quota "))]
        assert tuple(limits) == decision.refusal.limits
    observed = {one.about.partition(" ")[2] for one in found.steps if one.verdict == "observed"}
    assert observed == set(decision.observed)
    if decision.refusal is None:
        demoted = [one.about for one in found.steps if one.verdict == "demoted"]
        assert demoted == ([f"quota {decision.demoted_by}"] if decision.demoted_by else [])


def test_the_steps_of_an_admitted_request_are_all_there_in_order() -> None:
    assert [one.about for one in steps()] == [
        "credential",
        "tenant",
        "path",
        "model",
        "may call",
        "scope",
        "body",
        "version",
        "deadline",
        "limit tier/gold",
        "limit shared/all",
        "limit tier/gold/in_flight",
        "quota day",
        "pods",
        "queue",
    ]
    assert {one.verdict for one in steps()} == {"ok"}


def test_nothing_is_looked_at_after_a_step_that_refuses() -> None:
    assert [one.about for one in steps(replace(FACTS, path="/predictions/secret"))][-1] == "may call"
    missing = replace(FACTS, credential=Recorded("ads", f"id-{PLAIN_KEY}"), path="/explanations/digits")
    assert [(one.about, one.verdict) for one in steps(missing)][-1] == ("scope", "refused")


def test_every_limit_is_told_though_one_refuses_and_pods_are_not() -> None:
    full = StatedCounters({ACCOUNT: standing_of(100, 60)}, {"tenant/ads/tier/rate": NOW_NS + 10**10})
    told = {one.about: one.verdict for one in steps(counters=full)}
    assert told["limit tier/gold"] == "refused"
    assert told["quota day"] == "warned"
    assert "pods" not in told


def test_each_step_says_what_matched() -> None:
    assert step("may call").says == "may_call of ads names digits"
    assert step("version").says == "1: the stable one; the caller asks for none"
    pinned = replace(FACTS, pinned_version="2")
    assert step("version", pinned).says == "2: the caller asks for it, and has the scope pin"
    assert step("limit tier/gold").says == "10/s, 20 at once; 19 left after this one"
    assert step("limit tier/gold/in_flight").says == "5 in flight at most, 0 now; 4 left after this one"
    used = StatedCounters({ACCOUNT: standing_of(100, 60)})
    assert step("quota day", counters=used).verdict == "warned"
    assert step("quota day", counters=used).says == (
        "60 of 100 requests (calendar-day) used, 60.0%; steps: 50% warn, 80% demote, 100% refuse"
    )
    assert step("quota day", counters=StatedCounters({})).says.startswith("100 requests calendar-day, not granted yet")


def test_pods_are_told_by_where_they_come_from() -> None:
    assert step("pods").says.startswith("version 1: at unix:/none;")
    snapshot = policy()
    launched = replace(snapshot.routes["digits"], versions={"1": Version("1", launch=Launch("digits.mar", 2))})
    tables = tried_tables(replace(snapshot, routes={"digits": launched}))
    assert explain(tables, FACTS, UNUSED, NOW_S).steps[-2].says.startswith("version 1: 2 started from digits.mar;")


def test_how_a_request_would_wait_is_told() -> None:
    says = "tier gold: when the pods are busy, at most 64 of the tenant for 1s; priority 0, weight 1"
    assert step("queue").says == says
    snapshot = limited()

    def told(tier: Tier) -> str:
        tables = tried_tables(replace(snapshot, tiers={"gold": tier}))
        return explain(tables, FACTS, UNUSED, NOW_S).steps[-1].says

    assert told(Tier("gold", queue_wait_s=0.0)) == "tier gold: refused at once when the pods are busy"
    assert "priority -5, refused first, weight 2" in told(Tier("gold", priority=-5, weight=2))


def test_a_tenant_that_may_call_every_model_is_told_so() -> None:
    snapshot = policy()
    tenants = {"ads": replace(snapshot.tenants["ads"], may_call=("*",))}
    tables = tried_tables(replace(snapshot, tenants=tenants))
    (found,) = [one for one in explain(tables, FACTS, UNUSED, NOW_S).steps if one.about == "may call"]
    assert found.says == 'may_call of ads has "*", every model'


def test_without_limits_that_is_told_too() -> None:
    found = explain(tried_tables(policy()), FACTS, UNUSED, NOW_S).steps
    assert Step("limits", "ok", "no limit and no quota is drawn on") in found
