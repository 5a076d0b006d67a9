"""Comparison: everything that is known of how one shadow's answers compare with those that callers got."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.copies.compare.answer import Answer
from gateway.copies.compare.asking import Awaited, is_asked, level_for
from gateway.copies.compare.comparing import Sides, compare_answers
from gateway.copies.compare.keeping import kept_of, place_of
from gateway.copies.compare.reporting import report
from gateway.copies.compare.state import Basis, State, begun
from gateway.copies.compare.tallies import finite
from gateway.copies.messages import Answered
from gateway.copies.reports import Difference, ShadowReport
from policies.snapshot.release import Privacy, Shadow
from telemetry.stats.sequential import Odd, odd_one

# Reasons why requests are not copied; there are about a dozen.
_MOST_REASONS = 64


class _Kept(Struct, frozen=True):
    basis: Basis
    privacy: Privacy
    state: State


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Kept)


class Comparison:
    """How one shadow of a model compares; pure, and bounded however much it is told.

    A copy differs when any configured part differs or exactly one side failed. Where it does, the version that answered
    may be asked again: ``compared`` says so, ``repeated`` takes the second answer. That is how noise is told from a
    difference (``telemetry.stats.sequential.DifferenceTest``), so a second answer nobody asked for is of no use. With
    ``repeat_stable`` of 0 it never is asked again, and everything that differs counts as the shadow's doing.

    Args:
        digest_key: of the digests that are kept of answers: while it is the same, so are digests of the same answer.
    """

    def __init__(self, shadow: Shadow, model: str, generation: int, digest_key: bytes = b"") -> None:
        self._digest_key = digest_key
        self._shadow = shadow
        self._model = model
        self._generation = generation
        self._state = begun(shadow)
        self._awaited = Awaited()

    @classmethod
    def restored(cls, kept: bytes, shadow: Shadow, model: str, generation: int, digest_key: bytes = b"") -> Comparison:
        """Return a comparison that goes on from what was kept; a new one where that is about something else.

        A reload is this too: other limits or another ``repeat_stable`` change nothing of what is known. With another
        privacy the differences that were kept are let go, since they may show what it drops now.
        """
        comparison = cls(shadow, model, generation, digest_key)
        try:
            known = _DECODER.decode(kept)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return comparison
        if known.basis == Basis.of(shadow, model):
            comparison._state = known.state
            if known.privacy != shadow.privacy:
                known.state.worst.kept.clear()
        return comparison

    @property
    def differ(self) -> int:
        """How many answers differed."""
        return self._state.differ

    def kept(self) -> bytes:
        """Return what ``restored`` goes on from. Second answers that are on their way are lost with a restart."""
        return _ENCODER.encode(_Kept(Basis.of(self._shadow, self._model), self._shadow.privacy, self._state))

    def compared(self, answered: Answered, request_bytes: int, stable: Answer, shadow: Answer, now_s: float) -> bool:
        """Take in a copy's answer beside the one that the caller got.

        Args:
            request_bytes: size of the request's body as the caller sent it.
            stable: of the version that answered, whichever it is.
            shadow: of status 0 where the copy was sent and no answer came.

        Returns:
            Whether the same request should be sent once more to ``answered.version``, and ``repeated`` be told.
        """
        state = self._state
        sides = compare_answers(self._shadow.outputs, stable, shadow)
        level = level_for(state.differ, state.compared, state.asked, self._shadow.repeat_stable)
        self._count(answered, request_bytes, stable, shadow, sides, now_s)
        if not sides.differs:
            state.tests[level] = state.tests[level].seen_alike()
            return False
        self._keep_worst(answered, stable, shadow, sides, now_s)
        return self._is_asked_again(answered.request_id, shadow, level)

    def repeated(self, answered: Answered, stable: Answer, again: Answer, now_s: float) -> None:
        """Take in the second answer that ``compared`` has asked for; one that nobody has asked for says nothing.

        Nor does one that failed where both others are well: it is no answer that could be like one of them.
        """
        awaited = self._awaited.pop(answered.request_id)
        if awaited is None or (again.is_failed and not stable.is_failed and not awaited.shadow.is_failed):
            return
        outputs = self._shadow.outputs
        is_like_stable = not compare_answers(outputs, stable, again).differs
        is_like_shadow = not compare_answers(outputs, again, awaited.shadow).differs
        state, test = self._state, self._state.tests[awaited.level]
        state.repeats += 1
        state.repeats_differ += not is_like_stable
        # Until now it was one whose second answer is not known.
        state.tests[awaited.level] = replace(test, unknown_odd=test.unknown_odd - 1).seen_different(
            odd_one(is_like_stable, is_like_shadow)
        )

    def labelled(self, request_id: str, stable_right: bool, shadow_right: bool) -> None:
        """Take in whose answer to a request a late label has proved right."""
        match stable_right, shadow_right:
            case True, True:
                self._state.both_right += 1
            case True, False:
                self._state.only_stable_right += 1
            case False, True:
                self._state.only_shadow_right += 1
            case _:
                self._state.both_wrong += 1

    def not_copied(self, why: str) -> None:
        """Take in that a request which was sampled is not compared."""
        counts = self._state.not_copied
        if why in counts or len(counts) < _MOST_REASONS:
            counts[why] = counts.get(why, 0) + 1

    def forget_others(self, allows: Callable[[str], bool]) -> None:
        """Let go of differences of tenants whose requests may not be copied any more."""
        self._state.worst.forget_others(allows)

    def report(self, now_s: float) -> ShadowReport:
        """Return what it has come to; differences that policy does not keep so long are let go."""
        self._state.worst.forget_before(now_s - self._shadow.privacy.keep_s)
        return report(self._shadow, self._model, self._generation, self._state, now_s)

    def _count(
        self, answered: Answered, request_bytes: int, stable: Answer, shadow: Answer, sides: Sides, now_s: float
    ) -> None:
        state = self._state
        state.since_s = state.since_s or now_s
        state.compared += 1
        state.differ += sides.differs
        for tally, outcome in zip(state.outputs, sides.outcomes, strict=False):
            tally.add(outcome)
        state.slices.add(answered.tenant, request_bytes, sides.differs)
        state.device_us += max(0, shadow.device_us)
        match stable.is_failed, shadow.is_failed:
            case False, False:
                state.neither_failed += 1
                state.stable_times.add(stable.took_s)
                state.shadow_times.add(shadow.took_s)
            case False, True:
                state.only_shadow_failed += 1
            case True, False:
                state.only_stable_failed += 1
            case _:
                state.both_failed += 1

    def _is_asked_again(self, request_id: str, shadow: Answer, level: int) -> bool:
        """Count a copy that differs, and return whether its second answer is wanted."""
        state, test = self._state, self._state.tests[level]
        if not self._shadow.repeat_stable:
            state.tests[level] = test.seen_different(Odd.OTHER)
            return False
        if not is_asked(self._shadow.name, request_id, level):
            state.tests[level] = test.seen_alike()
            return False
        state.asked += 1
        state.tests[level] = test.seen_different(Odd.UNKNOWN)
        return self._awaited.put(request_id, shadow, level)

    def _keep_worst(self, answered: Answered, stable: Answer, shadow: Answer, sides: Sides, now_s: float) -> None:
        """Keep the farthest of a copy's differences, if it is among the largest of all."""
        distances = [outcome.distance if outcome is not None else 0.0 for outcome in sides.outcomes]
        distance = max(distances, default=math.inf)
        worst, privacy = self._state.worst, self._shadow.privacy
        if not worst.has_room_for(distance, now_s):
            return
        difference = Difference(
            answered.request_id, answered.trace_id, answered.tenant, now_s, "", finite(distance), "", ""
        )
        if distances:
            at = distances.index(distance)
            outcome, path = sides.outcomes[at], self._shadow.outputs[at].path
            ours, theirs = sides.parts[at]
            difference = replace(
                difference,
                path=place_of(path, outcome.where if outcome is not None else "", privacy),
                stable=kept_of(ours, path, stable, privacy, self._digest_key),
                shadow=kept_of(theirs, path, shadow, privacy, self._digest_key),
            )
        worst.add(difference)
