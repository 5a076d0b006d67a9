"""What a supervisor tells of canaries and shadows, as its management API sends it; tests change parts of it."""

from __future__ import annotations

from typing import Any

from tests.fakes.hub import Json, trace_id_of

AT_S = 1_800_000_300.0
STEP_S = 180.0


def told(key: str, *each: Json, **changed: Any) -> Json:
    """Return the hub's answer of ``/api/rollouts`` or ``/api/shadows``; ``key`` is what it lists."""
    return {"at_s": AT_S, key: list(each), "is_known": True, "error": ""} | changed


def unknown(error: str) -> Json:
    """Return the hub's answer while the supervisor has never told anything."""
    return {"is_known": False, "error": error}


def step(share: float, state: str, **changed: Any) -> Json:
    """Return one step of a canary; ``changed`` replaces parts of it."""
    made: Json = {
        "share": share,
        "hold_s": 120.0,
        "at_least": 200,
        "needs_approval": False,
        "requires_shadow": "",
        "state": state,
    }
    return made | changed


def arm(version: str, **changed: Any) -> Json:
    """Return what was seen of one version; ``changed`` replaces parts of it."""
    made: Json = {
        "version": version,
        "requests": 0,
        "bad": 0,
        "slow": 0,
        "bad_keys": 0,
        "wrong_labels": 0,
        "examples": [],
    }
    return made | changed


def verdict(**changed: Any) -> Json:
    """Return an undecided verdict with some evidence; ``changed`` replaces parts of it."""
    history = [[AT_S - 175 + 12 * at, at + 2, 0.94**at, 1.13**at] for at in range(14)]
    made: Json = {
        "model": "digits",
        "canary": "digits-2-first",
        "generation": 12,
        "step": 1,
        "share": 0.25,
        "at_s": AT_S,
        "says": "undecided",
        "because": "Undecided: needs about 220 more bad keys of both versions. Version 2: 11 bad of 1,500 requests.",
        "stable": arm("1", requests=4520, bad=30, slow=21, bad_keys=12, examples=[trace_id_of(8)]),
        "candidate": arm(
            "2", requests=1500, bad=11, slow=2, bad_keys=4, wrong_labels=1, examples=[trace_id_of(2), trace_id_of(5)]
        ),
        "harm": 0.43,
        "safe": 4.9,
        "within_budget": 31.5,
        "proved_at": 300.0,
        "safe_at": 100.0,
        "needs": 220,
        "burn": {
            "objective": "digits-availability",
            "rate": 1.47,
            "over_s": 900.0,
            "requests": 1500,
            "is_enough": True,
            "above": 6.0,
        },
        "history": history,
    }
    return made | changed


def rollout(**changed: Any) -> Json:
    """Return a canary in the second of its three steps; ``changed`` replaces parts of it."""
    made: Json = {
        "model": "digits",
        "canary": "digits-2-first",
        "version": "2",
        "stable": "1",
        "owner": "team-digits",
        "generation": 12,
        "state": "running",
        "revision": 4,
        "step": 1,
        "steps": [
            step(0.05, "done"),
            step(0.25, "now", at_least=2000, requires_shadow="digits-2-dark"),
            step(1.0, "later", hold_s=0.0, at_least=0, needs_approval=True),
        ],
        "share": 0.25,
        "target_share": 0.25,
        "since_s": AT_S - STEP_S,
        "waiting_for": ["traffic", "verdict"],
        "next_s": None,
        "because": "step 2 began: no harm in 240 requests",
        "verdict": verdict(),
        "transitions": [
            {
                "at_s": AT_S - STEP_S,
                "revision": 4,
                "from_state": "running",
                "to_state": "running",
                "step": 1,
                "share": 0.25,
                "by": "judge",
                "because": "no harm in 240 requests",
            },
            {
                "at_s": AT_S - 2 * STEP_S,
                "revision": 1,
                "from_state": "waiting",
                "to_state": "running",
                "step": 0,
                "share": 0.05,
                "by": "policy",
                "because": "the canary is in policy",
            },
        ],
    }
    return made | changed


def rolled_back(**changed: Any) -> Json:
    """Return a canary that did harm; ``changed`` replaces parts of it."""
    harm = verdict(
        model="text",
        says="harm",
        because="Harm: version 3 has bad answers for more than 1.2 times as many keys as version 1: 38 of 42 bad keys.",
        harm=2.4e9,
        safe=0.0,
        within_budget=0.0,
        needs=0,
        history=[[AT_S - 60 + at, at, 6.0 ** (at / 2.6), 0.5**at] for at in range(31)],
    )
    return rollout(
        **{
            "model": "text",
            "canary": "text-3",
            "version": "3",
            "state": "rolled back",
            "step": 0,
            "share": 0.0,
            "target_share": 0.0,
            "steps": [step(0.25, "ended"), step(1.0, "later")],
            "waiting_for": [],
            "because": "harm is proved; all requests go to version 1 again",
            "verdict": harm,
        }
        | changed
    )


def shadow(**changed: Any) -> Json:
    """Return a shadow that differs; ``changed`` replaces parts of it."""
    made: Json = {
        "model": "digits",
        "name": "digits-2-dark",
        "version": "2",
        "generation": 12,
        "since_s": AT_S - 3600,
        "at_s": AT_S,
        "says": "differs",
        "because": "63 of 2,040 answers differ (3.1 %); about 3.1 % beyond noise: more than the 1 % that are allowed",
        "compared": 2040,
        "differ": 63,
        "repeats": 41,
        "repeats_differ": 0,
        "harm": 4.1e4,
        "safe": 1e-9,
        "proved_at": 100.0,
        "needs": 0,
        "answers": {"both_good": 2031, "only_shadow_failed": 7, "only_stable_failed": 1, "both_failed": 1},
        "latency": {
            "stable_p50_s": 0.0031,
            "stable_p99_s": 0.0102,
            "shadow_p50_s": 0.0044,
            "shadow_p99_s": 0.0187,
        },
        "labels": {"both_right": 310, "only_stable_right": 9, "only_shadow_right": 2, "both_wrong": 4},
        "outputs": [
            {"path": "/label", "kind": "label", "metric": "equal", "compared": 2031, "differ": 56, "unlike": 0},
            {
                "path": "/probabilities",
                "kind": "probabilities",
                "metric": "Jensen-Shannon, differs above 0.01",
                "compared": 2029,
                "differ": 61,
                "unlike": 2,
                "mean": 0.00212,
                "largest": 0.81,
            },
        ],
        "slices": [
            {"by": "tenant", "name": "search", "compared": 1400, "differ": 60},
            {"by": "tenant", "name": "vision-team", "compared": 640, "differ": 3},
            {"by": "size", "name": "up to 1 KiB", "compared": 2040, "differ": 63},
        ],
        "worst": [
            difference(3, distance=81.0),
            difference(4, distance=1e308, stable='{"label": 7}', shadow='{"label": 1}'),
        ],
        "not_copied": {"queue_full": 3, "busy": 51, "no_consent": 12_040},
        "device_s": 12.4,
        "keep": "digests",
        "keep_s": 1_209_600.0,
    }
    return made | changed


def difference(number: int, **changed: Any) -> Json:
    """Return one large difference of the numbered request; ``changed`` replaces parts of it."""
    made: Json = {
        "request_id": f"req-{number:04}",
        "trace_id": trace_id_of(number),
        "tenant": "search",
        "at_s": AT_S - number,
        "path": "/label",
        "distance": 1.0,
        "stable": "sha256:5e884898da28",
        "shadow": "sha256:2bb80d537b1d",
    }
    return made | changed


def new_shadow(**changed: Any) -> Json:
    """Return a shadow that has compared nothing yet; ``changed`` replaces parts of it."""
    nothing: Json = {
        "name": "digits-3-dark",
        "version": "3",
        "since_s": 0.0,
        "says": "not enough data",
        "because": "nothing was compared yet",
        "compared": 0,
        "differ": 0,
        "repeats": 0,
        "repeats_differ": 0,
        "harm": 1.0,
        "safe": 1.0,
        "needs": None,
        "answers": {},
        "latency": None,
        "labels": {},
        "outputs": [],
        "slices": [],
        "worst": [],
        "not_copied": {},
        "device_s": 0.0,
        "keep": "",
    }
    return shadow(**(nothing | changed))
