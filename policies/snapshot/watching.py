"""What is watched of a model's inputs and outputs: which are summarised, and what they are compared with."""

from msgspec import Struct


class Watched(Struct, frozen=True):
    """One part of an input or an output that is summarised.

    Attributes:
        path: JSON Pointer; its first step names a tensor or a form's field; "" is all of it.
        at_least, at_most: numbers outside are out of range; None for any.
        classes: texts that are counted by name.
    """

    path: str = ""
    at_least: float | None = None
    at_most: float | None = None
    classes: tuple[str, ...] = ()


class Drift(Struct, frozen=True):
    """How inputs and outputs of a model are summarised and compared.

    Attributes:
        sample: share of rows that are summarised.
        reference: the version whose first rows are compared with; "" for each version's own.
        reference_s: these are the rows of so long.
        alert_above: a population stability index.
    """

    sample: float
    inputs: tuple[Watched, ...] = (Watched(),)
    outputs: tuple[Watched, ...] = (Watched(),)
    reference: str = ""
    reference_s: float = 86_400.0
    window_s: float = 3600.0
    alert_above: float = 0.2
