"""Turns what a route says of releases into what the gateway uses: rules, its canary, shadows, recordings, labels."""

from collections.abc import Iterable

from policies import units
from policies.compilation.values import duration
from policies.schema.release import (
    BadEventsWritten,
    CanaryWritten,
    CapacityWritten,
    ChooseWritten,
    CompareWritten,
    FeedbackWritten,
    JudgeWritten,
    NeverWritten,
    OutputWritten,
    PrivacyWritten,
    RecordWritten,
    ShadowLimitsWritten,
    ShadowWritten,
    StepWritten,
    VerdictWritten,
)
from policies.snapshot.release import (
    CLAIM,
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
    ShadowVerdict,
    When,
)
from policies.snapshot.route import Route

_HEADER = "header:"
# Another word for a kind of output.
_KINDS = {"float": "number"}


def choose_rule(written: ChooseWritten) -> ChooseRule:
    """A rule that comes before the canary."""
    when = written.when
    return ChooseRule(
        written.name,
        When(
            tenants=_names(when.tenant),
            tiers=_names(when.tier),
            headers=tuple(sorted((when.header or {}).items())),
            scope=when.scope or "",
        ),
        written.use,
    )


def canary(written: CanaryWritten, stable: str) -> Canary:
    """A canary beside this stable version."""
    usual = Canary("", "", (), Judge(""))
    return Canary(
        id=written.id,
        version=written.version,
        steps=tuple(_step(step) for step in written.steps),
        judge=_judge(written.judge or JudgeWritten(), stable),
        is_judged=written.judge is not None,
        sticky_by=_sticky_by(written.sticky_by),
        never=_left_out(written.never),
        on_harm=written.on_harm or usual.on_harm,
        on_pass=written.on_pass or usual.on_pass,
        capacity=_capacity(written.capacity) if written.capacity else None,
    )


def shadow(written: ShadowWritten) -> Shadow:
    """A version that gets copies."""
    usual = Shadow("", "", 0.0)
    compare = written.compare or CompareWritten()
    noise = compare.noise_floor
    return Shadow(
        name=written.name,
        version=written.version,
        sample=units.fraction(written.sample),
        sample_by=_sticky_by(written.sample_by),
        never=_left_out(written.never),
        limits=_limits(written.limits or ShadowLimitsWritten()),
        deadline_s=duration(written.deadline, usual.deadline_s),
        privacy=_privacy(written.privacy or PrivacyWritten()),
        outputs=tuple(_output(output) for output in compare.outputs or ()) or usual.outputs,
        repeat_stable=_share(noise.repeat_stable if noise else None, usual.repeat_stable),
        verdict=_verdict(compare.verdict or VerdictWritten()),
    )


def recording(written: RecordWritten) -> Recording:
    """What is kept of requests."""
    usual = Recording(0.0)
    return Recording(
        sample=units.fraction(written.sample),
        max_bytes=usual.max_bytes if written.at_most is None else units.size_bytes(written.at_most),
        keep_s=duration(written.for_, usual.keep_s),
        never=_left_out(written.never),
        drop_headers=_names(written.drop_headers),
        drop_fields=_names(written.drop_fields),
    )


def feedback(written: FeedbackWritten) -> Feedback:
    """Labels that come later."""
    usual = Feedback("")
    return Feedback(
        label=written.label or usual.label,
        keep_s=duration(written.for_, usual.keep_s),
        judged=usual.judged if written.judged is None else written.judged,
    )


def sticky_claims(routes: Iterable[Route]) -> tuple[str, ...]:
    """The claims of tokens that some route keeps callers on a version by, or in a sample."""
    keys: set[str] = set()
    for route in routes:
        keys.update(route.canary.sticky_by if route.canary else ())
        for one in route.shadows:
            keys.update(one.sample_by)
    return tuple(sorted(key.removeprefix(CLAIM) for key in keys if key.startswith(CLAIM)))


def _names(written: list[str] | None) -> tuple[str, ...]:
    return tuple(sorted(set(written or ())))


def _sticky_by(written: list[str] | None) -> tuple[str, ...]:
    """In their order, for the first counts; headers have no case."""
    lower = (key.lower() if key.startswith(_HEADER) else key for key in written or ())
    return tuple(dict.fromkeys(lower))


def _left_out(written: NeverWritten | None) -> LeftOut:
    return LeftOut(_names(written.tenant), _names(written.tier)) if written else LeftOut()


def _share(text: str | None, usual: float) -> float:
    return usual if text is None else units.fraction(text)


def _factor(text: str | None, usual: float) -> float:
    return usual if text is None else units.factor(text)


def _step(written: StepWritten) -> CanaryStep:
    usual = CanaryStep(0.0)
    required = (written.requires or "").partition("/")[2].partition(" ")[0]
    return CanaryStep(
        share=units.fraction(written.share),
        hold_s=duration(written.hold, usual.hold_s),
        at_least=written.at_least or usual.at_least,
        needs_approval=written.needs == "approval",
        requires_shadow=required,
    )


def _judge(written: JudgeWritten, stable: str) -> Judge:
    usual, bad, burn = Judge(""), written.bad_events or BadEventsWritten(), written.burn
    return Judge(
        compare_to=written.compare_to or stable,
        harmful_above=_factor(bad.harmful_above, usual.harmful_above),
        safe_below=_factor(bad.safe_below, usual.safe_below),
        alpha=bad.alpha or usual.alpha,
        burn_above=float(burn.rollback_above) if burn else usual.burn_above,
        burn_over_s=units.duration_s(burn.over) if burn else usual.burn_over_s,
        no_traffic_s=duration(written.no_traffic_for, usual.no_traffic_s),
    )


def _capacity(written: CapacityWritten) -> Capacity:
    usual = Capacity()
    return Capacity(
        ready_pods_at_least=written.ready_pods_at_least or usual.ready_pods_at_least,
        room=_factor(written.room, usual.room),
        keep_stable_s=duration(written.keep_stable_for, usual.keep_stable_s),
    )


def _limits(written: ShadowLimitsWritten) -> ShadowLimits:
    usual = ShadowLimits()
    allowed = written.device_time or written.gpu_time
    device_s, per_s = units.time_share(allowed) if allowed else (usual.device_s, usual.device_per_s)
    return ShadowLimits(
        in_flight=written.in_flight or usual.in_flight,
        device_s=device_s,
        device_per_s=per_s,
        busy_share=_share(written.stop_when_pool_busy, usual.busy_share),
    )


def _privacy(written: PrivacyWritten) -> Privacy:
    usual = Privacy()
    return Privacy(
        drop_headers=_names(written.drop_headers),
        drop_fields=_names(written.drop_fields),
        keep=written.keep or usual.keep,
        keep_s=duration(written.for_, usual.keep_s),
    )


def _output(written: OutputWritten) -> Compare:
    return Compare(
        path=written.path or "",
        kind=_KINDS.get(written.as_, written.as_),
        metric=written.metric or "",
        differ_above=None if written.differ_above is None else float(written.differ_above),
        differ_below=None if written.differ_below is None else float(written.differ_below),
        atol=None if written.atol is None else float(written.atol),
        rtol=None if written.rtol is None else float(written.rtol),
    )


def _verdict(written: VerdictWritten) -> ShadowVerdict:
    usual = ShadowVerdict()
    return ShadowVerdict(
        worse_above_noise=_share(written.worse_if_above_noise_by, usual.worse_above_noise),
        alpha=written.alpha or usual.alpha,
        at_least=written.at_least or usual.at_least,
    )
