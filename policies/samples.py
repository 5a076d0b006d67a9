"""What a route says of samples of inputs and outputs: checked, compiled, told when it changes."""

from collections.abc import Iterable, Iterator
from typing import Final

from policies import units
from policies.errors import PolicyError
from policies.kinds import ROUTE, PolicyFile
from policies.mistakes import Mistake, placed
from policies.nodes import Mapping, Node, entry_of, find
from policies.quantities import quantity_at
from policies.schema.release import NeverWritten
from policies.schema.samples import SamplesWritten
from policies.shadows import LARGEST_RECORDING, LONGEST_KEPT_S, SHORTEST_KEPT_S, SMALLEST_RECORDING
from policies.snapshot.release import LeftOut
from policies.snapshot.samples import Sampling
from policies.wording import ABSENT, changed, duration_text, names_text

_USUAL: Final = Sampling(())
_SLOW: Final = "slow"


def sampling(written: SamplesWritten) -> Sampling:
    """What is kept for people to look at."""
    return Sampling(
        fields=tuple(sorted(set(written.fields))),
        rate=_USUAL.rate if written.rate is None else units.fraction(written.rate),
        triggers=tuple(sorted(set(written.on or ()))),
        slower_than_s=None if written.slower_than is None else units.duration_s(written.slower_than),
        per_minute=written.per_minute or _USUAL.per_minute,
        redact=_USUAL.redact if written.redact is None else tuple(sorted(set(written.redact))),
        subject=written.subject,
        max_bytes=_USUAL.max_bytes if written.at_most is None else units.size_bytes(written.at_most),
        keep_s=_USUAL.keep_s if written.for_ is None else units.duration_s(written.for_),
        never=_left_out(written.never),
    )


def _left_out(written: NeverWritten | None) -> LeftOut:
    if written is None:
        return LeftOut()
    return LeftOut(tuple(sorted(set(written.tenant or ()))), tuple(sorted(set(written.tier or ()))))


def sampling_changes(subject: str, before: Sampling | None, after: Sampling | None) -> Iterator[str]:
    """Every difference in what is kept for people to look at."""
    if before is None and after is not None:
        share, fields = units.percent_text(after.rate), names_text(after.fields)
        on = f" and on {names_text(after.triggers)}" if after.triggers else ""
        yield f"{subject}: samples added: {fields} of {share} of requests{on}, for {units.duration_text(after.keep_s)}"
    elif before is not None and after is None:
        yield f"{subject}: samples removed"
    elif before is not None and after is not None:
        yield from _changes(f"{subject}: samples", before, after)


def _changes(samples: str, before: Sampling, after: Sampling) -> Iterator[str]:
    yield from changed(samples, "fields", names_text(before.fields), names_text(after.fields))
    yield from changed(samples, "rate", units.percent_text(before.rate), units.percent_text(after.rate))
    yield from changed(samples, "on", names_text(before.triggers), names_text(after.triggers))
    yield from changed(samples, "slower_than", duration_text(before.slower_than_s), duration_text(after.slower_than_s))
    yield from changed(samples, "per_minute", str(before.per_minute), str(after.per_minute))
    yield from changed(samples, "redact", names_text(before.redact), names_text(after.redact))
    yield from changed(samples, "subject", before.subject or ABSENT, after.subject or ABSENT)
    yield from changed(samples, "at_most", units.size_text(before.max_bytes), units.size_text(after.max_bytes))
    yield from changed(samples, "for", duration_text(before.keep_s), duration_text(after.keep_s))
    yield from changed(samples, "never", _never_text(before.never), _never_text(after.never))


def _never_text(never: LeftOut) -> str:
    return names_text((*(f"tenant {name}" for name in never.tenants), *(f"tier {name}" for name in never.tiers)))


def check(files: Iterable[PolicyFile]) -> list[PolicyError]:
    """Every way of keeping samples that could not mean what it says."""
    errors: list[PolicyError] = []
    for file in files:
        if file.kind is ROUTE and file.root is not None:
            for found in find(file.root, "samples"):
                errors += [placed(file, mistake) for mistake in _mistakes(file.root, found.node)]
    return errors


def _mistakes(route: Node, samples: Node) -> Iterator[Mistake]:
    if not isinstance(samples, Mapping):
        return
    yield from _reasons(route, samples)
    yield from _kept(samples)


def _reasons(route: Node, samples: Mapping) -> Iterator[Mistake]:
    """Something is kept, and what it is kept for can happen."""
    triggers = {getattr(found.node, "value", None): found.node for found in find(samples, "on[]")}
    shares = [share for _, share in quantity_at(samples, "rate", "percent")]
    if not triggers and not any(shares):
        entry = entry_of(samples, "rate")
        problem = "no request is kept: there is no rate above 0%, and nothing to keep one on"
        yield Mistake(entry.value if entry else samples, problem, "Write rate: 1%, or on: [error].")
    slower = entry_of(samples, "slower_than")
    if _SLOW in triggers and not slower:
        yield Mistake(triggers[_SLOW], "nothing says what is slow", "Write slower_than beside it, such as 500ms.")
    if slower and _SLOW not in triggers:
        yield Mistake(slower.key, "slower_than says nothing without on: [slow]", "Write on: [slow], or remove it.")
    if not isinstance(route, Mapping):
        return
    for trigger, part in (("drift", "drift"), ("shadow_difference", "shadow")):
        if trigger in triggers and not entry_of(route, part):
            yield Mistake(
                triggers[trigger], f"the route has no {part}: that never happens", f"Write {part}, or remove it."
            )


def _kept(samples: Mapping) -> Iterator[Mistake]:
    """How much is kept, and for how long."""
    for node, size in quantity_at(samples, "at_most", "size"):
        if not SMALLEST_RECORDING <= size <= LARGEST_RECORDING:
            smallest, largest = units.size_text(SMALLEST_RECORDING), units.size_text(LARGEST_RECORDING)
            word = f"less than {smallest}" if size < SMALLEST_RECORDING else f"more than {largest}"
            yield Mistake(node, f"{node.text} is {word}", f"Write {smallest} to {largest}; 16MiB is usual.")
    for node, length_s in quantity_at(samples, "for", "duration"):
        if not SHORTEST_KEPT_S <= length_s <= LONGEST_KEPT_S:
            shortest, longest = units.duration_text(SHORTEST_KEPT_S), units.duration_text(LONGEST_KEPT_S)
            word = f"less than {shortest}" if length_s < SHORTEST_KEPT_S else f"more than {longest}"
            yield Mistake(node, f"{node.text} is {word}", f"Write {shortest} to {longest}.")
