"""What is told of rollouts and shadows with types, as far as the pages read it; what else there is is passed over."""

from __future__ import annotations

from msgspec import Struct

EValue = float | None
"""How strongly something is shown: 1 is nothing; None where it is more than a number can say."""


class Step(Struct, frozen=True):
    """One step as policy has it; ``state`` is "done", "skipped", "now", "ended" or "later"."""

    share: float
    hold_s: float
    at_least: int
    needs_approval: bool
    requires_shadow: str
    state: str


class Change(Struct, frozen=True):
    """One change of a rollout's state, and who made it."""

    at_s: float
    revision: int
    from_state: str
    to_state: str
    step: int
    share: float
    by: str
    because: str


class Arm(Struct, frozen=True):
    """What was seen of one version in this step; ``examples`` are trace ids of its latest bad requests."""

    version: str
    requests: int = 0
    bad: int = 0
    slow: int = 0
    bad_keys: int = 0
    wrong_labels: int = 0
    examples: tuple[str, ...] = ()


class CanaryBurn(Struct, frozen=True):
    """How fast the canary's own requests burn an error budget; a rate above ``above`` is harm."""

    objective: str
    rate: float
    over_s: float
    requests: int
    is_enough: bool
    above: float | None = None


class Moment(Struct, frozen=True, array_like=True):
    """The e-values at one moment of this step."""

    at_s: float
    bad_keys: int
    harm: EValue
    safe: EValue


class Verdict(Struct, frozen=True):
    """What the judge says of a canary, and from what: harm is proved at ``proved_at``, the others at ``safe_at``."""

    at_s: float
    says: str
    because: str
    stable: Arm
    candidate: Arm
    harm: EValue
    safe: EValue
    within_budget: EValue
    proved_at: float
    burn: CanaryBurn | None = None
    history: tuple[Moment, ...] = ()
    safe_at: float = 100.0


class Rollout(Struct, frozen=True):
    """One canary; ``step`` counts from 0, and ``verdict`` is None before there is any."""

    model: str
    canary: str
    version: str
    stable: str
    owner: str
    generation: int
    state: str
    revision: int
    step: int
    steps: tuple[Step, ...]
    share: float
    target_share: float
    since_s: float
    waiting_for: tuple[str, ...]
    next_s: float | None
    because: str
    verdict: Verdict | None = None
    transitions: tuple[Change, ...] = ()


class Rollouts(Struct, frozen=True):
    """The answer of ``/api/rollouts``, where only one asked for has its past; ``error`` says why it is old or empty."""

    at_s: float = 0.0
    rollouts: tuple[Rollout, ...] = ()
    is_known: bool = False
    error: str = ""


class Fourfold(Struct, frozen=True):
    """Answers by which side failed."""

    both_good: int = 0
    only_shadow_failed: int = 0
    only_stable_failed: int = 0
    both_failed: int = 0


class Output(Struct, frozen=True):
    """How one compared part of the answers differs."""

    path: str
    kind: str
    metric: str
    compared: int
    differ: int
    unlike: int = 0
    mean: float | None = None
    largest: float | None = None


class Slice(Struct, frozen=True):
    """A part of the traffic, by tenant or size."""

    by: str
    name: str
    compared: int
    differ: int


class Difference(Struct, frozen=True):
    """One of the largest differences, with what is kept of both answers."""

    request_id: str
    trace_id: str
    tenant: str
    at_s: float
    path: str
    distance: float | None
    stable: str
    shadow: str


class Latency(Struct, frozen=True):
    """How long both versions took for the same requests."""

    stable_p50_s: float
    stable_p99_s: float
    shadow_p50_s: float
    shadow_p99_s: float


class Labels(Struct, frozen=True):
    """Late labels of requests that both versions have answered."""

    both_right: int = 0
    only_stable_right: int = 0
    only_shadow_right: int = 0
    both_wrong: int = 0


class Shadow(Struct, frozen=True):
    """What one shadow has come to; ``repeats`` are stable's second answers where a copy differs."""

    model: str
    name: str
    version: str
    generation: int
    since_s: float
    at_s: float
    says: str
    because: str
    compared: int
    differ: int
    repeats: int
    repeats_differ: int
    harm: EValue
    safe: EValue
    proved_at: float
    answers: Fourfold
    latency: Latency | None
    labels: Labels
    outputs: tuple[Output, ...]
    slices: tuple[Slice, ...]
    worst: tuple[Difference, ...]
    not_copied: dict[str, int]
    device_s: float
    keep: str = ""
    keep_s: float = 0.0


class Shadows(Struct, frozen=True):
    """The answer of ``/api/shadows``; ``error`` says why it is old or empty."""

    at_s: float = 0.0
    shadows: tuple[Shadow, ...] = ()
    is_known: bool = False
    error: str = ""
