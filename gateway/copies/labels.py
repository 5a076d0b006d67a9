"""Labels: what in an answer is its label, and when two of them are the same one. Only digests of them are kept."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

import msgspec

from gateway.copies.compare.answer import Answer
from gateway.copies.compare.elements import Unreadable
from gateway.copies.compare.pointers import MISSING, part_at
from gateway.copies.compare.trees import Tensor, read

_DIGEST_BYTES = 16
_EXACT_BELOW = 2.0**53
_IS_ANSWER = range(200, 300)


def label_in(answer: Answer, pointer: str) -> str | None:
    """Return the label at a JSON Pointer in an answer as its digest; None when it has none."""
    if answer.status not in _IS_ANSWER:
        return None
    try:
        part = part_at(read(answer.fields, answer.body), pointer)
    except Unreadable:
        return None
    return None if part is MISSING or part is None else label_digest(part)


def label_digest(label: Any) -> str:
    """Return a digest that is the same for the same label.

    2 and 2.0 are the same, and so are a label and a list of it alone: a batch of one. The text "2" is another one.
    """
    if isinstance(label, Tensor):
        label = label.elements
    while isinstance(label, list) and len(label) == 1:
        label = label[0]
    # Python's own, which writes numbers of any size; bytes that are no text are in tensors only.
    text = json.dumps(_normal(label), sort_keys=True, default=repr)
    return blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def told_digest(label: str) -> str:
    """Return ``label_digest`` of a label that is told as JSON text."""
    try:
        return label_digest(msgspec.json.decode(label))
    except (msgspec.MsgspecError, RecursionError):
        return label_digest(label)


def _normal(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_BELOW:
        return int(value)
    if isinstance(value, Tensor):
        return _normal(value.elements)
    if isinstance(value, list):
        return [_normal(item) for item in value]
    if isinstance(value, dict):
        return {name: _normal(item) for name, item in value.items()}
    return value
