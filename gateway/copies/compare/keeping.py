"""Keeping: what of a difference may be kept, by the shadow's privacy: nothing, digests, or redacted samples."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from gateway.copies.compare.answer import Answer
from gateway.copies.compare.elements import Unreadable
from gateway.copies.compare.pointers import EVERY, MISSING, part_at, steps_of, without
from gateway.copies.compare.trees import Tensor, read
from policies.snapshot.release import Privacy

# Of a sample, with the mark where it was cut.
MAX_SAMPLE_BYTES = 2048
_CUT = "…"
_DIGEST_BYTES = 8
# Whole numbers below are exact as FP64.
_EXACT = 2**53
_ENCODER = msgspec.json.Encoder(order="deterministic", decimal_format="number")


def kept_of(part: Any, path: str, answer: Answer, privacy: Privacy, digest_key: bytes = b"") -> str:
    """Return what is kept of one side's part; "" for nothing, or where there is no part.

    A sample lacks what policy drops from requests, wherever the answer has it at the same place. An answer that is no
    JSON cannot lose fields: where some are dropped, its digest is kept.

    Args:
        digest_key: without it nobody can find a short answer by its digest; at most 64 bytes.
    """
    if privacy.keep == "nothing" or part is MISSING:
        return ""
    if privacy.keep == "bodies":
        sample = part if not privacy.drop_fields else _redacted(path, answer, privacy)
        if sample is not None:
            return "" if sample is MISSING else _cut(text_of(sample))
    return blake2b(text_of(part).encode(), digest_size=_DIGEST_BYTES, key=digest_key).hexdigest()


def place_of(path: str, where: str, privacy: Privacy) -> str:
    """Return where a difference is, as far as that may be kept.

    Keys on the way may be the caller's data: below what policy drops, and where nothing is kept, none is told but the
    path that policy itself names.
    """
    steps = steps_of(path + where)
    is_dropped = any(_names(steps_of(pointer), steps) for pointer in privacy.drop_fields)
    return path if privacy.keep == "nothing" or is_dropped else path + where


def _names(dropped: Sequence[str], steps: Sequence[str]) -> bool:
    return len(steps) >= len(dropped) and all(one in (EVERY, other) for one, other in zip(dropped, steps, strict=False))


def text_of(part: Any) -> str:
    """Return a part as canonical JSON: the same value is the same text, in whatever protocol it came."""
    return _ENCODER.encode(_plain(part)).decode()


def _redacted(path: str, answer: Answer, privacy: Privacy) -> Any:
    """Return the part without what is dropped, ``MISSING`` where all of it is; None where nothing can be taken out."""
    try:
        tree = read(answer.fields, answer.body)
    except Unreadable:
        return None
    if type(tree) not in (dict, list):
        return None
    return part_at(without(tree, privacy.drop_fields), path)


def _plain(part: Any) -> Any:
    if type(part) is Tensor:
        return {"datatype": part.datatype, "shape": part.shape, "data": [_plain(each) for each in part.elements]}
    if type(part) is dict:
        return {key: _plain(value) for key, value in part.items()}
    if type(part) is list:
        return [_plain(item) for item in part]
    if type(part) is bytes:
        return part.decode("latin-1")
    # JSON has no NaN: it would become null, as if it were no number at all.
    if type(part) is float and (part != part or part in (float("inf"), float("-inf"))):
        return str(part)
    # 2.0 is 2, as comparing takes it.
    return int(part) if type(part) is float and part.is_integer() and abs(part) < _EXACT else part


def _cut(text: str) -> str:
    whole = text.encode()
    if len(whole) <= MAX_SAMPLE_BYTES:
        return text
    return whole[: MAX_SAMPLE_BYTES - len(_CUT.encode())].decode(errors="ignore") + _CUT
