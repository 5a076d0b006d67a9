"""Leaves: parts of answers as flat elements with the shape they had; how near numbers have to be."""

from __future__ import annotations

from typing import Any, NamedTuple

from gateway.copies.compare.outcome import Outcome, unlike
from gateway.copies.compare.trees import Tensor

# Beyond, parts are "too large": two such lists take some 50 to 300 ms, during which nothing else is compared.
MAX_ELEMENTS = 2**18


class Tolerance(NamedTuple):
    """Two numbers are alike within ``atol + rtol * |stable's|``."""

    atol: float
    rtol: float


# What the same weights give on another device or in another order of additions, with room: about 80 units in the last
# place of FP32, 10 of FP16. What is wider is still computed in FP32 by most models.
AS_FP32 = Tolerance(1e-5, 1e-4)
AS_HALF = Tolerance(1e-2, 1e-2)
EXACT = Tolerance(0.0, 0.0)


def tolerance_of(datatype: str) -> Tolerance:
    """Return what a datatype allows; "" stands for JSON numbers."""
    if datatype in ("FP16", "BF16"):
        return AS_HALF
    return AS_FP32 if datatype in ("", "FP32", "FP64") else EXACT


class Leaves(NamedTuple):
    """A part's elements.

    Attributes:
        shape: a tensor's own; of nested lists the length of each list, outer ones first, which need not be even.
        datatype: "" where the part is no tensor.
    """

    elements: list[Any]
    shape: tuple[int, ...]
    datatype: str

    def place(self, index: int) -> str:
        """Return a JSON Pointer from the part on to an element; of even or flat lists, else ""."""
        if not self.shape:
            return ""
        return f"/{index}" if self.datatype or len(self.shape) == 1 else ""


def leaves_of(part: Any) -> Leaves:
    """Return a part's elements; a single value is one element of no shape."""
    if type(part) is Tensor:
        return Leaves(part.elements, part.shape, part.datatype)
    if type(part) is not list:
        return Leaves([part], (), "")
    shape: list[int] = [len(part)]
    while any(type(item) is list for item in part):
        nested: list[Any] = []
        for item in part:
            if type(item) is list:
                shape.append(len(item))
                nested += item
            else:
                nested.append(item)
        part = nested
    return Leaves(part, tuple(shape), "")


def misfit(stable: Leaves, shadow: Leaves) -> Outcome | None:
    """Return why two parts cannot be compared element by element; None where they can."""
    is_tensor_beside_list = (stable.datatype == "") != (shadow.datatype == "")
    if len(stable.elements) != len(shadow.elements) or (stable.shape != shadow.shape and not is_tensor_beside_list):
        return unlike("of another shape")
    if len(stable.elements) > MAX_ELEMENTS:
        return unlike("too large")
    return None


def rows_of(part: Any) -> list[list[Any]]:
    """Return a part's innermost lists; of a tensor what has the same index but in its last dimension."""
    if type(part) is Tensor:
        length = part.shape[-1] if len(part.shape) > 1 else len(part.elements)
        return [part.elements[at : at + length] for at in range(0, len(part.elements), length)] if length > 0 else []
    if type(part) is not list:
        return [[part]]
    if any(type(item) is list for item in part):
        return [row for item in part for row in rows_of(item)]
    return [part]
