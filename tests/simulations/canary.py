"""Canaries that are as good as stable, or worse, judged by the judge itself after every bad key.

A run draws a canary's id, and with it who is in it, as the gateway does. Bad requests fall to keys by chance, and are
put together as the supervisor does it: a key that the step has seen is no evidence. The judge is asked about once a
second, and at once when the evidence is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from math import inf
from random import Random
from typing import NamedTuple

from gateway.control.messages import ArmEvents
from gateway.decide.release import is_in, subject_of
from gateway.decide.rollouts.evidence import StepEvidence, bad_keys, begun, with_bad_key, with_events
from gateway.decide.rollouts.judge import harm_proved_at, judge
from gateway.decide.rollouts.moments import Bad, Present
from gateway.decide.rollouts.verdict import Says, Verdict
from policies.snapshot.release import Canary, CanaryStep, Judge
from tests.simulations.claims import Claim, Outcome

SHARES = (0.01, 0.05, 0.25, 0.5)
KEYS = 20_000
# Per look of the judge, about a second of a busy route.
BAD_PER_LOOK = 200
REQUESTS_PER_LOOK = 20_000
# What a healthy canary is watched for: many times what is needed to call one that is worse.
MOST_BAD_KEYS = 600
MOST_BAD_KEYS_SMALL = 250


class BadRequest(NamedTuple):
    """One bad request of a sticky key, and the share that was in the canary then."""

    subject: int
    in_canary: bool
    share: float


def canary_of(chance: Random) -> Canary:
    """Return a canary with an id of its own, and so with keys of its own."""
    steps = (*(CanaryStep(share) for share in SHARES), CanaryStep(1.0))
    return Canary(f"canary-{chance.getrandbits(64)}", "2", steps, Judge("1"), sticky_by=("header:x-user-id",))


def bad_requests(chance: Random, canary: Canary, share: float, ratio: float, per_key: int) -> Iterator[BadRequest]:
    """Draw bad requests for ever: of keys in the canary ``ratio`` times as often as of others, so many of each."""
    while True:
        subject = subject_of(canary.id, f"user-{chance.randrange(KEYS)}")
        in_canary = is_in(subject, share)
        if chance.random() * max(ratio, 1.0) < (ratio if in_canary else 1.0):
            yield from [BadRequest(subject, in_canary, share)] * per_key


def judged(canary: Canary, step: int, bad: Iterator[BadRequest], most: int, ends: frozenset[Says]) -> Verdict:
    """Return the first verdict of these, or the last one when there were ``most`` bad keys or no more requests."""
    evidence = begun(canary.judge, canary.version, step, canary.steps[step].share, 0.0)
    known: set[int] = set()
    harm_at = harm_proved_at(canary) if Says.HARM in ends else inf
    safe_at = 1.0 / canary.judge.alpha if Says.SAFE in ends else inf
    now_s = 0.0
    while True:
        share = evidence.share
        events = list(islice(bad, BAD_PER_LOOK))
        now_s += 1.0
        of_canary = sum(event.in_canary for event in events)
        requests = round(REQUESTS_PER_LOOK * share)
        evidence = with_events(
            evidence,
            ArmEvents(REQUESTS_PER_LOOK - requests, len(events) - of_canary),
            ArmEvents(requests, of_canary),
            now_s,
        )
        for event in events:
            if event.subject in known:
                continue
            known.add(event.subject)
            evidence = with_bad_key(evidence, event.in_canary, event.share, "", False, now_s)
            if evidence.harm >= harm_at or evidence.safe >= safe_at:
                break
        verdict = judge(canary, "digits", 1, evidence, 0.005, None, now_s)
        if verdict.says in ends or not events or bad_keys(evidence) >= most:
            return verdict


def _keys_of(verdict: Verdict) -> int:
    return verdict.stable.bad_keys + verdict.candidate.bad_keys


# --- runs


def at_one_step(step: int, ratio: float, per_key: int, counts: Says, chance: Random, is_full: bool) -> Outcome:
    """One step: whether the verdict that counts is reached at any moment."""
    canary = canary_of(chance)
    bad = bad_requests(chance, canary, SHARES[step], ratio, per_key)
    most = MOST_BAD_KEYS if is_full else MOST_BAD_KEYS_SMALL
    verdict = judged(canary, step, bad, most, frozenset({counts}))
    return Outcome(verdict.says is counts, _keys_of(verdict))


def caught_within(step: int, ratio: float, most: int, chance: Random, is_full: bool) -> Outcome:
    """One step of a canary that is worse: whether it is called harmful within so many bad keys of both arms."""
    canary = canary_of(chance)
    bad = bad_requests(chance, canary, SHARES[step], ratio, 1)
    verdict = judged(canary, step, bad, MOST_BAD_KEYS, frozenset({Says.HARM}))
    return Outcome(verdict.says is Says.HARM and _keys_of(verdict) <= most, _keys_of(verdict))


def over_all_steps(broken_keys: int, new_each_step: int, has_few_pods: bool, chance: Random, is_full: bool) -> Outcome:
    """A whole ladder of a canary as good as stable, with keys that are broken whatever the version.

    They are broken in every step, and come back again and again; each step has further keys of its own.

    Args:
        has_few_pods: the first half of each step's bad requests come while the canary has half of its share only.
    """
    canary = canary_of(chance)
    total = 0
    lasting = _drawn(chance, canary, broken_keys if is_full else broken_keys // 4)
    for step, share in enumerate(SHARES):
        broken = lasting + _drawn(chance, canary, new_each_step if is_full else new_each_step // 4)
        draws = 2 * len(broken)
        shares = [share / 2 if has_few_pods and number < draws // 2 else share for number in range(draws)]
        bad = (
            BadRequest(subject, is_in(subject, now), now)
            for subject, now in zip(chance.choices(broken, k=draws), shares, strict=True)
        )
        verdict = judged(canary, step, bad, len(broken), frozenset({Says.HARM}))
        total += _keys_of(verdict)
        if verdict.says is Says.HARM:
            return Outcome(True, total)
    return Outcome(False, total)


# Pods that stall: so many requests in a second, and how often a pod of either version begins to stall, for how long.
STALL_REQUESTS = 60
STALLS_PER_S = 1 / 600
STALL_S = (1, 4)
STALLS_SEEN_S = 3600
STALLS_SEEN_SMALL_S = 900
OTHER_BAD_PER_S = 0.05


def with_stalls(step: int, chance: Random, is_full: bool) -> Outcome:
    """Two versions with a pod each, which stall as often as each other: all keys that they have then are bad."""
    canary = canary_of(chance)
    share = SHARES[step]
    evidence = begun(canary.judge, canary.version, step, share, 0.0)
    known: set[int] = set()
    present = Present()
    stalled_until_s = [0.0, 0.0]
    for now_s in range(STALLS_SEEN_S if is_full else STALLS_SEEN_SMALL_S):
        for arm in (False, True):
            if chance.random() < STALLS_PER_S:
                stalled_until_s[arm] = now_s + chance.randint(*STALL_S)
        asked = STALL_REQUESTS if max(stalled_until_s) > now_s else int(chance.random() < OTHER_BAD_PER_S)
        for subject in (subject_of(canary.id, f"user-{chance.randrange(KEYS)}") for _ in range(asked)):
            in_canary = is_in(subject, share)
            if subject not in known and (asked == 1 or stalled_until_s[in_canary] > now_s):
                present.add(Bad(subject, in_canary, share, ""))
        evidence = _counted(evidence, present, known, now_s)
        if evidence.harm >= harm_proved_at(canary):
            return Outcome(True, bad_keys(evidence))
    return Outcome(False, bad_keys(evidence))


def always_bad(step: int, users: int, per_s: int, within_s: int, chance: Random, is_full: bool) -> Outcome:
    """A version that fails every request of a few users, who come again and again: whether harm is proved in time."""
    canary = canary_of(chance)
    share = SHARES[step]
    evidence = begun(canary.judge, canary.version, step, share, 0.0)
    known: set[int] = set()
    present = Present()
    subjects = [subject_of(canary.id, f"user-{number}") for number in range(users)]
    for now_s in range(within_s):
        for number in range(now_s * per_s, (now_s + 1) * per_s):
            subject = subjects[number % users]
            if is_in(subject, share) and subject not in known:
                present.add(Bad(subject, True, share, ""))
        evidence = _counted(evidence, present, known, now_s)
        if evidence.harm >= harm_proved_at(canary):
            return Outcome(True, now_s)
    return Outcome(False, within_s)


def _counted(evidence: StepEvidence, present: Present, known: set[int], now_s: float) -> StepEvidence:
    """End a look, as the supervisor does."""
    counted = present.looked()
    if counted is None:
        return evidence
    bad, is_one_of_many = counted
    known.add(bad.subject)
    return with_bad_key(evidence, bad.in_canary, bad.share, "", False, now_s, is_one_of_many=is_one_of_many)


def _drawn(chance: Random, canary: Canary, keys: int) -> list[int]:
    return [subject_of(canary.id, f"user-{number}") for number in chance.sample(range(KEYS), keys)]


# --- what is claimed of them

MAY_BE_WRONG = 0.01
# A canary of 1 % that stalls twice before stable does looks like one that is twenty times worse, and is not told apart.
MAY_BE_WRONG_WITH_STALLS = 0.05

CLAIMS = (
    *(
        Claim(
            f"healthy at {share:.0%}, {per_key} bad requests of each broken key, is rolled back",
            partial(at_one_step, step, 1.0, per_key, Says.HARM),
            MAY_BE_WRONG,
        )
        for step, share in enumerate(SHARES)
        for per_key in (1, 5, 20)
    ),
    Claim(
        "1.2 times worse at 5%, which is allowed, is rolled back",
        partial(at_one_step, 1, 1.2, 1, Says.HARM),
        MAY_BE_WRONG,
    ),
    Claim("twice as bad at 25% is called safe", partial(at_one_step, 2, 2.0, 1, Says.SAFE), MAY_BE_WRONG),
    Claim("twice as bad at 50% is called safe", partial(at_one_step, 3, 2.0, 5, Says.SAFE), MAY_BE_WRONG),
    Claim(
        "healthy over all steps, 600 keys stay broken, is rolled back",
        partial(over_all_steps, 600, 0, False),
        MAY_BE_WRONG,
    ),
    Claim(
        "healthy over all steps, 300 keys stay broken and 300 new ones break in each, is rolled back",
        partial(over_all_steps, 300, 300, False),
        MAY_BE_WRONG,
    ),
    Claim(
        "healthy over all steps, 600 keys stay broken and pods are few at first, is rolled back",
        partial(over_all_steps, 600, 0, True),
        MAY_BE_WRONG,
    ),
    *(
        Claim(
            f"healthy at {share:.0%}, pods of both versions stall for seconds, is rolled back",
            partial(with_stalls, step),
            MAY_BE_WRONG_WITH_STALLS,
        )
        for step, share in enumerate(SHARES)
    ),
    *(
        Claim(
            f"bad for everybody at {SHARES[step]:.0%} of {users} users is caught within 30 s",
            partial(always_bad, step, users, per_s, 30),
            0.98,
            is_at_most=False,
        )
        for step, users, per_s in ((1, 1000, 60), (2, 400, 60), (2, 2000, 500), (3, 100, 60))
    ),
    # A median is at most so much when at least half of the runs need no more.
    Claim(
        "5 times worse at 5% is caught within 60 bad keys", partial(caught_within, 1, 5.0, 60), 0.5, is_at_most=False
    ),
    Claim(
        "20 times worse at 1% is caught within 25 bad keys", partial(caught_within, 0, 20.0, 25), 0.5, is_at_most=False
    ),
    Claim("healthy at 25% is called safe", partial(at_one_step, 2, 1.0, 1, Says.SAFE), 0.25, is_at_most=False),
    Claim("healthy at 50% is called safe", partial(at_one_step, 3, 1.0, 1, Says.SAFE), 0.25, is_at_most=False),
)
