"""What changes between two generations is told in sentences."""

from collections.abc import Iterator
from itertools import pairwise

import msgspec
import pytest
from msgspec.structs import replace

from policies.compilation import digest_of
from policies.diff import MAX_SENTENCES, changes, summary
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Limit, SharedLimit, Tier
from policies.snapshot.mesh import (
    Alerting,
    Bounds,
    ClientCerts,
    Export,
    JwtIssuer,
    Listen,
    Logs,
    Mesh,
    Role,
    Tls,
    Tracing,
    Webhook,
)
from policies.snapshot.release import (
    Canary,
    CanaryStep,
    Capacity,
    ChooseRule,
    Compare,
    Feedback,
    Judge,
    LeftOut,
    Privacy,
    Recording,
    Shadow,
    ShadowLimits,
    When,
)
from policies.snapshot.route import Balance, Batching, Eject, Health, Launch, Retry, Route, Static, Version
from policies.snapshot.slos import BurnAlert, Guards, Objective
from policies.snapshot.tenant import Key, LadderStep, Quota, Tenant, TenantJwt
from policies.snapshot.tests import PolicyTest

DEMO = Tenant("demo", "us", "demo", (), ("digits",))
ROUTE = Route("digits", "us", {"1": Version("1", Launch("digits-1.mar"))}, "1")
BEFORE = Snapshot(
    1, "", Mesh("m"), {"demo": Tier("demo", Limit("tier/demo", 60000.0, 60000))}, {"demo": DEMO}, {"digits": ROUTE}
)


def test_nothing_changes_between_equal_snapshots() -> None:
    assert changes(BEFORE, replace(BEFORE, generation=2, digest="other")) == ()
    assert summary(BEFORE, BEFORE) == "nothing changes"


def test_a_new_rate_is_told_of_the_tenant_that_feels_it() -> None:
    after = replace(BEFORE, tiers={"demo": Tier("demo", Limit("tier/demo", 5.0, 5))})
    assert changes(BEFORE, after) == ("tenant demo: rate 60000/s -> 5/s", "tenant demo: burst 60000 -> 5")


def test_a_new_rate_of_several_tenants_is_told_of_their_tier() -> None:
    before = replace(BEFORE, tenants={"demo": DEMO, "other": replace(DEMO, name="other")})
    after = replace(before, tiers={"demo": Tier("demo", None, 0.25)})
    assert changes(before, after) == (
        "tier demo (2 tenants): rate 60000/s -> none",
        "tier demo (2 tenants): burst 60000 -> none",
        "tier demo (2 tenants): deadline none -> 250ms",
    )


def test_how_a_tier_waits_is_told() -> None:
    after = replace(BEFORE, tiers={"demo": replace(BEFORE.tiers["demo"], priority=-1, weight=3, queue_wait_s=0.0)})
    assert changes(BEFORE, after) == (
        "tenant demo: priority 0 -> -1",
        "tenant demo: weight 1 -> 3",
        "tenant demo: queue 64 for 1s -> none",
    )


def test_versions_and_pods_of_a_route_are_told_one_by_one() -> None:
    versions = {"1": Version("1", static=Static(("unix:/p",)), in_flight=8), "2": Version("2", Launch("digits-2.mar"))}
    route = replace(ROUTE, versions=versions, stable="2", timeout_s=2.0, body_bytes=1024, batching=Batching(8, 0.002))
    assert changes(BEFORE, replace(BEFORE, routes={"digits": route})) == (
        "route digits: version 1: pods 1 of digits-1.mar on auto, 1024 in flight -> at unix:/p, 8 in flight",
        "route digits: version 2 added",
        "route digits: stable 1 -> 2",
        "route digits: timeout none -> 2s",
        "route digits: body_bytes none -> 1KiB",
        "route digits: max_rows the archive's -> 8",
        "route digits: max_wait the archive's -> 2ms",
    )


def test_how_pods_are_used_is_told_with_what_was_usual_before() -> None:
    version = Version(
        "1",
        Launch("digits-1.mar"),
        balance=Balance(3),
        health=Health("/ready", 1.0, 2, 3),
        eject=Eject(3, 5.0, 60.0, 0.25),
    )
    route = replace(ROUTE, versions={"1": version}, retry=Retry(("connect", "reset-before-response"), 1, 0.1))
    subject = "route digits: version 1: "
    assert changes(BEFORE, replace(BEFORE, routes={"digits": route})) == (
        f"{subject}choices 2 -> 3",
        f"{subject}health the usual paths, up after 1 -> /ready every 1s, down after 2, up after 3",
        f"{subject}eject after 5 failures, for 10s to 5m, never more than 50% -> "
        "after 3 failures, for 5s to 1m, never more than 25%",
        "route digits: retry 2 more after connect or refused, of 20% of requests -> "
        "1 more after connect or reset-before-response, of 10% of requests",
    )


def test_tenants_keys_and_the_mesh_are_told() -> None:
    tenant = replace(DEMO, tier="gold", keys=(Key("a", "0" * 64, ("infer",)),), may_call=("*",))
    mesh = Mesh("m", (Listen("127.0.0.1:9", "inference"),), Bounds(body_bytes=1024, idle_timeout_s=90.0))
    after = replace(BEFORE, mesh=mesh, tenants={"demo": tenant, "new": replace(DEMO, name="new")}, routes={})
    assert changes(BEFORE, after) == (
        "mesh: listen 127.0.0.1:8080 (inference), 127.0.0.1:7070 (inference-grpc), "
        "127.0.0.1:8081 (admin), 127.0.0.1:8082 (metrics), "
        "127.0.0.1:8090 (dashboards), 127.0.0.1:4318 (otlp), 127.0.0.1:4317 (otlp-grpc) -> 127.0.0.1:9 (inference)",
        "mesh: body_bytes 64MiB -> 1KiB",
        "mesh: idle_timeout 1m -> 90s",
        "tenant demo: tier demo -> gold",
        "tenant demo: may call every model",
        "tenant demo: key a added",
        "tenant new added",
        "route digits removed",
    )


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (("digits",), ("*",), ("may call every model",)),
        (("digits",), ("*", "letters"), ("may call every model",)),
        (("*", "digits"), ("*",), ()),
        (("*",), ("digits",), ("may no longer call every model, only digits",)),
        (("*",), (), ("may no longer call any model",)),
        (("a", "b"), ("b", "c"), ("may call c", "may no longer call a")),
    ],
)
def test_models_that_may_be_called_are_told_as_they_count(
    before: tuple[str, ...], after: tuple[str, ...], told: tuple[str, ...]
) -> None:
    old = replace(BEFORE, tenants={"demo": replace(DEMO, may_call=before)})
    new = replace(BEFORE, tenants={"demo": replace(DEMO, may_call=after)})
    assert changes(old, new) == tuple(f"tenant demo: {sentence}" for sentence in told)


def test_an_objective_that_counts_something_else_is_told_key_by_key() -> None:
    kinds = (
        Objective("one", "us", 2592000.0, 0.99, 500, first_byte_within_s=0.5),
        Objective("one", "us", 2592000.0, 0.99, loads_within_s=10.0),
        Objective("one", "us", 2592000.0, 0.99, pod="ready"),
        Objective("one", "us", 2592000.0, 0.99, label="right"),
    )
    told = [
        [line.removeprefix("slo one (no route): ") for line in changes(before, after)]
        for before, after in pairwise(replace(BEFORE, objectives={"one": one}) for one in kinds)
    ]
    assert told == [
        ["status_below 500 -> none", "first_byte_within 500ms -> none", "loads_within none -> 10s"],
        ["loads_within 10s -> none", "pod none -> ready"],
        ["pod ready -> none", "label none -> right"],
    ]


def test_every_change_of_an_objective_is_told_with_its_models() -> None:
    old = Objective("fast", "us", 2592000.0, 0.99, 500, alerts=(BurnAlert("page", "page 1h", 14.4, 3600.0, 300.0),))
    new = Objective(
        "fast",
        "them",
        604800.0,
        0.995,
        400,
        within_s=0.25,
        ignore_status=(404, 422),
        model="digits",
        by=("version", "tier"),
        alerts=(
            BurnAlert("page", "page 6h", 6.0, 21600.0, 1800.0),
            BurnAlert("ticket", "ticket 1d", 1.0, 86400.0, 40.0),
        ),
        guards=Guards(200, 3, 0.0),
    )
    before = replace(BEFORE, routes={"digits": replace(ROUTE, slo=("fast",))}, objectives={"fast": old})
    subject = "slo fast (digits): "
    assert changes(before, replace(before, objectives={"fast": new})) == (
        f"{subject}owner us -> them",
        f"{subject}route any -> digits",
        f"{subject}objective 99% -> 99.5%",
        f"{subject}window 30d -> 7d",
        f"{subject}status_below 500 -> 400",
        f"{subject}within none -> 250ms",
        f"{subject}ignore 400 to 499 -> 404, 422",
        f"{subject}by version -> version, tier",
        f"{subject}page 14.4x in 1h and 5m -> 6x in 6h and 30m",
        f"{subject}ticket none -> 1x in 1d and 40s",
        f"{subject}min_events none -> 200",
        f"{subject}min_bad_events none -> 3",
        f"{subject}chance_below 1% -> 0%",
    )


def test_the_route_that_an_objective_begins_or_ends_to_count_for_is_told() -> None:
    objective = Objective("fast", "us", 3600.0, 0.99, 500)
    after = replace(BEFORE, routes={"digits": replace(ROUTE, slo=("fast",))}, objectives={"fast": objective})
    assert changes(BEFORE, after) == ("slo fast added", "route digits: slo none -> fast")
    assert changes(after, BEFORE) == ("slo fast removed", "route digits: slo fast -> none")
    unnamed = replace(BEFORE, objectives={"fast": objective})
    changed = replace(BEFORE, objectives={"fast": replace(objective, target=0.9)})
    assert changes(unnamed, changed) == ("slo fast (no route): objective 99% -> 90%",)


def test_what_is_traced_is_told() -> None:
    tracing = Tracing("trust", 1000.0, ("plan",), ("app.*", "batch"))
    assert changes(BEFORE, replace(BEFORE, mesh=Mesh("m", tracing=tracing))) == (
        "tracing: callers resample -> trust",
        "tracing: kept_per_s 20 -> 1000",
        "tracing: baggage none -> plan",
        "tracing: attributes none -> app.*, batch",
    )


def test_logs_are_told() -> None:
    assert changes(BEFORE, replace(BEFORE, mesh=Mesh("m", logs=Logs("json", "warning")))) == (
        "logs: format auto -> json",
        "logs: level info -> warning",
    )


def test_a_summary_of_many_changes_is_bounded() -> None:
    tenants = {f"t{number}": replace(DEMO, name=f"t{number}") for number in range(1000)}
    line = summary(BEFORE, replace(BEFORE, tenants={**BEFORE.tenants, **tenants}))
    assert line.count(";") == MAX_SENTENCES
    assert line.endswith("; and 980 more")


QUOTA = Quota("gpu", "device_time", 720_000_000_000, "calendar-month", "Europe/Berlin", (LadderStep(0.8, "warn"),))


def test_limits_are_told_of_those_who_feel_them() -> None:
    tenant = replace(DEMO, limit=Limit("tenant/demo", 5.0, 5, 3))
    route = replace(ROUTE, limit=Limit("model/digits", in_flight=64, observe=True))
    after = replace(BEFORE, tenants={"demo": tenant}, routes={"digits": route})
    assert changes(BEFORE, after) == (
        "tenant demo: rate none -> 5/s",
        "tenant demo: burst none -> 5",
        "tenant demo: in_flight none -> 3",
        "route digits (tenant demo): in_flight none -> 64",
        "route digits (tenant demo): mode enforce -> observe",
    )
    assert changes(after, BEFORE)[-1] == "route digits (tenant demo): in_flight 64 -> none"


def test_shared_limits_are_told_with_the_tenants_that_draw_from_them() -> None:
    before = replace(BEFORE, tenants={"demo": DEMO, "other": replace(DEMO, name="other", may_call=("text",))})
    shared = SharedLimit(Limit("shared/all", 2000.0, 3000), models=("digits",))
    with_it = replace(before, shared=(shared,))
    wider = replace(with_it, shared=(SharedLimit(Limit("shared/all", 2000.0, 3000, observe=True), tiers=("demo",)),))
    assert changes(before, with_it) == ("shared limit all (tenant demo) added: 2000/s with a burst of 3000",)
    assert changes(with_it, before) == ("shared limit all (tenant demo) removed",)
    assert changes(with_it, wider) == (
        "shared limit all (2 tenants): mode enforce -> observe",
        "shared limit all (2 tenants): route digits -> every model",
        "shared limit all (2 tenants): tier any -> demo",
    )


def test_quotas_are_told_in_their_units() -> None:
    old = replace(BEFORE, tenants={"demo": replace(DEMO, quotas=(QUOTA,))})
    changed = Quota("gpu", "bytes", 2 * 1024**4, "rolling-24h")
    new = replace(BEFORE, tenants={"demo": replace(DEMO, quotas=(changed,))})
    assert changes(BEFORE, old) == (
        "tenant demo: quota gpu added: device_time 200h per calendar-month Europe/Berlin, 80% warn",
    )
    assert changes(new, BEFORE) == ("tenant demo: quota gpu removed: bytes 2TiB per rolling-24h, 100% refuse",)
    assert changes(old, new) == (
        "tenant demo: quota gpu: meter device_time -> bytes",
        "tenant demo: quota gpu: limit 200h -> 2TiB",
        "tenant demo: quota gpu: per calendar-month Europe/Berlin -> rolling-24h",
        "tenant demo: quota gpu: at 80% warn -> 100% refuse",
    )


def test_tokens_certificates_and_listeners_are_told() -> None:
    tenant = replace(DEMO, jwt=TenantJwt("sso", "acme"), certificates=("spiffe://a/b",))
    listen = Listen("127.0.0.1:9", "admin", Tls("file:/c", "file:/k"), ClientCerts(True, "file:/ca"))
    before = replace(BEFORE, mesh=Mesh("m", (Listen("127.0.0.1:9", "admin"),)))
    after = replace(BEFORE, tenants={"demo": tenant}, mesh=Mesh("m", (listen,)))
    assert changes(before, after) == (
        "mesh: listen 127.0.0.1:9 (admin) -> 127.0.0.1:9 (admin, TLS with file:/c and file:/k, "
        "client certificates required by san-uri from file:/ca)",
        "tenant demo: tokens none -> acme of sso",
        "tenant demo: certificates none -> spiffe://a/b",
    )


def test_issuers_and_roles_are_told() -> None:
    sso = JwtIssuer("sso", "https://a", ("mesh",), ("ES256",), "https://a/keys", "tenant")
    role = Role("ops", ("group:ops",), ("policy.read",))
    before = replace(BEFORE, mesh=Mesh("m", jwt=(sso,), roles=(role,)))
    after = replace(
        BEFORE,
        mesh=Mesh(
            "m",
            jwt=(replace(sso, algorithms=("ES256", "RS256"), keep_stale_s=3600.0), replace(sso, name="two")),
            roles=(replace(role, may=("quota.*",), models=("digits",)),),
        ),
    )
    assert changes(before, after) == (
        "issuer sso: algorithms ES256 -> ES256, RS256",
        "issuer sso: keep_stale 1d -> 1h",
        "issuer two added",
        "role ops: may policy.read -> quota.*",
        "role ops: on every model -> digits",
    )


def test_a_test_that_only_moved_is_the_same() -> None:
    test = PolicyTest("demo may", "tests/a.yaml:4:5", "digits", "demo")
    before = replace(BEFORE, tests=(test,))
    assert changes(before, replace(BEFORE, tests=(replace(test, place="tests/a.yaml:9:5"),))) == ()
    assert changes(before, replace(BEFORE, tests=(replace(test, expect_status=403),))) == (
        'test "demo may" of tests/a.yaml changed',
    )
    assert changes(before, BEFORE) == ('test "demo may" of tests/a.yaml removed',)


# What a thing is kept by: another name is another thing.
NAMES = ("name", "model", "id")


def leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to each number, text and truth of what a snapshot says, but for names."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            if key not in ("generation", "digest", "tests", *NAMES):
                yield from leaves(inner, (*path, key))
    elif value is not None:
        yield path


def test_every_number_and_text_that_the_digest_counts_is_told_when_it_changes() -> None:
    said = msgspec.json.encode(WHOLE)
    ways = list(leaves(msgspec.json.decode(said)))
    assert len(ways) > 170
    for way in ways:
        changed = msgspec.json.decode(said)
        *outer, last = way
        inner = changed
        for step in outer:
            inner = inner[step]
        inner[last] = other(inner[last])
        after = msgspec.convert(changed, Snapshot)
        assert digest_of(after) != digest_of(WHOLE), way
        assert changes(WHOLE, after), f"nobody is told that {'.'.join(map(str, way))} changed"


def other(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return value * 0.5 if isinstance(value, float) else f"{value}x"


NEVER = LeftOut(("payments",), ("gold",))
CANARY = Canary(
    "first",
    "2",
    (CanaryStep(0.05, 60.0, 200), CanaryStep(0.25, 60.0, 100, needs_approval=True, requires_shadow="dark")),
    Judge("1", burn_above=6.0),
    sticky_by=("header:x-user-id", "tenant"),
    never=NEVER,
    capacity=Capacity(2, 1.5, 60.0),
)
SHADOW = Shadow(
    "dark",
    "2",
    0.25,
    ("header:x-user-id",),
    NEVER,
    ShadowLimits(8, 3600.0),
    privacy=Privacy(("x-user-id",), ("/email",)),
    outputs=(Compare("/label", "number", "abs", 0.5, 0.25, 0.125, 0.0625),),
)
WHOLE = Snapshot(
    1,
    "",
    Mesh(
        "m",
        (Listen("127.0.0.1:9", "admin", Tls("file:/c", "file:/k"), ClientCerts(True, "file:/ca")),),
        jwt=(
            JwtIssuer(
                "sso", "https://a", ("mesh",), ("ES256",), "https://a/keys", "tenant", "scope", sticky_claims=("sub",)
            ),
        ),
        roles=(Role("ops", ("group:ops",), ("policy.read",), ("digits",)),),
        tracing=Tracing(baggage=("plan",), attributes=("app.*",), export=Export("http://tempo:4318")),
        logs=Logs("json", "debug"),
        alerts=Alerting(
            (Webhook("https://hooks.example", "env:HOOK", "env:KEY"),),
            "http://localhost:9093",
            "https://pages",
            "env:AM",
            "https://mesh.example",
        ),
    ),
    {"demo": Tier("demo", Limit("tier/demo", 5.0, 5, 3), 2.0, 5, 2, 128, 0.4)},
    {
        "demo": Tenant(
            "demo",
            "us",
            "demo",
            (Key("a", "0" * 64, ("infer",), 1.0, 2.0),),
            ("digits",),
            TenantJwt("sso", "acme"),
            ("spiffe://a/b",),
            Limit("tenant/demo", 7.0, 7, 9),
            (QUOTA,),
        )
    },
    {
        "digits": Route(
            "digits",
            "us",
            {
                "1": Version("1", Launch("digits-1.mar"), health=Health("/up", 1.0, 2, 3)),
                "2": Version("2", static=Static(("unix:/p",)), health=Health("/up", 1.0, 2, 3)),
            },
            "1",
            2.0,
            1024,
            Batching(8, 0.002),
            ("fast",),
            Limit("model/digits", 50.0, 60, 70),
            choose=(ChooseRule("qa", When(("qa",), ("demo",), (("x-try", "yes"),), "pin"), "2"),),
            canary=CANARY,
            shadows=(SHADOW,),
            record=Recording(0.1, 4096, 60.0, NEVER, ("x-user-id",), ("/email",)),
            feedback=Feedback("/label", 3600.0, judged=True),
        )
    },
    {
        "fast": Objective(
            "fast",
            "us",
            86400.0,
            0.99,
            500,
            0.25,
            (404,),
            "digits",
            alerts=(BurnAlert("page", "page 1h", 14.4, 3600.0, 300.0),),
            guards=Guards(10, 3, 0.5),
            likely_within_s=7200.0,
            tells_exhausted=True,
        )
    },
    (SharedLimit(Limit("shared/all", 2000.0, 3000, 10), ("digits",), ("demo",), ("demo",)),),
)


def test_what_becomes_of_alerts_is_told() -> None:
    hook = Webhook("https://hooks.example/a", "file:/etc/hook")
    alerting = Alerting((hook,), "http://am:9093", "https://wiki", "env:AM", "https://mesh.example")
    told = replace(BEFORE, mesh=replace(BEFORE.mesh, alerts=alerting))
    assert changes(BEFORE, told) == (
        "alerts: webhooks none -> https://hooks.example/a with file:/etc/hook",
        "alerts: alertmanager none -> http://am:9093",
        "alerts: alertmanager_authorization none -> env:AM",
        "alerts: runbooks none -> https://wiki",
        "alerts: dashboards none -> https://mesh.example",
    )
    signed = replace(alerting, webhooks=(replace(hook, signature="env:KEY"),))
    assert changes(told, replace(told, mesh=replace(told.mesh, alerts=signed))) == (
        "alerts: webhooks https://hooks.example/a with file:/etc/hook -> https://hooks.example/a with file:/etc/hook, "
        "signed with env:KEY",
    )
    before = Objective("fast", "us", 2592000.0, 0.99, 500, likely_within_s=86400.0, tells_exhausted=True)
    old, new = (
        replace(BEFORE, objectives={"fast": one})
        for one in (before, replace(before, likely_within_s=0.0, tells_exhausted=False))
    )
    assert changes(old, new) == (
        "slo fast (no route): likely_within 1d -> none",
        "slo fast (no route): budget exhausted ticket -> none",
    )


def test_where_spans_are_sent_is_told_and_what_is_secret_by_its_place() -> None:
    export = Export("https://otlp.example.com:443", "env:OTLP_HEADERS", "file:/etc/ca.pem", 128 * 2**20, 2.0)
    told = replace(BEFORE, mesh=replace(BEFORE.mesh, tracing=Tracing(export=export)))
    assert changes(BEFORE, told) == (
        "tracing: export the hub -> https://otlp.example.com:443, queue 128MiB, answers within 2s, "
        "headers env:OTLP_HEADERS, certificates by file:/etc/ca.pem",
    )
    assert changes(told, BEFORE)[0].endswith("-> the hub")
