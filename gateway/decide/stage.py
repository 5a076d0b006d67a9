"""Stage: where the canary of a model stands, as the supervisor tells its workers."""

from __future__ import annotations

from msgspec import Struct


class Stage(Struct, frozen=True, array_like=True):
    """Where the canary of one model stands, as workers are told.

    Attributes:
        canary: its id, which is the salt of who is in it.
        revision: of the rollout's state; each change has the next.
        share: of the sticky keys that are on its version.
        is_over: it was promoted or rolled back: there is nothing more to compare.
    """

    model: str
    canary: str
    version: str
    revision: int
    step: int
    share: float
    is_over: bool = False
