"""All limits of a request at once: every one must have room, and what is told is what decided."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.decide.admission import Admitted, Work, admit
from gateway.decide.limits import QuotaCharge, RateCharge, SlotCharge, Standing
from gateway.decide.tables import Tables, account_of
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Limit, SharedLimit
from policies.snapshot.tenant import LadderStep, Quota
from tests.gateway.decide.counters import FakeCounters
from tests.gateway.policy import KEY, policy

NOW_S = 50.0
WALL_S = 2000.0
ACCOUNT = "tenant/ads/quota/day/requests"
DAY = Quota(
    "day",
    "requests",
    100,
    "rolling-24h",
    ladder=(LadderStep(0.8, "warn"), LadderStep(1.0, "demote"), LadderStep(1.2, "refuse")),
)


def admitted(snapshot: Snapshot, counters: FakeCounters) -> Admitted:
    tables = Tables(snapshot)
    (caller,) = [caller for caller in tables.callers.values() if caller.key.id == f"id-{KEY}"]
    admission = tables.admission(caller, tables.routes["digits"])
    return admit(admission, counters, Work("digits", "1", 640), WALL_S, NOW_S)


def with_quota(used: int, left: int = 1000, quota: Quota = DAY) -> Admitted:
    standing = Standing(left, used, quota.limit, WALL_S + 60.0, 0.5)
    return admitted(policy(quotas=(quota,)), FakeCounters(standings={ACCOUNT: standing}))


def refused_by(found: Admitted) -> list[tuple[str, str]]:
    return [(obstacle.reason, obstacle.limit) for obstacle in found.obstacles]


def test_without_limits_nothing_is_charged_or_told() -> None:
    assert admitted(policy(), FakeCounters()) == Admitted((), ())


def test_every_limit_of_a_request_is_charged_together() -> None:
    snapshot = policy(limit=Limit("tier/gold", 10.0, 20, 5), quotas=(DAY,))
    tenant = replace(snapshot.tenants["ads"], limit=Limit("tenant/ads", 5.0, 5))
    route = replace(snapshot.routes["digits"], limit=Limit("model/digits", 100.0, 100))
    shared = SharedLimit(Limit("shared/all", 1000.0, 1000), models=("digits",), tiers=("gold",))
    whole = replace(snapshot, tenants={"ads": tenant}, routes={"digits": route}, shared=(shared,))
    found = admitted(whole, FakeCounters(standings={ACCOUNT: Standing(9, 0, 100, WALL_S, 0.0)}))
    assert found.charges == (
        RateCharge("tenant/ads/tier/rate", 0, 50_100_000_000),
        RateCharge("tenant/ads/rate", 0, 50_200_000_000),
        RateCharge("model/digits/rate", 0, 50_010_000_000),
        RateCharge("shared/all/rate", 0, 50_001_000_000),
        SlotCharge("tenant/ads/tier/in_flight", 5),
        QuotaCharge(ACCOUNT, "requests", 1, "rolling-24h", WALL_S),
    )
    assert [(room.limit, room.left) for room in found.rooms] == [
        ("tier/gold", 19),
        ("tenant/ads", 4),
        ("model/digits", 99),
        ("shared/all", 999),
        ("tier/gold/in_flight", 4),
        ("day", 99),
    ]


def test_a_limit_for_others_is_none_of_ours() -> None:
    others = (
        SharedLimit(Limit("shared/a", 1.0, 1), models=("secret",)),
        SharedLimit(Limit("shared/b", 1.0, 1), tenants=("search",)),
        SharedLimit(Limit("shared/c", 1.0, 1), models=("digits",), tiers=("free",)),
    )
    assert admitted(replace(policy(), shared=others), FakeCounters()).charges == ()


def test_one_full_limit_refuses_and_nothing_is_charged() -> None:
    snapshot = policy(limit=Limit("tier/gold", 10.0, 20, 5), quotas=(DAY,))
    counters = FakeCounters(
        tats_s={"tenant/ads/tier/rate": 60.0},
        holders={"tenant/ads/tier/in_flight": 5},
        standings={ACCOUNT: Standing(0, 120, 100, WALL_S + 3.0, 0.0)},
    )
    found = admitted(snapshot, counters)
    assert found.charges == ()
    assert refused_by(found) == [
        ("rate_limited", "tier/gold"),
        ("in_flight_limited", "tier/gold/in_flight"),
        ("quota_exhausted", "day"),
    ]
    assert [room.left for room in found.rooms] == [0, 0, 0]


def test_what_is_only_observed_is_told_apart_and_refuses_nothing() -> None:
    snapshot = policy(limit=Limit("tier/gold", 10.0, 20, 5, observe=True))
    counters = FakeCounters(tats_s={"tenant/ads/tier/rate": 60.0}, holders={"tenant/ads/tier/in_flight": 5})
    found = admitted(snapshot, counters)
    assert found.obstacles == ()
    assert found.observed == ("tier/gold", "tier/gold/in_flight")
    assert found.rooms == ()
    assert found.charges == (SlotCharge("tenant/ads/tier/in_flight", 0),)


def test_an_observed_limit_keeps_counting_what_it_would_admit() -> None:
    found = admitted(policy(limit=Limit("tier/gold", 10.0, 20, observe=True)), FakeCounters())
    assert found.charges == (RateCharge("tenant/ads/tier/rate", 0, 50_100_000_000),)


def test_a_quota_climbs_its_ladder() -> None:
    assert with_quota(used=78).warned == ()
    assert with_quota(used=79).warned == ("day",)
    assert with_quota(used=98).demoted_by == ""
    assert (with_quota(used=99).warned, with_quota(used=99).demoted_by) == (("day",), "day")
    assert with_quota(used=119).obstacles == ()
    assert refused_by(with_quota(used=120)) == [("quota_exhausted", "day")]
    assert with_quota(used=120).obstacles[0].retry_after_s == 60.0


def test_without_a_step_that_refuses_nothing_is_refused() -> None:
    quota = replace(DAY, ladder=(LadderStep(1.0, "warn"),))
    assert with_quota(used=10**9, quota=quota).obstacles == ()


def test_a_quota_with_room_but_no_grant_waits_for_the_ledger() -> None:
    assert refused_by(with_quota(used=10, left=0)) == [("quota_pending", "day")]
    assert refused_by(admitted(policy(quotas=(DAY,)), FakeCounters())) == [("quota_pending", "day")]


def test_each_meter_reserves_what_it_can_know() -> None:
    for meter, amount in (("requests", 1), ("bytes", 640 + 700), ("device_time", 900), ("tokens", 17)):
        quota = replace(DAY, meter=meter, limit=10**6)
        counters = FakeCounters(
            standings={account_of("ads", quota): Standing(10**6, 0, 10**6, WALL_S, 0.0)},
            costs={("digits", "1", "bytes"): 700, ("digits", "1", "device_time"): 900, ("digits", "1", "tokens"): 17},
        )
        assert admitted(policy(quotas=(quota,)), counters).charges == (
            QuotaCharge(account_of("ads", quota), meter, amount, "rolling-24h", WALL_S),
        )


DEVICES = replace(DAY, meter="device_time", ladder=(LadderStep(1.0, "refuse"),))


def spent_to(used: int, likely: int) -> Admitted:
    counters = FakeCounters(
        standings={account_of("ads", DEVICES): Standing(10**6, used, 100, WALL_S, 0.0)},
        costs={("digits", "1", "device_time"): likely},
    )
    return admitted(policy(quotas=(DEVICES,)), counters)


def test_an_estimate_reserves_what_is_left_and_refuses_nobody() -> None:
    left = QuotaCharge(account_of("ads", DEVICES), "device_time", 40, "rolling-24h", WALL_S)
    assert spent_to(used=60, likely=900).charges == (left,)
    assert refused_by(spent_to(used=100, likely=900)) == [("quota_exhausted", "day")]
    assert refused_by(spent_to(used=100, likely=0)) == [("quota_exhausted", "day")]


def test_a_body_larger_than_what_is_left_is_refused() -> None:
    quota = replace(DAY, meter="bytes", limit=500, ladder=(LadderStep(1.0, "refuse"),))
    counters = FakeCounters(standings={account_of("ads", quota): Standing(10**6, 0, 500, WALL_S, 0.0)})
    found = admitted(policy(quotas=(quota,)), counters)
    assert refused_by(found) == [("body_too_large", "day")]
    assert found.obstacles[0].retry_after_s == 0.0
    assert found.obstacles[0].message == (
        "the quota day (rolling-24h) gives 500 bytes in all, and this body alone has 640; send a smaller one"
    )


def test_a_quota_with_too_little_left_says_how_much_that_is_and_when_there_is_more() -> None:
    quota = replace(DAY, meter="bytes", limit=1000, ladder=(LadderStep(1.0, "refuse"),))
    for used, reset_s, message in (
        (600, 60.0, "has 400 bytes left, and this body alone has 640; there is more in 60 s"),
        (600, 0.0, "has 400 bytes left, and this body alone has 640"),
        (1000, 60.0, "is used up to 100.0%; there is more in 60 s"),
    ):
        counters = FakeCounters(standings={account_of("ads", quota): Standing(0, used, 1000, WALL_S + reset_s, 0.0)})
        (obstacle,) = admitted(policy(quotas=(quota,)), counters).obstacles
        assert obstacle.message == f"the quota day (rolling-24h) {message}"


def test_what_a_refused_request_would_have_taken_of_other_limits_is_told_as_left() -> None:
    counters = FakeCounters(holders={"tenant/ads/tier/in_flight": 5})
    found = admitted(policy(limit=Limit("tier/gold", 10.0, 20, 5)), counters)
    assert [(room.limit, room.left) for room in found.rooms] == [("tier/gold", 20), ("tier/gold/in_flight", 0)]
