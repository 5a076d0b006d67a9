"""What a shadow or a replay has come to, written for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from deploy.commands.table import printable, table
from gateway.control.slo_words import length
from gateway.copies.reports import Difference, LatencyReport, ReplayReport, ShadowReport, ShadowSays

# As reports write a distance that is infinite.
_INFINITE = 1e308
_WHY_NOT = {
    "budget": "the shadow had used its devices' time of the period",
    "busy": "its pods had enough to do",
    "gone": "the shadow had changed meanwhile",
    "no_consent": "the tenant does not allow copies",
    "no_pod": "no pod of the version was ready",
    "not_for_version": "the request names its version where that cannot be taken out",
    "not_redactable": "the body has to lose fields and cannot be read",
    "queue_full": "too many copies waited already",
    "refused": "its pods had no room",
    "removed_meanwhile": "it was removed from the recordings meanwhile",
}
_NEXT = {
    ShadowSays.SAME: "next: give it callers: a `canary` of version {version} in routes/{model}.yaml",
    ShadowSays.DIFFERS: "next: look at the differences, `penstock trace` with one of their traces. Are they meant? "
    "Then say in the shadow's `compare` what may differ; else mend the version",
    ShadowSays.WORSE: "next: mend version {version} before any caller gets it",
    ShadowSays.NOT_ENOUGH: "next: wait, or copy more: `sample` of the shadow in routes/{model}.yaml",
}
_REPLAY_NEXT = {
    **_NEXT,
    ShadowSays.SAME: "next: copy live requests to it, a `shadow` of version {version} in routes/{model}.yaml, or give "
    "it callers: a `canary`",
    ShadowSays.NOT_ENOUGH: "next: replay more (--most), record more (`record` in routes/{model}.yaml), or lower the "
    "verdict's `at_least`",
}


def shadows_text(reports: Sequence[ShadowReport], model: str) -> str:
    """Return what the shadows of a model have come to."""
    if not reports:
        file = f"routes/{model}.yaml, if there is one"
        return f"{model} has no shadow that runs: write `shadow:` in {file}, see `penstock policy check`"
    return "\n\n\n".join(shadow_text(report) for report in reports)


def shadow_text(report: ShadowReport) -> str:
    """Return what a shadow has come to, and what to do next."""
    head = f"{report.model}: shadow {report.name}, version {report.version}: {report.says.upper()}"
    since = f"\nsince {_moment(report.since_s)}" if report.since_s else ""
    return _parts(report, f"{head}\n{report.because}{since}", _NEXT)


def replay_text(replay: ReplayReport) -> str:
    """Return how a replay that is over went."""
    head = f"{replay.model}: replay {replay.number} to version {replay.version}: {_state(replay)}"
    sent = f"{replay.sent} of the latest {replay.chosen} were sent, of {replay.recorded} that are recorded"
    if replay.report is None:
        return head
    if not replay.report.compared:
        return "\n".join([head, sent, *_not_copied(replay.report)])
    return _parts(replay.report, f"{head}\n{replay.report.because}\n{sent}", _REPLAY_NEXT)


def _state(replay: ReplayReport) -> str:
    says = replay.report.says.upper() if replay.report is not None and replay.report.compared else ""
    told = f"{replay.state}{f', {replay.because}' if replay.because else ''}"
    return says if replay.state == "done" and says else f"{says} so far, {told}" if says else told


def progress_text(replay: ReplayReport) -> str:
    """Return how far a replay is, in a line."""
    differ = replay.report.differ if replay.report is not None else 0
    return f"sent {replay.sent} of {replay.chosen}, {differ} differ"


def _parts(report: ShadowReport, head: str, next_: dict[ShadowSays, str]) -> str:
    following = next_[report.says].format(version=report.version, model=report.model)
    parts = [
        head,
        _numbers(report),
        _outputs(report),
        _slices(report),
        _worst(report.worst),
        "\n".join(_not_copied(report)),
        following,
    ]
    return "\n\n".join(part for part in parts if part)


def _numbers(report: ShadowReport) -> str:
    answers, labels = report.answers, report.labels
    lines = [f"compared      {report.compared}, of which {_share(report.differ, report.compared)} differ"]
    if report.repeats:
        noise = _share(report.repeats_differ, report.repeats)
        lines.append(f"noise floor   {report.repeats} that differ were answered once more by stable, {noise} otherwise")
    proved = f"proved at {report.proved_at:.4g}"
    lines.append(f"evidence      differs {report.harm:.3g}, is the same {report.safe:.3g}; {proved}{_needs(report)}")
    lines.append(
        f"answers       {answers.both_good} both good, {answers.only_shadow_failed} only the shadow failed, "
        f"{answers.only_stable_failed} only stable failed, {answers.both_failed} both failed"
    )
    if report.latency is not None:
        lines.append(f"latency       {_latency(report.latency)}")
    if labels.both_right + labels.only_stable_right + labels.only_shadow_right + labels.both_wrong:
        lines.append(
            f"late labels   {labels.both_right} both right, {labels.only_stable_right} only stable right, "
            f"{labels.only_shadow_right} only the shadow right, {labels.both_wrong} both wrong"
        )
    lines.append(f"device time   {length(report.device_s) if report.device_s >= 1 else f'{report.device_s:.3g} s'}")
    return "\n".join(lines)


def _needs(report: ShadowReport) -> str:
    if report.needs:
        return f"; about {report.needs} more comparisons are needed"
    return "; nobody can say how many more are needed" if report.needs is None else ""


def _latency(latency: LatencyReport) -> str:
    def quantile(name: str, stable_s: float, shadow_s: float) -> str:
        ratio = f" ({shadow_s / stable_s:.2f}x)" if stable_s > 0 else ""
        return f"{name} {shadow_s * 1000:.3g} ms beside {stable_s * 1000:.3g} ms{ratio}"

    p50 = quantile("p50", latency.stable_p50_s, latency.shadow_p50_s)
    return f"{p50}, {quantile('p99', latency.stable_p99_s, latency.shadow_p99_s)}"


def _outputs(report: ShadowReport) -> str:
    if not report.outputs:
        return ""
    head = ("OUTPUT", "AS", "METRIC", "COMPARED", "DIFFER", "UNLIKE", "MEAN", "LARGEST")
    rows = [
        (
            one.path or "(all)",
            one.kind,
            one.metric,
            one.compared,
            one.differ,
            one.unlike,
            _number(one.mean),
            _number(one.largest),
        )
        for one in report.outputs
    ]
    return table(head, rows)


def _slices(report: ShadowReport) -> str:
    head = ("BY", "NAME", "COMPARED", "DIFFER", "SHARE")
    rows = [
        (one.by, one.name, one.compared, one.differ, f"{one.differ / one.compared:.2%}" if one.compared else None)
        for one in report.slices
    ]
    return table(head, rows) if rows else ""


def _worst(worst: Sequence[Difference]) -> str:
    if not worst:
        return ""
    head = ("DIFFERENCE", "OUTPUT", "TENANT", "AT", "TRACE", "STABLE", "SHADOW")
    rows = [
        (
            "total" if one.distance >= _INFINITE else f"{one.distance:.3g}x",
            printable(one.path) or "(all)",
            one.tenant,
            _moment(one.at_s),
            one.trace_id,
            _short(one.stable),
            _short(one.shadow),
        )
        for one in worst
    ]
    return (
        f"worst differences, in times of what is allowed; `penstock trace TRACE` shows the request\n{table(head, rows)}"
    )


def _not_copied(report: ShadowReport) -> list[str]:
    return [
        f"not compared  {count}: {_WHY_NOT.get(why, why.replace('_', ' '))}"
        for why, count in sorted(report.not_copied.items())
        if count
    ]


def _share(part: int, whole: int) -> str:
    return f"{part} ({part / whole:.2%})" if whole else f"{part}"


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g}"


def _short(text: str) -> str | None:
    line = printable(" ".join(text.split()))
    return f"{line[:37]}..." if len(line) > 40 else line or None


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
