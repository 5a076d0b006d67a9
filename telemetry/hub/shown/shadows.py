"""Decides how shadows are drawn: what each says, how it differs and where, and what was not compared."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from msgspec import Struct

from telemetry.hub.shown.axis import Bar, Tick, bar
from telemetry.hub.shown.evidence import ClaimRow, claim_row
from telemetry.hub.shown.formats import count, date, duration, percent, relative, sentence, share, times
from telemetry.hub.shown.release_answers import Difference, Labels, Latency, Output, Shadow, Shadows, Slice
from telemetry.hub.shown.rollouts import Command

_FIRST = ("worse", "differs", "not enough data", "same")
_LEVELS = {"same": "ok", "differs": "ticket", "worse": "page"}
_BEYOND_MEASURE = 1e300
_KEPT = {
    "nothing": "nothing of the answers",
    "digests": "digests of the answers",
    "bodies": "the answers themselves, without what policy drops",
}

_WHY_NOT = {
    "budget": "the shadow had used its devices’ time of the period",
    "busy": "its pods had enough to do",
    "gone": "the shadow had changed meanwhile",
    "no_consent": "the tenant does not allow copies",
    "no_pod": "no pod of the version was ready",
    "not_for_version": "the request names its version where that cannot be taken out",
    "not_redactable": "the body has to lose fields and cannot be read",
    "queue_full": "too many copies waited already",
    "refused": "its pods had no room",
}


class ShadowRow(Struct, frozen=True):
    """One shadow in a line.

    Attributes:
        level: how to colour what it says; ``because`` is why.
        differs: share of copies that differ, as a text and a bar with a tick at the noise floor.
        noise: share of copies that differ where stable differs from itself.
        beside: its latency beside that of the version which answered, at the 99th percentile.
        main_reason: why most of those that were not copied were not.
    """

    shadow: Shadow
    level: str
    because: str
    compared: str
    differs: str
    bar: Bar
    ticks: tuple[Tick, ...]
    noise: str
    beside: str
    not_copied: str
    main_reason: str


class PartRow(Struct, frozen=True):
    """How one part of the answers, or of the traffic, differs."""

    names: tuple[str, ...]
    compared: str
    differ: str
    differs: str
    bar: Bar


class OutputRow(Struct, frozen=True):
    """One compared part of the answers, with the figures of its metric."""

    part: PartRow
    unlike: str
    mean: str
    largest: str


class Cell(Struct, frozen=True):
    """One count of a table of four."""

    number: str
    is_bad: bool


class Square(Struct, frozen=True):
    """Four counts: what became of both versions' answers to the same requests."""

    both: Cell
    only_stable: Cell
    only_shadow: Cell
    neither: Cell


class LatencyRow(Struct, frozen=True):
    """One quantile of both versions."""

    quantile: str
    stable: str
    shadow: str
    ratio: str


class WorstRow(Struct, frozen=True):
    """One of the largest differences."""

    difference: Difference
    at: str
    distance: str


class ReasonRow(Struct, frozen=True):
    """Why requests that were sampled are not compared."""

    why: str
    number: str
    bar: Bar


class ShadowView(Struct, frozen=True):
    """The page of one shadow."""

    row: ShadowRow
    since: str
    noise: str
    device: str
    kept: str
    claims: tuple[ClaimRow, ...]
    outputs: tuple[OutputRow, ...]
    slices: tuple[PartRow, ...]
    answers: Square
    labels: Square | None
    latency: tuple[LatencyRow, ...]
    worst: tuple[WorstRow, ...]
    reasons: tuple[ReasonRow, ...]
    commands: tuple[Command, ...]


def shadow_rows(told: Shadows, model: str = "") -> tuple[ShadowRow, ...]:
    """Return every shadow, or those of one model, in trouble first."""
    rank = {says: place for place, says in enumerate(_FIRST)}
    meant = [each for each in told.shadows if model in ("", each.model)]
    ordered = sorted(meant, key=lambda each: (rank.get(each.says, 0), each.model, each.name))
    return tuple(shadow_row(each) for each in ordered)


def shadow_of(told: Shadows, wanted: str) -> Shadow | None:
    """Return the shadow that MODEL/NAME means; None when there is none."""
    return next((each for each in told.shadows if f"{each.model}/{each.name}" == wanted), None)


def shadow_row(shadow: Shadow) -> ShadowRow:
    """Return one shadow in a line."""
    differs, noise = _ratio(shadow.differ, shadow.compared), _noise(shadow)
    whole = max(2 * (noise or 0.0), 1.25 * (differs or 0.0), 0.02)
    latency = shadow.latency
    return ShadowRow(
        shadow,
        _LEVELS.get(shadow.says, "none"),
        sentence(shadow.says, shadow.because),
        count(shadow.compared),
        share(differs),
        bar(0.0, differs or 0.0, whole),
        () if noise is None else (Tick(percent(noise / whole), share(noise)),),
        share(noise),
        relative(latency.shadow_p99_s, latency.stable_p99_s) if latency else "–",
        count(sum(shadow.not_copied.values())),
        max(shadow.not_copied, key=lambda why: shadow.not_copied[why], default="").replace("_", " "),
    )


def shadow_view(shadow: Shadow) -> ShadowView:
    """Return the page of one shadow."""
    return ShadowView(
        shadow_row(shadow),
        date(shadow.since_s) if shadow.since_s else "",
        _repeated(shadow),
        duration(shadow.device_s),
        _kept(shadow),
        (
            claim_row("it differs beyond noise", "harm", shadow.harm, shadow.proved_at),
            claim_row("it does not", "safe", shadow.safe, shadow.proved_at),
        ),
        tuple(_output_row(output) for output in shadow.outputs),
        tuple(_slice_row(part) for part in sorted(shadow.slices, key=_place)),
        Square(
            _cell(shadow.answers.both_good, False),
            _cell(shadow.answers.only_shadow_failed, True),
            _cell(shadow.answers.only_stable_failed, False),
            _cell(shadow.answers.both_failed, False),
        ),
        _labels(shadow.labels),
        _latency_rows(shadow.latency) if shadow.latency else (),
        tuple(_worst_row(each) for each in shadow.worst),
        _reason_rows(shadow.not_copied),
        _commands(shadow),
    )


def _noise(shadow: Shadow) -> float | None:
    """Return the share of copies that differ by noise; stable is asked again only where they differ."""
    differs = _ratio(shadow.differ, shadow.compared)
    is_noise = _ratio(shadow.repeats_differ, shadow.repeats)
    return 0.0 if differs == 0.0 else None if differs is None or is_noise is None else differs * is_noise


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _repeated(shadow: Shadow) -> str:
    if not shadow.repeats:
        return "Stable was not asked again yet"
    return (
        f"Stable was asked again about {count(shadow.repeats)} that differ, and differed from itself in "
        f"{count(shadow.repeats_differ)}"
    )


def _kept(shadow: Shadow) -> str:
    if not shadow.keep:
        return ""
    what = _KEPT.get(shadow.keep, shadow.keep)
    return what if shadow.keep == "nothing" else f"{what}, for {duration(shadow.keep_s)}"


def _part_row(names: tuple[str, ...], compared: int, differ: int) -> PartRow:
    ratio = _ratio(differ, compared)
    return PartRow(names, count(compared), count(differ), share(ratio), bar(0.0, ratio or 0.0, 1.0))


def _output_row(output: Output) -> OutputRow:
    names = (output.path or "the whole answer", output.kind, output.metric)
    part = _part_row(names, output.compared, output.differ)
    return OutputRow(part, count(output.unlike), _figure(output.mean), _figure(output.largest))


def _figure(number: float | None) -> str:
    return "–" if number is None else f"{number:.3g}"


def _place(part: Slice) -> tuple[str, int, str]:
    return part.by, -part.compared, part.name


def _slice_row(part: Slice) -> PartRow:
    return _part_row((part.by, part.name), part.compared, part.differ)


def _cell(number: int, is_bad: bool) -> Cell:
    return Cell(count(number), is_bad and number > 0)


def _labels(labels: Labels) -> Square | None:
    """Return who was right where a late label came; None before one has."""
    if labels == Labels():
        return None
    return Square(
        _cell(labels.both_right, False),
        _cell(labels.only_stable_right, True),
        _cell(labels.only_shadow_right, False),
        _cell(labels.both_wrong, False),
    )


def _latency_rows(latency: Latency) -> tuple[LatencyRow, ...]:
    return tuple(
        LatencyRow(quantile, duration(stable_s), duration(shadow_s), relative(shadow_s, stable_s))
        for quantile, stable_s, shadow_s in (
            ("p50", latency.stable_p50_s, latency.shadow_p50_s),
            ("p99", latency.stable_p99_s, latency.shadow_p99_s),
        )
    )


def _worst_row(difference: Difference) -> WorstRow:
    distance = difference.distance
    text = "∞" if distance is None or distance >= _BEYOND_MEASURE else times(distance)
    return WorstRow(difference, date(difference.at_s), text)


def _reason_rows(not_copied: Mapping[str, int]) -> tuple[ReasonRow, ...]:
    whole = sum(not_copied.values())
    ordered = sorted(not_copied.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        ReasonRow(_WHY_NOT.get(why, why.replace("_", " ")), count(number), bar(0.0, float(number), float(whole)))
        for why, number in ordered
        if number
    )


def _commands(shadow: Shadow) -> tuple[Command, ...]:
    model, version, name = map(shlex.quote, (shadow.model, shadow.version, shadow.name))
    return (
        Command("the same in a terminal", f"penstock shadow report {model}"),
        Command(
            "try the version with recorded requests",
            f"penstock shadow replay {model} --version {version} --shadow {name}",
        ),
        Command("forget what was compared and begin anew", f"penstock shadow forget {model} --shadow {name}"),
    )
