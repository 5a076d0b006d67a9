"""State: what a comparison knows, as it is kept on disk, and whether it still says something about a shadow."""

from __future__ import annotations

from msgspec import Struct, field

from gateway.copies.compare.asking import LEVELS
from gateway.copies.compare.tallies import OutputTally, Slices, Times, Worst
from policies.snapshot.release import Compare, Shadow, ShadowVerdict
from telemetry.stats.sequential import DifferenceTest


class Basis(Struct, frozen=True):
    """What a comparison is about; with another one it begins anew."""

    model: str
    version: str
    sample: float
    sample_by: tuple[str, ...]
    outputs: tuple[Compare, ...]
    verdict: ShadowVerdict

    @classmethod
    def of(cls, shadow: Shadow, model: str) -> Basis:
        """Return what a shadow of a model is about."""
        return cls(model, shadow.version, shadow.sample, shadow.sample_by, shadow.outputs, shadow.verdict)


class State(Struct):
    """Everything that was counted.

    Attributes:
        tests: one for each level of ``asking``; empty where nothing is asked again.
        asked: copies for which a second answer was asked, ``repeats`` of which came; in ``repeats_differ`` the version
            that answered differs from itself.
        differs, same: the largest that both e-values ever were.
        neither_failed and the others: answers of both, by who failed.
        only_stable_right and the others: late labels.
    """

    since_s: float = 0.0
    compared: int = 0
    differ: int = 0
    asked: int = 0
    repeats: int = 0
    repeats_differ: int = 0
    differs: float = 1.0
    same: float = 1.0
    tests: list[DifferenceTest] = field(default_factory=list)
    outputs: list[OutputTally] = field(default_factory=list)
    neither_failed: int = 0
    only_shadow_failed: int = 0
    only_stable_failed: int = 0
    both_failed: int = 0
    both_right: int = 0
    only_stable_right: int = 0
    only_shadow_right: int = 0
    both_wrong: int = 0
    stable_times: Times = field(default_factory=Times)
    shadow_times: Times = field(default_factory=Times)
    slices: Slices = field(default_factory=Slices)
    worst: Worst = field(default_factory=Worst)
    not_copied: dict[str, int] = field(default_factory=dict)
    device_us: int = 0


def begun(shadow: Shadow) -> State:
    """Return the state of a comparison that has seen nothing."""
    margin = shadow.verdict.worse_above_noise
    return State(
        tests=[DifferenceTest(margin, chance=0.5**level) for level in range(LEVELS)],
        outputs=[OutputTally() for _ in shadow.outputs],
    )
