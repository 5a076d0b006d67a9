"""Releases of a route on live traffic: rules, a canary, shadows, what is recorded, late labels."""

from typing import Final

from msgspec import Struct

CLAIM: Final = "jwt:"
"""What a sticky key begins with that is a claim of the caller's token."""


class When(Struct, frozen=True):
    """Which requests a rule is for; all that is not empty must hold.

    Attributes:
        headers: names, in lower case, and the values they must have.
        scope: that the key must have; "" for any.
    """

    tenants: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    scope: str = ""


class ChooseRule(Struct, frozen=True):
    """Requests that go to one version whatever the canary does; the first rule that matches wins."""

    name: str
    when: When
    version: str


class LeftOut(Struct, frozen=True):
    """Tenants, and tiers of tenants, whose requests are left out."""

    tenants: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()


class CanaryStep(Struct, frozen=True):
    """One step of a canary.

    Attributes:
        share: of the sticky keys that are on the new version.
        hold_s: it lasts so long at least.
        at_least: and until the new version has answered so many requests.
        needs_approval: and until somebody promotes it.
        requires_shadow: and until the shadow of this name is called the same; "" for none.
    """

    share: float
    hold_s: float = 0.0
    at_least: int = 0
    needs_approval: bool = False
    requires_shadow: str = ""


class Judge(Struct, frozen=True):
    """What is held against a canary.

    Attributes:
        compare_to: the version it is compared to.
        harmful_above, safe_below: its rate of bad events over that of the other version.
        alpha: accepted chance of calling a canary harmful that is not.
        burn_above: it harms when its own requests burn the error budget faster than this over ``burn_over_s``; None
            for never.
        no_traffic_s: without a request for so long it is paused, and its owner told.
    """

    compare_to: str
    harmful_above: float = 1.2
    safe_below: float = 1.5
    alpha: float = 0.01
    burn_above: float | None = None
    burn_over_s: float = 900.0
    no_traffic_s: float = 7200.0


class Capacity(Struct, frozen=True):
    """What the new version's pods must have before a step gives them its share.

    Attributes:
        ready_pods_at_least: so many are ready.
        room: they can answer so many times what the share of the busiest minute of the last hour would be, going by
            what requests of the version have cost.
        keep_stable_s: stable's pods stay so long after the last step.
    """

    ready_pods_at_least: int = 1
    room: float = 1.3
    keep_stable_s: float = 0.0


class Canary(Struct, frozen=True):
    """A new version that gets a growing share of requests.

    Attributes:
        id: also the salt of who is in it.
        sticky_by: "tenant", "header:NAME" or "jwt:CLAIM"; the first that a request has decides for it, and chance where
            it has none.
        never: requests that are in neither arm, and stay with stable.
        judge: what decides whether it goes on.
        is_judged: False where no judge is written: it is judged all the same, and a person decides.
        on_harm: "rollback" or "pause".
        on_pass: "advance" or "pause".
        capacity: None where none is written: no step waits for room.
    """

    id: str
    version: str
    steps: tuple[CanaryStep, ...]
    judge: Judge
    is_judged: bool = True
    sticky_by: tuple[str, ...] = ()
    never: LeftOut = LeftOut()
    on_harm: str = "rollback"
    on_pass: str = "advance"  # noqa: S105 - what a passed step leads to
    capacity: Capacity | None = None


class Compare(Struct, frozen=True):
    """How one part of two answers is compared.

    Attributes:
        path: JSON Pointer into the answer; "" is all of it. ``/outputs/0/data`` is found in binary tensors too.
        kind: "label", "number", "probabilities", "ranking", "text" or "json".
        differ_above: they differ when the metric, a distance, is above this; None for the kind's own.
        differ_below: they differ when the metric, a likeness, is below this; None for the kind's own.
        metric: "equal", "abs", "rel", "cosine" or "overlap@N"; "" for the kind's own.
        atol, rtol: numbers are alike within ``atol + rtol * |stable's|``; None for what their type allows.
    """

    path: str
    kind: str
    metric: str = ""
    differ_above: float | None = None
    differ_below: float | None = None
    atol: float | None = None
    rtol: float | None = None


class ShadowVerdict(Struct, frozen=True):
    """When a shadow's answers are called the same, different or worse.

    Attributes:
        worse_above_noise: it differs when the share of answers that differ is above the noise floor by this.
        alpha: accepted chance of a wrong verdict.
        at_least: no verdict before so many comparisons.
    """

    worse_above_noise: float = 0.01
    alpha: float = 0.01
    at_least: int = 500


class Privacy(Struct, frozen=True):
    """What of a copied request is left out, and what is kept of it.

    Attributes:
        drop_headers: in lower case, besides those that are never copied.
        drop_fields: JSON Pointers into the body; ``*`` stands for every item of a list.
        keep: "nothing", "digests" or "bodies" (without what is dropped).
        keep_s: for so long.
    """

    drop_headers: tuple[str, ...] = ()
    drop_fields: tuple[str, ...] = ()
    keep: str = "digests"
    keep_s: float = 14 * 86_400.0


class ShadowLimits(Struct, frozen=True):
    """What a shadow may use.

    Attributes:
        in_flight: copies running at once.
        device_s, device_per_s: so many seconds of devices in each period of so many seconds; None for any.
        busy_share: no copy is sent while its pods have more than this share of what they may have in flight.
    """

    in_flight: int = 16
    device_s: float | None = None
    device_per_s: float = 86_400.0
    busy_share: float = 0.7


class Shadow(Struct, frozen=True):
    """A version that gets copies of requests, and whose answers no caller sees.

    Attributes:
        name: also the salt of what is copied.
        sample: share of sticky keys, or of requests where a request has none, that are copied.
        never: requests that are not copied.
        deadline_s: longest time for one copy.
        repeat_stable: share of all copies, of those that differ, that the version which answered is asked about again:
            the noise floor. Each of the first few is.
    """

    name: str
    version: str
    sample: float
    sample_by: tuple[str, ...] = ()
    never: LeftOut = LeftOut()
    limits: ShadowLimits = ShadowLimits()
    deadline_s: float = 5.0
    privacy: Privacy = Privacy()
    outputs: tuple[Compare, ...] = (Compare("", "json"),)
    repeat_stable: float = 0.02
    verdict: ShadowVerdict = ShadowVerdict()


class Recording(Struct, frozen=True):
    """Requests that are kept so that a version can be tried with them before it gets any.

    Attributes:
        sample: share of requests that are kept.
        max_bytes: all that is kept of the model; the oldest go first.
    """

    sample: float
    max_bytes: int = 64 * 2**20
    keep_s: float = 7 * 86_400.0
    never: LeftOut = LeftOut()
    drop_headers: tuple[str, ...] = ()
    drop_fields: tuple[str, ...] = ()


class Feedback(Struct, frozen=True):
    """Labels that callers tell later (``POST /feedback``).

    Attributes:
        label: JSON Pointer to the label in an answer; "" is all of it.
        keep_s: how long a label may be told after the answer.
        judged: whether wrong labels are bad events to a canary's judge.
    """

    label: str
    keep_s: float = 86_400.0
    judged: bool = True
