"""What is told of shadows and replays: the same objects for the command line, the management API and the pages."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct


class ShadowSays(StrEnum):
    """What a comparison says of a version."""

    SAME = "same"
    DIFFERS = "differs"
    WORSE = "worse"
    NOT_ENOUGH = "not enough data"


class Fourfold(Struct, frozen=True):
    """Answers by whether either side failed: a status of 500 or more, or none at all."""

    both_good: int = 0
    only_shadow_failed: int = 0
    only_stable_failed: int = 0
    both_failed: int = 0


class OutputReport(Struct, frozen=True):
    """How one compared part of the answers differs.

    Attributes:
        metric: what is measured, and when it counts as different, for people: "abs, differs above 0.01".
        mean, largest: of the metric, over answers in which both sides have it; None where there is no number.
        unlike: answers that could not be compared by it, since the part is missing, or of another shape, on one side.
    """

    path: str
    kind: str
    metric: str
    compared: int
    differ: int
    unlike: int = 0
    mean: float | None = None
    largest: float | None = None


class SliceReport(Struct, frozen=True):
    """A part of the traffic: ``by`` is "tenant" or "size", ``name`` the tenant or a range of body sizes."""

    by: str
    name: str
    compared: int
    differ: int


class Difference(Struct, frozen=True):
    """One of the largest differences.

    Attributes:
        distance: how many times the allowed difference it is; ``inf`` becomes 1e308.
        stable, shadow: digests of both answers' parts, or redacted samples where policy keeps bodies, or "".
    """

    request_id: str
    trace_id: str
    tenant: str
    at_s: float
    path: str
    distance: float
    stable: str
    shadow: str


class LatencyReport(Struct, frozen=True):
    """How long the shadow takes beside the version that answered, for the same requests: quantiles in seconds."""

    stable_p50_s: float
    stable_p99_s: float
    shadow_p50_s: float
    shadow_p99_s: float


class LabelReport(Struct, frozen=True):
    """Late labels of requests that both versions have answered."""

    both_right: int = 0
    only_stable_right: int = 0
    only_shadow_right: int = 0
    both_wrong: int = 0


class ShadowReport(Struct, frozen=True):
    """What one shadow has come to.

    Attributes:
        since_s: of the first comparison that counts, seconds since the epoch; 0.0 before it. A new version, sample or
            way to compare begins anew.
        because: a sentence for people, with the numbers.
        compared, differ: copies and how many of them differ from what the caller got.
        repeats, repeats_differ: second answers of the version that answered, to requests whose copies differ, and how
            many of them differ from its own first: the part of ``differ`` that is noise.
        harm, safe: e-values of "differs beyond noise" and of "does not"; proved at ``proved_at``.
        needs: about so many more comparisons until it is decided; 0 when it is, None when nobody can say.
        not_copied: requests that were sampled and are not compared, by why.
        device_s: of devices, that its copies took.
        keep, keep_s: what is kept of the answers, "nothing", "digests" or "bodies", and for how long.
    """

    model: str
    name: str
    version: str
    generation: int
    since_s: float
    at_s: float
    says: ShadowSays
    because: str
    compared: int
    differ: int
    repeats: int
    repeats_differ: int
    harm: float
    safe: float
    proved_at: float
    needs: int | None
    answers: Fourfold
    latency: LatencyReport | None
    labels: LabelReport
    outputs: tuple[OutputReport, ...]
    slices: tuple[SliceReport, ...]
    worst: tuple[Difference, ...]
    not_copied: dict[str, int]
    device_s: float
    keep: str = ""
    keep_s: float = 0.0


class ReplayReport(Struct, frozen=True):
    """How a replay of recorded requests stands.

    Attributes:
        state: "running", "done", "cancelled" or "failed"; ``because`` says why it failed.
        recorded: requests that there are of the model; ``chosen`` of them are sent.
        report: the comparison with the recorded answers; its noise floor is empty.
    """

    number: int
    model: str
    version: str
    state: str
    because: str
    recorded: int
    chosen: int
    sent: int
    report: ShadowReport | None


class Sample(Struct, frozen=True):
    """An answered request as far as people may look at it.

    Attributes:
        why: "rate", or what it was kept on.
        is_about_somebody: it can be purged by whom it is about.
        input, output: the fields that policy names, by their JSON Pointers; None where they were not asked for.
    """

    request_id: str
    trace_id: str
    at_s: float
    model: str
    version: str
    arm: str
    tenant: str
    why: str
    status: int
    took_s: float
    is_about_somebody: bool
    input: dict[str, Any] | None = None
    output: dict[str, Any] | None = None
