"""Every key of the grammar either has behaviour or is refused by name."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import inspect

from policies import availability, grammar
from policies.document import parse
from policies.kinds import KINDS, Kind, kind_at
from policies.load import PolicyRefused, load_directory

WORKED_EXAMPLE = Path(__file__).parent / "worked_example"

AVAILABLE = {
    "mesh/v1": {
        "kind",
        "name",
        "listen[].address",
        "listen[].serves",
        "bounds.header_bytes",
        "bounds.body_bytes",
        "bounds.idle_timeout",
        "bounds.header_timeout",
        "bounds.body_timeout",
        "bounds.max_deadline",
        "tracing.callers",
        "tracing.kept_per_s",
        "tracing.baggage[]",
        "logs.format",
        "logs.level",
        "logs.handlers",
        "tracing.attributes[]",
        "tracing.export.to",
        "tracing.export.headers",
        "tracing.export.ca",
        "tracing.export.queue",
        "tracing.export.answer_within",
        "listen[].tls.cert",
        "listen[].tls.key",
        "listen[].plain",
        "listen[].client_certs.mode",
        "listen[].client_certs.ca",
        "listen[].client_certs.tenant_from",
        "auth.api_keys.header",
        "auth.jwt[].name",
        "auth.jwt[].issuer",
        "auth.jwt[].audiences[]",
        "auth.jwt[].algorithms[]",
        "auth.jwt[].jwks.url",
        "auth.jwt[].jwks.refresh",
        "auth.jwt[].jwks.keep_stale",
        "auth.jwt[].tenant_from",
        "auth.jwt[].scopes_from",
        "auth.jwt[].groups_from",
        "auth.jwt[].leeway",
        "admin.roles[].name",
        "admin.roles[].subjects[]",
        "admin.roles[].may[]",
        "admin.roles[].on[]",
        "alerts.webhooks[].url",
        "alerts.webhooks[].authorization",
        "alerts.webhooks[].signature",
        "alerts.alertmanager",
        "alerts.alertmanager_authorization",
        "alerts.dashboards",
        "alerts.runbooks",
    },
    "limits/v1": {
        "kind",
        "tiers.*.rate",
        "tiers.*.burst",
        "tiers.*.in_flight",
        "tiers.*.mode",
        "tiers.*.deadline",
        "tiers.*.priority",
        "tiers.*.weight",
        "tiers.*.queue.length",
        "tiers.*.queue.wait",
        "shared[].name",
        "shared[].applies_to.route",
        "shared[].applies_to.route[]",
        "shared[].applies_to.tenant[]",
        "shared[].applies_to.tier[]",
        "shared[].rate",
        "shared[].burst",
        "shared[].in_flight",
        "shared[].mode",
    },
    "tenant/v1": {
        "kind",
        "name",
        "owner",
        "tier",
        "may_call[]",
        "keys[].id",
        "keys[].sha256",
        "keys[].scopes[]",
        "keys[].not_before",
        "keys[].not_after",
        "jwt.issuer",
        "jwt.tenant_id",
        "certificates[]",
        "limits.rate",
        "limits.burst",
        "limits.in_flight",
        "limits.mode",
        "quotas[].name",
        "quotas[].meter",
        "quotas[].limit",
        "quotas[].per",
        "quotas[].zone",
        "quotas[].at.*",
        "shadow",
    },
    "route/v1": {
        "kind",
        "model",
        "owner",
        "slo",
        "slo[]",
        "versions.*.pods.launch.archive",
        "versions.*.pods.launch.count",
        "versions.*.pods.launch.device",
        "versions.*.pods.dns",
        "versions.*.pods.static[]",
        "versions.*.pods.balance.by",
        "versions.*.pods.balance.choices",
        "versions.*.pods.health.path",
        "versions.*.pods.health.every",
        "versions.*.pods.health.down_after",
        "versions.*.pods.health.up_after",
        "versions.*.pods.eject.after_failures",
        "versions.*.pods.eject.for",
        "versions.*.pods.eject.at_most",
        "versions.*.pods.eject.max_share",
        "versions.*.pods.in_flight",
        "retry.on[]",
        "retry.attempts",
        "retry.budget",
        "stable",
        "timeout",
        "body_bytes",
        "batching.max_rows",
        "batching.max_wait",
        "limits.rate",
        "limits.burst",
        "limits.in_flight",
        "limits.mode",
        "choose[].name",
        "choose[].when.tenant[]",
        "choose[].when.tier[]",
        "choose[].when.header.*",
        "choose[].when.scope",
        "choose[].use",
        "canary.id",
        "canary.version",
        "canary.sticky_by[]",
        "canary.never.tenant[]",
        "canary.never.tier[]",
        "canary.steps[].share",
        "canary.steps[].hold",
        "canary.steps[].at_least",
        "canary.steps[].needs",
        "canary.steps[].requires",
        "canary.judge.compare_to",
        "canary.judge.bad_events.harmful_above",
        "canary.judge.bad_events.safe_below",
        "canary.judge.bad_events.alpha",
        "canary.judge.burn.rollback_above",
        "canary.judge.burn.over",
        "canary.judge.no_traffic_for",
        "canary.on_harm",
        "canary.on_pass",
        "canary.capacity.ready_pods_at_least",
        "canary.capacity.room",
        "canary.capacity.keep_stable_for",
        "shadow[].name",
        "shadow[].version",
        "shadow[].sample",
        "shadow[].sample_by[]",
        "shadow[].never.tenant[]",
        "shadow[].never.tier[]",
        "shadow[].limits.in_flight",
        "shadow[].limits.device_time",
        "shadow[].limits.gpu_time",
        "shadow[].limits.stop_when_pool_busy",
        "shadow[].deadline",
        "shadow[].privacy.drop_headers[]",
        "shadow[].privacy.drop_fields[]",
        "shadow[].privacy.keep",
        "shadow[].privacy.for",
        "shadow[].compare.noise_floor.repeat_stable",
        "shadow[].compare.outputs[].path",
        "shadow[].compare.outputs[].as",
        "shadow[].compare.outputs[].metric",
        "shadow[].compare.outputs[].differ_below",
        "shadow[].compare.outputs[].differ_above",
        "shadow[].compare.outputs[].atol",
        "shadow[].compare.outputs[].rtol",
        "shadow[].compare.verdict.worse_if_above_noise_by",
        "shadow[].compare.verdict.alpha",
        "shadow[].compare.verdict.at_least",
        "record.sample",
        "record.at_most",
        "record.for",
        "record.never.tenant[]",
        "record.never.tier[]",
        "record.drop_headers[]",
        "record.drop_fields[]",
        "feedback.label",
        "feedback.for",
        "feedback.judged",
        "drift.sample",
        "drift.inputs[].path",
        "drift.inputs[].at_least",
        "drift.inputs[].at_most",
        "drift.inputs[].classes[]",
        "drift.outputs[].path",
        "drift.outputs[].at_least",
        "drift.outputs[].at_most",
        "drift.outputs[].classes[]",
        "drift.reference.version",
        "drift.reference.for",
        "drift.window",
        "drift.alert_above",
        "samples.fields[]",
        "samples.rate",
        "samples.on[]",
        "samples.slower_than",
        "samples.per_minute",
        "samples.redact[]",
        "samples.subject",
        "samples.at_most",
        "samples.for",
        "samples.never.tenant[]",
        "samples.never.tier[]",
    },
    "slos/v1": {
        "kind",
        "slos[].name",
        "slos[].route",
        "slos[].owner",
        "slos[].window",
        "slos[].good.status_below",
        "slos[].good.within",
        "slos[].good.first_byte_within",
        "slos[].good.pod",
        "slos[].good.loads_within",
        "slos[].good.label",
        "slos[].ignore.status[]",
        "slos[].by[]",
        "slos[].page[].burn",
        "slos[].page[].long",
        "slos[].page[].short",
        "slos[].ticket[].burn",
        "slos[].ticket[].long",
        "slos[].ticket[].short",
        "slos[].min_events",
        "slos[].min_bad_events",
        "slos[].chance_below",
        "slos[].likely_within",
        "slos[].objective",
    },
    "tests/v1": {
        "kind",
        "tests[].name",
        "tests[].request.tenant",
        "tests[].request.model",
        "tests[].request.version",
        "tests[].request.api",
        "tests[].request.scopes[]",
        "tests[].request.headers.*",
        "tests[].used.*",
        "tests[].expect.status",
        "tests[].expect.version",
        "tests[].expect.reason",
        "tests[].canary_share",
        "tests[].expect.shadow[]",
    },
}


def leaves(shape: inspect.Type, path: str = "") -> Iterator[str]:
    if isinstance(shape, inspect.Metadata):
        yield from leaves(shape.type, path)
    elif isinstance(shape, inspect.UnionType):
        for member in shape.types:
            if not isinstance(member, inspect.NoneType):
                yield from leaves(member, path)
    elif isinstance(shape, inspect.StructType):
        for field in shape.fields:
            yield from leaves(field.type, f"{path}.{field.encode_name}".lstrip("."))
    elif isinstance(shape, inspect.DictType):
        yield from leaves(shape.value_type, f"{path}.*")
    elif isinstance(shape, inspect.ListType):
        yield from leaves(shape.item_type, f"{path}[]")
    else:
        yield path


def is_refused(kind: Kind, leaf: str) -> bool:
    refused = availability.KEYS.get(kind.tag, ())
    return any(leaf == path or leaf.startswith((f"{path}.", f"{path}[")) for path in refused)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.tag)
def test_each_key_has_behaviour_or_is_refused(kind: Kind) -> None:
    accepted = {leaf for leaf in leaves(inspect.type_info(kind.shape)) if not is_refused(kind, leaf)}
    assert accepted == AVAILABLE[kind.tag]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.tag)
def test_each_refused_path_is_a_path_of_the_grammar(kind: Kind) -> None:
    known = set(leaves(inspect.type_info(kind.shape)))
    for path in availability.KEYS.get(kind.tag, ()):
        assert any(leaf == path or leaf.startswith((f"{path}.", f"{path}[")) for leaf in known), path


@pytest.mark.parametrize(
    "file", sorted(WORKED_EXAMPLE.rglob("*.yaml")), ids=lambda file: str(file.relative_to(WORKED_EXAMPLE))
)
def test_the_whole_grammar_is_understood_before_it_is_available(file: Path) -> None:
    path = str(file.relative_to(WORKED_EXAMPLE))
    kind = kind_at(path)
    root = parse(file.read_bytes(), path).root
    assert kind is not None
    assert root is not None
    assert grammar.check(root, kind.shape, path) == []


def test_what_is_not_available_is_told_by_its_name_alone() -> None:
    with pytest.raises(PolicyRefused) as refused:
        load_directory(WORKED_EXAMPLE)
    problems = {error.problem for error in refused.value.errors}
    assert all(problem.startswith("not available yet: ") for problem in problems), problems
    assert "not available yet: hedge" in problems
    assert "not available yet: versions.v8.pods.kubernetes" in problems
