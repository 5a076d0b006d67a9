"""Turns a route's file into versions, their pods, and what is done with its requests."""

from policies import units
from policies.compilation.limits import limit_of
from policies.compilation.release import canary, choose_rule, feedback, recording, shadow
from policies.compilation.values import duration, names, optional_duration
from policies.drifts import drift
from policies.samples import sampling
from policies.schema.route import BatchingWritten, EjectWritten, HealthWritten, PodsWritten, RetryWritten, RouteFile
from policies.snapshot.route import Balance, Batching, Eject, Health, Launch, Retry, Route, Static, Version


def route_of(written: RouteFile) -> Route:
    """A route's file."""
    return Route(
        model=written.model,
        owner=written.owner,
        versions={name: _version(name, version.pods) for name, version in sorted(written.versions.items())},
        stable=written.stable,
        timeout_s=optional_duration(written.timeout),
        body_bytes=None if written.body_bytes is None else units.size_bytes(written.body_bytes),
        batching=_batching(written.batching or BatchingWritten()),
        slo=names(written.slo),
        limit=limit_of(f"model/{written.model}", written.limits),
        retry=_retry(written.retry) if written.retry else Retry(),
        choose=tuple(choose_rule(rule) for rule in written.choose or ()),
        canary=canary(written.canary, written.stable) if written.canary else None,
        shadows=tuple(shadow(one) for one in written.shadow or ()),
        record=recording(written.record) if written.record else None,
        feedback=feedback(written.feedback) if written.feedback else None,
        drift=drift(written.drift) if written.drift else None,
        samples=sampling(written.samples) if written.samples else None,
    )


def _version(name: str, pods: PodsWritten) -> Version:
    launch = Launch(pods.launch.archive, pods.launch.count, pods.launch.device) if pods.launch else None
    static = Static(tuple(pods.static)) if pods.static else None
    return Version(
        name,
        launch,
        static,
        pods.in_flight,
        pods.dns or "",
        balance=Balance(pods.balance.choices) if pods.balance else Balance(),
        health=_health(pods.health) if pods.health else Health(),
        eject=_eject(pods.eject) if pods.eject else Eject(),
    )


def _health(written: HealthWritten) -> Health:
    usual = Health()
    return Health(
        path=written.path or usual.path,
        every_s=duration(written.every, usual.every_s),
        down_after=written.down_after or usual.down_after,
        up_after=written.up_after or usual.up_after,
    )


def _eject(written: EjectWritten) -> Eject:
    usual = Eject()
    for_s = units.duration_s(written.for_)
    return Eject(
        after_failures=written.after_failures,
        for_s=for_s,
        at_most_s=max(for_s, usual.at_most_s) if written.at_most is None else units.duration_s(written.at_most),
        max_share=usual.max_share if written.max_share is None else units.fraction(written.max_share),
    )


def _retry(written: RetryWritten) -> Retry:
    return Retry(tuple(sorted(set(written.on))), written.attempts, units.fraction(written.budget))


def _batching(written: BatchingWritten) -> Batching:
    usual = Batching()
    return Batching(
        max_rows=written.max_rows or usual.max_rows,
        max_wait_s=duration(written.max_wait, usual.max_wait_s),
    )
