"""What `good` of an objective may say: one thing about one sort of event; and what else goes with that."""

from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from typing import Final

from policies.mistakes import Mistake
from policies.nodes import Entry, Mapping, Scalar, Sequence, entry_of, text_of
from policies.quantities import quantity_at

# Of the keys of `good`, those in one line are about the same sort of event.
ABOUT: Final[AnyMapping[str, str]] = {
    "status_below": "what callers got",
    "within": "what callers got",
    "first_byte_within": "what callers got",
    "pod": "how requests found their pod",
    "loads_within": "how pods load",
    "label": "whether labels were right",
}
_TWO: Final = "Write two objectives."


def check(slo: Mapping) -> Iterator[Mistake]:
    """Every mixture that one event cannot be judged by, and every time that nothing happens within."""
    good = entry_of(slo, "good")
    if good is None or not isinstance(good.value, Mapping):
        return
    entries = [entry for name, entry in good.value.entries.items() if name in ABOUT]
    if not entries:
        if not good.value.entries:
            yield Mistake(good.key, "good says nothing", "Write {status_below: 500}, for example.")
        return
    mixture = next((one for one in entries if ABOUT[one.key.text] != ABOUT[entries[0].key.text]), None)
    if mixture is not None:
        yield _mixed(entries[0], mixture)
    else:
        yield from _answers(good.value)
        yield from _beside(slo, entries[0].key.text)
    yield from _no_time(good.value)


def is_about_labels(slo: Mapping) -> bool:
    """Whether an objective is about labels that are told later."""
    good = entry_of(slo, "good")
    return good is not None and entry_of(good.value, "label") is not None


def _mixed(first: Entry, other: Entry) -> Mistake:
    problem = (
        f"{first.key.text} is about {ABOUT[first.key.text]} and {other.key.text} about {ABOUT[other.key.text]}, "
        "which are counted apart"
    )
    return Mistake(other.key, problem, _TWO)


def _answers(good: Mapping) -> Iterator[Mistake]:
    """An answer is judged by its status, and by one time at most."""
    within, first_byte = entry_of(good, "within"), entry_of(good, "first_byte_within")
    timed = within or first_byte
    if timed is not None and entry_of(good, "status_below") is None:
        problem = f"{timed.key.text} alone would call a quick failure good"
        yield Mistake(timed.key, problem, "Add status_below: 500, for example.")
    if within is not None and first_byte is not None:
        yield Mistake(first_byte.key, "an objective has one time: within, or first_byte_within", _TWO)


def _beside(slo: Mapping, key: str) -> Iterator[Mistake]:
    """Only requests have a status to ignore; loads belong to no tier."""
    event = {"loads_within": "a load of a pod", "label": "a label"}.get(key)
    ignore, by = entry_of(slo, "ignore"), entry_of(slo, "by")
    if event is not None and ignore is not None:
        yield Mistake(ignore.key, f"{event} has no status that could be ignored", "Remove ignore.")
    if key == "loads_within" and by is not None and isinstance(by.value, Sequence):
        for item in by.value.items:
            if isinstance(item, Scalar) and item.text == "tier":
                yield Mistake(item, "a load of a pod belongs to no tier", "Write by: [version], or leave it out.")


def _no_time(good: Mapping) -> Iterator[Mistake]:
    for name, problem, fix in (
        ("within", "no answer is given within {}", "Write more than 0; without the key any time is good."),
        ("first_byte_within", "no answer begins within {}", "Write more than 0; without the key any time is good."),
        ("loads_within", "no pod loads within {}", "Write more than 0; 30s, for example."),
    ):
        for node, length_s in quantity_at(good, name, "duration"):
            if length_s == 0:
                yield Mistake(node, problem.format(text_of(good, name)), fix)
