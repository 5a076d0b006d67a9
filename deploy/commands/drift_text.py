"""What ``penstock drift`` prints."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from deploy.commands.table import table
from policies.units import duration_text
from telemetry.drift.reports import DriftReport, PartReport, Shape, VersionReport
from telemetry.drift.windows import REFERENCE_ROWS
from telemetry.stats.drift import IN_A_ROW, Says

_HEAD = ("PART", "MEASURE", "REFERENCE", "NOW", "ROWS", "PSI", "LIMIT", "VERDICT")
_WORDS = {
    Says.DRIFTS: "drifts",
    Says.MOVED: "moved",
    Says.STEADY: "steady",
    Says.TOO_FEW: "too few rows",
    Says.LEARNING: "learning",
}
_ODD = {
    "nan": "not a number",
    "infinite": "infinite",
    "out_of_range": "out of range",
    "empty": "empty",
    "missing": "missing",
    "null": "null",
}


def drift_text(report: DriftReport, model: str) -> str:
    """Return the report for people."""
    if not report.versions:
        if model:
            return (
                f"nothing of {model} is watched: write `drift: {{sample: 1%}}` in routes/{model}.yaml, if there is one"
            )
        return "nothing is watched: write `drift: {sample: 1%}` in a route"
    return "\n\n".join(_version_text(version) for version in report.versions)


def _version_text(version: VersionReport) -> str:
    rows = [
        (
            f"{part.side} {part.path or 'all'}",
            measure.measure,
            shape_text(measure.reference),
            shape_text(measure.now),
            measure.rows,
            f"{measure.psi:.3f}" if measure.history else None,
            f"{measure.limit:.3f}" if measure.history else None,
            _WORDS[Says(measure.says)],
        )
        for part in version.parts
        for measure in part.measures
    ]
    lines = [f"{version.model}/{version.version}: {_verdict_text(version)}", _reference_text(version)]
    lines += [table(_HEAD, rows)] if rows else []
    return "\n".join([*lines, *(line for part in version.parts for line in _odd_lines(part))])


def _verdict_text(version: VersionReport) -> str:
    match Says(version.says):
        case Says.DRIFTS:
            return f"drifts: {_named(version, Says.DRIFTS)} above the limit in {IN_A_ROW} windows in a row"
        case Says.MOVED:
            return f"moved: {_named(version, Says.MOVED)} above the limit in the last window"
        case Says.STEADY:
            return "steady"
        case Says.TOO_FEW:
            return "too few rows since the reference to say"
        case Says.LEARNING:
            return "learning its reference"


def _named(version: VersionReport, says: Says) -> str:
    named = [
        f"{measure.measure} of {part.side} {part.path or 'all'}"
        for part in version.parts
        for measure in part.measures
        if measure.says == says
    ]
    return ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")


def _reference_text(version: VersionReport) -> str:
    if not version.reference_rows:
        return f"reference: no rows of version {version.reference_version} yet; windows of {_window(version)}"
    since, until = (_moment(at_s) for at_s in (version.reference_from_s, version.reference_until_s))
    few = f" of at least {REFERENCE_ROWS:,}" if version.reference_rows < REFERENCE_ROWS else ""
    rows = f"{version.reference_rows:,} rows{few}"
    return f"reference: version {version.reference_version}, {since} to {until}, {rows}; windows of {_window(version)}"


def _window(version: VersionReport) -> str:
    return duration_text(version.window_s)


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def shape_text(shape: Shape) -> str | None:
    """Return a distribution in a few words: its middle and its tenths, or its commonest names."""
    if shape.names:
        return " ".join(f"{name} {share:.0%}" for name, share in shape.names[:3])
    if shape.p50 is None:
        return None
    middle, low, high = (_rounded(number or 0.0) for number in (shape.p50, shape.p10, shape.p90))
    return f"{middle} ({low} to {high})"


def _rounded(number: float) -> str:
    """Return two digits: a bucket may be 9 % wide."""
    return f"{float(f'{number:.2g}'):g}"


def _odd_lines(part: PartReport) -> Iterator[str]:
    name = f"{part.side} {part.path or 'all'}"
    absent = {kind: part.kinds[kind] for kind in ("missing", "null") if kind in part.kinds}
    for what, count in sorted((part.flags | absent).items()):
        yield f"{name}: {_ODD.get(what, what)} in {count:,} of {part.rows:,} rows"
    if part.is_constant:
        yield f"{name}: the same in all of {part.rows:,} rows"
    if part.unread:
        yield f"{name}: {part.unread:,} more rows were drawn and not read (over 1 MiB, or over 200 a second)"
