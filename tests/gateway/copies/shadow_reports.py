"""Reports of shadows and replays, as they are told."""

from __future__ import annotations

from gateway.copies.reports import (
    Difference,
    Fourfold,
    LabelReport,
    LatencyReport,
    OutputReport,
    ReplayReport,
    ShadowReport,
    ShadowSays,
    SliceReport,
)

AT_S = 1_795_168_800.0
DIFFERS = ShadowReport(
    model="digits",
    name="dark",
    version="3",
    generation=4,
    since_s=AT_S - 3600.0,
    at_s=AT_S,
    says=ShadowSays.DIFFERS,
    because="3.1 % of 1200 answers differ, and 0 of 24 of stable's own",
    compared=1200,
    differ=37,
    repeats=24,
    repeats_differ=0,
    harm=812.5,
    safe=0.001,
    proved_at=100.0,
    needs=0,
    answers=Fourfold(both_good=1190, only_shadow_failed=8, only_stable_failed=1, both_failed=1),
    latency=LatencyReport(0.004, 0.011, 0.008, 0.021),
    labels=LabelReport(both_right=50, only_stable_right=4, only_shadow_right=1, both_wrong=2),
    outputs=(OutputReport("/label", "label", "equal, differs at any difference", 1190, 29, unlike=3),),
    slices=(SliceReport("tenant", "ads", 700, 36), SliceReport("size", "256 B to 1 KiB", 0, 0)),
    worst=(
        Difference("r9", "9" * 32, "ads", AT_S - 60.0, "/label", 1e308, "sha256:aa", "sha256:bb"),
        Difference("r8", "8" * 32, "ads", AT_S - 90.0, "/score", 12.5, "x" * 100, ""),
    ),
    not_copied={"queue_full": 3, "busy": 12, "no_pod": 0},
    device_s=7.25,
)
RUNNING = ReplayReport(7, "digits", "3", "running", "", 900, 500, 20, None)
DONE = ReplayReport(7, "digits", "3", "done", "", 900, 500, 500, DIFFERS)
